"""Who saw and who engaged: the people that events name, kept as sketches. The second reader of a shard's stream.

A batch is a few seconds of the stream, so that each sketch it touches is read and written once. A person who is there
already changes nothing: so it does no harm that entries come again after a crash, in another order, or twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import structlog
from django.db import connection, transaction
from django.utils import timezone
from psycopg import Cursor

from metrics import stream
from metrics.aggregate.arrivals import Batch
from metrics.aggregate.rollups import POISON
from metrics.models import OF_HANDLE, Audience
from metrics.stream import Cargo, Group
from metrics.vocabulary import events as vocabulary
from metrics.vocabulary.engagements import CODE, TYPES
from metrics.vocabulary.periods import EPOCH, Grain
from metrics.vocabulary.sketches import Sketch, hours_since

log = structlog.get_logger(__name__)

GATHER_SECONDS: Final = 3.0
MOST_EVENTS: Final = 300_000
_TRIM_SECONDS: Final = 2.0
_ENTRIES_AT_ONCE: Final = 500
_HOUR_US, _DAY_US = 3_600_000_000, 86_400_000_000
# Any number that nobody else uses, with the shard: one at a time changes a shard's sketches.
_LOCK: Final = 7_701
_SQL: Final = Path(__file__).with_name("reach.sql").read_text()
_READ, _WRITE = (part.strip() for part in _SQL.split(";\n") if part.strip())
_IS_ENGAGEMENT: Final = np.asarray([kind.is_engagement for kind in TYPES])


class Key(NamedTuple):
    """What one stored sketch is of; `start` in Unix µs."""

    handle_id: int
    tweet_id: int
    grain: int
    start: int
    audience: int
    epoch: int


Buckets = dict[Key, Sketch]


class Writer:
    """The one writer of a shard's sketches; hold the shard's lease for the group while you use it."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        stream.open_groups(shard)
        self._held: list[stream.Entry] = []
        self._due_at = 0.0
        self._trim_at = 0.0
        self._backlog = self._pending()

    def step(self, block_ms: int) -> int:
        """Read what has come, and keep it once enough is held; returns how many events were kept."""
        now = time.monotonic()
        left_ms = round((self._due_at - now) * 1000) if self._held else block_ms
        entries = next(self._backlog, None)
        if entries is None:
            entries = stream.read(self.shard, _ENTRIES_AT_ONCE, min(block_ms, max(1, left_ms)), group=Group.REACH)
        if entries and not self._held:
            self._due_at = now + GATHER_SECONDS
        self._held += entries
        if self._held and (time.monotonic() >= self._due_at or self._held_records() >= MOST_EVENTS):
            return self.flush()
        if not self._held and time.monotonic() >= self._trim_at:
            self._trim()
        return 0

    def flush(self) -> int:
        """Keep what is held now; returns how many events that were."""
        if not self._held:
            return 0
        keep_what_can_be(self.shard, self._held)
        kept = self._held_records()
        stream.acknowledge(self.shard, self._held, Group.REACH)
        self._held = []
        self._trim()
        return kept

    def _trim(self) -> None:
        self._trim_at = time.monotonic() + _TRIM_SECONDS
        stream.trim(self.shard)

    def _held_records(self) -> int:
        return sum(entry.records for entry in self._held)

    def _pending(self) -> Iterator[list[stream.Entry]]:
        """What a writer that died had been handed."""
        after = "0"
        while entries := stream.read(self.shard, _ENTRIES_AT_ONCE, after=after, group=Group.REACH):
            after = entries[-1].id
            yield entries


def keep_what_can_be(shard: int, entries: Sequence[stream.Entry]) -> None:
    """Keep the entries together; when that cannot be, one by one, passing over those at fault. Raises OperationalError.

    The writer of rollups sets such entries aside, where an admin finds them; with `rebuild` their people come, too.
    """
    try:
        keep(shard, entries)
    except POISON as error:
        log.warning("people_one_by_one", shard=shard, entries=len(entries), error=str(error).strip())
        for entry in entries:
            _keep_alone(shard, entry)


def _keep_alone(shard: int, entry: stream.Entry) -> None:
    try:
        keep(shard, [entry])
    except POISON as error:
        log.error("entry_without_people", shard=shard, entry=entry.id, error=str(error).strip())


def keep(shard: int, entries: Iterable[stream.Entry]) -> None:
    """Put the people of the entries' events into their sketches; a repeat changes nothing. Raises DatabaseError."""
    add(shard, buckets(_events_of(entries), hours_since(timezone.now())))


def _events_of(entries: Iterable[stream.Entry]) -> Batch:
    payloads = (entry.payload for entry in entries if entry.cargo is Cargo.EVENTS)
    return np.concatenate([np.empty(0, dtype=vocabulary.PACKED_DTYPE), *map(vocabulary.unpack, payloads)])


def buckets(events: Batch, since: datetime) -> Buckets:
    """The sketches of events (handle_id, tweet_id, occurred_at, person, type, flags) by every key that holds them.

    By hour only from `since` on.
    """
    since_us = int(since.timestamp()) * 1_000_000
    found: Buckets = {}
    for fine, sketch in _by_hour(events):
        for tweet_id in (fine.tweet_id, OF_HANDLE):
            for grain, start in _starts(fine.start, since_us):
                key = fine._replace(tweet_id=tweet_id, grain=grain, start=start)
                found[key] = found[key] | sketch if key in found else sketch
    return found


def _starts(hour: int, since_us: int) -> Iterator[tuple[int, int]]:
    if hour >= since_us:
        yield Grain.HOUR, hour
    yield Grain.DAY, hour - hour % _DAY_US
    yield Grain.LIFETIME, 0


def _by_hour(events: Batch) -> Iterator[tuple[Key, Sketch]]:
    """One sketch for each Tweet, hour, audience and epoch."""
    is_seen = events["type"] == CODE["impressions"]
    named = (events["person"] != 0) & (is_seen | _IS_ENGAGEMENT[events["type"]])
    events, is_seen = events[named], is_seen[named]
    if not len(events):
        return
    hours = events["occurred_at"] // _HOUR_US
    audiences = np.where(is_seen, Audience.SEEN, Audience.ENGAGED)
    # One number for hour, epoch and audience: three keys to sort by instead of five.
    fine = hours << 8 | (events["flags"] >> 1).astype(np.int64) << 1 | audiences
    order = np.lexsort((fine, events["tweet_id"], events["handle_id"]))
    handles, tweets, fine = events["handle_id"][order], events["tweet_id"][order], fine[order]
    people = events["person"][order]
    changes = (handles[1:] != handles[:-1]) | (tweets[1:] != tweets[:-1]) | (fine[1:] != fine[:-1])
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(order)]
    for first, end in pairwise(edges):
        number = int(fine[first])
        key = Key(
            int(handles[first]), int(tweets[first]), Grain.HOUR, (number >> 8) * _HOUR_US, number & 1, number >> 1 & 127
        )
        yield key, Sketch.of(people[first:end].tolist())


def add(shard: int, fresh: Mapping[Key, Sketch]) -> int:
    """Merge the sketches into those that are stored; returns how many were changed by it. Raises DatabaseError."""
    if not fresh:
        return 0
    keys = sorted(fresh)
    with transaction.atomic():
        hold(shard)
        stored = read(keys)
        merged = {key: stored[key] | fresh[key] if key in stored else fresh[key] for key in keys}
        changed = {key: sketch for key, sketch in merged.items() if key not in stored or _differs(sketch, stored[key])}
        write(changed)
    return len(changed)


def _differs(merged: Sketch, stored: Sketch) -> bool:
    """Whether merging brought anything: more hashes, or smaller ones in place of the largest."""
    return merged.theta != stored.theta or len(merged.hashes) != len(stored.hashes)


def hold(shard: int) -> None:
    """Let nobody else change sketches of the shard until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, shard])


def read(keys: Sequence[Key]) -> Buckets:
    """Those of the sketches that exist."""
    with _cursor() as cursor:
        cursor.execute(_READ, _columns(keys), binary=True)
        return {keys[place - 1]: Sketch.from_bytes(data) for place, data in cursor}


def write(sketches: Mapping[Key, Sketch]) -> None:
    """Store the sketches in place of those that are there."""
    if not sketches:
        return
    with _cursor() as cursor:
        data = [sketch.to_bytes() for sketch in sketches.values()]
        cursor.execute(_WRITE, _columns(list(sketches)) | {"sketch": data})


@contextmanager
def _cursor() -> Iterator[Cursor[tuple[Any, ...]]]:
    """A cursor of psycopg's own on Django's connection: bytes come and go as they are, not as text."""
    connection.ensure_connection()
    # Errors are Django's own, so that a connection that broke is not used again.
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        yield cursor


def _columns(keys: Sequence[Key]) -> dict[str, list[object]]:
    """The keys as the statements take them: an array for each column."""
    columns: dict[str, list[object]] = dict(zip(Key._fields, map(list, zip(*keys, strict=True)), strict=True))
    return columns | {"start": [EPOCH + timedelta(microseconds=key.start) for key in keys]}
