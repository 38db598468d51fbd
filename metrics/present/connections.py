"""One open stream: what waits to be sent, and whether its reader keeps up.

Nothing here waits for a reader but the stream's own task. What waits is bounded: a reader that falls behind by more is
ended cleanly, so that it cannot slow the others.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from django.conf import settings

from metrics.present.feeds import Feed
from metrics.present.readers import Reader

log = structlog.get_logger(__name__)

Send = Callable[[dict[str, Any]], Awaitable[None]]
# One write takes so much at most, so that a slow reader is noticed between two of them.
MOST_AT_ONCE = 262_144
# How long a reader that fell behind may take to read what the server's buffers hold, before it is cut off.
LAST_WORDS_SECONDS = 30.0


class Valve:
    """Whether the server's own buffer towards the reader has room, told by Twisted's flow control.

    Under Daphne `send` returns at once, however much the reader has left unread; under other servers it waits by
    itself, and the valve stays open.
    """

    def __init__(self, send: Send, opened: Callable[[], None]) -> None:
        self.is_open = True
        self._opened = opened
        # Daphne's request is what it fills in first; under uvicorn `send` is a method of the request.
        request: Any = send.args[0] if isinstance(send, partial) and send.args else getattr(send, "__self__", None)
        self._transport: Any = getattr(request, "transport", None)
        self._producing: Any = None
        if hasattr(request, "registerProducer") and request.channel is not None:
            request.registerProducer(self, streaming=True)
            self._producing = request

    def pauseProducing(self) -> None:  # noqa: N802  Twisted's name
        """The buffer is full."""
        self.is_open = False

    def resumeProducing(self) -> None:  # noqa: N802  Twisted's name
        """There is room again."""
        self.is_open = True
        self._opened()

    def stopProducing(self) -> None:  # noqa: N802  Twisted's name
        """The connection is gone; the server says so by `http.disconnect` too."""

    def close(self) -> None:
        """Hear no more of it; Twisted wants this before the answer ends."""
        producing, self._producing = self._producing, None
        if producing and producing.channel is not None:
            producing.unregisterProducer()

    def cut(self) -> None:
        """Break the connection off with all that its buffers hold."""
        abort = getattr(self._transport, "abortConnection", None) or getattr(self._transport, "abort", None)
        if abort:
            abort()


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that wait, since when (monotonic seconds), and how many summaries they hold."""

    lines: bytes
    summaries: int
    since: float


class Connection:
    """A reader's open stream."""

    def __init__(self, reader: Reader, interval: float) -> None:
        self.reader, self.interval = reader, interval
        self.feeds: dict[int, Feed] = {}
        """By handle."""
        self.ending: str | None = None
        """Why the stream ends, once it does."""
        self._pieces: deque[Piece] = deque()
        self._waiting = 0
        self._since: float | None = None
        """When the oldest of what is being sent came, while the server waits for the reader (monotonic seconds)."""
        self._is_gone = False
        self._wake, self._ended = asyncio.Event(), asyncio.Event()
        # What is replayed before the stream runs is no sign of a slow reader.
        self._bound = math.inf

    def put(self, lines: bytes, summaries: int = 0) -> None:
        """Take lines to send; never waits."""
        if self.ending:
            return
        # Asked before the lines are added: one long message is no sign of a slow reader either.
        if self._waiting > self._bound:
            log.warning("stream_reader_too_slow", **self.reader.told, waiting_bytes=self._waiting)
            self.end("too slow")
            return
        self._pieces.append(Piece(lines, summaries, time.monotonic()))
        self._waiting += len(lines)
        self._wake.set()

    def end(self, why: str) -> None:
        """Let the stream end; what waits is dropped."""
        self.ending = self.ending or why
        self._pieces.clear()
        self._ended.set()

    def leave(self) -> None:
        """The reader has gone."""
        self._is_gone = True
        self.end("the reader left")
        self._wake.set()

    def standing(self, now: datetime) -> Reader:
        """The reader with what has been sent so far and what waits."""
        self.reader.waiting_bytes = self._waiting
        since = self._since or (self._pieces[0].since if self._pieces else time.monotonic())
        self.reader.lag_ms = round((time.monotonic() - since) * 1000)
        self.reader.seen_at = now
        return self.reader

    async def run(self, send: Send) -> None:
        """Send what comes until the stream ends, then end the body properly. Raises TimeoutError: cut off."""
        valve = Valve(send, self._wake.set)
        self._bound = settings.STREAM_BUFFER_BYTES + self._waiting
        tasks = [asyncio.create_task(self._write(send, valve)), asyncio.create_task(self._ended.wait())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            for task in tasks:
                task.cancel()
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._finish(send, valve)
        except TimeoutError:
            valve.cut()
            raise
        finally:
            for task in tasks:
                task.cancel()
            valve.close()

    async def _finish(self, send: Send, valve: Valve) -> None:
        """End the body once the reader has taken the rest: one that takes nothing must not be waited for for ever."""
        while not (valve.is_open or self._is_gone):
            self._wake.clear()
            await self._wake.wait()
        valve.close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send, valve: Valve) -> None:
        while True:
            if self._pieces and valve.is_open:
                await self._send_some(send)
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _send_some(self, send: Send) -> None:
        lines, summaries, self._since = bytearray(), 0, self._pieces[0].since
        while self._pieces and len(lines) < MOST_AT_ONCE:
            piece = self._pieces.popleft()
            lines += piece.lines
            summaries += piece.summaries
        await send({"type": "http.response.body", "body": bytes(lines), "more_body": True})
        self._waiting, self._since = self._waiting - len(lines), None
        self.reader.bytes_sent += len(lines)
        self.reader.summaries += summaries
