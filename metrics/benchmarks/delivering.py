"""The load of `benchmark webhook`: signed deliveries over keep-alive connections, in a process of their own."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe

import msgspec

from metrics.benchmarks.posting import Connection, connect
from metrics.ingest.webhook_signature import SIGNATURE, signature

CONNECTIONS = 64
SECRET = "the consumer secret of a benchmark"  # noqa: S105  it opens nothing but the benchmark's own webhook
AGAIN_EVERY = 10
"""Every so many deliveries one comes twice, as X's do."""


@dataclass(frozen=True)
class DeliveryPlan:
    """What the load process sends: signed likes of these Tweets, as fast as they are answered."""

    host: str
    port: int
    path: str
    owner: str
    tweets: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Delivered:
    """What came of it: different likes, and each answer's seconds."""

    likes: int
    took: list[float]


def deliver(plan: DeliveryPlan, pipe: Pipe) -> None:
    """A worker: deliver as fast as the door answers; result `Delivered`."""
    gc.disable()
    asyncio.run(_deliver(plan, pipe))


async def _deliver(plan: DeliveryPlan, pipe: Pipe) -> None:
    connections = [await connect(plan.host, plan.port) for _ in range(CONNECTIONS)]
    pipe.send("ready")
    ends_at = pipe.recv() + plan.seconds
    numbers = itertools.count()
    parts = await asyncio.gather(*(_keep_delivering(plan, each, numbers, ends_at) for each in connections))
    for each in connections:
        each.close()
    pipe.send(Delivered(next(numbers), [took for part in parts for took in part]))


async def _keep_delivering(
    plan: DeliveryPlan, connection: Connection, numbers: Iterator[int], ends_at: float
) -> list[float]:
    took = []
    while time.monotonic() < ends_at:
        number = next(numbers)
        request = _request(plan, number)
        for _ in range(1 if number % AGAIN_EVERY else 2):
            began = time.monotonic()
            status, answer = await connection.ask(request)
            took.append(time.monotonic() - began)
            if status != 200:
                raise RuntimeError(f"the door answered: {answer[:1000].decode(errors='replace')}")
    return took


def _request(plan: DeliveryPlan, number: int) -> bytes:
    like = {
        "id": f"{number:032x}",
        "timestamp_ms": int(datetime.now(UTC).timestamp() * 1000),
        "favorited_status": {
            "id_str": str(plan.tweets[number % len(plan.tweets)]),
            "user": {"id_str": "1", "screen_name": plan.owner},
        },
        "user": {"id_str": str(2 + number % 1000), "screen_name": "somebody"},
    }
    body = msgspec.json.encode({"for_user_id": "1", "favorite_events": [like]})
    lines = (
        f"POST {plan.path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n{SIGNATURE.decode()}: {signature(SECRET, body)}"
        f"\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return lines.encode() + body
