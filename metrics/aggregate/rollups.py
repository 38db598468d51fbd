"""Events become rollups exactly once: the writer of one shard.

A micro-batch is whatever has piled up in the shard's stream, up to `BATCH_EVENTS`. It is copied into a temporary table
and counted by the statement in `rollups.sql`; the shard's cursor moves in the same transaction. Only then is it
acknowledged. So after a crash at any point an entry is either not applied, and comes again, or applied, and adds
nothing when it comes again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from metrics import stream
from metrics.aggregate import partitions
from metrics.models import SetAsideEntry, StreamCursor
from metrics.vocabulary import events as vocabulary
from metrics.vocabulary.engagements import NAMES

log = structlog.get_logger(__name__)

# PostgreSQL counts binary timestamps from 2000-01-01.
_PG_EPOCH_US = 946_684_800_000_000
_MINUTE_US = 60_000_000
# A commit of few events costs nearly as much as one of many, so under a steady trickle they gather for a moment.
GATHER_SECONDS = 0.025
_COPY_FIELDS = (
    ("handle_id", ">i8"),
    ("occurred_at", ">i8"),
    ("tweet_id", ">i8"),
    ("person", ">i8"),
    ("received_at", ">i8"),
    ("event_key", "V16"),
    ("count", ">i4"),
    ("type", ">i2"),
    ("promoted", "u1"),
)
# A binary COPY row is the number of fields, then each field's length and bytes: with fixed widths, a numpy record.
_COPY_DTYPE = np.dtype(
    [
        ("fields", ">i2"),
        *((part, kind) for name, kind in _COPY_FIELDS for part, kind in ((f"{name}#", ">i4"), (name, kind))),
    ]
)
COPY_COLUMNS = ", ".join(name for name, _ in _COPY_FIELDS)
_COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER = b"\xff\xff"
_ARRIVALS = """
CREATE TEMPORARY TABLE IF NOT EXISTS arrivals (
    handle_id bigint, occurred_at timestamptz, tweet_id bigint, person bigint, received_at timestamptz,
    event_key uuid, count integer, type smallint, promoted boolean
) ON COMMIT DELETE ROWS
"""
Batch = npt.NDArray[np.void]
# How an entry at fault shows itself, in contrast to a database that is away.
POISON = (ValueError, OverflowError, DataError, IntegrityError)


@dataclass(frozen=True, slots=True)
class HandleCommit:
    """What one commit changed of one handle: its new sequence, and which minutes of which Tweets have new totals."""

    handle_id: int
    sequence: int
    fresh: int
    received_at: datetime
    minutes: frozenset[int]
    tweets: dict[int, tuple[int, frozenset[int]]]
    """Tweet id → (events, minutes); minutes are Unix seconds."""


@dataclass(frozen=True, slots=True)
class Applied:
    """One micro-batch: how many events it held, how many of them were new, when they had arrived (Unix µs)."""

    events: int
    fresh: int
    arrivals_us: tuple[int, ...]
    handles: tuple[HandleCommit, ...]


class Writer:
    """The one writer of a shard; hold the shard's lease while you use it."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self._events_per_entry = 100.0
        self._not_before = 0.0
        # Retention, elsewhere, may have dropped days that this process knew: a late event of theirs makes them anew.
        partitions.forget()
        stream.open_group(shard)
        StreamCursor.objects.get_or_create(shard=shard)
        self._backlog = self._pending()

    def step(self, block_ms: int) -> Applied | None:
        """Apply what has piled up, waiting at most `block_ms` for the first entry; None when nothing came."""
        time.sleep(max(0.0, self._not_before - time.monotonic()))
        wanted = self._entries_wanted()
        entries = next(self._backlog, None) or stream.read(self.shard, wanted, block_ms)
        if not entries:
            return None
        # The first after a silence is applied at once, and so is what has piled up.
        self._not_before = time.monotonic() + GATHER_SECONDS if len(entries) < wanted // 4 else 0.0
        applied = apply(self.shard, entries)
        stream.acknowledge(self.shard, entries)
        held = sum(entry.records for entry in entries) / len(entries)
        self._events_per_entry += (held - self._events_per_entry) / 4
        return applied

    def _entries_wanted(self) -> int:
        return max(1, min(2_000, round(int(settings.BATCH_EVENTS) / max(1.0, self._events_per_entry))))

    def _pending(self) -> Iterator[list[stream.Entry]]:
        """What a writer that died had been handed, in small batches."""
        while entries := stream.read(self.shard, 20, pending=True):
            yield entries


def apply(shard: int, entries: Sequence[stream.Entry]) -> Applied:
    """Count the entries in one transaction; when it cannot be, once more one by one, setting those at fault aside.

    Raises OperationalError when the database is away: nothing was applied then, and the entries stay pending.
    """
    try:
        return _apply_together(shard, entries)
    except POISON as error:
        log.warning("entries_one_by_one", shard=shard, entries=len(entries), error=str(error).strip())
    parts = [_apply_alone(shard, entry) for entry in entries]
    return Applied(
        sum(part.events for part in parts),
        sum(part.fresh for part in parts),
        tuple(us for part in parts for us in part.arrivals_us),
        tuple(handle for part in parts for handle in part.handles),
    )


def _apply_alone(shard: int, entry: stream.Entry) -> Applied:
    try:
        return _apply_together(shard, [entry])
    except POISON as error:
        _set_aside(shard, entry, error)
        return Applied(0, 0, (), ())


def apply_again(aside: SetAsideEntry) -> tuple[HandleCommit, ...]:
    """Count an entry that was set aside, with its own time of arrival; nothing when that was done before.

    The writers wait meanwhile: their cursors are locked. Raises one of POISON when the entry is still at fault.
    """
    batch = _batch_of([stream.Entry(aside.entry, bytes(aside.payload))])
    ensure_partitions(batch)
    with transaction.atomic():
        list(StreamCursor.objects.select_for_update().order_by("shard"))
        if not SetAsideEntry.objects.filter(pk=aside.pk, applied_at=None).update(applied_at=timezone.now()):
            return ()
        return count(_of_known_handles(batch))


def _apply_together(shard: int, entries: Sequence[stream.Entry]) -> Applied:
    batch = _batch_of(entries)
    ensure_partitions(batch)
    with transaction.atomic():
        cursor = StreamCursor.objects.select_for_update().get(shard=shard)
        done = stream.position(cursor.last_entry)
        fresh_entries = [entry for entry in entries if entry.position > done]
        events = sum(entry.records for entry in fresh_entries)
        if len(fresh_entries) < len(entries):
            # Counted before, or overtaken: read by a writer that stood still until its lease was another's. The events
            # themselves tell which, as each counts once.
            log.info("entries_again", shard=shard, entries=len(entries) - len(fresh_entries))
        handles = count(_of_known_handles(batch)) if len(batch) else ()
        if fresh_entries:
            cursor.last_entry = fresh_entries[-1].id
            cursor.applied_events += events
            cursor.applied_at = timezone.now()
            cursor.save()
    arrivals = tuple(entry.arrived_us for entry in fresh_entries)
    return Applied(events, sum(handle.fresh for handle in handles), arrivals, handles)


def count(batch: Batch) -> tuple[HandleCommit, ...]:
    """Run the statement on the batch, inside the caller's transaction; returns what it changed."""
    if not len(batch):
        return ()
    with connection.cursor() as cursor:
        raw: Any = cursor.connection
        raw.prepare_threshold = 1  # the statement is long to plan and always the same
        cursor.execute(_ARRIVALS)
        with cursor.copy("COPY arrivals FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(copy_bytes(batch))
        cursor.execute(_statement(), _constants())
        rows = cursor.fetchall()
    return tuple(_handle_commit(batch, *row) for row in rows)


def ensure_partitions(batch: Batch) -> None:
    """Make the days of events and minutes that the batch needs."""
    if not len(batch):
        return
    days = [
        date(1970, 1, 1) + timedelta(days=int(day)) for day in np.unique(batch["occurred_at"] // (86_400 * 1_000_000))
    ]
    partitions.ensure(partitions.EVENTS, days)
    since = minutes_since().date()
    for table in partitions.MINUTES:
        partitions.ensure(table, [day for day in days if day >= since])


def minutes_since() -> datetime:
    """The first instant whose minutes are kept: midnight (UTC), MINUTE_DAYS ago."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=settings.MINUTE_DAYS)


def _batch_of(entries: Sequence[stream.Entry]) -> Batch:
    """All events of the entries in key order, with `received_at` (Unix µs) taken from the entry's id."""
    parts = [vocabulary.unpack(entry.payload) for entry in entries]
    if not parts:
        return np.empty(0, dtype=[*vocabulary.PACKED_DTYPE.descr, ("received_at", "<i8")])
    batch = np.empty(sum(map(len, parts)), dtype=[*vocabulary.PACKED_DTYPE.descr, ("received_at", "<i8")])
    for name in vocabulary.PACKED_DTYPE.names or ():
        batch[name] = np.concatenate([part[name] for part in parts])
    batch["received_at"] = np.repeat([entry.arrived_us for entry in entries], [len(part) for part in parts])
    # Key order keeps the primary key's inserts side by side.
    return batch[np.lexsort((batch["occurred_at"], batch["handle_id"]))]


def _of_known_handles(batch: Batch) -> Batch:
    """The batch without events of handles that have been deleted since."""
    ids = np.unique(batch["handle_id"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM accounts_handle WHERE id = ANY(%s) FOR KEY SHARE", [ids.tolist()])
        known = [row[0] for row in cursor.fetchall()]
    return batch if len(known) == len(ids) else batch[np.isin(batch["handle_id"], known)]


def copy_bytes(batch: Batch) -> bytes:
    """The batch as PostgreSQL's binary COPY of COPY_COLUMNS."""
    rows = np.empty(len(batch), dtype=_COPY_DTYPE)
    rows["fields"] = len(_COPY_FIELDS)
    for name, kind in _COPY_FIELDS:
        rows[f"{name}#"] = np.dtype(kind).itemsize
        rows[name] = batch[name] - _PG_EPOCH_US if name.endswith("_at") else batch[name]
    return _COPY_HEADER + rows.tobytes() + _COPY_TRAILER


def _handle_commit(batch: Batch, handle_id: int, sequence: int, fresh: int) -> HandleCommit:
    mine = batch[batch["handle_id"] == handle_id]
    starts = mine["occurred_at"] // _MINUTE_US * 60
    tweet_ids, place, sizes = np.unique(mine["tweet_id"], return_inverse=True, return_counts=True)
    pairs = np.unique(np.stack([place, starts]), axis=1)
    edges = np.searchsorted(pairs[0], np.arange(len(tweet_ids) + 1))
    tweets = {
        int(tweet_id): (int(sizes[n]), frozenset(pairs[1, edges[n] : edges[n + 1]].tolist()))
        for n, tweet_id in enumerate(tweet_ids)
    }
    received_at = datetime.fromtimestamp(int(mine["received_at"].max()) / 1e6, UTC)
    return HandleCommit(handle_id, sequence, fresh, received_at, frozenset(np.unique(starts).tolist()), tweets)


def _set_aside(shard: int, entry: stream.Entry, error: Exception) -> None:
    """Keep a poisoned entry where an admin sees it, and let the stream move on."""
    log.error("entry_set_aside", shard=shard, entry=entry.id, error=str(error))
    SetAsideEntry.objects.get_or_create(
        shard=shard,
        entry=entry.id,
        defaults={"payload": entry.payload, "error": f"{type(error).__name__}: {error}"},
    )


@cache
def _statement() -> str:
    template = Path(__file__).with_name("rollups.sql").read_text()
    columns = {
        "names": "{0}",
        "sums": "coalesce(sum(n) FILTER (WHERE type = {1}), 0) AS {0}",
        "totals": "sum({0}) AS {0}",
        "casts": "{0}::bigint",
        "handle_casts": "sum({0})::bigint",
        "increments": "{0} = kept.{0} + excluded.{0}",
    }
    for slot, shape in columns.items():
        text = ", ".join(shape.format(name, code) for code, name in enumerate(NAMES))
        template = template.replace(f"{{{slot}}}", text)
    return template


def _constants() -> dict[str, Any]:
    return {
        "minutes_since": minutes_since(),
        "first_snowflake": vocabulary.FIRST_SNOWFLAKE,
        "first_tweet_at": vocabulary.FIRST_TWEET_AT,
        "twitter_epoch_ms": vocabulary.TWITTER_EPOCH_MS,
    }
