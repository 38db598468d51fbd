"""The state of followed Tweets: their lifetime totals now, as they stood minute by minute, and their people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from metrics.models import HandleFeed, Tweet, TweetRollup
from metrics.query import audience, series
from metrics.query.audience import Member, Reach
from metrics.query.tweets import active_in
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import N_TYPES, NAMES, Counts
from metrics.vocabulary.events import CLOCK_TOLERANCE, snowflake_at, tweet_created_ms
from metrics.vocabulary.periods import EPOCH, DisplayGrain, Grain, Period

FOLLOWED_FOR = timedelta(days=7)
UTC_ZONE = ZoneInfo("UTC")


class People(NamedTuple):
    """How many people saw a Tweet, and how many engaged with it; None where no number is known."""

    seen: Reach | None
    engaged: Reach | None


class State(NamedTuple):
    """A Tweet's lifetime totals at a moment: organic and promoted counts of the 26 types, or `[]` for all zeros.

    `sequence` counts the handle's commits up to then; `people` are those known by then, of any earlier moment.
    """

    tweet_id: int
    organic: list[int]
    promoted: list[int]
    at: datetime
    sequence: int
    people: People | None = None


def is_followed(tweet_id: int, now: datetime) -> bool:
    """Whether the Tweet was sent in the last seven days, by its snowflake."""
    return tweet_created_ms(tweet_id) > (now - FOLLOWED_FOR).timestamp() * 1000


def sequences(handle_ids: list[int]) -> dict[int, int]:
    """How far each handle's figures have come; 0 before its first event."""
    known = dict(HandleFeed.objects.filter(handle_id__in=handle_ids).values_list("handle_id", "sequence"))
    return {handle_id: known.get(handle_id, 0) for handle_id in handle_ids}


def states(handle_id: int, now: datetime) -> list[State]:
    """The totals of all followed Tweets of a handle, from one moment."""
    with series.snapshot():
        lifetimes = _lifetimes(handle_id, now)
        sequence = sequences([handle_id])[handle_id]
    return [_state(number, counts, now, sequence) for number, counts in lifetimes.items()]


def people(handle_id: int, tweet_ids: Sequence[int], now: datetime) -> dict[int, People]:
    """The people of those of a handle's Tweets of which any are known."""
    sets = [[Member(handle_id, number)] for number in tweet_ids]
    found = zip(tweet_ids, audience.reached(sets, audience.span(None, now)), strict=True)
    return {
        number: People(*(None if reach.people is None else reach for reach in (each.seen, each.engaged)))
        for number, each in found
        if each.seen.people or each.engaged.people
    }


def replay(handle_id: int, minutes: int, now: datetime) -> tuple[list[State], list[State]]:
    """The followed Tweets that changed in the last minutes: as they stood at each full minute, and as they stand now.

    A minute is that in which events occurred. Oldest first; a Tweet stands at the end of each minute that changed it.
    """
    until = periods.floor(now, periods.MINUTE)
    # A sender's clock may be ahead.
    window = Period(until - minutes * periods.MINUTE, until + periods.MINUTE + CLOCK_TOLERANCE)
    with series.snapshot():
        lifetimes = _lifetimes(handle_id, now)
        active = sorted(active_in(handle_id, window) & lifetimes.keys())
        later = series.tweet_series(handle_id, active, window, DisplayGrain.MINUTE, UTC_ZONE)
        sequence = sequences([handle_id])[handle_id]
    past = [
        _state(
            number, lifetimes[number] - later[number].counts[place + 1 :].sum(axis=0), start + periods.MINUTE, sequence
        )
        for place, start in enumerate(_starts(window.since, minutes))
        for number in active
        if later[number].counts[place].any()
    ]
    present = [_state(number, lifetimes[number], now, sequence) for number in active if later[number].counts.any()]
    return past, present


def became_known(handle_id: int, since: datetime) -> list[Tweet]:
    """The followed Tweets of a handle that have been told since then, with their handle, oldest news first."""
    first = snowflake_at(since - FOLLOWED_FOR)
    told = Tweet.objects.filter(handle_id=handle_id, changed_at__gt=since, tweet_id__gte=first)
    return list(told.select_related("handle").order_by("changed_at", "pk"))


def _starts(since: datetime, minutes: int) -> Iterator[datetime]:
    return (since + place * periods.MINUTE for place in range(minutes))


def _lifetimes(handle_id: int, now: datetime) -> dict[int, Counts]:
    """int64[2, 26] for each followed Tweet that has any."""
    first = snowflake_at(now - FOLLOWED_FOR)
    rows = TweetRollup.objects.filter(
        handle_id=handle_id, grain=Grain.LIFETIME, start=EPOCH, tweet_id__gte=first
    ).values_list("tweet_id", "promoted", *NAMES)
    found: dict[int, Counts] = {}
    for tweet_id, promoted, *counts in rows:
        found.setdefault(tweet_id, np.zeros((2, N_TYPES), dtype=np.int64))[int(promoted)] = counts
    return found


def _state(tweet_id: int, counts: Counts, at: datetime, sequence: int) -> State:
    organic, promoted = (row.tolist() if row.any() else [] for row in counts)
    return State(tweet_id, organic, promoted, at, sequence)
