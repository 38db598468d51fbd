"""The Engagement API: `POST /insights/engagement/totals`, `/28hr` and `/historical`.

Shapes, statuses and texts are the vendor's, so that its clients work unmodified. What can be asked is decided in
`query/engagement.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
import numpy as np
import structlog
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from accounts.oauth import AuthFailure, caller
from metrics.present import compression, nesting, quota
from metrics.query import engagement
from metrics.query.engagement import Answer, QuestionError, Surface

log = structlog.get_logger(__name__)
NOT_AUTHENTICATED = "Your account could not be authenticated. Reason: "
Body = dict[str, Any]


class RefusedError(Exception):
    """The request as a whole is refused, for these reasons."""

    def __init__(self, status: HTTPStatus, *errors: str) -> None:
        super().__init__(*errors)
        self.status, self.errors = status, list(errors)


@csrf_exempt
def engagement_counts(request: HttpRequest, surface: str) -> HttpResponse:
    """Counts of up to 250 Tweets over their life (`totals`), or of up to 25 in a window (`28hr`, `historical`).

    200 with one key for each grouping, and, where Tweets cannot be told, `errors` and lists of ids; 400 for a body
    that cannot be answered, 401 without good credentials, 403 for Tweets of uncovered handles alone, 404, 405, 413,
    429, 503. `errors` is always a list of sentences; `x-per-minute-limit` and `x-per-minute-remaining` always come.
    """
    left = quota.whole()
    try:
        chosen = _surface(request, surface)
        credential = caller(request)
        left = quota.take(credential.token_id)
        if left.is_spent:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, f"More than {left.limit} requests in this minute.")
        status, body = respond(chosen, request.body, credential.team_id, credential.handles.values())
    except AuthFailure as failure:
        status, body = HTTPStatus.UNAUTHORIZED, {"errors": [NOT_AUTHENTICATED + failure.reason]}
    except RefusedError as refusal:
        status, body = refusal.status, {"errors": refusal.errors}
    except RequestDataTooBig:
        status, body = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"errors": ["The body is too large."]}
    except UnreadablePostError:
        status, body = HTTPStatus.BAD_REQUEST, {"errors": ["The body ended too early."]}
    except quota.OUTAGES as outage:
        log.warning("engagement_api_unavailable", reason=repr(outage))
        status, body = HTTPStatus.SERVICE_UNAVAILABLE, {"errors": ["The counts are away for a moment; ask again."]}
    return compression.zipped(request, _response(status, body, left))


def _surface(request: HttpRequest, name: str) -> Surface:
    try:
        chosen = Surface(name.rstrip("/"))
    except ValueError:
        text = f"There is no endpoint of this name; use {', '.join(Surface)}."
        raise RefusedError(HTTPStatus.NOT_FOUND, text) from None
    if request.method != "POST":
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "Use POST.")
    return chosen


def _response(status: HTTPStatus, body: Body, left: quota.Quota) -> HttpResponse:
    response = HttpResponse(
        msgspec.json.encode(body), status=status, content_type="application/json", headers=left.headers
    )
    response["Cache-Control"] = "no-store"
    if status is HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'OAuth realm="InsightsTrack", Bearer realm="InsightsTrack"'
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        response["Allow"] = "POST"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = str(quota.RETRY_SECONDS)
    return response


def respond(surface: Surface, text: bytes, team_id: int, handle_ids: Iterable[int]) -> tuple[HTTPStatus, Body]:
    """Status and body for somebody who may read these handles of the team; raises RefusedError."""
    now = datetime.now(UTC)
    try:
        question = engagement.parse(surface, msgspec.json.decode(text), now)
    except QuestionError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "The body must be a JSON object in UTF-8.") from error
    answer = engagement.answer(question, team_id, list(handle_ids), now)
    body = _partial(answer)
    if not answer.tweet_ids and not answer.tweets.unavailable:
        return HTTPStatus.FORBIDDEN, {"errors": body["errors"]}
    if question.period:
        body |= {"start": _told(question.period.since), "end": _told(question.period.until)}
    return HTTPStatus.OK, body | {name: _grouped(answer, name) for name in question.groupings}


def _partial(answer: Answer) -> Body:
    """What is told of Tweets that are left out, in full or in part; empty when there are none."""
    unavailable = answer.tweets.unavailable
    errors = [f"{len(unavailable)} Tweet ID(s) are unavailable"] if unavailable else []
    errors += [
        f"Forbidden to access tweets for author id {handle_id}: {', '.join(map(str, ids))}"
        for handle_id, ids in answer.tweets.forbidden.items()
    ]
    lists = {
        "errors": errors,
        "unavailable_tweet_ids": list(map(str, unavailable)),
        "unsupported_for_impressions_engagements_tweet_ids": _unsupported(answer, "impressions", "engagements"),
        "unsupported_for_video_views_tweet_ids": _unsupported(answer, "video_views"),
    }
    return {name: some for name, some in lists.items() if some}


def _unsupported(answer: Answer, *types: str) -> list[str]:
    columns = [place for place, name in enumerate(answer.question.types) if name in types]
    rows = np.flatnonzero(~np.all(answer.supported[:, columns], axis=1))
    return [str(answer.tweet_ids[row]) for row in rows]


def _grouped(answer: Answer, name: str) -> Any:
    levels = answer.question.groupings[name]
    if answer.question.period is None:
        return nesting.nested_supported(answer, levels)
    return msgspec.Raw(nesting.nested(answer, levels))


def _told(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
