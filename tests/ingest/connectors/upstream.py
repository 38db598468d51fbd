"""A server of InsightsTrack streams for tests: it says what a test tells it, and breaks the way that real ones do."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from metrics.vocabulary.events import snowflake_at
from tests.stack import eventually

if TYPE_CHECKING:
    from types import TracebackType

PATH = "insightstrack/accounts/acct/publishers/twitter/prod.json"
NOW = datetime.now(UTC).replace(microsecond=0)
TWEET = snowflake_at(NOW - timedelta(hours=2))
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
        self._streams: list[socket.socket] = []
        self._lock = threading.Lock()

    @property
    def readers(self) -> int:
        """How many have the stream open now."""
        with self._lock:
            for stream in [each for each in self._streams if _is_gone(each)]:
                self._streams.remove(stream)
                stream.close()
            return len(self._streams)

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
        client.sendall(b"2\r\n\r\n\r\n")  # a keep-alive
        with self._lock:
            self._streams.append(client)
        return None

    def _told_rules(self) -> tuple[int, dict[str, str], bytes]:
        if self.rules is None:
            return 404, {}, b"{}"
        return 200, {}, json.dumps({"rules": [{"value": name, "tag": None, "id": 1} for name in self.rules]}).encode()


def _is_gone(stream: socket.socket) -> bool:
    try:
        return stream.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


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


def a_summary(ended_at: datetime = NOW, tweet_id: int = TWEET, impressions: int = 10, **counts: Any) -> dict[str, Any]:
    """In the vendor's shape; a count is a total, or all that stands under its type."""
    return {
        "summary_event": {
            "target": {"id_str": str(tweet_id)},
            "start_time": (ended_at - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "end_time": ended_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "metrics": {
                "impressions": {"total": {"count": impressions}, "unique": {"count": impressions - 3}},
                "engagements": {
                    "overall": {"total": {"count": 3}, "unique": {"count": 2}},
                    "metric_counts": {
                        name: count if isinstance(count, dict) else {"total": {"count": count}}
                        for name, count in counts.items()
                    },
                },
            },
        }
    }


def in_parts(organic: int, promoted: int) -> dict[str, Any]:
    """What stands under a type where both parts are told, as our own stream does."""
    parts = {"total": organic + promoted, "organic": organic, "promoted": promoted}
    return {name: {"count": count} for name, count in parts.items()}


def a_tweet(username: str = "northwind", tweet_id: int = TWEET, **more: Any) -> dict[str, Any]:
    """A Tweet in the vendor's shape."""
    user = {"id_str": "77", "screen_name": username, "name": username.title()}
    at = "Wed Nov 25 20:00:00 +0000 2026"
    return {"created_at": at, "id_str": str(tweet_id), "text": "Fresh beans.", "user": user, **more}


def a_revoke(user_id: str) -> dict[str, Any]:
    """That a user has withdrawn access."""
    told = {"date_time": "2018-05-24T09:48:12+00:00", "target": {"app_id": "1"}, "source": {"user_id": user_id}}
    return {"user_event": {"revoke": told}}
