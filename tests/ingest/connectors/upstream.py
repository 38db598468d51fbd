"""A server of InsightsTrack streams for tests: it says what a test tells it, and breaks the way that real ones do."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.stack import eventually

if TYPE_CHECKING:
    from types import TracebackType

PATH = "insightstrack/accounts/acct/publishers/twitter/prod.json"
_OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """What a reader asked for."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class Upstream:
    """A context manager; every stream that is open hears what is said."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.requests: list[Request] = []
        """Of streams, in order."""
        self.refusals: deque[tuple[int, dict[str, str]]] = deque()
        """Status and headers for the next readers, before any is let in again."""
        self.rules: list[str] | None = None
        """The handles that are followed; None: the rules cannot be read."""
        self.greeting = b"\r\n"
        self._streams: list[socket.socket] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The stream's address."""
        return f"http://127.0.0.1:{self.port}/stream/{PATH}"

    def __enter__(self) -> Upstream:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def is_read(self, times: int = 1) -> None:
        """Wait until the stream has been opened so often and is open now."""
        eventually(lambda: len(self.requests) >= times and bool(self._streams), 15, f"the stream is opened {times}×")

    def say(self, *messages: dict[str, Any]) -> None:
        """One chunk with these messages, a line each."""
        self.write(b"".join(json.dumps(message).encode() + b"\r\n" for message in messages))

    def write(self, data: bytes) -> None:
        """One chunk with these bytes."""
        self._send(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """End the body properly."""
        self._send(b"0\r\n\r\n")
        self._drop(abruptly=False)

    def cut(self) -> None:
        """Break off without a goodbye."""
        self._drop(abruptly=True)

    def _send(self, data: bytes) -> None:
        with self._lock:
            for stream in self._streams:
                with suppress(OSError):
                    stream.sendall(data)

    def _drop(self, abruptly: bool) -> None:
        with self._lock:
            streams, self._streams = self._streams, []
        for stream in streams:
            if abruptly:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        text = b""
        while b"\r\n\r\n" not in text:
            text += client.recv(65_536)
        request = _request(text.decode())
        if request.path.startswith("/rules/"):
            return _finish(client, *self._told_rules())
        self.requests.append(request)
        if self.refusals:
            status, headers = self.refusals.popleft()
            return _finish(client, status, headers, b"{}")
        client.sendall(_OPEN)
        client.sendall(b"%x\r\n%b\r\n" % (len(self.greeting), self.greeting))
        with self._lock:
            self._streams.append(client)
        return None

    def _told_rules(self) -> tuple[int, dict[str, str], bytes]:
        if self.rules is None:
            return 404, {}, b"{}"
        return 200, {}, json.dumps({"rules": [{"value": name, "tag": None, "id": 1} for name in self.rules]}).encode()


def _request(text: str) -> Request:
    first, *lines = text.partition("\r\n\r\n")[0].split("\r\n")
    parts = urlsplit(first.split(" ")[1])
    return Request(
        parts.path, parse_qs(parts.query), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
    )


def _finish(client: socket.socket, status: int, headers: dict[str, str], body: bytes) -> None:
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    client.sendall(head.encode() + body)
    client.close()
