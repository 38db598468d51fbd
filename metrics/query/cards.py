"""The handles page: what is going on at each of several handles, in a handful of queries for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from django.db.models import Q, Sum

from metrics.models import HandleFeed, HandleRollup, Tweet, TweetRollup
from metrics.query import series
from metrics.query.tweets import RATE_MINUTES, metric_expression, rate_period
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import METRICS, N_TYPES, NAMES
from metrics.vocabulary.events import tweet_created_at
from metrics.vocabulary.periods import Grain, Period

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from accounts.models import Handle
    from metrics.query.series import Series
    from metrics.vocabulary.engagements import Counts
    from metrics.vocabulary.periods import Piece

SPARKLINE = timedelta(minutes=60)
# Today, the same time yesterday, the same time on this weekday last week.
_DAYS_BACK = (0, 1, 7)
_CARD_SUMS = series.load_sql("cards.sql", sums=series.SUMS)


@dataclass(frozen=True, slots=True)
class MovingTweet:
    """The Tweet that moves fastest now, in engagements a minute over the last five minute buckets."""

    tweet: Tweet
    rate_per_minute: float


@dataclass(frozen=True, slots=True)
class HandleCard:
    """One handle now. Counts are int64[2, 26]; days are the handle's, up to the end of the running minute.

    `yesterday` and `last_week` end when a clock at the handle showed the same time.
    """

    handle: Handle
    sequence: int
    last_received_at: datetime | None
    minutes: Series
    today: Counts
    yesterday: Counts
    last_week: Counts
    moving: MovingTweet | None


def handle_cards(handles: Sequence[Handle], now: datetime) -> list[HandleCard]:
    """A card for each handle, in the order given; the number of queries does not grow with the handles."""
    with series.snapshot():
        ids = [handle.pk for handle in handles]
        feeds = HandleFeed.objects.in_bulk(ids)
        minutes, days, moving = _minutes(ids, now), _days(handles, now), _moving(ids, now)
    cards = []
    for handle in handles:
        feed = feeds.get(handle.pk)
        today, yesterday, last_week = days[handle.pk]
        cards.append(
            HandleCard(
                handle,
                feed.sequence if feed else 0,
                feed.last_received_at if feed else None,
                minutes[handle.pk],
                today,
                yesterday,
                last_week,
                moving.get(handle.pk),
            )
        )
    return cards


def _minutes(ids: Sequence[int], now: datetime) -> dict[int, Series]:
    until = periods.floor(now, periods.MINUTE) + periods.MINUTE
    since = until - SPARKLINE
    starts = tuple(since + place * periods.MINUTE for place in range(SPARKLINE // periods.MINUTE))
    found = {number: series.Series(starts, np.zeros((len(starts), 2, N_TYPES), np.int64)) for number in ids}
    rows = HandleRollup.objects.filter(
        handle_id__in=ids, grain=Grain.MINUTE, start__gte=since, start__lt=until
    ).values_list("handle_id", "start", "promoted", *NAMES)
    for number, start, promoted, *counts in rows:
        found[number].counts[(start - since) // periods.MINUTE, int(promoted)] = counts
    return found


def _days(handles: Sequence[Handle], now: datetime) -> dict[int, Counts]:
    """For each handle int64[3, 2, 26]: today, yesterday and a week ago, each up to this time of day."""
    found = {handle.pk: np.zeros((len(_DAYS_BACK), 2, N_TYPES), dtype=np.int64) for handle in handles}
    wanted = [
        (piece, handle.pk, slot)
        for handle in handles
        for slot, days in enumerate(_DAYS_BACK)
        for piece in _day_so_far(handle, now, days)
    ]
    wanted.sort(key=lambda want: want[0].grain)
    for grain, group in groupby(wanted, key=lambda want: want[0].grain):
        pieces, ids, slots = zip(*group, strict=True)
        sinces, untils = [piece.since for piece in pieces], [piece.until for piece in pieces]
        rows = series.fetch(
            _CARD_SUMS,
            grain=grain.value,
            handle_ids=list(ids),
            slots=list(slots),
            sinces=sinces,
            untils=untils,
            since=min(sinces),
            until=max(untils),
        )
        for number, slot, promoted, *sums in rows:
            found[number][slot, int(promoted)] += sums
    return found


def _day_so_far(handle: Handle, now: datetime, days: int) -> list[Piece]:
    """The handle's calendar day `days` ago, up to the minute that its clock shows now."""
    zone = handle.zone
    minute = periods.floor(now, periods.MINUTE)
    today = minute.astimezone(zone).date()
    since = periods.day_start(today - timedelta(days=days), zone)
    until = periods.shift_days(minute, -days, zone) + periods.MINUTE
    return periods.cover(Period(since, max(until, since + periods.MINUTE)))


def _moving(ids: Sequence[int], now: datetime) -> dict[int, MovingTweet]:
    """The fastest Tweet of each handle at which anything moves."""
    period = rate_period(now)
    hours = TweetRollup.objects.filter(
        handle_id__in=ids,
        grain=Grain.HOUR,
        start__gte=periods.floor(period.since, periods.HOUR),
        start__lt=periods.ceil(period.until, periods.HOUR),
    )
    active = list(hours.values_list("tweet_id", flat=True).distinct())
    rates = (
        TweetRollup.objects.filter(handle_id__in=ids, tweet_id__in=active, grain=Grain.MINUTE)
        .filter(start__gte=period.since, start__lt=period.until)
        .order_by()
        .values("handle_id", "tweet_id")
        .annotate(gained=Sum(metric_expression(METRICS["engagements"])))
        .values_list("gained", "tweet_id", "handle_id")
    )
    best: dict[int, tuple[int, int]] = {}
    for gained, tweet_id, handle_id in rates:
        best[handle_id] = max(best.get(handle_id, (0, 0)), (int(gained), tweet_id))
    return _with_tweets({number: top for number, top in best.items() if top[0]})


def _with_tweets(best: dict[int, tuple[int, int]]) -> dict[int, MovingTweet]:
    match = Q(pk=None)
    for handle_id, (_, tweet_id) in best.items():
        match |= Q(handle_id=handle_id, tweet_id=tweet_id)
    tweets = {tweet.handle_id: tweet for tweet in Tweet.objects.filter(match)}
    return {
        handle_id: MovingTweet(
            tweets.get(handle_id)
            or Tweet(handle_id=handle_id, tweet_id=tweet_id, created_at=tweet_created_at(tweet_id), is_stub=True),
            gained / RATE_MINUTES,
        )
        for handle_id, (gained, tweet_id) in best.items()
    }
