"""Grains and periods: which buckets exist, and which of them tile a stretch of time.

Storage buckets are cut in UTC; display buckets in somebody's time zone, where a day may have 23 or 25 hours
and an hour may be cut short by a change of the clock. Every display bucket is a union of whole storage
buckets, because all zones differ from UTC by a multiple of a quarter-hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE, QUARTER = timedelta(minutes=1), timedelta(minutes=15)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)


class Grain(IntEnum):
    """The buckets that rollups are kept in, by their code in storage.

    Quarter-hours, because every time zone is a multiple of 15 minutes, so a day in any zone is exact; hours
    and UTC days only save reading many quarters; a lifetime is one bucket that starts at the epoch.
    """

    MINUTE = 0
    QUARTER = 1
    HOUR = 2
    DAY = 3
    LIFETIME = 4

    @property
    def length(self) -> timedelta:
        """How long a bucket lasts; a lifetime has no length (KeyError)."""
        return _LENGTHS[self]


_LENGTHS = {Grain.MINUTE: MINUTE, Grain.QUARTER: QUARTER, Grain.HOUR: HOUR, Grain.DAY: DAY}


class DisplayGrain(StrEnum):
    """The buckets that people see, in a time zone."""

    MINUTE = "minute"
    QUARTER = "quarter"
    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """How long a bucket lasts where the clock does not change."""
        return Grain[self.name].length


_GRAINS = {length: grain for grain, length in _LENGTHS.items()}


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time [since, until), both aware, kept in UTC. Raises ValueError when empty or naive."""

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.since.tzinfo is None or self.until.tzinfo is None:
            raise ValueError("since, until: give instants with an offset.")
        if self.since >= self.until:
            raise ValueError("until: must come after since.")
        object.__setattr__(self, "since", self.since.astimezone(UTC))
        object.__setattr__(self, "until", self.until.astimezone(UTC))

    @property
    def length(self) -> timedelta:
        """How much time passes in it."""
        return self.until - self.since

    def __contains__(self, instant: datetime) -> bool:
        return self.since <= instant < self.until


class Piece(NamedTuple):
    """A run of whole storage buckets of one grain that together fill [since, until)."""

    grain: Grain
    since: datetime
    until: datetime


def floor(instant: datetime, length: timedelta) -> datetime:
    """The start of the UTC bucket of this length around the instant."""
    return instant - (instant - EPOCH) % length


def ceil(instant: datetime, length: timedelta) -> datetime:
    """The first UTC bucket edge of this length at or after the instant."""
    return instant + (EPOCH - instant) % length


def cover(period: Period) -> list[Piece]:
    """The fewest storage buckets that tile the period exactly, as runs in order of time.

    Days in the middle, hours and quarters at the edges; minutes where the period is not cut at quarter-hours.
    Raises ValueError when it is not cut at whole minutes.
    """
    if floor(period.since, MINUTE) != period.since or floor(period.until, MINUTE) != period.until:
        raise ValueError("since, until: a period is tiled by whole minutes.")
    return list(_tile(period.since, period.until, Grain.DAY))


def _tile(since: datetime, until: datetime, grain: Grain) -> Iterator[Piece]:
    if since >= until:
        return
    first, last = ceil(since, grain.length), floor(until, grain.length)
    if first >= last:
        yield from _tile(since, until, Grain(grain - 1))
        return
    if since < first:
        yield from _tile(since, first, Grain(grain - 1))
    yield Piece(grain, first, last)
    if last < until:
        yield from _tile(last, until, Grain(grain - 1))


def cover_buckets(edges: Iterable[datetime]) -> list[Piece]:
    """Pieces that tile each of the buckets between neighbouring edges: no piece's bucket crosses an edge.

    Runs of the same grain that touch are joined, so an aligned series reads as one range.
    """
    pieces: list[Piece] = []
    for since, until in pairwise(edges):
        for piece in _alone(since, until) or cover(Period(since, until)):
            if pieces and pieces[-1].grain is piece.grain and pieces[-1].until == piece.since:
                pieces[-1] = Piece(piece.grain, pieces[-1].since, piece.until)
            else:
                pieces.append(piece)
    return pieces


def _alone(since: datetime, until: datetime) -> tuple[Piece, ...]:
    """The one storage bucket that fills the display bucket, where there is one: most often, and found quickly."""
    grain = _GRAINS.get(until - since)
    return () if grain is None or floor(since, until - since) != since else (Piece(grain, since, until),)


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which this calendar day begins in the zone, even if midnight is skipped or repeated."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def shift_days(instant: datetime, days: int, zone: ZoneInfo) -> datetime:
    """When a clock in the zone shows the same time so many days later (earlier if negative)."""
    return (instant.astimezone(zone) + timedelta(days=days)).astimezone(UTC)


def bucket_start(instant: datetime, grain: DisplayGrain, zone: ZoneInfo) -> datetime:
    """The start of the display bucket around the instant."""
    if grain is DisplayGrain.DAY:
        return day_start(instant.astimezone(zone).date(), zone)
    if grain is DisplayGrain.HOUR:
        return _hour_start(floor(instant, QUARTER), zone)
    return floor(instant, grain.length)


def bucket_end(instant: datetime, grain: DisplayGrain, zone: ZoneInfo) -> datetime:
    """The end of the display bucket around the instant."""
    if grain is DisplayGrain.DAY:
        return _next_day(instant, zone)
    if grain is DisplayGrain.HOUR:
        return _next_hour(floor(instant, QUARTER), zone)
    return floor(instant, grain.length) + grain.length


def bucket_ceil(instant: datetime, grain: DisplayGrain, zone: ZoneInfo) -> datetime:
    """The first display edge at or after the instant."""
    start = bucket_start(instant, grain, zone)
    return start if start == instant else bucket_end(instant, grain, zone)


def display_edges(period: Period, grain: DisplayGrain, zone: ZoneInfo) -> list[datetime]:
    """The n + 1 edges of the n display buckets of a period; the outer buckets are clipped to the period."""
    if zone.key == "UTC":  # its clock never changes
        first = floor(period.since, grain.length) + grain.length
        number = max(0, -((first - period.until) // grain.length))
        return [period.since, *(first + grain.length * place for place in range(number)), period.until]
    edges = [period.since]
    while (edge := bucket_end(edges[-1], grain, zone)) < period.until:
        edges.append(edge)
    return [*edges, period.until]


def _next_day(instant: datetime, zone: ZoneInfo) -> datetime:
    day = instant.astimezone(zone).date()
    # A day may be missing altogether (Samoa, 30 December 2011): its start is then the next day's.
    for ahead in (1, 2):
        edge = day_start(day + timedelta(days=ahead), zone)
        if edge > instant:
            return edge
    raise ValueError("instant: no next day in this zone.")


def _hour_start(quarter: datetime, zone: ZoneInfo) -> datetime:
    while not _begins_hour(quarter, zone):
        quarter -= QUARTER
    return quarter


def _next_hour(quarter: datetime, zone: ZoneInfo) -> datetime:
    local = quarter.astimezone(zone)
    full = quarter + (HOUR - timedelta(minutes=local.minute))
    if local.minute % 15 == 0 and full.astimezone(zone).utcoffset() == local.utcoffset():
        return full
    quarter += QUARTER
    while not _begins_hour(quarter, zone):
        quarter += QUARTER
    return quarter


def _begins_hour(quarter: datetime, zone: ZoneInfo) -> bool:
    """Whether an hour begins here: the clock shows a full hour, or was changed since the last quarter."""
    local = quarter.astimezone(zone)
    return local.minute == 0 or local.utcoffset() != (quarter - QUARTER).astimezone(zone).utcoffset()
