"""Events and snapshots become rollups exactly once: the writer of one shard.

A micro-batch is whatever has piled up in the shard's stream, up to `BATCH_EVENTS`. Its events are counted by the
statement in `fold.sql`, its snapshots by what they say beyond that; the shard's cursor moves in the same transaction.
Only then is it acknowledged. So after a crash at any point an entry is either not applied, and comes again, or
applied, and adds nothing when it comes again.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import structlog
from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from metrics import stream
from metrics.aggregate import events, inferred, partitions, snapshots
from metrics.aggregate.binary import Records
from metrics.aggregate.fold import HandleCommit
from metrics.models import SetAsideEntry, StreamCursor
from metrics.stream import Cargo
from metrics.vocabulary.snapshots import Finding

log = structlog.get_logger(__name__)

# A commit of few events costs nearly as much as one of many, so under a steady trickle they gather for a moment.
GATHER_SECONDS = 0.025
# How an entry at fault shows itself, in contrast to a database that is away.
POISON = (ValueError, OverflowError, DataError, IntegrityError)


@dataclass(frozen=True, slots=True)
class Applied:
    """One micro-batch: how many records it held, how many of its events were new, when they had arrived (Unix µs).

    `handles` are the commits of each handle, in their order; `findings` what was odd about the snapshots.
    """

    events: int
    fresh: int
    arrivals_us: tuple[int, ...]
    handles: tuple[HandleCommit, ...]
    findings: tuple[Finding, ...] = ()


class Writer:
    """The one writer of a shard; hold the shard's lease while you use it."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self._weight_per_entry = 100.0
        self._read: deque[stream.Entry] = deque()
        self._not_before = 0.0
        # Retention, elsewhere, may have dropped days that this process knew: a late event of theirs makes them anew.
        partitions.forget()
        stream.open_groups(shard)
        StreamCursor.objects.get_or_create(shard=shard)
        self._backlog = self._pending()

    def step(self, block_ms: int) -> Applied | None:
        """Apply what has piled up, waiting at most `block_ms` for the first entry; None when nothing came."""
        time.sleep(max(0.0, self._not_before - time.monotonic()))
        if not self._read:
            self._read.extend(self._entries(block_ms))
        if not self._read:
            return None
        entries = self._batch()
        applied = apply(self.shard, entries)
        stream.acknowledge(self.shard, entries)
        held = sum(map(_weight, entries)) / len(entries)
        self._weight_per_entry += (held - self._weight_per_entry) / 4
        return applied

    def _entries(self, block_ms: int) -> list[stream.Entry]:
        wanted = max(1, min(2_000, round(int(settings.BATCH_EVENTS) / max(1.0, self._weight_per_entry))))
        entries = next(self._backlog, None) or stream.read(self.shard, wanted, block_ms)
        # The first after a silence is applied at once, and so is what has piled up.
        is_trickle = bool(entries) and len(entries) < wanted // 4
        self._not_before = time.monotonic() + GATHER_SECONDS if is_trickle else 0.0
        return entries

    def _batch(self) -> list[stream.Entry]:
        """The next entries that were read, as many as one transaction may carry."""
        entries = [self._read.popleft()]
        room = 2 * int(settings.BATCH_EVENTS) - _weight(entries[0])
        while self._read and (room := room - _weight(self._read[0])) >= 0:
            entries.append(self._read.popleft())
        return entries

    def _pending(self) -> Iterator[list[stream.Entry]]:
        """What a writer that died had been handed, in small batches."""
        while entries := stream.read(self.shard, 20, after="0"):
            yield entries


def _weight(entry: stream.Entry) -> int:
    """How many events would cost as much as the entry."""
    return entry.records * (snapshots.WEIGHT if entry.cargo is Cargo.SNAPSHOTS else 1)


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
        tuple(finding for part in parts for finding in part.findings),
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
    load = _Load([stream.Entry(aside.entry, bytes(aside.payload), Cargo(aside.cargo))])
    with transaction.atomic():
        list(StreamCursor.objects.select_for_update().order_by("shard"))
        if not SetAsideEntry.objects.filter(pk=aside.pk, applied_at=None).update(applied_at=timezone.now()):
            return ()
        return load.count()[0]


def _apply_together(shard: int, entries: Sequence[stream.Entry]) -> Applied:
    load = _Load(entries)
    with transaction.atomic():
        cursor = StreamCursor.objects.select_for_update().get(shard=shard)
        done = stream.position(cursor.last_entry)
        fresh_entries = [entry for entry in entries if entry.position > done]
        records = sum(entry.records for entry in fresh_entries)
        if len(fresh_entries) < len(entries):
            # Counted before, or overtaken: read by a writer that stood still until its lease was another's. Events
            # and snapshots tell by themselves which, as each counts once.
            log.info("entries_again", shard=shard, entries=len(entries) - len(fresh_entries))
        handles, findings = load.count()
        if fresh_entries:
            cursor.last_entry = fresh_entries[-1].id
            cursor.applied_events += records
            cursor.applied_at = timezone.now()
            cursor.save()
    arrivals = tuple(entry.arrived_us for entry in fresh_entries)
    return Applied(records, sum(handle.fresh for handle in handles), arrivals, handles, findings)


class _Load:
    """What entries carry: their events and their snapshots. Raises one of POISON when one cannot be read."""

    def __init__(self, entries: Sequence[stream.Entry]) -> None:
        self._events = events.batch_of([entry for entry in entries if entry.cargo is Cargo.EVENTS])
        self._snapshots = snapshots.batch_of([entry for entry in entries if entry.cargo is Cargo.SNAPSHOTS])
        events.ensure_partitions(self._events)
        snapshots.ensure_partitions(self._snapshots)

    def count(self) -> tuple[tuple[HandleCommit, ...], tuple[Finding, ...]]:
        """Count it inside the caller's transaction, which holds the shard's cursor.

        Events first: so a snapshot of the same moment finds them, and infers nothing.
        """
        named = np.concatenate([self._events["handle_id"], self._snapshots["handle_id"]])
        ids = np.unique(named).tolist()
        newest = _known_handles(ids)
        told, said = self._events, self._snapshots
        if len(newest) < len(ids):
            told, said = _of(newest, told), _of(newest, said)
        absorbed = inferred.absorb(told, {handle: as_of for handle, as_of in newest.items() if as_of})
        counted = events.count(told)
        added, findings = snapshots.count(said)
        return (*absorbed, *counted, *added), findings


def _of(known: Collection[int], batch: Records) -> Records:
    """The records of those handles."""
    return batch[np.isin(batch["handle_id"], list(known))]


def _known_handles(ids: list[int]) -> dict[int, int]:
    """Those handles that have not been deleted since, with their youngest inferred count (as of, Unix µs; or 0)."""
    if not ids:
        return {}
    newest = "extract(epoch FROM (SELECT max(as_of) FROM metrics_inferredcount WHERE handle_id = id))"
    query = (
        f"SELECT id, coalesce({newest} * 1000000, 0)::bigint"  # noqa: S608  nothing of it comes from outside
        " FROM accounts_handle WHERE id = ANY(%s) FOR KEY SHARE"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, [ids])
        return dict(cursor.fetchall())


def _set_aside(shard: int, entry: stream.Entry, error: Exception) -> None:
    """Keep a poisoned entry where an admin sees it, and let the stream move on."""
    log.error("entry_set_aside", shard=shard, entry=entry.id, error=str(error))
    SetAsideEntry.objects.get_or_create(
        shard=shard,
        entry=entry.id,
        defaults={"cargo": entry.cargo, "payload": entry.payload, "error": f"{type(error).__name__}: {error}"},
    )
