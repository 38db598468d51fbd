"""The sender and the feed: nothing lost, nothing twice, whatever the server does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from insightstrack_site.run import BASE_DIR
from metrics.demo.events import Event
from metrics.demo.feed import LONGEST_TICK_S, Feed
from metrics.demo.kernel import DAY
from metrics.demo.sender import RefusedError, Sender, StoppedError
from tests.demo.peer import Peer, running

NOW = datetime(2026, 3, 12, 15, tzinfo=UTC)


class Clock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def served() -> Iterator[tuple[type[Peer], str]]:
    with running() as found:
        yield found


@pytest.fixture
def peer(served: tuple[type[Peer], str]) -> type[Peer]:
    return served[0]


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def sender(served: tuple[type[Peer], str], stop: threading.Event) -> Iterator[Sender]:
    made = Sender(served[1], "a-token", stop)
    yield made
    made.close()


def event(number: int) -> Event:
    return Event(f"e{number}", "northwind", "2000000000000000000", "favorites", NOW)


def test_it_sends_events_with_the_token(sender: Sender, peer: type[Peer]) -> None:
    answer = sender.events([event(1), event(2)])
    assert (answer.accepted, answer.receipt) == (2, "r1")
    assert peer.requests == [("POST", "/api/v1/events", "Bearer a-token")]
    assert peer.events["e1"] == {
        "id": "e1",
        "handle": "northwind",
        "tweet_id": "2000000000000000000",
        "type": "favorites",
        "occurred_at": "2026-03-12T15:00:00Z",
    }


def test_it_zips_large_bodies(sender: Sender, peer: type[Peer]) -> None:
    assert sender.events([event(number) for number in range(1_000)]).accepted == 1_000
    assert len(peer.events) == 1_000


@pytest.mark.parametrize("status", [0, 429, 502, 503])
def test_it_tries_again_until_the_batch_is_taken(sender: Sender, peer: type[Peer], status: int) -> None:
    peer.answers += [(status, {}), (status, {"Retry-After": "0"})]
    assert sender.events([event(1)]).accepted == 1
    assert len(peer.requests) == 3
    assert peer.times["e1"] == 1


def test_it_reads_with_parameters(sender: Sender) -> None:
    assert sender.read("/api/v1/x", a="b c") == {"path": "/api/v1/x?a=b+c"}


@pytest.mark.parametrize("status", [400, 401, 403, 413, 422])
def test_it_gives_up_where_trying_again_cannot_help(sender: Sender, peer: type[Peer], status: int) -> None:
    peer.answers.append((status, {}))
    with pytest.raises(RefusedError, match=f"{status}.*told to") as refused:
        sender.events([event(1)])
    assert refused.value.status == status


def test_it_stops_in_the_middle_of_a_long_wait(sender: Sender, peer: type[Peer], stop: threading.Event) -> None:
    peer.answers.append((503, {"Retry-After": "3600"}))
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    with pytest.raises(StoppedError):
        sender.events([event(1)])
    timer.join()
    assert peer.events == {}


def test_it_refuses_an_address_that_is_none(stop: threading.Event) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        Sender("localhost:8000", "x", stop)


def test_it_sends_history_newest_first_and_then_the_present(sender: Sender, peer: type[Peer], tmp_path: Path) -> None:
    clock = Clock()
    feed = Feed(sender, tmp_path / "feed.json", seed=1, days=3, clock=clock)
    feed.tick()
    hour_ago = datetime.fromtimestamp(clock.now - 5400, UTC).isoformat()
    assert min(found["occurred_at"] for found in list(peer.events.values())[:500]) > hour_ago
    while feed.behind:
        clock.now += 0.5
        feed.tick()
    assert {found["tweet_id"] for found in peer.events.values()} <= set(peer.tweets)
    assert feed.progress.bulk_done_s == pytest.approx(3 * DAY)
    before = feed.progress.live_events
    for _ in range(40):
        clock.now += 0.5
        feed.tick()
    assert feed.progress.live_events > before
    assert set(peer.times.values()) == {1}


def test_it_makes_up_for_a_pause_and_sends_nothing_twice(sender: Sender, peer: type[Peer], tmp_path: Path) -> None:
    clock = Clock()
    feed = Feed(sender, tmp_path / "feed.json", seed=1, days=1, clock=clock)
    while feed.behind:
        feed.tick()
    paused_at, seen = clock.now, set(peer.events)
    clock.now += 3600
    again = Feed(sender, tmp_path / "feed.json", seed=99, days=1, clock=clock)
    assert again.behind
    while again.behind:
        again.tick()
    fresh = [found for key, found in peer.events.items() if key not in seen]
    shown = sum(found.get("count", 1) for found in fresh if found["type"] == "impressions")
    assert shown > 1_000
    assert all(found["occurred_at"] >= datetime.fromtimestamp(paused_at, UTC).isoformat() for found in fresh)
    assert set(peer.times.values()) == {1}


def test_it_resends_the_same_events_when_it_died_in_mid_span(sender: Sender, peer: type[Peer], tmp_path: Path) -> None:
    clock = Clock()
    dying = Feed(sender, tmp_path / "feed.json", seed=1, days=2, clock=clock)
    dying.tick()
    assert dying.behind
    first = set(peer.events)
    clock.now += 60
    revived = Feed(sender, tmp_path / "feed.json", seed=1, days=2, clock=clock)
    while revived.behind:
        revived.tick()
    # The peer asserts that an id it has seen comes with the same content.
    assert {key for key, times in peer.times.items() if times == 2} == first


def test_it_makes_up_in_bulk_when_the_server_was_away_for_long(
    sender: Sender, peer: type[Peer], tmp_path: Path
) -> None:
    clock = Clock()
    feed = Feed(sender, tmp_path / "feed.json", seed=1, days=1, clock=clock)
    while feed.behind:
        feed.tick()
    clock.now += LONGEST_TICK_S + 600
    live_before = feed.progress.live_events
    feed.tick()
    while feed.behind:
        feed.tick()
    assert feed.progress.live_events - live_before < 100
    assert set(peer.times.values()) == {1}


def test_it_stops_at_once(sender: Sender, stop: threading.Event, tmp_path: Path) -> None:
    feed = Feed(sender, tmp_path / "feed.json", seed=1, days=1)
    feed.run(stop, lambda _: stop.set())
    assert stop.is_set()


def test_it_runs_as_a_command_until_it_is_told_to_stop(served: tuple[type[Peer], str], tmp_path: Path) -> None:
    peer, url = served
    command = [sys.executable, "manage.py", "demo_feed", "--url", url, "--token", "a-token", "--days", "2"]
    process = subprocess.Popen(
        command,
        cwd=BASE_DIR,
        env={**os.environ, "VAR_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        history_and_present = "Demo history: 100%"
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any(line.startswith(history_and_present) for line in lines)
        process.send_signal(signal.SIGTERM)
        assert process.wait(3) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert set(peer.times.values()) == {1}
    assert (tmp_path / "demo_feed.json").exists()


def test_it_says_in_one_line_why_it_cannot_run(
    peer: type[Peer], served: tuple[type[Peer], str], tmp_path: Path
) -> None:
    peer.answers += [(401, {})] * 2
    command = [sys.executable, "manage.py", "demo_feed", "--url", served[1], "--days", "1"]
    environment = {**os.environ, "VAR_DIR": str(tmp_path)}
    for more, complaint in ([], "run manage.py create_demo"), (["--token", "x"], "the server answered 401"):
        told = subprocess.run(
            command + more, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False
        )
        assert told.returncode == 1
        assert complaint in told.stderr
        assert told.stderr.count("\n") == 1
