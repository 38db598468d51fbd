"""From URL parameters to a question that can be answered: the period actually used, its grain, zone and
comparison.

Rolling ranges end with the running bucket of their grain, so every period is made of whole display buckets; a
custom period is widened to whole buckets, and `ReportQuery.widened` says so.
"""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from django.conf import settings

from metrics.vocabulary import periods
from metrics.vocabulary.events import FIRST_TWEET_AT
from metrics.vocabulary.periods import DisplayGrain, Period

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accounts.models import Handle

MAX_BUCKETS = 3_000
DEFAULT_RANGE = "28h"


class ParamError(ValueError):
    """A parameter that cannot be used: `field` names it, `detail` says what to give instead."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field, self.detail = field, detail


class Range(StrEnum):
    """How the period is chosen."""

    MINUTES_30 = "30m"
    HOURS_24 = "24h"
    HOURS_28 = "28h"
    DAYS_7 = "7d"
    DAYS_28 = "28d"
    CUSTOM = "custom"


class Compare(StrEnum):
    """What a period is set against."""

    PREVIOUS = "previous"
    WEEKDAYS = "weekdays"
    NONE = "none"


class Reading(StrEnum):
    """What a total means: what happened in the period, or what ever happened to the period's Tweets."""

    ACTIVITY = "activity"
    TWEETS = "tweets"


# Length, and the grains to choose from: the first is the default.
ROLLING: dict[Range, tuple[timedelta, tuple[DisplayGrain, ...]]] = {
    Range.MINUTES_30: (timedelta(minutes=30), (DisplayGrain.MINUTE,)),
    Range.HOURS_24: (timedelta(hours=24), (DisplayGrain.QUARTER, DisplayGrain.HOUR, DisplayGrain.MINUTE)),
    Range.HOURS_28: (timedelta(hours=28), (DisplayGrain.QUARTER, DisplayGrain.HOUR, DisplayGrain.MINUTE)),
    Range.DAYS_7: (timedelta(days=7), (DisplayGrain.HOUR, DisplayGrain.DAY, DisplayGrain.QUARTER)),
    Range.DAYS_28: (timedelta(days=28), (DisplayGrain.DAY, DisplayGrain.HOUR, DisplayGrain.QUARTER)),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The period to compare with; `elapsed` is as much of it as the running period has already had."""

    kind: Compare
    period: Period
    elapsed: Period


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """One question about a handle. `requested` is what a custom range asked for.

    With a `tag` only the Tweets that carry it are listed; totals and series stay those of all.
    """

    handle: Handle
    range: Range
    period: Period
    requested: Period
    comparison: Comparison | None
    grain: DisplayGrain
    zone: ZoneInfo
    reading: Reading
    now: datetime
    tag: str = ""

    @property
    def widened(self) -> bool:
        """Whether a custom period was widened to whole buckets."""
        return self.period != self.requested

    @property
    def is_running(self) -> bool:
        """Whether the period's last bucket is unfinished."""
        return self.now < self.period.until


def parse(params: Mapping[str, str], handle: Handle, now: datetime, max_buckets: int = MAX_BUCKETS) -> ReportQuery:
    """The question that range, since, until, compare, grain, reading, zone and tag ask.

    Unknown parameters are ignored, empty ones count as absent. Raises ParamError, which names the field.
    """
    given = {name: params[name].strip() for name in params if params[name].strip()}
    zone = parse_zone(given.get("zone"), handle)
    default = Range.CUSTOM if {"since", "until"} & given.keys() else Range(DEFAULT_RANGE)
    chosen = choice("range", given.get("range"), Range, default)
    compare = choice("compare", given.get("compare"), Compare, Compare.PREVIOUS)
    reading = choice("reading", given.get("reading"), Reading, Reading.ACTIVITY)
    wanted = choice("grain", given.get("grain"), DisplayGrain, None)
    if chosen is Range.CUSTOM:
        requested = custom_period(given, zone, now)
        grain = fitting_grain(requested, wanted, now)
    else:
        length, grains = ROLLING[chosen]
        grain = _offered(chosen, wanted, grains)
        requested = rolling_period(length, grain, zone, now)
    period = whole_buckets(requested, grain, zone)
    check_size(period, grain, max_buckets)
    comparison = compare_with(compare, period, grain, zone, now)
    tag = given.get("tag", "")
    return ReportQuery(handle, chosen, period, requested, comparison, grain, zone, reading, now, tag)


def minutes_since(now: datetime) -> datetime:
    """From when on minute rollups are still kept: the start of the first whole UTC day within MINUTE_DAYS."""
    return periods.ceil(now - timedelta(days=settings.MINUTE_DAYS), periods.DAY)


def rolling_period(length: timedelta, grain: DisplayGrain, zone: ZoneInfo, now: datetime) -> Period:
    """The period of this length that ends with the running bucket; by day it is whole calendar days."""
    until = periods.bucket_end(now, grain, zone)
    if grain is DisplayGrain.DAY:
        return Period(periods.shift_days(until, -length.days, zone), until)
    return Period(until - length, until)


def whole_buckets(period: Period, grain: DisplayGrain, zone: ZoneInfo) -> Period:
    """The period, widened to whole display buckets."""
    since = periods.bucket_start(period.since, grain, zone)
    return Period(since, periods.bucket_ceil(period.until, grain, zone))


def compare_with(
    kind: Compare, period: Period, grain: DisplayGrain, zone: ZoneInfo, now: datetime
) -> Comparison | None:
    """The comparison of a period, or None.

    `previous` is the same length directly before (calendar days for periods of days); `weekdays` is shifted
    back by the fewest whole weeks that are at least as long, by the zone's clock. While the period is
    running, `elapsed` ends at the minute that corresponds to the running one (at the quarter-hour where
    minutes are no longer kept).
    """
    if kind is Compare.NONE:
        return None
    days = _days_back(kind, period, grain, zone)

    def back(instant: datetime) -> datetime:
        return instant - period.length if days is None else periods.shift_days(instant, -days, zone)

    other = Period(back(period.since), back(period.until))
    if now >= period.until:
        return Comparison(kind, other, other)
    step = periods.MINUTE if other.since >= minutes_since(now) else periods.QUARTER
    cut = periods.ceil(back(now), step)
    return Comparison(kind, other, Period(other.since, min(max(cut, other.since + step), other.until)))


def _days_back(kind: Compare, period: Period, grain: DisplayGrain, zone: ZoneInfo) -> int | None:
    """How many calendar days the comparison lies back; None for the period's exact length."""
    clock = period.until.astimezone(zone).replace(tzinfo=None) - period.since.astimezone(zone).replace(tzinfo=None)
    if kind is Compare.WEEKDAYS:
        # A change of the clock makes one of the two an hour longer: that must not cost another week.
        return 7 * -(-min(clock, period.length) // periods.WEEK)
    return clock.days if grain is DisplayGrain.DAY else None


Choice = TypeVar("Choice", bound=StrEnum)
Default = TypeVar("Default")


def choice(field: str, text: str | None, choices: type[Choice], default: Default) -> Choice | Default:
    if text is None:
        return default
    try:
        return choices(text)
    except ValueError:
        raise ParamError(field, f"“{text[:40]}” is not known; use one of {', '.join(choices)}.") from None


def parse_zone(text: str | None, handle: Handle) -> ZoneInfo:
    return handle.zone if text is None else zone_named(text)


def zone_named(text: str) -> ZoneInfo:
    """The time zone of this name. Raises ParamError."""
    # Only names from the database: ZoneInfo itself would also open other files below its directory.
    if text not in zoneinfo.available_timezones():
        raise ParamError("zone", f"“{text[:40]}” is not a time zone; use a name such as Europe/Copenhagen.")
    return ZoneInfo(text)


def _offered(chosen: Range, wanted: DisplayGrain | None, grains: tuple[DisplayGrain, ...]) -> DisplayGrain:
    if wanted is not None and wanted not in grains:
        raise ParamError("grain", f"“{wanted}” does not suit {chosen}; use one of {', '.join(grains)}.")
    return wanted or grains[0]


def custom_period(given: Mapping[str, str], zone: ZoneInfo, now: datetime) -> Period:
    """The period from `since` to `until`, or to now. Raises ParamError."""
    if "since" not in given:
        raise ParamError("since", "a custom range needs its start, such as 2026-03-01 or 2026-03-01T14:00.")
    since = _instant("since", given["since"], zone)
    until = _instant("until", given["until"], zone) if "until" in given else now
    if since < FIRST_TWEET_AT:
        raise ParamError("since", "there are no Tweets before 2006-03-21.")
    if since >= now:
        raise ParamError("since", "lies in the future.")
    if since >= until:
        raise ParamError("until", "must come after since; it is the first instant that is no longer counted.")
    if until > now + timedelta(days=366):
        raise ParamError("until", "lies more than a year in the future.")
    return Period(since, until)


def _instant(field: str, text: str, zone: ZoneInfo) -> datetime:
    detail = f"“{text[:40]}” is not an ISO date or time; use 2026-03-01, 2026-03-01T14:00 or 2026-03-01T14:00:00Z."
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and len(text) <= len("2026-03-01"):
            return periods.day_start(date.fromisoformat(text), zone)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ParamError(field, detail) from None


def fitting_grain(period: Period, wanted: DisplayGrain | None, now: datetime) -> DisplayGrain:
    """The grain asked for, or one that suits the length; quarters where minutes are no longer kept."""
    grain = wanted or grain_for(period.length)
    if grain is DisplayGrain.MINUTE and period.since < minutes_since(now):
        return DisplayGrain.QUARTER
    return grain


def grain_for(length: timedelta) -> DisplayGrain:
    """The grain that draws a period of this length in roughly thirty to two hundred buckets."""
    if length <= timedelta(hours=3):
        return DisplayGrain.MINUTE
    if length <= timedelta(hours=36):
        return DisplayGrain.QUARTER
    return DisplayGrain.HOUR if length <= timedelta(days=10) else DisplayGrain.DAY


def check_size(period: Period, grain: DisplayGrain, max_buckets: int) -> None:
    if period.length / grain.length > max_buckets:
        raise ParamError(
            "grain", f"“{grain}” cuts this period into more than {max_buckets} buckets; use a coarser one."
        )
