"""`GET /2/tweets/analytics`, in X API v2's shape: counts of Tweets by hour, by day, by week, or in all."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from accounts.credentials import Credential
from accounts.oauth import AuthFailure, caller
from metrics.present import compression, quota
from metrics.query import analytics
from metrics.query.analytics import Answer, FieldError

log = structlog.get_logger(__name__)
# X's names of problems: clients tell them apart by these, and fetch nothing from there.
PROBLEMS = "https://api.twitter.com/2/problems"
Body = dict[str, Any]
Answered = tuple[HTTPStatus, Body]


@csrf_exempt
def tweets_analytics(request: HttpRequest) -> HttpResponse:
    """Counts of up to 100 Tweets in a window, by `hourly`, `daily`, `weekly` or `total` buckets.

    200 with `data`, and in `errors` a problem for each Tweet that cannot be told; otherwise one RFC 7807 problem: 400,
    401, 405, 429, 503. A metric that is not held is null. A timestamp is its bucket's start.
    """
    left = quota.whole()
    if request.method not in {"GET", "HEAD"}:
        status, body = _problem(HTTPStatus.METHOD_NOT_ALLOWED, "about:blank", "Use GET.")
        return compression.zipped(request, _response(status, body, left))
    try:
        credential = caller(request)
        left = quota.take(credential.token_id)
        status, body = _spent(left) if left.is_spent else _told(request, credential)
    except AuthFailure as failure:
        status, body = _problem(HTTPStatus.UNAUTHORIZED, "about:blank", failure.reason)
    except quota.OUTAGES as outage:
        log.warning("analytics_unavailable", reason=repr(outage))
        detail = "The counts are away for a moment; ask again."
        status, body = _problem(HTTPStatus.SERVICE_UNAVAILABLE, "about:blank", detail)
    return compression.zipped(request, _response(status, body, left))


def _spent(left: quota.Quota) -> Answered:
    return _problem(HTTPStatus.TOO_MANY_REQUESTS, "about:blank", f"More than {left.limit} requests in this minute.")


def _told(request: HttpRequest, credential: Credential) -> Answered:
    try:
        question = analytics.parse(request.GET.dict(), datetime.now(UTC))
    except FieldError as error:
        status, body = _problem(HTTPStatus.BAD_REQUEST, f"{PROBLEMS}/invalid-request", str(error))
        given = request.GET.get(error.field, "")
        return status, body | {"errors": [{"parameters": {error.field: [given]}, "message": str(error)}]}
    found = analytics.answer(question, credential.team_id, list(credential.handles.values()))
    return HTTPStatus.OK, {"data": _data(found), "errors": _errors(found)}


def _response(status: HTTPStatus, body: Body, left: quota.Quota) -> HttpResponse:
    kind = "application/json" if status is HTTPStatus.OK else "application/problem+json"
    headers = {
        "x-rate-limit-limit": str(left.limit),
        "x-rate-limit-remaining": str(left.remaining),
        "x-rate-limit-reset": str(left.reset),
        "Cache-Control": "no-store",
    }
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'OAuth realm="InsightsTrack", Bearer realm="InsightsTrack"'
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = "GET"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(quota.RETRY_SECONDS)
    return HttpResponse(msgspec.json.encode(body), status=status, content_type=kind, headers=headers)


def _problem(status: HTTPStatus, kind: str, detail: str) -> Answered:
    return status, {"title": status.phrase, "detail": detail, "type": kind, "status": status.value}


def _data(found: Answer) -> list[Body]:
    stamps = [f"{start:%Y-%m-%dT%H:%M:%SZ}" for start in found.starts]
    return [
        {"id": str(tweet_id), "timestamped_metrics": _buckets(stamps, analytics.values(counts, found.question.fields))}
        for tweet_id, counts in found.counts.items()
    ]


def _buckets(stamps: list[str], values: dict[str, list[int] | None]) -> list[Body]:
    return [
        {"timestamp": stamp, "metrics": {name: some[place] if some else None for name, some in values.items()}}
        for place, stamp in enumerate(stamps)
    ]


def _errors(found: Answer) -> list[Body]:
    forbidden = [tweet_id for ids in found.tweets.forbidden.values() for tweet_id in ids]
    return [
        *(
            _left_out(each, "Not Found Error", "resource-not-found", "Could not find tweet with ids: [{}].")
            for each in found.tweets.unavailable
        ),
        *(
            _left_out(
                each,
                "Authorization Error",
                "not-authorized-for-resource",
                "Sorry, you are not authorized to see the Tweet with ids: [{}].",
            )
            for each in forbidden
        ),
    ]


def _left_out(tweet_id: int, title: str, kind: str, detail: str) -> Body:
    return {
        "value": str(tweet_id),
        "detail": detail.format(tweet_id),
        "title": title,
        "resource_type": "tweet",
        "parameter": "ids",
        "resource_id": str(tweet_id),
        "type": f"{PROBLEMS}/{kind}",
    }
