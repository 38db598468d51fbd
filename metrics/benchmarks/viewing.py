"""The viewers: websocket clients that note when which total reached them, in a process of their own."""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

_TEXT, _CLOSE, _PING = 1, 8, 9
_CONNECTING = 25  # handshakes under way at a time


@dataclass(frozen=True)
class ViewPlan:
    """How many sockets of this process follow which handle, in whose session."""

    host: str
    port: int
    session_cookie: str
    handle: str
    viewers: int


@dataclass(frozen=True)
class Seen:
    """Each socket's frames in order of arrival: (impressions of the handle's lifetime, monotonic seconds)."""

    sockets: list[list[tuple[int, float]]]
    closed: int


class Viewer(asyncio.Protocol):
    """One socket: as much of RFC 6455 as a client that only listens needs."""

    def __init__(self, plan: ViewPlan) -> None:
        self._plan = plan
        self._buffer = b""
        self._is_open = False
        self.frames: list[tuple[int, float]] = []
        self.is_closed = False
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  what create_connection gives
        self._transport = transport
        plan = self._plan
        transport.write(
            f"GET /ws/live/?handle={plan.handle} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n"
            f"Origin: http://{plan.host}:{plan.port}\r\nCookie: {plan.session_cookie}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self._buffer = self._buffer + data if self._buffer else data
        if not self._is_open:
            self._shake_hands()
        while self._is_open and (frame := self._next_frame()):
            opcode, payload = frame
            if opcode == _TEXT:
                self._note(payload, now)
            elif opcode == _PING:
                # Masked with zeros, as a client's frames must be.
                self._transport.write(bytes([0x8A, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
            elif opcode == _CLOSE:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionError(f"the server closed a socket: {exc}"))

    def close(self) -> None:
        self._transport.close()

    def _shake_hands(self) -> None:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self.greeted.set_exception(RuntimeError(f"no websocket: {head[:300].decode(errors='replace')}"))
            self._transport.close()
            return
        self._is_open, self._buffer = True, rest

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + length:
            return None
        self._buffer = buffer[start + length :]
        return buffer[0] & 0x0F, buffer[start : start + length]

    def _note(self, payload: bytes, now: float) -> None:
        if payload.startswith(b'{"kind":"frame"'):
            self.frames.append((lifetime_impressions(payload), now))
        elif payload.startswith(b'{"kind":"hello"') and not self.greeted.done():
            self.greeted.set_result(None)


def lifetime_impressions(frame: bytes) -> int:
    """The first number of the handle's lifetime totals, found without decoding the frame; 0 where all are zero."""
    start = frame.index(b'"lifetime":[[') + 13
    digits = frame[start : start + 20].partition(b",")[0]
    return int(digits) if digits.isdigit() else 0


def watch(plan: ViewPlan, pipe: Pipe) -> None:
    """A worker: follow the handle until told to stop; result `Seen`."""
    gc.disable()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_watch(plan, pipe))


async def _watch(plan: ViewPlan, pipe: Pipe) -> None:
    loop = asyncio.get_running_loop()
    gate = asyncio.Semaphore(_CONNECTING)

    async def open_one() -> Viewer:
        async with gate:
            _, viewer = await loop.create_connection(lambda: Viewer(plan), plan.host, plan.port)
            await viewer.greeted
            return viewer

    viewers = await asyncio.gather(*(open_one() for _ in range(plan.viewers)))
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    closed = sum(viewer.is_closed for viewer in viewers)
    for viewer in viewers:
        viewer.close()
    pipe.send(Seen([viewer.frames for viewer in viewers], closed))
