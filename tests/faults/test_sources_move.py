"""Sources under real workers: each is run once, and moves when its worker is killed, stopped, or loses Redis."""

from __future__ import annotations

import itertools
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.ingest.connectors.upstream import TWEET, Upstream, a_summary
from tests.stack import Stack, eventually, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = 3
TAKEOVER_SECONDS = 15.0
_numbers = itertools.count()


@pytest.fixture(scope="module")
def workers(live_stack: Stack) -> Iterator[tuple[Stack, Stack]]:
    """The installation, and a second machine of which only the sources' worker runs."""
    live_stack.wait_until_ready()
    live_stack.add_handle("movers", team="Movers", email="movers@example.com")
    with tempfile.TemporaryDirectory(prefix="it-worker-", ignore_cleanup_errors=True) as folder:
        second = Stack(Path(folder), free_port(), beside=live_stack)
        second.processes["sources"].spawn()
        eventually(lambda: "ready" in log_of(second), 60, "the second worker is ready")
        yield live_stack, second
        second.stop()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def connected(workers: tuple[Stack, Stack], upstream: Upstream) -> Iterator[list[int]]:
    """Sources that all read the same stream."""
    stack, _ = workers
    settings, secrets = {"url": upstream.url, "tweets": "all"}, {"token": "a-token"}
    names = [f"stream {next(_numbers)}" for _ in range(SOURCES)]
    ids = [stack.connect("movers", "insightstrack", name, settings, secrets) for name in names]
    eventually(lambda: are_live(stack, ids), 30, "all are live")
    yield ids
    with stack.database() as connection:
        connection.execute("UPDATE metrics_source SET state = 'paused', state_since = now() WHERE id = ANY(%s)", [ids])
    eventually(lambda: not any(holders(stack, ids)), 15, "nobody runs them any more")


def are_live(stack: Stack, ids: list[int]) -> bool:
    with stack.database() as connection:
        rows = connection.execute("SELECT count(*) FROM metrics_source WHERE state = 'live' AND id = ANY(%s)", [ids])
        return rows.fetchone() == (len(ids),)


def likes(stack: Stack) -> int:
    """Of the one Tweet that the stream tells of."""
    with stack.database() as connection:
        query = "SELECT sum(favorites)::int FROM metrics_tweetrollup WHERE grain = 4 AND tweet_id = %s"
        [found] = connection.execute(query, [TWEET]).fetchone() or [None]
    return int(str(found or 0))


def holders(stack: Stack, ids: list[int]) -> list[int | None]:
    """The process that runs each source."""
    with redis.Redis.from_url(stack.redis.url) as client:
        tokens: list[Any] = client.mget([f"lease:source:{number}" for number in ids])
    return [int(token.split()[0].rpartition(b":")[2]) if token else None for token in tokens]


def pid_of(stack: Stack) -> int:
    process = stack.processes["sources"].process
    assert process is not None
    return process.pid


def log_of(stack: Stack) -> str:
    return stack.processes["sources"].log.read_text()


def run_by_one(stack: Stack, ids: list[int], workers: tuple[Stack, Stack]) -> tuple[Stack, Stack]:
    """The worker that runs the first source, and the other."""
    first, second = workers
    return (first, second) if holders(stack, ids)[0] == pid_of(first) else (second, first)


def test_it_moves_sources_when_their_worker_is_killed(
    workers: tuple[Stack, Stack], upstream: Upstream, connected: list[int]
) -> None:
    stack, _ = workers
    dying, other = run_by_one(stack, connected, workers)
    dying.kill("sources")
    began = time.monotonic()
    eventually(
        lambda: holders(stack, connected) == [pid_of(other)] * SOURCES, TAKEOVER_SECONDS, "the other runs all of them"
    )
    eventually(lambda: upstream.readers == SOURCES, TAKEOVER_SECONDS - (time.monotonic() - began), "all are connected")
    assert len(upstream.requests) <= 2 * SOURCES
    dying.tend()


def test_it_hands_sources_over_when_their_worker_is_stopped(
    workers: tuple[Stack, Stack], upstream: Upstream, connected: list[int]
) -> None:
    stack, _ = workers
    stopping, other = run_by_one(stack, connected, workers)
    process = stopping.processes["sources"].process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    # Sooner than a lease would end by itself.
    eventually(lambda: holders(stack, connected) == [pid_of(other)] * SOURCES, 6, "the other runs all of them")
    assert process.wait(10) == 0
    assert are_live(stack, connected)
    stopping.tend()


def test_it_goes_on_when_redis_was_away(workers: tuple[Stack, Stack], upstream: Upstream, connected: list[int]) -> None:
    stack, _ = workers
    stack.redis.kill()
    stack.redis.start()
    # Whoever could renew in time goes on; the others begin anew.
    eventually(lambda: all(holders(stack, connected)) and upstream.readers == SOURCES, 40, "all are connected")
    upstream.say(a_summary(favorites=4))
    eventually(lambda: likes(stack) == 4, 30, "what all of them heard is counted once")
    assert are_live(stack, connected)
    workers[1].tend()
    stack.wait_until_ready()
