"""The Redis Streams between the door and the writers: one for each shard, one entry for each accepted batch.

The only module that speaks Redis Streams. An entry's payload is a run of records, all events or all snapshots. Two
groups of writers read every entry: one counts it, one keeps who it were. Beside each stream stand counters, of records
added and of those that each group is done with, changed in the same transactions as the stream: their difference is
the group's backlog. An entry leaves the stream when both groups have acknowledged it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import redis
import redis.asyncio
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.lock import Lock
from redis.retry import Retry

from metrics.vocabulary.events import PACKED
from metrics.vocabulary.snapshots import SNAPSHOT_DTYPE

Lease = Lock
# A group has one writer a shard at a time, so its consumer needs no other name: who holds the lease takes over what is
# pending.
CONSUMER = "writer"
LEASE_SECONDS = 10


class StreamUnavailableError(Exception):
    """Redis did not take the batch; the sender may send it again."""


class Group(StrEnum):
    """Who reads the stream: the writers of rollups, and those of sketches of people."""

    ROLLUPS = "rollups"
    REACH = "reach"


class Cargo(StrEnum):
    """What an entry's records are: the name of its field in the stream."""

    EVENTS = "e"
    SNAPSHOTS = "s"

    def records(self, payload: bytes | bytearray) -> int:
        """How many records the payload holds."""
        return len(payload) // (PACKED.size if self is Cargo.EVENTS else SNAPSHOT_DTYPE.itemsize)


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted batch as it lies in a shard's stream."""

    id: str
    payload: bytes
    cargo: Cargo = Cargo.EVENTS

    @property
    def position(self) -> tuple[int, int]:
        """The id as a pair of numbers that sort in stream order."""
        return position(self.id)

    @property
    def arrived_us(self) -> int:
        """When Redis took the batch: its milliseconds, with its sequence as microseconds, in Unix microseconds."""
        return arrived_us(self.id)

    @property
    def records(self) -> int:
        """How many events or snapshots the batch holds."""
        return self.cargo.records(self.payload)


def position(entry_id: str) -> tuple[int, int]:
    """`"1700000000000-3"` → `(1700000000000, 3)`."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


def arrived_us(entry_id: str) -> int:
    """The entry's id as Unix microseconds, unique in its shard."""
    milliseconds, sequence = position(entry_id)
    return milliseconds * 1000 + sequence


def shard_of(handle_id: int) -> int:
    """The shard that carries a handle's events."""
    return handle_id % int(settings.SHARDS)


def shards() -> list[int]:
    """Every shard that needs writers: the configured ones, and former ones that still hold entries."""
    keys = client().scan_iter(match="events:*[0-9]", _type="stream")
    former = {int(key.rpartition(b":")[2]) for key in keys}
    return sorted({*range(settings.SHARDS), *(shard for shard in former if client().xlen(stream_key(shard)))})


def stream_key(shard: int) -> str:
    """The Redis key of a shard's stream."""
    return f"events:{shard}"


def _added_key(shard: int) -> str:
    return f"events:{shard}:added"


def _done_key(shard: int, group: Group = Group.ROLLUPS) -> str:
    return f"events:{shard}:{'applied' if group is Group.ROLLUPS else group}"


@cache
def client() -> redis.Redis:
    """This process's connection pool for the writers' side."""
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=10, health_check_interval=30)


def lease(shard: int, group: Group = Group.ROLLUPS) -> Lock:
    """The right to write a shard for a group: ends by itself when its holder dies."""
    lock: Lock = client().lock(f"lease:{group}:{shard}", timeout=LEASE_SECONDS, blocking=False, thread_local=False)
    return lock


def lease_token() -> str:
    """A token for `lease(…).acquire(token=…)` that tells who holds it: this machine's name and this process's id."""
    return f"{socket.gethostname()}:{os.getpid()} {secrets.token_hex(8)}"


def holder(shard: int, group: Group = Group.ROLLUPS) -> str | None:
    """Who writes the shard, as `"machine:pid"`; None when nobody does."""
    token: Any = client().get(lease(shard, group).name)
    return token.decode().partition(" ")[0] if token else None


def open_groups(shard: int) -> None:
    """Make the shard's stream and both its groups where they do not exist."""
    for group in Group:
        try:
            client().xgroup_create(stream_key(shard), group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        else:
            # A group that is younger than the stream finds what its elder still waits for.
            client().set(_done_key(shard, group), client().get(_done_key(shard)) or 0, nx=True)


def read(
    shard: int, count: int, block_ms: int | None = None, *, after: str | None = None, group: Group = Group.ROLLUPS
) -> list[Entry]:
    """Up to `count` entries: new ones once one is there, or, `after` an id, those handed out and not acknowledged."""
    answer: Any = client().xreadgroup(
        group, CONSUMER, {stream_key(shard): ">" if after is None else after}, count=count, block=block_ms
    )
    if not answer:
        return []
    batches = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer]
    return [_entry(entry_id, fields) for rows in batches for entry_id, fields in _rows(rows)]


def _entry(entry_id: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    """An entry as Redis tells it; one that was deleted while pending comes without fields."""
    name, payload = next(iter((fields or {b"e": b""}).items()))
    return Entry(entry_id.decode(), payload, Cargo(name.decode()))


def _rows(rows: Any) -> Iterable[tuple[bytes, dict[bytes, bytes] | None]]:
    """redis-py nests the rows once more under its newer protocol."""
    return rows[0] if rows and isinstance(rows[0], list) else rows


def acknowledge(shard: int, entries: Sequence[Entry], group: Group = Group.ROLLUPS) -> None:
    """Note that the group is done with these (applied, or set aside), and take them off its backlog."""
    with client().pipeline(transaction=True) as pipe:
        pipe.xack(stream_key(shard), group, *[entry.id for entry in entries])
        pipe.incrby(_done_key(shard, group), sum(entry.records for entry in entries))
        pipe.execute()


def trim(shard: int) -> None:
    """Let go of the entries that both groups are done with."""
    needed = min((_needed_from(shard, group) for group in Group), key=position)
    client().xtrim(stream_key(shard), minid=needed, approximate=False)


def _needed_from(shard: int, group: Group) -> str:
    """The first id that the group may still need: the oldest not acknowledged, or the one after the last handed out."""
    groups = {each["name"].decode(): each for each in client().xinfo_groups(stream_key(shard))}
    if group not in groups:
        return "0-0"
    pending = client().xpending(stream_key(shard), group)["min"] if groups[group]["pending"] else None
    # If all was acknowledged between the two questions, what was handed out by the first is done with.
    milliseconds, sequence = position(groups[group]["last-delivered-id"].decode())
    return pending.decode() if pending else f"{milliseconds}-{sequence + 1}"


def append(shard: int, payload: bytes, cargo: Cargo = Cargo.EVENTS) -> str:
    """Append one batch from a synchronous caller; returns the entry's id. Raises RedisError: nothing was taken then."""
    with client().pipeline(transaction=True) as pipe:
        pipe.xadd(stream_key(shard), {cargo: payload})
        pipe.incrby(_added_key(shard), cargo.records(payload))
        return str(pipe.execute()[0].decode())


def backlog(shard: int, group: Group = Group.ROLLUPS) -> int:
    """How many accepted records of the shard wait for the group."""
    added, done = client().mget(_added_key(shard), _done_key(shard, group))
    return int(added or 0) - int(done or 0)


def applied_events() -> int:
    """How many events of all configured shards were applied since Redis was first started."""
    return sum(int(value or 0) for value in client().mget([_done_key(shard) for shard in range(settings.SHARDS)]))


def oldest_waiting_us(shard: int, group: Group = Group.ROLLUPS) -> int | None:
    """When the oldest entry that waits for the group arrived (Unix µs); None when none does."""
    if not client().exists(stream_key(shard)):
        return None
    rows: Any = client().xrange(stream_key(shard), min=_needed_from(shard, group), count=1)
    return arrived_us(rows[0][0].decode()) if rows else None


def lag_seconds(shard: int, group: Group = Group.ROLLUPS) -> float:
    """How long the oldest entry that waits for the group has waited; 0 when none does."""
    waiting_us = oldest_waiting_us(shard, group)
    return 0.0 if waiting_us is None else max(0.0, time.time() - waiting_us / 1_000_000)


_Batch = tuple[Mapping[int, bytes], Cargo]


class Appender:
    """The door's side: appends the batches of many concurrent requests in one transaction with Redis.

    While one transaction is under way, the next batches pile up and share the one after it: so a busy door pays for
    one durable write many times less often than it answers.
    """

    def __init__(self) -> None:
        self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=10, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1)
        )
        self._waiting: list[tuple[_Batch, asyncio.Future[dict[int, str]]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._read_at = 0.0
        self._backlog = 0

    async def append(self, parts: Mapping[int, bytes], cargo: Cargo = Cargo.EVENTS) -> dict[int, str]:
        """Store one batch, `{shard: payload}`, whole or not at all; the entry ids come once Redis holds it durably."""
        stored: asyncio.Future[dict[int, str]] = asyncio.get_running_loop().create_future()
        self._waiting.append(((parts, cargo), stored))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await stored

    async def backlog(self) -> int:
        """Records of all shards that wait for the group that is further behind; at most half a second old."""
        now = asyncio.get_running_loop().time()
        if now - self._read_at > 0.5:
            self._read_at = now
            shards = range(settings.SHARDS)
            keys = [*map(_added_key, shards), *(_done_key(shard, group) for group in Group for shard in shards)]
            try:
                values = [int(value or 0) for value in await self._redis.mget(keys)]
            except RedisError as error:
                self._read_at = 0.0
                raise StreamUnavailableError(str(error)) from error
            added, *done = (sum(values[at : at + len(shards)]) for at in range(0, len(values), len(shards)))
            self._backlog = added - min(done)
        return self._backlog

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                ids = await self._store([waiting for waiting, _ in batch])
            except (RedisError, OSError) as error:
                for _, stored in batch:
                    if not stored.done():
                        stored.set_exception(StreamUnavailableError(str(error)))
                continue
            for (_, stored), entry_ids in zip(batch, ids, strict=True):
                if not stored.done():
                    stored.set_result(entry_ids)

    async def _store(self, batch: list[_Batch]) -> list[dict[int, str]]:
        added: dict[int, int] = {}
        async with self._redis.pipeline(transaction=True) as pipe:
            for parts, cargo in batch:
                for shard, payload in parts.items():
                    pipe.xadd(stream_key(shard), {cargo: payload})
                    added[shard] = added.get(shard, 0) + cargo.records(payload)
            for shard, records in added.items():
                pipe.incrby(_added_key(shard), records)
            answers = iter(await pipe.execute())
        return [{shard: next(answers).decode() for shard in parts} for parts, _ in batch]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
