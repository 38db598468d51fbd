"""The Engagement API's question: which Tweets, types, groupings and window; and the counts that answer it.

A body is `{"tweet_ids": […], "engagement_types": […], "groupings": {NAME: {"group_by": […]}}}`, with `start` and `end`
on /historical. Ids may be integers, names may have any case. A window counts what happened within it, whenever the
Tweet was published. It is cut at full hours in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import numpy as np

from metrics.query import ownership, series
from metrics.query.series import Series
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import CODE, METRICS, NAMES, ORGANIC, PROMOTED, Counts
from metrics.vocabulary.events import CLOCK_TOLERANCE, FIRST_TWEET_AT, tweet_created_at
from metrics.vocabulary.periods import DisplayGrain, Period

UTC_ZONE = ZoneInfo("UTC")
LONGEST = timedelta(days=28)
MAX_GROUPINGS = 3
# The keys of an answer that are no groupings.
RESERVED = {
    "errors",
    "start",
    "end",
    "unavailable_tweet_ids",
    "unsupported_for_impressions_engagements_tweet_ids",
    "unsupported_for_video_views_tweet_ids",
}


class Surface(StrEnum):
    """The three endpoints."""

    TOTALS = "totals"
    RECENT = "28hr"
    HISTORICAL = "historical"


class Dimension(StrEnum):
    """What counts can be grouped by."""

    TWEET = "tweet.id"
    TYPE = "engagement.type"
    DAY = "engagement.day"
    HOUR = "engagement.hour"


# What the vendor counts apart and we hold under another name.
MAPPED = {"media_views": "video_views", "media_engagements": "media_clicks"}
MAX_TWEETS = {Surface.TOTALS: 250, Surface.RECENT: 25, Surface.HISTORICAL: 25}
_LIFETIME_TYPES = ("impressions", "engagements", "favorites", "retweets", "quote_tweets", "replies", "video_views")
_WINDOW_TYPES = (*NAMES, "engagements", *MAPPED)
TYPES_OF = {Surface.TOTALS: _LIFETIME_TYPES, Surface.RECENT: _WINDOW_TYPES, Surface.HISTORICAL: _WINDOW_TYPES}
_WINDOW_DIMENSIONS = tuple(Dimension)
DIMENSIONS_OF = {
    Surface.TOTALS: (Dimension.TWEET, Dimension.TYPE),
    Surface.RECENT: _WINDOW_DIMENSIONS,
    Surface.HISTORICAL: _WINDOW_DIMENSIONS,
}
_BY_TIME = (Dimension.DAY, Dimension.HOUR)
_FOURS = {
    (Dimension.TWEET, Dimension.TYPE, *_BY_TIME),
    (Dimension.TYPE, Dimension.TWEET, *_BY_TIME),
}
# On /totals older Tweets are not answered for, by type.
MAX_AGE = {
    "impressions": timedelta(days=90),
    "engagements": timedelta(days=90),
    "video_views": timedelta(days=1800),
}


class QuestionError(ValueError):
    """A body that cannot be answered; the message says what to send instead."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request. `period` is None for lifetimes, else whole hours in UTC."""

    surface: Surface
    tweet_ids: tuple[int, ...]
    types: tuple[str, ...]
    groupings: Mapping[str, tuple[Dimension, ...]]
    period: Period | None

    @property
    def grain(self) -> Dimension | None:
        """The finest time that some grouping asks for."""
        asked = {dimension for grouping in self.groupings.values() for dimension in grouping}
        return next((dimension for dimension in (Dimension.HOUR, Dimension.DAY) if dimension in asked), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """int64[Tweets, types, buckets] of the Tweets that may be told, in the order asked.

    `supported` bool[Tweets, types] is false where a lifetime is not answered for. `starts` are the buckets' starts:
    hours, UTC days (the outer ones clipped to the window), or one for all of it.
    """

    question: Question
    tweets: ownership.Tweets
    counts: Counts
    supported: np.ndarray[Any, np.dtype[np.bool_]]
    starts: tuple[datetime, ...]

    @property
    def tweet_ids(self) -> list[int]:
        """The Tweets of the first axis."""
        return list(self.tweets.covered)


def parse(surface: Surface, body: object, now: datetime) -> Question:
    """The question that a decoded body asks; raises QuestionError."""
    if not isinstance(body, dict):
        raise QuestionError("The body must be a JSON object with tweet_ids, engagement_types and groupings.")
    types = _names("engagement_types", body.get("engagement_types"), TYPES_OF[surface])
    return Question(
        surface=surface,
        tweet_ids=tweet_ids(body.get("tweet_ids"), MAX_TWEETS[surface]),
        types=types,
        groupings=_groupings(body.get("groupings"), surface),
        period=_period(surface, body, now),
    )


def tweet_ids(given: object, most: int) -> tuple[int, ...]:
    """Tweet ids from strings or integers, each once; raises QuestionError."""
    if not isinstance(given, list) or not given:
        raise QuestionError("tweet_ids: give a list of Tweet ids.")
    ids = tuple(dict.fromkeys(map(_tweet_id, given)))
    if len(ids) > most:
        raise QuestionError(f"tweet_ids: at most {most} in one request; these are {len(ids)}.")
    return ids


def _tweet_id(given: object) -> int:
    text = str(given).strip() if isinstance(given, str | int) and not isinstance(given, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise QuestionError(f"tweet_ids: “{str(given)[:40]}” is not a Tweet id; give digits, best as a string.")
    return int(text)


Name = TypeVar("Name", bound=str)


def _names(field: str, given: object, allowed: Sequence[Name]) -> tuple[Name, ...]:
    """Some of the allowed names, each once, whatever their case."""
    if not isinstance(given, list) or not given:
        raise QuestionError(f"{field}: give a list of at least one of {', '.join(allowed)}.")
    by_name = {name.lower(): name for name in allowed}
    for name in given:
        if not isinstance(name, str) or name.strip().lower() not in by_name:
            raise QuestionError(f"{field}: “{str(name)[:40]}” is not supported here; use {', '.join(allowed)}.")
    return tuple(dict.fromkeys(by_name[name.strip().lower()] for name in given))


def _groupings(given: object, surface: Surface) -> dict[str, tuple[Dimension, ...]]:
    if not isinstance(given, dict) or not given:
        raise QuestionError('groupings: give at least one, such as {"by_tweet": {"group_by": ["tweet.id"]}}.')
    if len(given) > MAX_GROUPINGS:
        raise QuestionError(f"groupings: at most {MAX_GROUPINGS} in one request; these are {len(given)}.")
    found = {name: _grouping(name, grouping, surface) for name, grouping in given.items()}
    if sum(len(grouping) == 4 for grouping in found.values()) > 1:
        raise QuestionError("groupings: only one in a request may have four items.")
    return found


def _grouping(name: str, given: object, surface: Surface) -> tuple[Dimension, ...]:
    where = f"groupings.{name[:40]}"
    if name in RESERVED:
        raise QuestionError(f"{where}: the answer uses this name itself; choose another.")
    items = given.get("group_by") if isinstance(given, dict) else None
    dimensions = _names(f"{where}.group_by", items, DIMENSIONS_OF[surface])
    if isinstance(items, list) and len(dimensions) < len(items):
        raise QuestionError(f"{where}.group_by: names an item twice.")
    if len(dimensions) == 4 and dimensions not in _FOURS:
        raise QuestionError(
            f"{where}.group_by: four items must be tweet.id, engagement.type, engagement.day, engagement.hour in this "
            "order, or with the first two swapped."
        )
    return dimensions


def _period(surface: Surface, body: Mapping[str, object], now: datetime) -> Period | None:
    if surface is Surface.TOTALS:
        return None
    if surface is Surface.RECENT:
        return whole_hours(now - timedelta(hours=28), now)
    since, until = _instant("start", body.get("start")), _instant("end", body.get("end"))
    if since is None:
        since = (until or now) - LONGEST
    if until is None:
        until = min(now, since + LONGEST)
    if until - since > LONGEST:
        raise QuestionError("start, end: at most 28 days in one request.")
    check_window(since, until, now, ("start", "end"))
    return whole_hours(since, until)


def check_window(since: datetime, until: datetime, now: datetime, names: tuple[str, str]) -> None:
    """Refuse a window that is empty, before the first Tweet or in the future; a client's clock may be a bit ahead."""
    start, end = names
    if until > now + CLOCK_TOLERANCE:
        raise QuestionError(f"{end}: lies in the future.")
    if since < FIRST_TWEET_AT:
        raise QuestionError(f"{start}: there are no Tweets before {FIRST_TWEET_AT:%Y-%m-%d}.")
    if since >= until:
        raise QuestionError(f"{start}: must lie before {end}.")


def _instant(field: str, given: object) -> datetime | None:
    return None if given is None else instant(field, given)


def instant(field: str, given: object) -> datetime:
    """An ISO date or time, in UTC where it names no offset; raises QuestionError."""
    try:
        moment = datetime.fromisoformat(given.strip() if isinstance(given, str) else "")
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        if not 2000 < moment.year < 9000:  # further out, a window around it could not be told
            raise ValueError
    except (ValueError, OverflowError):
        example = "2016-02-10 or 2016-02-10T17:00:00Z"
        raise QuestionError(f"{field}: “{str(given)[:40]}” is not a date or time such as {example}.") from None
    return moment


def whole_hours(since: datetime, until: datetime) -> Period:
    """The window with its start floored and its end ceiled to the hour."""
    return Period(periods.floor(since, periods.HOUR), periods.ceil(until, periods.HOUR))


def answer(question: Question, team_id: int, handle_ids: Sequence[int], now: datetime) -> Answer:
    """The counts of those Tweets that belong to the handles of the token, read from one moment."""
    with series.snapshot():
        found = ownership.find(question.tweet_ids, team_id, handle_ids)
        counts, starts = _counts(question, found)
    return Answer(question, found, counts, _supported(question, found, now), starts)


def _counts(question: Question, found: ownership.Tweets) -> tuple[Counts, tuple[datetime, ...]]:
    """int64[Tweets, types, buckets] and the buckets' starts; none when no Tweet may be told."""
    by_tweet: dict[int, Series] = {}
    for handle_id, ids in found.by_handle().items():
        by_tweet |= _read(question, handle_id, ids)
    read = [by_tweet[tweet_id] for tweet_id in found.covered]
    if not read:
        return np.zeros((0, len(question.types), 1), dtype=np.int64), ()
    return np.stack([of_types(each.counts, question.types) for each in read]), read[0].starts


def _display(grain: Dimension) -> DisplayGrain:
    return DisplayGrain.HOUR if grain is Dimension.HOUR else DisplayGrain.DAY


def _read(question: Question, handle_id: int, ids: list[int]) -> dict[int, Series]:
    """A series for each Tweet; of one bucket for a lifetime, and where nothing is grouped by time."""
    if question.period and question.grain:
        return series.tweet_series(handle_id, ids, question.period, _display(question.grain), UTC_ZONE)
    if question.period:
        start, totals = question.period.since, series.tweet_totals(handle_id, ids, question.period)
    else:
        start, totals = periods.EPOCH, series.tweet_lifetimes(handle_id, ids)
    return {tweet_id: Series((start,), counts[np.newaxis]) for tweet_id, counts in totals.items()}


def of_types(counts: Counts, types: Sequence[str]) -> Counts:
    """int64[types, buckets] from int64[buckets, 2, 26], organic and promoted together."""
    by_type = (counts[:, ORGANIC] + counts[:, PROMOTED]).T
    return np.stack([_of_type(by_type, MAPPED.get(name, name)) for name in types])


def _of_type(by_type: Counts, name: str) -> Counts:
    # A row of its own is taken in a tenth of the time of a weighted sum.
    return np.asarray(by_type[CODE[name]] if name in CODE else METRICS[name].of(by_type.T), dtype=np.int64)


def _supported(question: Question, found: ownership.Tweets, now: datetime) -> np.ndarray[Any, np.dtype[np.bool_]]:
    supported = np.ones((len(found.covered), len(question.types)), dtype=np.bool_)
    if question.surface is Surface.TOTALS:
        for row, tweet_id in enumerate(found.covered):
            age = now - tweet_created_at(tweet_id)
            supported[row] = [age <= MAX_AGE.get(name, age) for name in question.types]
    return supported
