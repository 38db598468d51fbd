"""X API v2's analytics question: up to 100 Tweets, a window, a granularity, and some metrics by X's names.

The window is cut at full hours, its start floored and its end ceiled. Days are UTC's and weeks are runs of seven days
from the window's start; the outer buckets are clipped to the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

import numpy as np

from metrics.query import engagement, ownership, series
from metrics.query.engagement import UTC_ZONE, QuestionError
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import METRICS, NAMES, Counts
from metrics.vocabulary.periods import DisplayGrain, Period

MAX_TWEETS = 100
# A month by hour, two years by day.
MAX_BUCKETS = 744


class Granularity(StrEnum):
    """The length of a bucket."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    TOTAL = "total"


# X's names of what we hold under other names; the metrics that X has and we do not hold are null.
_RENAMED = {
    "likes": "favorites",
    "follows": "user_follows",
    "media_views": "video_views",
}
_SAME = (
    "impressions",
    "engagements",
    "replies",
    "retweets",
    "quote_tweets",
    "url_clicks",
    "hashtag_clicks",
    "detail_expands",
    "permalink_clicks",
    "user_profile_clicks",
    "app_install_attempts",
    "app_opens",
    "email_tweet",
)
_NOT_HELD = ("bookmarks", "shares", "unfollows")
SOURCES: Mapping[str, str | None] = {**{name: name for name in _SAME}, **_RENAMED, **dict.fromkeys(_NOT_HELD)}
# Fields of the answer that are no metrics: they are always there.
_FRAME = {"id", "timestamp", "timestamped_metrics"}


@dataclass(frozen=True, slots=True)
class Question:
    """One request; `fields` are X's names of metrics, or our names of engagement types."""

    tweet_ids: tuple[int, ...]
    period: Period
    granularity: Granularity
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Buckets' starts, and int64[buckets, 2, 26] of each Tweet that may be told."""

    question: Question
    tweets: ownership.Tweets
    starts: tuple[datetime, ...]
    counts: dict[int, Counts]


class FieldError(QuestionError):
    """A parameter that cannot be used; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def parse(params: Mapping[str, str], now: datetime) -> Question:
    """The question that ids, start_time, end_time, granularity and analytics.fields ask; raises FieldError."""
    try:
        ids = engagement.tweet_ids(params.get("ids", "").split(","), MAX_TWEETS)
    except QuestionError as error:
        raise FieldError("ids", str(error).replace("tweet_ids", "ids")) from error
    granularity = _granularity(params.get("granularity", Granularity.TOTAL))
    period = _period(params, now)
    if period.length // _LENGTHS[granularity] > MAX_BUCKETS:
        raise FieldError("granularity", f"granularity: {granularity} cuts this window into more than {MAX_BUCKETS}.")
    return Question(ids, period, granularity, _fields(params.get("analytics.fields", "")))


_LENGTHS = {
    Granularity.HOURLY: periods.HOUR,
    Granularity.DAILY: periods.DAY,
    Granularity.WEEKLY: periods.WEEK,
    Granularity.TOTAL: 10_000 * periods.DAY,
}


def _granularity(text: str) -> Granularity:
    try:
        return Granularity(text.strip().lower())
    except ValueError:
        names = ", ".join(Granularity)
        raise FieldError("granularity", f"granularity: “{text[:40]}” is not known; use {names}.") from None


def _period(params: Mapping[str, str], now: datetime) -> Period:
    instants = {}
    for name in ("start_time", "end_time"):
        if name not in params:
            raise FieldError(name, f"{name}: is required, such as 2025-03-17T06:00:00Z.")
        try:
            instants[name] = engagement.instant(name, params[name])
        except QuestionError as error:
            raise FieldError(name, str(error)) from error
    try:
        engagement.check_window(instants["start_time"], instants["end_time"], now, ("start_time", "end_time"))
    except QuestionError as error:
        raise FieldError(str(error).partition(":")[0], str(error)) from error
    return engagement.whole_hours(instants["start_time"], instants["end_time"])


def _fields(text: str) -> tuple[str, ...]:
    asked = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    for name in asked:
        if name not in SOURCES and name not in NAMES and name not in _FRAME:
            known = ", ".join(SOURCES)
            raise FieldError("analytics.fields", f"analytics.fields: “{name[:40]}” is not known; use {known}.")
    return tuple(name for name in asked if name not in _FRAME) or tuple(SOURCES)


def answer(question: Question, team_id: int, handle_ids: Sequence[int]) -> Answer:
    """The counts of those Tweets that belong to the handles of the token, read from one moment."""
    with series.snapshot():
        tweets = ownership.find(question.tweet_ids, team_id, handle_ids)
        starts = _edges(question)[:-1]
        counts: dict[int, Counts] = {}
        for handle_id, ids in tweets.by_handle().items():
            counts |= _read(question, handle_id, ids)
    return Answer(question, tweets, tuple(starts), {tweet_id: counts[tweet_id] for tweet_id in tweets.covered})


def _edges(question: Question) -> list[datetime]:
    period = question.period
    if question.granularity is Granularity.HOURLY:
        return periods.display_edges(period, DisplayGrain.HOUR, UTC_ZONE)
    if question.granularity is Granularity.DAILY:
        return periods.display_edges(period, DisplayGrain.DAY, UTC_ZONE)
    step = _LENGTHS[question.granularity]
    return [*(period.since + step * place for place in range(-(-period.length // step))), period.until]


def _read(question: Question, handle_id: int, ids: list[int]) -> dict[int, Counts]:
    if question.granularity in {Granularity.HOURLY, Granularity.DAILY}:
        grain = DisplayGrain.HOUR if question.granularity is Granularity.HOURLY else DisplayGrain.DAY
        found = series.tweet_series(handle_id, ids, question.period, grain, UTC_ZONE)
        return {tweet_id: each.counts for tweet_id, each in found.items()}
    parts = [series.tweet_totals(handle_id, ids, Period(since, until)) for since, until in pairwise(_edges(question))]
    return {tweet_id: np.stack([part[tweet_id] for part in parts]) for tweet_id in ids}


def values(counts: Counts, fields: Sequence[str]) -> dict[str, list[int] | None]:
    """Each field by bucket, organic and promoted together, from int64[buckets, 2, 26]; None for what is not held."""
    both = counts.sum(axis=1)
    sources = {field: SOURCES.get(field, field) for field in fields}
    return {field: METRICS[name].of(both).tolist() if name else None for field, name in sources.items()}
