"""What is usual for a handle: the median of its latest Tweets at each age."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from metrics.models import Tweet
from metrics.query.params import minutes_since
from metrics.query.series import fetch, load_sql
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import METRICS
from metrics.vocabulary.periods import Grain

if TYPE_CHECKING:
    from collections.abc import Mapping

Values = npt.NDArray[np.float64]

LATEST = 50
FEWEST = 5
BELIEVED_FOR = timedelta(minutes=5)
_MINUTE_AGES = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30, 60))
_QUARTER_AGES = tuple(timedelta(hours=hours) for hours in (2, 3, 6, 12))
_HOUR_AGES = tuple(timedelta(days=days) for days in (1, 2, 3, 5, 7))
AGES = (*_MINUTE_AGES, *_QUARTER_AGES, *_HOUR_AGES)
# Which rollups tell of which of the ages: the older, the coarser.
_QUARTERS = slice(len(_MINUTE_AGES), len(_MINUTE_AGES) + len(_QUARTER_AGES))
_PARTS = {
    Grain.MINUTE: slice(0, _QUARTERS.start),
    Grain.QUARTER: _QUARTERS,
    Grain.HOUR: slice(_QUARTERS.stop, len(AGES)),
}

_TYPICAL = load_sql("typical.sql", engagements=" + ".join(f"rollup.{name}" for name in METRICS["engagements"].plus))


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a Tweet had gathered at each of `AGES`: float64[n], NaN where it is too young or no longer known.

    The bucket around the age is included: up to an hour a minute, up to twelve hours a quarter-hour, beyond an hour.
    """

    engagements: Values
    impressions: Values


@dataclass(frozen=True, slots=True)
class Typical:
    """Medians at each of `AGES` over `tweets[i]` Tweets: float64[n], NaN where there are none."""

    engagements: Values
    impressions: Values
    tweets: tuple[int, ...]

    def times_usual(self, engagements: int, age: timedelta) -> float | None:
        """A Tweet's engagements against the median at its age; None where fewer than five Tweets tell.

        Between two ages the median is interpolated; a Tweet older than the last age is held against that one.
        """
        known = [place for place, tweets in enumerate(self.tweets) if tweets >= FEWEST]
        if not known:
            return None
        ages = [AGES[place].total_seconds() for place in known]
        usual = float(np.interp(age.total_seconds(), ages, self.engagements[known]))
        return engagements / usual if usual else None


def typical(handle_id: int, now: datetime) -> Typical:
    """The medians over the handle's latest Tweets; believed for up to five minutes by this process."""
    return _typical(handle_id, periods.floor(now, BELIEVED_FOR))


@lru_cache(maxsize=512)
def _typical(handle_id: int, now: datetime) -> Typical:
    # The shortest age says nothing about a Tweet younger than it.
    latest = Tweet.objects.filter(handle_id=handle_id, created_at__lte=now - AGES[0]).order_by("-created_at")
    created = dict(latest.values_list("tweet_id", "created_at")[:LATEST])
    return median_of(gathered(handle_id, created, now))


def median_of(tweets: Mapping[int, Gathered]) -> Typical:
    """The median at each age over those Tweets for which it is known."""
    nothing = np.full((0, len(AGES)), np.nan)
    engagements = np.array([tweet.engagements for tweet in tweets.values()]).reshape(-1, len(AGES))
    impressions = np.array([tweet.impressions for tweet in tweets.values()]).reshape(-1, len(AGES))
    known = np.isfinite(engagements if len(tweets) else nothing).sum(axis=0)
    medians = [
        np.array(
            [
                np.median(column[np.isfinite(column)]) if some else np.nan
                for column, some in zip(grid.T, known, strict=True)
            ]
        )
        for grid in (engagements, impressions)
    ]
    return Typical(medians[0], medians[1], tuple(int(some) for some in known))


def gathered(handle_id: int, created: Mapping[int, datetime], now: datetime) -> dict[int, Gathered]:
    """What each Tweet (id → created_at) had gathered at each age that it has reached."""
    shape = (len(AGES),)
    tweets = {tweet_id: Gathered(np.full(shape, np.nan), np.full(shape, np.nan)) for tweet_id in created}
    kept = {tweet_id: at for tweet_id, at in created.items() if at >= minutes_since(now)}
    for grain, part in _PARTS.items():
        _gather(handle_id, kept if grain is Grain.MINUTE else created, grain, part, tweets)
    for tweet_id, tweet in tweets.items():
        unreached = np.array([created[tweet_id] + age > now for age in AGES])
        tweet.engagements[unreached] = tweet.impressions[unreached] = np.nan
    return tweets


def _gather(
    handle_id: int,
    created: Mapping[int, datetime],
    grain: Grain,
    part: slice,
    into: Mapping[int, Gathered],
) -> None:
    """Fill this part of the ages from the rollups of one grain."""
    if not created:
        return
    ages = AGES[part]
    steps = {tweet_id: np.zeros((2, len(ages) + 1)) for tweet_id in created}
    rows = fetch(
        _TYPICAL,
        handle_id=handle_id,
        tweet_ids=list(created),
        ages=[age.total_seconds() for age in ages],
        oldest=ages[-1],
        grain=grain.value,
        since=periods.floor(min(created.values()), periods.DAY) - periods.DAY,
        until=max(created.values()) + ages[-1],
    )
    for tweet_id, step, engagements, impressions in rows:
        steps[tweet_id][:, step] += engagements, impressions
    for tweet_id, sums in steps.items():
        into[tweet_id].engagements[part], into[tweet_id].impressions[part] = sums.cumsum(axis=1)[:, :-1]


def forget() -> None:
    """Drop what is believed, for a caller that has just rewritten history."""
    _typical.cache_clear()
