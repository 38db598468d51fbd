"""History: rollups computed again from events and inferred counts, and old days making room."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone
from psycopg import sql

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import fold, partitions
from metrics.models import DroppedDay, InferredCount, LastSnapshot, ReachSketch, StreamCursor
from metrics.vocabulary.engagements import NAMES

log = structlog.get_logger(__name__)

# Any number that nobody else uses: inferred counts of a day go only while no rebuild reads them.
_LOCK = 7_701_002


def rebuild(handle_id: int) -> int:
    """Compute the handle's rollups again; returns how many minutes of Tweets were written.

    Only days whose events and inferred counts are all still held are touched; what older days added to hours, days and
    lifetimes stays.
    The handle's writer waits meanwhile: the shard's cursor row is locked.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        shard = stream.shard_of(handle_id)
        StreamCursor.objects.get_or_create(shard=shard)
        StreamCursor.objects.select_for_update().get(shard=shard)
        # No day may be dropped between being listed and being read: its sums would go with its events.
        cursor.execute(f"LOCK TABLE {partitions.EVENTS} IN ACCESS SHARE MODE")
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_LOCK])
        dropped = list(DroppedDay.objects.values_list("day", flat=True))
        parameters: dict[str, Any] = {"handle": handle_id, "dropped": dropped, **fold.constants()}
        for statement in _statements():
            cursor.execute(statement, parameters)
        return int(cursor.fetchone()[0])


def drop_old_events() -> list[date]:
    """Drop each day of events whose newest arrival is EVENT_DAYS old; totals stay as they are."""
    limit = timezone.now() - timedelta(days=settings.EVENT_DAYS)
    # Nothing arrives before it occurs: younger days need not be read.
    past = [day for day in partitions.existing(partitions.EVENTS) if day < limit.date()]
    gone = [day for day in past if _drop_events_of(day, limit)]
    if gone:
        log.info("events_dropped", days=len(gone))
    return gone


def _drop_events_of(day: date, limit: datetime) -> bool:
    """Drop the day unless one of its events arrived since the limit; returns whether it went."""
    newest = _newest_arrival(day)
    if newest is not None and newest >= limit:
        return False
    with transaction.atomic():
        partitions.drop(partitions.EVENTS, day)
        if newest is not None:
            DroppedDay.objects.get_or_create(day=day)
    return True


def drop_old_inferred() -> list[date]:
    """Drop the inferred counts of each day whose newest is EVENT_DAYS old; totals stay as they are.

    History before tracking stays for ever: charts tell it apart, and it is few rows a Tweet.
    """
    limit = timezone.now() - timedelta(days=settings.EVENT_DAYS)
    growth = InferredCount.objects.filter(is_history=False, occurred_at__lt=limit)
    days = growth.values_list("occurred_at__date").annotate(newest=Max("received_at")).filter(newest__lt=limit)
    gone = sorted(day for day, _ in days)
    for day in gone:
        _drop_inferred_of(day)
    return gone


def _drop_inferred_of(day: date) -> None:
    since = datetime.combine(day, time(), UTC)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        growth = InferredCount.objects.filter(is_history=False)
        growth.filter(occurred_at__gte=since, occurred_at__lt=since + timedelta(days=1)).delete()
        DroppedDay.objects.get_or_create(day=day)


def forget_deleted_handles() -> int:
    """Drop what snapshots and people left of handles that have been deleted; returns how many handles that were."""
    known = Handle.objects.values("pk")
    gone = set(LastSnapshot.objects.exclude(handle__in=known).values_list("handle_id", flat=True).distinct())
    gone |= set(InferredCount.objects.exclude(handle__in=known).values_list("handle_id", flat=True).distinct())
    gone |= set(ReachSketch.objects.exclude(handle__in=known).values_list("handle_id", flat=True).distinct())
    for facts in (LastSnapshot, InferredCount, ReachSketch):
        facts.objects.filter(handle__in=gone).delete()
    return len(gone)


def drop_old_minutes() -> list[date]:
    """Drop the minutes of days before MINUTE_DAYS ago."""
    limit = fold.minutes_since().date()
    gone = [(table, day) for table in partitions.MINUTES for day in partitions.existing(table) if day < limit]
    for table, day in gone:
        partitions.drop(table, day)
    return sorted({day for _, day in gone})


def prepare_days() -> None:
    """Make today's and tomorrow's partitions, so that midnight costs no event its time."""
    today = datetime.now(UTC).date()
    for table in (partitions.EVENTS, *partitions.MINUTES):
        partitions.ensure(table, [today, today + timedelta(days=1)])


def _newest_arrival(day: date) -> datetime | None:
    with connection.cursor() as cursor:
        table = sql.Identifier(partitions.partition_name(partitions.EVENTS, day))
        cursor.execute(sql.SQL("SELECT max(received_at) FROM {}").format(table))
        newest: datetime | None = cursor.fetchone()[0]
        return newest


@cache
def _statements() -> tuple[str, ...]:
    template = Path(__file__).with_name("rebuild.sql").read_text()
    shapes = {
        "names": "{0}",
        "sums": "coalesce(sum(count) FILTER (WHERE type = {1}), 0)::bigint AS {0}",
        "inferred": "sum(counts[{2}])::bigint",
        "totals": "sum({0})::bigint AS {0}",
    }
    named = {
        "names": "named_impressions",
        "sums": "coalesce(sum(count) FILTER (WHERE type = %(impressions)s AND person IS NOT NULL), 0)::bigint"
        " AS named_impressions",
        "inferred": "0::bigint",
        "totals": "sum(named_impressions)::bigint AS named_impressions",
    }
    for slot, shape in shapes.items():
        parts = [shape.format(name, code, code + 1) for code, name in enumerate(NAMES)]
        template = template.replace(f"{{{slot}}}", ", ".join((*parts, named[slot])))
    return tuple(part for part in template.split(";\n") if part.strip())
