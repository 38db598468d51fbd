"""One open stream towards a reader that takes nothing, under a server that tells by Twisted's flow control."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from metrics.present import connections
from metrics.present.connections import Connection
from metrics.present.readers import Reader


class Request:
    """A Daphne request whose reader takes nothing until it is told to; also the transport below it."""

    def __init__(self) -> None:
        self.channel = self.transport = self
        self.sent: list[dict[str, Any]] = []
        self.producer: Any = None
        self.is_aborted = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802  Twisted's name
        self.producer = producer
        producer.pauseProducing()

    def unregisterProducer(self) -> None:  # noqa: N802  Twisted's name
        self.producer = None

    def abortConnection(self) -> None:  # noqa: N802  Twisted's name
        self.is_aborted = True


async def send(request: Request, message: dict[str, Any]) -> None:
    request.sent.append(message)


@pytest.fixture
def connection() -> Connection:
    now = datetime.now(UTC)
    return Connection(Reader("1", 1, "reader", 1, "prod", "127.0.0.1", now, now), 1.0)


async def test_it_waits_until_the_reader_has_room(connection: Connection) -> None:
    request = Request()
    running = asyncio.create_task(connection.run(partial(send, request)))
    connection.put(b"a\r\n")
    await asyncio.wait([running], timeout=0.05)
    assert request.sent == []
    request.producer.resumeProducing()
    connection.put(b"b\r\n")
    await asyncio.wait([running], timeout=0.05)
    assert b"".join(message["body"] for message in request.sent) == b"a\r\nb\r\n"
    connection.leave()
    await running
    assert request.producer is None


async def test_it_ends_properly_once_a_slow_reader_has_taken_the_rest(connection: Connection) -> None:
    request = Request()
    running = asyncio.create_task(connection.run(partial(send, request)))
    await asyncio.wait([running], timeout=0.05)
    connection.put(b"x" * 8_000_001)
    assert connection.ending is None
    connection.put(b"x")
    assert connection.ending == "too slow"
    await asyncio.wait([running], timeout=0.05)
    assert request.sent == []
    request.producer.resumeProducing()
    await running
    assert request.sent == [{"type": "http.response.body", "body": b"", "more_body": False}]
    assert request.producer is None
    assert not request.is_aborted


async def test_it_cuts_off_a_reader_that_takes_nothing_at_all(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LAST_WORDS_SECONDS", 0.05)
    request = Request()
    connection.end("too slow")
    with pytest.raises(TimeoutError):
        await connection.run(partial(send, request))
    assert request.is_aborted


async def test_it_does_not_wait_for_a_reader_that_has_gone(connection: Connection) -> None:
    request = Request()
    running = asyncio.create_task(connection.run(partial(send, request)))
    await asyncio.wait([running], timeout=0.05)
    connection.leave()
    await asyncio.wait_for(running, 5)
    assert not request.is_aborted


async def test_it_sends_a_long_replay_to_a_reader_that_keeps_up(connection: Connection) -> None:
    request = Request()
    for _ in range(3):
        connection.put(b"x" * 8_000_000)
    running = asyncio.create_task(connection.run(partial(send, request)))
    await asyncio.wait([running], timeout=0.05)
    connection.put(b"x")
    assert connection.ending is None
    request.producer.resumeProducing()
    await asyncio.wait([running], timeout=0.05)
    assert sum(len(message["body"]) for message in request.sent) == 24_000_001
    connection.leave()
    await running


async def test_it_tells_how_far_a_reader_is_behind_while_the_server_waits_for_it(connection: Connection) -> None:
    """As under uvicorn, whose `send` waits."""
    begun, may_go_on = asyncio.Event(), asyncio.Event()

    async def slowly(_message: dict[str, Any]) -> None:
        begun.set()
        await may_go_on.wait()

    running = asyncio.create_task(connection.run(slowly))
    connection.put(b"a\r\n", 1)
    await begun.wait()
    await asyncio.wait([running], timeout=0.05)
    behind = connection.standing(datetime.now(UTC))
    assert (behind.waiting_bytes, behind.lag_ms >= 40) == (3, True)
    may_go_on.set()
    connection.leave()
    await running
    assert connection.standing(datetime.now(UTC)).lag_ms == 0
