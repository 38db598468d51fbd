"""Tweets in order: by what they gathered, by how fast they move now, by their words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from operator import add, sub
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import F, Q, Sum

from metrics.models import Tweet, TweetRollup
from metrics.query import series
from metrics.query.params import ParamError, Reading
from metrics.query.typical import typical
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import METRICS, engagement_rate
from metrics.vocabulary.events import tweet_created_at
from metrics.vocabulary.periods import EPOCH, Grain, Period, cover

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from django.db.models import QuerySet
    from django.db.models.expressions import Combinable

    from accounts.models import Handle
    from metrics.query.params import ReportQuery
    from metrics.vocabulary.engagements import Counts, Metric
    from metrics.vocabulary.periods import Piece

RATE_MINUTES = 5
# Besides the name of any metric.
SORTS = ("rate", "created_at", "engagement_rate")


@dataclass(frozen=True, slots=True)
class TweetRow:
    """A Tweet in a list. `totals` answer the query's reading; both are int64[2, 26].

    `rate_per_minute` is engagements a minute over the last five minute buckets, the running one included;
    `times_usual` its lifetime engagements against the handle's median Tweet at the same age, or None.
    """

    tweet: Tweet
    totals: Counts
    lifetime: Counts
    rate_per_minute: float
    times_usual: float | None

    @property
    def engagement_rate(self) -> float | None:
        """Engagements divided by impressions, of `totals`; None where nothing was shown."""
        return engagement_rate(self.totals.sum(axis=0))


def check_sort(sort: str) -> str:
    """The order, when it is known. Raises ParamError otherwise."""
    if sort not in SORTS and sort not in METRICS:
        raise ParamError("sort", f"“{sort[:40]}” is not known; use {', '.join(SORTS)} or the name of a metric.")
    return sort


def top_tweets(
    query: ReportQuery, sort: str = "rate", limit: int = 10, offset: int = 0, descending: bool = True
) -> list[TweetRow]:
    """One page of the query's Tweets, in order; ties go to the larger engagements, then to the newer Tweet.

    By activity these are the Tweets to which something happened in the period, otherwise those created in it; with a
    tag only those that carry it.
    """
    check_sort(sort)
    with series.snapshot():
        ranked = _ranked(query, sort, descending)[offset : offset + limit]
        return tweet_rows(query, ranked)


def tweet_rows(query: ReportQuery, tweet_ids: Sequence[int]) -> list[TweetRow]:
    """The rows of these Tweets of the query's handle, in the order given."""
    handle_id = query.handle.pk
    lifetimes = series.tweet_lifetimes(handle_id, tweet_ids)
    by_life = query.reading is Reading.TWEETS
    totals = lifetimes if by_life else series.tweet_totals(handle_id, tweet_ids, query.period)
    rates = rates_now(handle_id, query.now, tweet_ids)
    usual = typical(handle_id, query.now)
    rows = []
    for tweet in tweets_of(query.handle, tweet_ids):
        number = tweet.tweet_id
        engagements = int(METRICS["engagements"].of(lifetimes[number]).sum())
        times_usual = usual.times_usual(engagements, query.now - tweet.created_at)
        rows.append(TweetRow(tweet, totals[number], lifetimes[number], rates.get(number, 0.0), times_usual))
    return rows


def tagged(query: ReportQuery) -> QuerySet[Tweet]:
    """The Tweets of the query's handle: all, or those with its tag."""
    tweets = Tweet.objects.filter(handle=query.handle)
    if not query.tag:
        return tweets
    # PostgreSQL holds no text with a NUL, and refuses to be asked for one.
    return tweets.none() if "\x00" in query.tag else tweets.filter(tags__contains=[query.tag])


def tweets_of(handle: Handle, tweet_ids: Sequence[int]) -> list[Tweet]:
    """The handle's Tweets of these ids, in the order given; stubs where only counts are known."""
    known = {tweet.tweet_id: tweet for tweet in Tweet.objects.filter(handle=handle, tweet_id__in=tweet_ids)}
    return [
        known.get(number) or Tweet(handle=handle, tweet_id=number, created_at=tweet_created_at(number), is_stub=True)
        for number in tweet_ids
    ]


def search_tweets(handles: Iterable[Handle], text: str, limit: int = 20) -> list[Tweet]:
    """The newest Tweets of the handles whose text holds every word, or whose id is the text."""
    # PostgreSQL holds no text with a NUL: nothing can match one.
    words = [] if "\x00" in text else text.split()[:8]
    if not words:
        return []
    match = reduce(lambda left, right: left & right, (Q(text__icontains=word) for word in words))
    if text.strip().isdecimal() and len(text.strip()) <= 19:
        match |= Q(tweet_id=int(text))
    found = Tweet.objects.filter(match, handle__in=list(handles)).select_related("handle")
    return list(found.order_by("-created_at")[:limit])


def rate_period(now: datetime) -> Period:
    """The last five minute buckets, the running one included."""
    until = periods.floor(now, periods.MINUTE) + periods.MINUTE
    return Period(until - timedelta(minutes=RATE_MINUTES), until)


def rates_now(handle_id: int, now: datetime, tweet_ids: Collection[int] | None = None) -> dict[int, float]:
    """Engagements a minute now of the Tweets that move (of all, or of these), by id."""
    period = rate_period(now)
    among = active_in(handle_id, period) if tweet_ids is None else tweet_ids
    gained = _gained(handle_id, period, METRICS["engagements"], among)
    return {number: gain.engagements / RATE_MINUTES for number, gain in gained.items() if gain.engagements}


def active_in(handle_id: int, period: Period) -> set[int]:
    """The Tweets with a rollup in one of the hours that the period touches (hours are indexed by time)."""
    hours = TweetRollup.objects.filter(
        handle_id=handle_id,
        grain=Grain.HOUR,
        start__gte=periods.floor(period.since, periods.HOUR),
        start__lt=periods.ceil(period.until, periods.HOUR),
    )
    return set(hours.values_list("tweet_id", flat=True).distinct())


class Gain(NamedTuple):
    """What a Tweet gathered: the metric that it is ranked by, and two that every ranking needs."""

    value: int
    engagements: int
    impressions: int


def _ranked(query: ReportQuery, sort: str, descending: bool) -> list[int]:
    """All of the query's Tweets, in order."""
    handle_id = query.handle.pk
    gained = _query_gains(query, METRICS.get(sort, METRICS["engagements"]))
    order: Mapping[int, Any]
    if sort == "rate":
        order = rates_now(handle_id, query.now)
    elif sort == "created_at":
        order = dict(_tweets(handle_id, gained).values_list("tweet_id", "created_at"))
        order = {number: order.get(number) or tweet_created_at(number) for number in gained}
    elif sort == "engagement_rate":
        order = {number: gain.engagements / gain.impressions for number, gain in gained.items() if gain.impressions}
    else:
        order = {number: gain.value for number, gain in gained.items()}

    def place(number: int) -> tuple[Any, int, int]:
        return order.get(number, 0), gained[number].engagements, number

    return sorted(gained, key=place, reverse=descending)


def _query_gains(query: ReportQuery, metric: Metric) -> dict[int, Gain]:
    handle_id, period = query.handle.pk, query.period
    if query.reading is Reading.ACTIVITY:
        among = set(tagged(query).values_list("tweet_id", flat=True)) if query.tag else None
        return _gained(handle_id, period, metric, among)
    created = tagged(query).filter(created_at__gte=period.since, created_at__lt=period.until)
    numbers = list(created.values_list("tweet_id", flat=True))
    rollups = TweetRollup.objects.filter(handle_id=handle_id, tweet_id__in=numbers, grain=Grain.LIFETIME, start=EPOCH)
    return {number: Gain(0, 0, 0) for number in numbers} | _add_up([rollups], metric)


def _gained(handle_id: int, period: Period, metric: Metric, among: Collection[int] | None = None) -> dict[int, Gain]:
    """What the handle's Tweets (all, or those among some) gathered in a period of whole minutes."""
    pieces = cover(period)
    return _add_up([_rollups(handle_id, piece, among) for piece in pieces], metric)


def _rollups(handle_id: int, piece: Piece, among: Collection[int] | None) -> QuerySet[TweetRollup]:
    """The rollups of one piece. Minutes are not indexed by time: they are found by Tweet."""
    if among is None and piece.grain is Grain.MINUTE:
        among = active_in(handle_id, Period(piece.since, piece.until))
    rollups = TweetRollup.objects.filter(
        handle_id=handle_id, grain=piece.grain, start__gte=piece.since, start__lt=piece.until
    )
    return rollups if among is None else rollups.filter(tweet_id__in=list(among))


def _add_up(parts: Iterable[QuerySet[TweetRollup]], metric: Metric) -> dict[int, Gain]:
    """The gains of each Tweet over all parts."""
    sums = [Sum(metric_expression(each)) for each in (metric, METRICS["engagements"])]
    gains: dict[int, Gain] = {}
    for part in parts:
        # Without order_by() nothing is added to the grouping.
        grouped = part.order_by().values("tweet_id").annotate(value=sums[0], gained=sums[1], shown=Sum("impressions"))
        for number, *values in grouped.values_list("tweet_id", "value", "gained", "shown"):
            before = gains.get(number, Gain(0, 0, 0))
            gains[number] = Gain(*(old + int(new) for old, new in zip(before, values, strict=True)))
    return gains


def metric_expression(metric: Metric) -> Combinable:
    """The metric of one rollup row, in SQL."""
    expression: Combinable = reduce(add, map(F, metric.plus))
    return reduce(sub, map(F, metric.minus), expression)


def _tweets(handle_id: int, numbers: Iterable[int]) -> QuerySet[Tweet]:
    return Tweet.objects.filter(handle_id=handle_id, tweet_id__in=list(numbers))
