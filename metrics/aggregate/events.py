"""Events of one micro-batch: copied into a temporary table, and counted where they were never seen before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
from django.db import connection

from metrics import stream
from metrics.aggregate import arrivals, fold, partitions
from metrics.aggregate.arrivals import Batch
from metrics.aggregate.binary import Layout
from metrics.vocabulary import events as vocabulary

DTYPE = np.dtype([*arrivals.dtype_of(vocabulary.PACKED_DTYPE).descr, ("promoted", "u1"), ("epoch", "<i2")])
COLUMNS = Layout(
    ("handle_id", "bigint"),
    ("occurred_at", "instant"),
    ("tweet_id", "bigint"),
    ("person", "bigint"),
    ("received_at", "instant"),
    ("event_key", "uuid"),
    ("count", "integer"),
    ("type", "smallint"),
    ("promoted", "boolean"),
    ("epoch", "smallint"),
)
_ARRIVALS = """
CREATE TEMPORARY TABLE IF NOT EXISTS arrivals (
    handle_id bigint, occurred_at timestamptz, tweet_id bigint, person bigint, received_at timestamptz,
    event_key uuid, count integer, type smallint, promoted boolean, epoch smallint
) ON COMMIT DELETE ROWS
"""
DAY_US = 86_400 * 1_000_000


def batch_of(entries: Sequence[stream.Entry]) -> Batch:
    """All events of the entries in key order, with `received_at` (Unix µs) taken from the entry's id."""
    batch = arrivals.batch_of(entries, vocabulary.unpack, DTYPE)
    batch["promoted"], batch["epoch"] = batch["flags"] & 1, batch["flags"] >> 1
    # Key order keeps the primary key's inserts side by side.
    return batch[np.lexsort((batch["occurred_at"], batch["handle_id"]))]


def ensure_partitions(batch: Batch) -> None:
    """Make the days of events and minutes that the batch needs."""
    if not len(batch):
        return
    days = [date(1970, 1, 1) + timedelta(days=int(day)) for day in np.unique(batch["occurred_at"] // DAY_US)]
    partitions.ensure(partitions.EVENTS, days)
    since = fold.minutes_since().date()
    for table in partitions.MINUTES:
        partitions.ensure(table, [day for day in days if day >= since])


def count(batch: Batch) -> tuple[fold.HandleCommit, ...]:
    """Run the statement on the batch, inside the caller's transaction; returns what it changed."""
    if not len(batch):
        return ()
    with connection.cursor() as cursor:
        cursor.connection.prepare_threshold = 1  # the statement is long to plan and always the same
        cursor.execute(_ARRIVALS)
        COLUMNS.copy_in(cursor, "arrivals", batch)
        cursor.execute(fold.statement("events"), fold.constants())
        found = {handle_id: (sequence, fresh) for handle_id, sequence, fresh in cursor.fetchall()}
    return tuple(fold.commits(batch, batch["occurred_at"], found))
