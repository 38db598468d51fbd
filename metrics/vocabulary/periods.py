"""Grains and periods: which buckets exist, and which of them tile a stretch of time."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Grain(IntEnum):
    """The buckets that rollups are kept in, by their code in storage.

    Quarter-hours, because every time zone is a multiple of 15 minutes, so a day in any zone is exact; hours and UTC
    days only save reading many quarters; a lifetime is one bucket that starts at the epoch.
    """

    MINUTE = 0
    QUARTER = 1
    HOUR = 2
    DAY = 3
    LIFETIME = 4
