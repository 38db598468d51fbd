"""The daily partitions of events and minutes: made before the first row that needs them, dropped whole.

A new day is created apart and then attached, which blocks nobody; creating it in place would lock the whole table.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

EVENTS = "metrics_engagementevent"
MINUTES = ("metrics_handlerollup_minute", "metrics_tweetrollup_minute")
# Any number that nobody else uses: writers that need the same day queue here, not on the table.
_LOCK = 7_701_001
_known: set[tuple[str, date]] = set()


def partition_name(table: str, day: date) -> str:
    """`metrics_engagementevent_20261123`."""
    return f"{table}_{day:%Y%m%d}"


def ensure(table: str, days: Iterable[date]) -> None:
    """Make the table's partitions of these days where they do not exist."""
    missing = sorted({day for day in days if (table, day) not in _known})
    if not missing:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        try:
            for day in missing:
                _make(cursor, table, day)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    # A transaction that is rolled back takes its new days with it.
    transaction.on_commit(partial(_known.update, [(table, day) for day in missing]))


def forget(table: str | None = None) -> None:
    """Forget which partitions exist: after dropping some, or after the database was made anew."""
    _known.difference_update({known for known in _known if table in {None, known[0]}})


def existing(table: str) -> list[date]:
    """The days that have a partition, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT right(child.relname, 8) FROM pg_inherits"
            " JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent"
            " WHERE parent.relname = %s",
            [table],
        )
        return sorted(date.fromisoformat(suffix) for (suffix,) in cursor.fetchall())


def drop(table: str, day: date) -> None:
    """Drop one day; waits at most two seconds for readers, then raises OperationalError (the timetable tries again)."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        execute: Any = cursor.execute
        execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(partition_name(table, day))))
    forget(table)


def _make(cursor: CursorWrapper, table: str, day: date) -> None:
    execute: Any = cursor.execute  # psycopg's composed SQL passes through Django's wrapper
    name = partition_name(table, day)
    execute("SELECT to_regclass(%s)", [name])
    if cursor.fetchone() != (None,):
        return
    storage = "" if table == EVENTS else " WITH (fillfactor = 60)"
    names = {"name": sql.Identifier(name), "table": sql.Identifier(table)}
    execute(sql.SQL("CREATE TABLE {name} (LIKE {table} INCLUDING ALL)" + storage).format(**names))
    edges = {"since": sql.Literal(f"{day} 00:00+00"), "until": sql.Literal(f"{day + timedelta(days=1)} 00:00+00")}
    execute(
        sql.SQL("ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({since}) TO ({until})").format(
            **names, **edges
        )
    )
