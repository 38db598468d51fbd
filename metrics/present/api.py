"""The JSON API: the page's figures for programs, with an OpenAPI schema at /api/openapi.json and a page at /api/docs.

A caller shows a token with the scope `read`, or is signed in; both may only read. Whatever a caller may not see
answers like what does not exist. The ingest door and the vendor's protocols are
documented in the same schema (`present/door_docs.py`, `present/webhook_docs.py`,
`present/protocol_docs.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import numpy as np
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from ninja import NinjaAPI, Path, Query, Router
from ninja.errors import AuthenticationError, ValidationError
from ninja.security import SessionAuth

from metrics.models import Tweet
from metrics.present import answers, door_docs, protocol_docs, reach_api, webhook_docs
from metrics.present.callers import RefusedError, TokenAuth, handle_of, readable, tweet_of
from metrics.present.columns import PROMOTABLE, all_metrics, by_type
from metrics.present.reach_answers import told_audience, told_people
from metrics.query import params, report, series, story
from metrics.query.audience import Reached
from metrics.query.params import ParamError
from metrics.vocabulary.engagements import CODE, METRICS, PROMOTED, Counts
from metrics.vocabulary.periods import Period

MAX_BUCKETS = 45_000
DESCRIPTION = """
Figures of your handles' Tweets, the same as on the pages and in the CSV files, and the door through which events come
in. Ids are 64-bit numbers and stand as text. Times carry an offset; periods are half open: `since` counts, `until`
does not. A handle that you may not see answers 404, like one that does not exist.
"""


class DocumentedApi(NinjaAPI):
    """An API whose schema also tells of the ingest door and of the vendor's protocols, which are served beside it."""

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        """The schema of all."""
        schema = super().get_openapi_schema(**kwargs)
        for docs in (door_docs, webhook_docs, protocol_docs):
            schema["paths"].update(docs.PATHS)
            schema["components"]["schemas"].update(docs.COMPONENTS)
        schema["components"]["securitySchemes"].update(protocol_docs.SECURITY_SCHEMES)
        return schema


api = DocumentedApi(
    title="InsightsTrack",
    version="1",
    description=DESCRIPTION,
    docs_url=None,
    auth=[TokenAuth(), SessionAuth()],
    urls_namespace="api",
)
router = Router(tags=["Figures"])
_REFUSALS = {
    401: answers.Problem,
    403: answers.Problem,
    404: answers.Problem,
    422: answers.Problem,
}
Username = Annotated[str, Path(description="The handle, without the @.", examples=["northwind"])]
TweetId = Annotated[
    str, Path(description="The Tweet's id.", pattern=r"^[0-9]{1,19}$", examples=["1108499416611061761"])
]


@router.get(
    "/handles",
    response={200: answers.HandlesOut, 401: answers.Problem, 403: answers.Problem},
    summary="List handles",
    operation_id="list_handles",
)
def list_handles(request: HttpRequest) -> dict[str, Any]:
    """All handles that you may read."""
    return {"handles": list(readable(request))}


@router.get(
    "/handles/{username}/report",
    response={200: answers.ReportOut, **_REFUSALS},
    summary="A handle's report",
    operation_id="read_report",
)
def read_report(request: HttpRequest, username: Username, given: Query[answers.ReportParams]) -> dict[str, Any]:
    """Totals of a period, their change, every engagement type, and the series, all from one moment."""
    query = _query(request, username, given)
    found = report.report(query)
    return {
        "handle": query.handle.username,
        "range": query.range,
        "reading": query.reading,
        "grain": query.grain,
        "zone": query.zone.key,
        "period": _period(query.period, query),
        "widened": query.widened,
        "comparison": _comparison(query),
        "as_of": _local(found.as_of, query),
        "sequence": found.sequence,
        "quiet_since": found.quiet_since and _local(found.quiet_since, query),
        "tweets_published": found.tweets_published,
        "engagement_rate": found.engagement_rate,
        "previous_engagement_rate": found.previous_engagement_rate,
        "metrics": _values(found),
        "types": [asdict(row) for row in by_type(found.totals)],
        "reach": (reach := report.reach(query)) and told_people(reach),
        "series": _series(found.series, query),
    }


@router.get(
    "/handles/{username}/tweets",
    response={200: answers.TweetsOut, **_REFUSALS},
    summary="A handle's Tweets, in order",
    operation_id="list_tweets",
)
def list_tweets(request: HttpRequest, username: Username, given: Query[answers.TweetsParams]) -> dict[str, Any]:
    """By activity the Tweets to which something happened in the period, otherwise those created in it."""
    query = _query(request, username, given)
    sort, order = given.sort or "rate", given.order or "desc"
    if order not in {"desc", "asc"}:
        raise ParamError("order", f"“{order[:40]}” is not known; use desc or asc.")
    rows = report.top_tweets(query, sort, given.limit + 1, given.offset, descending=order == "desc")
    more, rows = len(rows) > given.limit, rows[: given.limit]
    reach = report.reach_of_each([row.tweet for row in rows], query.now)
    return {
        "handle": query.handle.username,
        "reading": query.reading,
        "period": _period(query.period, query),
        "sort": sort,
        "tweets": [_ranked(row, found, query) for row, found in zip(rows, reach, strict=True)],
        "next_offset": given.offset + given.limit if more else None,
    }


@router.get(
    "/tweets/{tweet_id}/series",
    response={200: answers.TweetSeriesOut, **_REFUSALS},
    summary="A Tweet's series",
    operation_id="read_tweet_series",
)
def read_tweet_series(request: HttpRequest, tweet_id: TweetId, given: Query[answers.SeriesParams]) -> dict[str, Any]:
    """A Tweet's counts by bucket of its life or of a period, and what they add up to."""
    tweet = tweet_of(request, int(tweet_id), given.handle)
    query = story.parse_tweet(_given(given), tweet, datetime.now(UTC), MAX_BUCKETS)
    handle_id, number = query.handle.pk, tweet.tweet_id
    with series.snapshot():
        lifetime = series.tweet_lifetimes(handle_id, [number])[number]
        before = series.tweet_totals(handle_id, [number], story.earlier(query))[number]
        found = series.tweet_series(handle_id, [number], query.period, query.grain, query.zone)[number]
    return {
        "tweet": _told(tweet, query),
        "grain": query.grain,
        "zone": query.zone.key,
        "period": _period(query.period, query),
        "as_of": _local(query.now, query),
        "lifetime": all_metrics(lifetime),
        "types": [asdict(row) for row in by_type(lifetime)],
        "reach": told_audience(report.reach_of_each([tweet], query.now)[0]),
        "series": _series(found, query),
        "cumulative": _lists(before + found.counts.cumsum(axis=0)),
    }


def _query(request: HttpRequest, username: str, given: answers.ReportParams) -> params.ReportQuery:
    return params.parse(_given(given), handle_of(request, username), datetime.now(UTC), MAX_BUCKETS)


def _given(given: answers.Stretch) -> dict[str, str]:
    """The parameters that were given, as the page's parser takes them; an empty one is a slip of the program's."""
    texts = {name: value for name, value in given.dict(exclude_none=True).items() if isinstance(value, str)}
    for name, value in texts.items():
        if not value.strip():
            raise ParamError(name, "is empty; give a value, or leave it out.")
    return texts


Asked = params.ReportQuery | story.TweetQuery


def _local(instant: datetime, query: Asked) -> datetime:
    return instant.astimezone(query.zone)


def _period(period: Period, query: Asked) -> dict[str, datetime]:
    return {"since": _local(period.since, query), "until": _local(period.until, query)}


def _comparison(query: params.ReportQuery) -> dict[str, Any] | None:
    other = query.comparison
    if other is None:
        return None
    elapsed = {"kind": other.kind, "elapsed_until": _local(other.elapsed.until, query)}
    return _period(other.period, query) | elapsed


def _values(found: report.Report) -> dict[str, dict[str, Any]]:
    previous: Mapping[str, int] = {} if found.previous is None else all_metrics(found.previous)
    return {
        name: {"value": value, "previous": previous.get(name), "change": found.change(name)}
        for name, value in all_metrics(found.totals).items()
    }


def _lists(counts: Counts) -> dict[str, list[int]]:
    """Each metric of int64[n, 2, 26] as a list."""
    both = counts.sum(axis=1)
    return {name: metric.of(both).tolist() for name, metric in METRICS.items()}


def _series(found: series.Series, query: Asked) -> dict[str, Any]:
    promoted = np.asarray(found.counts[:, PROMOTED])
    return {
        "starts": [_local(start, query) for start in found.starts],
        "until": _local(query.period.until, query),
        "metrics": _lists(found.counts),
        "promoted": {name: promoted[:, CODE[name]].tolist() for name in PROMOTABLE},
    }


def _told(tweet: Tweet, query: Asked) -> dict[str, Any]:
    return {
        "id": str(tweet.tweet_id),
        "handle": query.handle.username,
        "text": tweet.text,
        "created_at": _local(tweet.created_at, query),
        "media": tweet.media,
        "link": tweet.link,
        "tags": tweet.tags,
    }


def _ranked(row: report.TweetRow, reach: Reached, query: params.ReportQuery) -> dict[str, Any]:
    return _told(row.tweet, query) | {
        "totals": all_metrics(row.totals),
        "lifetime": all_metrics(row.lifetime),
        "engagement_rate": row.engagement_rate,
        "rate_per_minute": row.rate_per_minute,
        "times_usual": row.times_usual,
        "reach": told_audience(reach),
    }


def _problem(status: HTTPStatus, error: str, detail: str, field: str | None = None) -> HttpResponse:
    body = {"error": error, "detail": detail} | ({"field": field} if field else {})
    headers = {"WWW-Authenticate": 'Bearer realm="InsightsTrack"'} if status is HTTPStatus.UNAUTHORIZED else {}
    return JsonResponse(body, status=status, headers=headers)


@api.exception_handler(RefusedError)
def _refused(request: HttpRequest, error: RefusedError) -> HttpResponse:
    return _problem(error.status, error.error, error.detail)


@api.exception_handler(AuthenticationError)
def _stranger(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    detail = "Send the header “Authorization: Bearer <token>”, or sign in."
    return _problem(HTTPStatus.UNAUTHORIZED, "no_token", detail)


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return _problem(HTTPStatus.NOT_FOUND, "not_found", str(error))


@api.exception_handler(ParamError)
def _bad_parameter(request: HttpRequest, error: ParamError) -> HttpResponse:
    return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", str(error), error.field)


@api.exception_handler(ValidationError)
def _unfit_parameter(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """What ninja itself found wrong: numbers that are none or out of bounds, ids that are no digits."""
    first = error.errors[0]
    field = str(first["loc"][-1])
    return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_parameter", f"{field}: {first['msg']}.", field)


for each in (router, reach_api.router):
    api.add_router("/v1", each)


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """The schema as a page, drawn by the Swagger UI that ninja brings."""
    return render(request, "api_docs.html")
