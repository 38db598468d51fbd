"""Asks the ingest door in this process: one ASGI request, one answer, with real Redis and PostgreSQL behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator

from metrics import stream
from metrics.ingest.endpoints import Door
from metrics.vocabulary import events

EVENTS, SNAPSHOTS, TWEETS = "/api/v1/events", "/api/v1/snapshots", "/api/v1/tweets"
RECEIPTS = "/api/v1/receipts/"
Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[bytes, bytes]
    body: Any

    @property
    def error(self) -> str:
        """The name of the whole request's refusal."""
        return str(self.body["error"])

    @property
    def rejected(self) -> list[tuple[int, str, str]]:
        """(index, field, reason) of each refused item."""
        return [(item["index"], item["field"], item["reason"]) for item in self.body["rejected"]]


def authorization(secret: str) -> tuple[bytes, bytes]:
    """The header that carries a token."""
    return b"authorization", b"Bearer " + secret.encode()


def ask(
    method: str,
    path: str,
    *chunks: bytes,
    headers: Headers = (),
    times: int = 1,
    ends: bool = True,
    made: Callable[[], Any] = Door,
) -> Answer:
    """Send one request, its body in chunks, and return the last answer; `ends=False` hangs up after the last chunk.

    The path may end in a query; `made` makes the door that is asked. In a synchronous test the door's queries run in
    the test's own thread, and so see the test's transaction.
    """

    async def asked() -> Answer:
        door = made()
        try:
            for _ in range(times):
                answer = await _one(door, method, path, chunks or (b"",), headers, ends)
        finally:
            await door.aclose()
        return answer

    answer: Answer = async_to_sync(asked)()
    return answer


async def _one(door: Any, method: str, path: str, chunks: tuple[bytes, ...], headers: Headers, ends: bool) -> Answer:
    path, _, query = path.partition("?")
    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    scope["query_string"] = query.encode()
    asking = ApplicationCommunicator(door, scope)
    for number, chunk in enumerate(chunks):
        more = number < len(chunks) - 1 or not ends
        await asking.send_input({"type": "http.request", "body": chunk, "more_body": more})
    if not ends:
        await asking.send_input({"type": "http.disconnect"})
    start = await asking.receive_output(timeout=20)
    payload = await asking.receive_output(timeout=20)
    await asking.wait()
    return Answer(start["status"], dict(start["headers"]), msgspec.json.decode(payload["body"]))


def post(secret: str, items: Any, *more: tuple[bytes, bytes]) -> Answer:
    """Post events: any value that JSON can hold, or bytes as they are."""
    body = items if isinstance(items, bytes) else msgspec.json.encode(items)
    return ask("POST", EVENTS, body, headers=(authorization(secret), *more))


def held() -> int:
    """How many events the streams hold."""
    rows = [row for shard in stream.shards() for row in stream.client().xrange(stream.stream_key(shard))]
    return sum(len(events.unpack(fields[b"e"])) for _, fields in rows)
