"""Writes events straight into the rollups, for tests that read them; and adds them up anew to check what was read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metrics.aggregate import partitions
from metrics.models import HandleRollup, Tweet, TweetRollup
from metrics.query import typical
from metrics.vocabulary.engagements import CODE, N_TYPES, NAMES
from metrics.vocabulary.events import snowflake_at
from metrics.vocabulary.periods import EPOCH, Grain, Period, floor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from accounts.models import Handle
    from metrics.vocabulary.engagements import Counts


@dataclass(frozen=True)
class Event:
    """`count` engagements of one type with a Tweet."""

    tweet_id: int
    occurred_at: datetime
    type: str = "favorites"
    count: int = 1
    promoted: bool = False


def a_tweet(handle: Handle, created_at: datetime, text: str = "Fresh beans.", number: int = 0) -> Tweet:
    """A Tweet of the handle, made at that instant; `number` tells apart those of one millisecond."""
    tweet_id = snowflake_at(created_at, number)
    return Tweet.objects.create(handle=handle, tweet_id=tweet_id, text=text, created_at=created_at)


def record(handle: Handle, events: Iterable[Event]) -> None:
    """Add the events to the rollups of every grain; call it once a handle."""
    handles: dict[tuple[object, ...], Counts] = defaultdict(lambda: np.zeros(N_TYPES, np.int64))
    tweets: dict[tuple[object, ...], Counts] = defaultdict(lambda: np.zeros(N_TYPES, np.int64))
    days = set()
    for event in events:
        days.add(event.occurred_at.date())
        for grain in Grain:
            start = EPOCH if grain is Grain.LIFETIME else floor(event.occurred_at, grain.length)
            handles[grain, start, event.promoted][CODE[event.type]] += event.count
            tweets[event.tweet_id, grain, start, event.promoted][CODE[event.type]] += event.count
    _make_room(days)
    HandleRollup.objects.bulk_create(
        HandleRollup(handle=handle, grain=grain, start=start, promoted=promoted, **_columns(sums))
        for (grain, start, promoted), sums in handles.items()
    )
    TweetRollup.objects.bulk_create(
        TweetRollup(
            handle=handle,
            tweet_id=tweet_id,
            grain=grain,
            start=start,
            promoted=promoted,
            **_columns(sums),
        )
        for (tweet_id, grain, start, promoted), sums in tweets.items()
    )
    typical.forget()


def _columns(sums: Counts) -> dict[str, int]:
    return dict(zip(NAMES, map(int, sums), strict=True))


def _make_room(days: set[object]) -> None:
    # A test's transaction takes the partitions that it made away with it.
    partitions.forget()
    for table in partitions.MINUTES:
        partitions.ensure(table, days)
    partitions.forget()


def added_up(events: Sequence[Event], period: Period, tweet_id: int | None = None) -> Counts:
    """int64[2, 26]: the plain sum of the events in a period."""
    counts = np.zeros((2, N_TYPES), np.int64)
    for event in events:
        if event.occurred_at in period and tweet_id in {None, event.tweet_id}:
            counts[int(event.promoted), CODE[event.type]] += event.count
    return counts
