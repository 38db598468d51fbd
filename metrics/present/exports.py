"""CSV files with the same numbers as the page, made and sent piece by piece, whatever their length.

Parameters are the dashboard's. Each piece is read from one moment; a file of a running period is as current as its
pieces. `?bom=1` begins the file with a byte order mark, which spreadsheets need to see UTF-8. `columns.COLUMNS` says
what each column means.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import wraps
from itertools import chain
from zoneinfo import ZoneInfo

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.models import Handle
from metrics.models import FileImport, ImportProblem, Tweet
from metrics.present.account_days import account_day_rows
from metrics.present.audience import week_rows
from metrics.present.columns import COLUMNS, Cell, by_type, measures, people
from metrics.query import params, report, series, story
from metrics.query.params import ParamError, Reading, ReportQuery
from metrics.query.story import TweetQuery
from metrics.query.tweets import tagged
from metrics.vocabulary import tags
from metrics.vocabulary.events import MAX_TWEET_ID
from metrics.vocabulary.periods import Period, display_edges

# 31 days by minute.
MAX_BUCKETS = 45_000
BUCKETS_A_PIECE, TWEETS_A_PIECE, PROBLEMS_A_PIECE, CHARACTERS_A_CHUNK = 500, 200, 2_000, 32_768
# A spreadsheet would run what follows as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

Row = Sequence[Cell]
View = Callable[..., HttpResponseBase]


def _export(view: View) -> View:
    """A download for those who see the handle; a parameter at fault is named in a plain 400."""

    @require_safe
    @never_cache
    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, username: str, **rest: int) -> HttpResponseBase:
        handle = Handle.objects.visible_or_404(request.user, username)
        try:
            return view(request, handle, **rest)
        except ParamError as refused:
            return HttpResponse(f"{refused}\n", status=400, content_type="text/plain; charset=utf-8")

    return guarded


@_export
def export_tweets(request: HttpRequest, handle: Handle) -> HttpResponseBase:
    """The Tweets of the period, newest first, in both readings: what happened in the period, and over their life.

    By activity these are the Tweets to which something happened in the period, otherwise those created in it; with a
    tag only those that carry it.
    """
    query = _query(request, handle)
    return download(request, "tweets", file_name(handle, "tweets", query), tweet_rows(query))


@_export
def export_series(request: HttpRequest, handle: Handle) -> HttpResponseBase:
    """The period by bucket of its grain."""
    query = _query(request, handle)
    return download(request, "series", file_name(handle, "series", query), series_rows(query))


@_export
def export_breakdown(request: HttpRequest, handle: Handle) -> HttpResponseBase:
    """The period's totals by engagement type."""
    query = _query(request, handle)
    name = file_name(handle, "breakdown", query)
    return download(request, "breakdown", name, breakdown_rows(query))


@_export
def export_tweet_series(request: HttpRequest, handle: Handle, tweet_id: int) -> HttpResponseBase:
    """One Tweet by bucket, with its cumulative counts."""
    tweet = story.find_tweet(handle, tweet_id)
    if tweet is None:
        raise Http404("No such Tweet.")
    query = story.parse_tweet(request.GET.dict(), tweet, datetime.now(UTC), MAX_BUCKETS)
    name = file_name(handle, f"tweet_{tweet_id}", query)
    return download(request, "tweet_series", name, tweet_series_rows(query))


@_export
def export_account_days(request: HttpRequest, handle: Handle) -> HttpResponseBase:
    """The platform's own daily totals beside ours."""
    query = _query(request, handle)
    return download(request, "account_days", file_name(handle, "account_days", query), account_day_rows(query))


@_export
def export_audience(request: HttpRequest, handle: Handle) -> HttpResponseBase:
    """Whom the handle reached each week, and which of them were new."""
    now = datetime.now(UTC)
    return download(request, "audience", f"{handle.username}_audience_{now:%Y%m%d}.csv", week_rows(handle, now))


@_export
def export_import_problems(request: HttpRequest, handle: Handle, pk: int) -> HttpResponseBase:
    """The refused rows of one imported file: where, why, and what to do."""
    file = FileImport.objects.filter(handle=handle, pk=min(pk, MAX_TWEET_ID)).first()
    if file is None:
        raise Http404("No such import.")
    name = f"{handle.username}_import_{file.pk}_refused.csv"
    return download(request, "import_problems", name, problem_rows(file))


def _query(request: HttpRequest, handle: Handle) -> ReportQuery:
    return params.parse(request.GET.dict(), handle, datetime.now(UTC), MAX_BUCKETS)


def file_name(handle: Handle, what: str, query: ReportQuery | TweetQuery) -> str:
    """`northwind_tweets_20260401_20260408.csv`: first and last day of the period, in its zone."""
    last = (query.period.until - (query.period.until - query.period.since) / 1_000_000).astimezone(query.zone)
    return f"{handle.username}_{what}_{query.period.since.astimezone(query.zone):%Y%m%d}_{last:%Y%m%d}.csv"


def tweet_rows(query: ReportQuery) -> Iterator[Row]:
    """The rows of tweets.csv, a few hundred Tweets at a time."""
    tweets = tagged(query).order_by("-tweet_id")
    if query.reading is Reading.TWEETS:
        tweets = tweets.filter(created_at__gte=query.period.since, created_at__lt=query.period.until)
    before = MAX_TWEET_ID
    while True:
        with series.snapshot():
            some = list(tweets.filter(tweet_id__lte=before)[:TWEETS_A_PIECE])
            ids = [tweet.tweet_id for tweet in some]
            totals = series.tweet_totals(query.handle.pk, ids, query.period)
            lifetimes = series.tweet_lifetimes(query.handle.pk, ids)
            listed = [each for each in some if query.reading is Reading.TWEETS or totals[each.tweet_id].any()]
            reach = report.reach_of_each(listed, query.now)
        for tweet, found in zip(listed, reach, strict=True):
            number = tweet.tweet_id
            counts = [*measures(totals[number]), *measures(lifetimes[number])]
            yield [*_told(tweet, query.zone), *counts, *people(found)]
        if len(some) < TWEETS_A_PIECE:
            return
        before = ids[-1] - 1


def _told(tweet: Tweet, zone: ZoneInfo) -> list[Cell]:
    return [
        tweet.tweet_id,
        _instant(tweet.created_at, zone),
        tweet.text,
        tweet.media,
        tweet.link,
        tags.written(tweet.tags),
    ]


def series_rows(query: ReportQuery) -> Iterator[Row]:
    """The rows of series.csv, some hundred buckets at a time."""
    read = series.cohort_series if query.reading is Reading.TWEETS else series.handle_series
    for part in _parts(query):
        piece = read(query.handle.pk, part, query.grain, query.zone)
        for bucket, counts in zip(_buckets(piece, part, query), piece.counts, strict=True):
            yield [*bucket, *measures(counts)]


def breakdown_rows(query: ReportQuery) -> Iterator[Row]:
    """The rows of breakdown.csv."""
    totals = report.totals(query)
    for row in by_type(totals):
        yield [row.type, row.label, row.organic, row.promoted, row.gained, row.lost, row.net]


def tweet_series_rows(query: TweetQuery) -> Iterator[Row]:
    """The rows of a Tweet's series.csv, some hundred buckets at a time."""
    handle_id, tweet_id = query.handle.pk, query.tweet.tweet_id
    gathered = series.tweet_totals(handle_id, [tweet_id], story.earlier(query))[tweet_id]
    for part in _parts(query):
        piece = series.tweet_series(handle_id, [tweet_id], part, query.grain, query.zone)[tweet_id]
        for bucket, counts in zip(_buckets(piece, part, query), piece.counts, strict=True):
            gathered = gathered + counts
            yield [*bucket, *measures(counts), *measures(gathered)]


def problem_rows(file: FileImport) -> Iterator[Row]:
    """The rows of an import's refused.csv."""
    kept = ImportProblem.objects.filter(file=file).values_list("line", "field", "reason", "detail")
    yield from kept.iterator(PROBLEMS_A_PIECE)


def _parts(query: ReportQuery | TweetQuery) -> Iterator[Period]:
    """The period in parts of whole buckets, few enough to be held."""
    edges = display_edges(query.period, query.grain, query.zone)
    for first in range(0, len(edges) - 1, BUCKETS_A_PIECE):
        yield Period(edges[first], edges[min(first + BUCKETS_A_PIECE, len(edges) - 1)])


def _buckets(piece: series.Series, part: Period, query: ReportQuery | TweetQuery) -> Iterator[list[Cell]]:
    for start, until in zip(piece.starts, [*piece.starts[1:], part.until], strict=True):
        yield [_instant(start, query.zone), _instant(until, query.zone), int(until > query.now)]


def _instant(instant: datetime, zone: ZoneInfo) -> str:
    return instant.astimezone(zone).isoformat(timespec="seconds")


def safe(cell: Cell) -> Cell:
    """The cell, its text kept from being read as a formula; numbers stay numbers."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return f"'{cell}"
    return cell


def encoded(header: Iterable[str], rows: Iterable[Row], bom: bool) -> Iterator[bytes]:
    """The file in chunks of some tens of kilobytes; never more than one is held."""
    text = io.StringIO(newline="")
    text.write("\ufeff" if bom else "")
    writer = csv.writer(text)
    writer.writerow(header)
    for row in rows:
        writer.writerow([safe(cell) for cell in row])
        if text.tell() >= CHARACTERS_A_CHUNK:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    if text.tell():
        yield text.getvalue().encode()


async def _in_threads(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks for an asynchronous server, which must not wait for the database."""
    while chunk := await sync_to_async(lambda: next(chunks, b""))():
        yield chunk


def download(request: HttpRequest, kind: str, name: str, rows: Iterator[Row]) -> StreamingHttpResponse:
    """The rows as a file of this kind of `COLUMNS`, under this name."""
    chunks = encoded(COLUMNS[kind], rows, request.GET.get("bom") in {"1", "true"})
    # The first chunk is made before anything is sent, so that what fails at once answers as a failure.
    chunks = chain([next(chunks)], chunks)
    content = _in_threads(chunks) if isinstance(request, ASGIRequest) else chunks
    disposition = content_disposition_header(True, name)
    return StreamingHttpResponse(
        content,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": disposition or "attachment", "X-Accel-Buffering": "no"},
    )
