"""What the Operations page shows: how fast events are counted, what waits, who writes, and how full the disk is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection
from django.utils import timezone
from redis.exceptions import RedisError

from metrics import stream, telemetry
from metrics.ingest import runner
from metrics.models import Rejection, SetAsideEntry
from metrics.stream import Group

_DISK_SQL = Path(__file__).with_name("disk.sql").read_text()
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
Figures = TypeVar("Figures")


@dataclass(frozen=True, slots=True)
class Shard:
    """How one of a shard's writers is doing."""

    number: int
    group: Group
    backlog_events: int
    lag_seconds: float
    lease_ms: int | None
    """How long the present lease still holds without renewal; None when nobody writes the shard."""
    holder: str | None
    """Who holds it, as `"machine:pid"`."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What Redis knows: rates, waits, writers, running sources, the beat, and its own memory."""

    events_per_second: float | None
    shards: tuple[Shard, ...]
    sources_held: int
    """Sources that are being run now."""
    sources_waiting: int
    """Sources that are due and that nobody runs."""
    beat_at: datetime | None
    announce_ms: dict[str, int | None]
    """Percentile → the upper bound in ms, over everything since Redis was first started."""
    memory_bytes: int
    append_only_bytes: int | None


@dataclass(frozen=True, slots=True)
class Operations:
    """Everything on the page; `flow` is None while Redis does not answer."""

    flow: Flow | None
    tables: tuple[tuple[str, int], ...]
    free_bytes: int
    rejections_last_hour: int
    set_aside: int
    read_at: datetime


def read() -> Operations:
    """Look at every part now."""
    now = timezone.now()
    return Operations(
        flow=_unless_redis_is_away(_flow),
        tables=_tables(),
        free_bytes=shutil.disk_usage(settings.VAR_DIR).free,
        rejections_last_hour=Rejection.objects.filter(rejected_at__gte=now - timedelta(hours=1)).count(),
        set_aside=SetAsideEntry.objects.filter(applied_at=None).count(),
        read_at=now,
    )


def shard(number: int, group: Group = Group.ROLLUPS) -> Shard:
    """One of a shard's writers. Raises RedisError."""
    left = int(stream.client().pttl(stream.lease(number, group).name))
    backlog, lag = stream.backlog(number, group), stream.lag_seconds(number, group)
    return Shard(number, group, backlog, lag, left if left > 0 else None, stream.holder(number, group))


def _flow() -> Flow:
    seen = telemetry.latencies()
    memory: dict[str, Any] = stream.client().info("memory")
    kept: dict[str, Any] = stream.client().info("persistence")
    return Flow(
        events_per_second=telemetry.throughput(),
        shards=tuple(shard(number, group) for number in stream.shards() for group in Group),
        sources_held=runner.held(),
        sources_waiting=len(runner.waiting(timezone.now())),
        beat_at=telemetry.last_beat_at(),
        announce_ms={name: seen.percentile(share) for name, share in PERCENTILES.items()},
        memory_bytes=int(memory["used_memory"]),
        append_only_bytes=kept.get("aof_current_size"),
    )


def _tables() -> tuple[tuple[str, int], ...]:
    with connection.cursor() as cursor:
        cursor.execute(_DISK_SQL)
        return tuple((str(held), int(size)) for held, size in cursor.fetchall())


def _unless_redis_is_away(reading: Callable[[], Figures]) -> Figures | None:
    try:
        return reading()
    except RedisError:
        return None
