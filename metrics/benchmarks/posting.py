"""The senders: keep-alive connections that post prepared bodies, in a process of their own."""

from __future__ import annotations

import asyncio
import gc
import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

from metrics.benchmarks.bodies import Template

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"retry-after: *(\d+)", re.IGNORECASE)
BUSY = (429, 503)


@dataclass(frozen=True)
class Load:
    """Where posts go, with whose token, and what they hold: runs of `events` over these Tweets."""

    host: str
    port: int
    token: str
    run: str
    tweets: tuple[int, ...]
    events: int


@dataclass(frozen=True)
class SendPlan(Load):
    """What one process sends: bodies of `events`, of one event each when `single`, over some connections."""

    connections: int
    seconds: float
    single: bool = False


@dataclass(frozen=True)
class Sent:
    """What came of it: posts that were answered 202, and how often the door asked to wait."""

    posts: int
    waits: int


@dataclass(frozen=True)
class DripPlan(Load):
    """Posts of `events` impressions on a timetable, each to the next of `parts` equal parts of the Tweets."""

    every: float
    posts: int
    parts: int = 1


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what create_connection gives
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        length = _LENGTH.search(self._buffer, 0, end + 2)
        if length and len(self._buffer) >= end + 4 + int(length[1]):
            answer, self._buffer, waiting = self._buffer, b"", self._answer
            self._answer = None
            waiting.set_result((int(answer[9:12]), answer))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(f"the server closed a connection: {exc}"))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """The answer's status and whole text."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self._transport.close()


async def connect(host: str, port: int) -> Connection:
    """A connection to the front door."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection


def head(host: str, port: int, token: str) -> bytes:
    """A post's request line and headers, up to the value of Content-Length."""
    return (
        f"POST /api/v1/events HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()


async def post(connection: Connection, request: bytes, events: int) -> int:
    """Post until the door has taken all events; returns how often it asked to wait. Raises RuntimeError otherwise."""
    waits = 0
    while True:
        status, answer = await connection.ask(request)
        if status == 202 and b'"accepted":%d,' % events in answer:
            return waits
        if status not in BUSY:
            raise RuntimeError(f"the door answered: {answer[:1000].decode(errors='replace')}")
        asked = _RETRY_AFTER.search(answer)
        await asyncio.sleep(float(asked[1]) if asked else 1.0)
        waits += 1


def send(plan: SendPlan, pipe: Pipe) -> None:
    """A worker: post as fast as the door answers; result `Sent`."""
    gc.disable()
    asyncio.run(_send(plan, pipe))


async def _send(plan: SendPlan, pipe: Pipe) -> None:
    template = Template(plan.run, plan.tweets, plan.events)
    connections = [await connect(plan.host, plan.port) for _ in range(plan.connections)]
    pipe.send("ready")
    ends_at = pipe.recv() + plan.seconds
    numbers = itertools.count()
    body = template.single if plan.single else template.body
    events = 1 if plan.single else plan.events
    first = head(plan.host, plan.port, plan.token)
    parts = await asyncio.gather(*(_keep_posting(each, first, body, events, numbers, ends_at) for each in connections))
    for each in connections:
        each.close()
    pipe.send(Sent(sum(posts for posts, _ in parts), sum(waits for _, waits in parts)))


async def _keep_posting(
    connection: Connection,
    first: bytes,
    body: Callable[[int], bytes],
    events: int,
    numbers: Iterator[int],
    ends_at: float,
) -> tuple[int, int]:
    posts = waits = 0
    while time.monotonic() < ends_at:
        text = body(next(numbers))
        waits += await post(connection, b"%s%d\r\n\r\n%s" % (first, len(text), text), events)
        posts += 1
    return posts, waits


def drip(plans: Sequence[DripPlan], pipe: Pipe) -> None:
    """A worker: post on the timetables; result: when each post was due (monotonic seconds), for each plan."""
    gc.disable()
    asyncio.run(_drip(plans, pipe))


async def _drip(plans: Sequence[DripPlan], pipe: Pipe) -> None:
    connections = [await connect(plan.host, plan.port) for plan in plans]
    pipe.send("ready")
    began = pipe.recv()
    pairs = zip(plans, connections, strict=True)
    pipe.send(await asyncio.gather(*(_keep_dripping(plan, connection, began) for plan, connection in pairs)))


async def _keep_dripping(plan: DripPlan, connection: Connection, began: float) -> list[float]:
    parts = [plan.tweets[part :: plan.parts] for part in range(plan.parts)]
    templates = [Template(plan.run, part, plan.events, only_impressions=True) for part in parts]
    first = head(plan.host, plan.port, plan.token)
    due = [began + number * plan.every for number in range(plan.posts)]
    for number, at in enumerate(due):
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        text = templates[number % plan.parts].body(number)
        # One connection keeps the order. A post that starts late still counts from when it was due.
        await post(connection, b"%s%d\r\n\r\n%s" % (first, len(text), text), plan.events)
    connection.close()
    return due
