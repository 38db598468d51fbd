"""One Tweet's story: what it gathered, by the clock and by its age, against the handle's usual Tweet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from metrics.models import HandleFeed, Tweet
from metrics.query import params, series
from metrics.query.tweets import rates_now
from metrics.query.typical import Gathered, Typical, gathered, typical
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import CODE, METRICS, UNDO_OF
from metrics.vocabulary.periods import DisplayGrain, Period

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from accounts.models import Handle
    from metrics.query.series import Series
    from metrics.vocabulary.engagements import Counts

VELOCITY = timedelta(minutes=60)
# Clocks differ: an event may seem to come up to five minutes before its Tweet.
EARLY = timedelta(minutes=5)


class Span(StrEnum):
    """Which part of a Tweet's life is drawn: all, its first hour, day or week, or a custom period."""

    LIFE = "life"
    HOUR_1 = "1h"
    DAY_1 = "24h"
    DAYS_7 = "7d"
    CUSTOM = "custom"


_LENGTHS = {Span.HOUR_1: periods.HOUR, Span.DAY_1: periods.DAY, Span.DAYS_7: periods.WEEK}


@dataclass(frozen=True, slots=True)
class TweetQuery:
    """One question about a Tweet: `period` is the whole buckets that hold the span."""

    tweet: Tweet
    handle: Handle
    span: Span
    period: Period
    grain: DisplayGrain
    zone: ZoneInfo
    now: datetime


@dataclass(frozen=True, slots=True)
class Correction:
    """A type and what was taken back of it, over the Tweet's life."""

    gained: str
    lost: str
    gained_count: int
    lost_count: int

    @property
    def net(self) -> int:
        """What remains."""
        return self.gained_count - self.lost_count


@dataclass(frozen=True, slots=True)
class TweetReport:
    """A Tweet's figures, all from one moment.

    `lifetime` is int64[2, 26]; `clock` is the drawn part of its life, by display bucket, and `before`
    int64[2, 26] what had come earlier, so that `before + clock.counts.cumsum(axis=0)` is the cumulative
    curve. `velocity` is the last 60 minutes by minute. `gathered` and `typical` stand at the ages
    `metrics.query.typical.AGES`.
    """

    query: TweetQuery
    sequence: int
    lifetime: Counts
    before: Counts
    clock: Series
    velocity: Series
    rate_per_minute: float
    corrections: tuple[Correction, ...]
    gathered: Gathered
    typical: Typical
    times_usual: float | None
    as_of: datetime


def parse_tweet(
    given: Mapping[str, str], tweet: Tweet, now: datetime, max_buckets: int = params.MAX_BUCKETS
) -> TweetQuery:
    """The question that range (life, 1h, 24h, 7d, custom), since, until, grain and zone ask about a Tweet.

    Without range it is the whole life; a custom period is read as on the dashboard. Raises ParamError.
    """
    span = params.choice("range", given.get("range") or None, Span, Span.LIFE)
    if span is Span.CUSTOM or given.get("since") or given.get("until"):
        asked = params.parse({**given, "range": "custom"}, tweet.handle, now, max_buckets)
        return TweetQuery(tweet, tweet.handle, Span.CUSTOM, asked.period, asked.grain, asked.zone, now)
    zone = params.parse_zone(given.get("zone") or None, tweet.handle)
    wanted = params.choice("grain", given.get("grain") or None, DisplayGrain, None)
    since = tweet.created_at - EARLY
    until = max(now, tweet.created_at + periods.MINUTE)
    if span in _LENGTHS:
        until = min(until, tweet.created_at + _LENGTHS[span])
    requested = Period(since, until)
    grain = params.fitting_grain(requested, wanted, now)
    period = params.whole_buckets(requested, grain, zone)
    params.check_size(period, grain, max_buckets)
    return TweetQuery(tweet, tweet.handle, span, period, grain, zone, now)


def find_tweet(handle: Handle, tweet_id: int) -> Tweet | None:
    """The handle's Tweet of this id."""
    return Tweet.objects.select_related("handle").filter(handle=handle, tweet_id=tweet_id).first()


def tweet_report(query: TweetQuery) -> TweetReport:
    """The figures of one Tweet, read from one moment's snapshot."""
    handle_id, tweet_id, now = query.handle.pk, query.tweet.tweet_id, query.now
    recent = params.rolling_period(VELOCITY, DisplayGrain.MINUTE, query.zone, now)
    with series.snapshot():
        feed = HandleFeed.objects.filter(handle_id=handle_id).first()
        lifetime = series.tweet_lifetimes(handle_id, [tweet_id])[tweet_id]
        clock = series.tweet_series(handle_id, [tweet_id], query.period, query.grain, query.zone)[tweet_id]
        engagements = int(METRICS["engagements"].of(lifetime).sum())
        usual = typical(handle_id, now)
        return TweetReport(
            query=query,
            sequence=feed.sequence if feed else 0,
            lifetime=lifetime,
            before=series.tweet_totals(handle_id, [tweet_id], earlier(query))[tweet_id],
            clock=clock,
            velocity=series.tweet_series(handle_id, [tweet_id], recent, DisplayGrain.MINUTE, query.zone)[tweet_id],
            rate_per_minute=rates_now(handle_id, now, [tweet_id]).get(tweet_id, 0.0),
            corrections=corrections(lifetime),
            gathered=gathered(handle_id, {tweet_id: query.tweet.created_at}, now)[tweet_id],
            typical=usual,
            times_usual=usual.times_usual(engagements, now - query.tweet.created_at),
            as_of=now,
        )


def earlier(query: TweetQuery) -> Period:
    """The Tweet's life before the query's period, whatever time of creation its publisher told."""
    return Period(periods.EPOCH, query.period.since)


def corrections(counts: Counts) -> tuple[Correction, ...]:
    """What was taken back of each type that can be, from int64[2, 26]."""
    both = counts.sum(axis=0)
    return tuple(
        Correction(gained, lost, int(both[CODE[gained]]), int(both[CODE[lost]])) for gained, lost in UNDO_OF.items()
    )
