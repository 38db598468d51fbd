"""Who reads a stream right now: a registry in Redis, renewed by the process that serves the reader.

An entry that nobody renews is forgotten after ten seconds, so a killed process leaves no ghosts.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import msgspec
import redis.asyncio
from django.conf import settings

from metrics import stream

SECONDS = 10
_encode = msgspec.json.Encoder().encode


class Reader(msgspec.Struct):
    """An open stream: whose token, what, since when, how much it has had, and how far it is behind."""

    id: str
    token_id: int
    token_name: str
    team_id: int
    label: str
    address: str
    since: datetime
    seen_at: datetime
    bytes_sent: int = 0
    summaries: int = 0
    waiting_bytes: int = 0
    lag_ms: int = 0

    @property
    def told(self) -> dict[str, Any]:
        """What a log line says about it."""
        return {"token": self.token_name, "team_id": self.team_id, "label": self.label, "address": self.address}


_decode = msgspec.json.Decoder(Reader).decode


def connected(team_id: int) -> list[Reader]:
    """The team's readers, in all processes, the longest connected first."""
    with stream.client().pipeline(transaction=False) as pipe:
        pipe.zrangebyscore(_expiries(team_id), time.time(), "+inf")
        pipe.hgetall(_entries(team_id))
        alive, entries = pipe.execute()
    if ghosts := entries.keys() - set(alive):
        stream.client().hdel(_entries(team_id), *ghosts)
    found = [_decode(entries[member]) for member in alive if member in entries]
    return sorted(found, key=lambda reader: reader.since)


class Registry:
    """This process's side: notes its own readers."""

    def __init__(self) -> None:
        self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(settings.REDIS_URL)

    async def admit(self, reader: Reader) -> bool:
        """Note a new reader, unless its token has as many as it may. Raises RedisError."""
        now, mine = time.time(), f"readers:token:{reader.token_id}"
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(mine, "-inf", now)
            pipe.zadd(mine, {reader.id: now + SECONDS})
            pipe.zcard(mine)
            pipe.expire(mine, SECONDS)
            number = (await pipe.execute())[2]
        if number > settings.STREAM_CONNECTIONS_PER_TOKEN:
            await self._redis.zrem(mine, reader.id)
            return False
        await self.renew([reader])
        return True

    async def renew(self, readers: list[Reader]) -> None:
        """Keep these readers known, with few commands for many of them. Raises RedisError."""
        ends_at = time.time() + SECONDS
        expiries: dict[str, dict[str, float]] = {}
        entries: dict[str, dict[Any, Any]] = {}  # as redis-py types it
        for reader in readers:
            for key in (f"readers:token:{reader.token_id}", _expiries(reader.team_id)):
                expiries.setdefault(key, {})[reader.id] = ends_at
            entries.setdefault(_entries(reader.team_id), {})[reader.id] = _encode(reader)
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, ends in expiries.items():
                pipe.zadd(key, ends)
            for key, told in entries.items():
                pipe.hset(key, mapping=told)
            for key in (*expiries, *entries):
                pipe.expire(key, SECONDS)
            await pipe.execute()

    async def forget(self, reader: Reader) -> None:
        """A reader has gone. Raises RedisError."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zrem(f"readers:token:{reader.token_id}", reader.id)
            pipe.zrem(_expiries(reader.team_id), reader.id)
            pipe.hdel(_entries(reader.team_id), reader.id)
            await pipe.execute()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _expiries(team_id: int) -> str:
    return f"readers:team:{team_id}"


def _entries(team_id: int) -> str:
    return f"readers:team:{team_id}:entries"
