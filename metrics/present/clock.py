"""The words for buckets and the ticks of a time axis, in a time zone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from metrics.vocabulary.periods import MINUTE, QUARTER, DisplayGrain, Period, day_start, floor

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MINUTE_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720)
_DAY_STEPS = (1, 2, 4, 7, 14, 28, 56, 112, 364)
MOST_TICKS = 8


@dataclass(frozen=True, slots=True)
class Ticks:
    """Where the time axis is labelled: instants and their labels."""

    at: tuple[datetime, ...]
    text: tuple[str, ...]


def day_label(local: datetime) -> str:
    """ "Mon 23 Nov"."""
    return f"{_WEEKDAYS[local.weekday()]} {local.day} {_MONTHS[local.month - 1]}"


def moment(instant: datetime, zone: ZoneInfo) -> str:
    """ "Mon 23 Nov, 09:15"."""
    local = instant.astimezone(zone)
    return f"{day_label(local)}, {local:%H:%M}"


def bucket_label(start: datetime, end: datetime, grain: DisplayGrain, zone: ZoneInfo) -> str:
    """ "Mon 23 Nov", or with times "Mon 23 Nov, 09:15–09:30"."""
    first, last = start.astimezone(zone), end.astimezone(zone)
    if grain is DisplayGrain.DAY:
        return day_label(first)
    if grain is DisplayGrain.MINUTE:
        return f"{day_label(first)}, {first:%H:%M}"
    return f"{day_label(first)}, {first:%H:%M}–{last:%H:%M}"


def bucket_labels(edges: Sequence[datetime], grain: DisplayGrain, zone: ZoneInfo) -> list[str]:
    """The label of each bucket between neighbouring edges."""
    return [bucket_label(start, end, grain, zone) for start, end in pairwise(edges)]


def age_label(age: timedelta) -> str:
    """ "5 min", "2 h", "3 d"."""
    minutes = age // MINUTE
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 1440 else f"{minutes // 1440} d"


def ticks(period: Period, zone: ZoneInfo, most: int = MOST_TICKS) -> Ticks:
    """At most so many round local times within the period."""
    for minutes in _MINUTE_STEPS:
        if period.length / timedelta(minutes=minutes) <= most:
            at = tuple(_local_times(period, minutes, zone))
            return Ticks(at, tuple(_time_label(instant.astimezone(zone)) for instant in at))
    days = next((days for days in _DAY_STEPS if period.length / timedelta(days=days) <= most), _DAY_STEPS[-1])
    at = tuple(_local_days(period, days, zone))
    return Ticks(at, tuple(_date_label(instant.astimezone(zone), period.length) for instant in at))


def _time_label(local: datetime) -> str:
    # Midnight names the day that begins.
    return f"{local:%H:%M}" if local.hour or local.minute else day_label(local)


def _date_label(local: datetime, length: timedelta) -> str:
    if length > timedelta(days=300):
        return f"{_MONTHS[local.month - 1]} {local.year}"
    return (
        f"{_WEEKDAYS[local.weekday()]} {local.day}"
        if length <= timedelta(days=8)
        else f"{local.day} {_MONTHS[local.month - 1]}"
    )


def _local_times(period: Period, minutes: int, zone: ZoneInfo) -> Iterator[datetime]:
    step = min(timedelta(minutes=minutes), QUARTER) if minutes >= 15 else MINUTE
    instant = floor(period.since, step)
    while instant < period.until:
        local = instant.astimezone(zone)
        if instant >= period.since and (local.hour * 60 + local.minute) % minutes == 0:
            yield instant
        instant += step


def _local_days(period: Period, days: int, zone: ZoneInfo) -> Iterator[datetime]:
    day = period.since.astimezone(zone).date()
    while (instant := day_start(day, zone)) < period.until:
        if instant >= period.since and day.toordinal() % days == 0:
            yield instant
        day += timedelta(days=1)
