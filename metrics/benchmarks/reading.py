"""The readers of streams: connections that note when which total of a Tweet reached them, in a process of their own."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

# Streams that are being opened at a time.
_OPENING = 25
_BEGINS = b'{"summary_event":{"target":{"id_str":"'
_IMPRESSIONS = b'"impressions":{"total":{"count":'
Arrivals = dict[int, list[tuple[int, float]]]


@dataclass(frozen=True)
class ReadPlan:
    """One stream: where it is, and with which token."""

    host: str
    port: int
    path: str
    token: str


@dataclass(frozen=True)
class Read:
    """What one stream brought: for each Tweet its summaries in order of arrival, (impressions, monotonic seconds)."""

    path: str
    tweets: Arrivals
    bytes_read: int
    is_closed: bool


class Reader(asyncio.Protocol):
    """One open stream. Chunks are not counted out: each of ours holds whole lines, and its length is a line as well."""

    def __init__(self, plan: ReadPlan) -> None:
        self.plan = plan
        self._rest = b""
        self.tweets: Arrivals = {}
        self.bytes_read = 0
        self.is_closed = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what create_connection gives
        self.transport = transport
        plan = self.plan
        transport.write(
            f"GET {plan.path} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n"
            f"Authorization: Bearer {plan.token}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self.bytes_read += len(data)
        lines = (self._rest + data).split(b"\r\n")
        self._rest = lines.pop()
        if not self.opened.done():
            self._open(lines[0])
        for line in lines:
            if line.startswith(_BEGINS):
                tweet_id, impressions = numbers(line)
                self.tweets.setdefault(tweet_id, []).append((impressions, now))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"the server closed a stream: {exc}"))

    def _open(self, status: bytes) -> None:
        if b" 200 " in status:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(RuntimeError(f"no stream: {status.decode(errors='replace')}"))


def numbers(line: bytes) -> tuple[int, int]:
    """A summary's Tweet and its impressions, found without decoding the rest."""
    ends = line.index(b'"', len(_BEGINS))
    at = line.index(_IMPRESSIONS, ends) + len(_IMPRESSIONS)
    return int(line[len(_BEGINS) : ends]), int(line[at : line.index(b"}", at)])


def read(plans: Sequence[ReadPlan], pipe: Pipe) -> None:
    """A worker: follow the streams until told to stop; result: a `Read` for each."""
    gc.disable()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_read(plans, pipe))


async def _read(plans: Sequence[ReadPlan], pipe: Pipe) -> None:
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(_OPENING)

    async def open_one(plan: ReadPlan) -> Reader:
        async with gate:
            _, reader = await loop.create_connection(lambda: Reader(plan), plan.host, plan.port)
            await reader.opened
            return reader

    readers = await asyncio.gather(*map(open_one, plans))
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    found = [Read(reader.plan.path, reader.tweets, reader.bytes_read, reader.is_closed) for reader in readers]
    for reader in readers:
        reader.transport.close()
    pipe.send(found)
