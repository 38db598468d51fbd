"""Replaying real cascades: what is sent, when, and under which ids."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from metrics.demo import replay
from metrics.demo.cascades import Cascade
from metrics.demo.replay import Replay
from metrics.demo.sender import Sender
from metrics.management.commands.replay_cascades import instant, speed
from metrics.vocabulary.events import tweet_created_at
from tests.demo.peer import Peer, running

NOW = datetime(2026, 3, 12, 15, 0, 42, 123456, tzinfo=UTC)
STARTED_AT = datetime(2026, 3, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
def served() -> Iterator[tuple[type[Peer], Sender]]:
    with running() as (peer, url):
        sender = Sender(url, "a-token", threading.Event())
        yield peer, sender
        sender.close()


def cascade(number: int, *ages: float) -> Cascade:
    return Cascade(number, 0.5, 1000.0, np.array(ages, dtype=np.float64), np.ones(len(ages)))


def test_it_begins_so_early_that_everything_lies_in_the_past(cascades: list[Cascade]) -> None:
    started_at = replay.latest_start(cascades, NOW)
    last = max(float(one.ages[-1]) for one in cascades)
    assert (started_at.second, started_at.microsecond) == (0, 0)
    assert timedelta(minutes=2) <= NOW - (started_at + timedelta(seconds=last)) <= timedelta(minutes=3)


def test_it_makes_a_tweet_of_each_file(cascades: list[Cascade]) -> None:
    planned = Replay("northwind", cascades, STARTED_AT)
    tweets = planned.tweets()
    assert len({tweet["id"] for tweet in tweets}) == len(cascades)
    assert {tweet_created_at(int(tweet["id"])) for tweet in tweets} == {STARTED_AT}
    assert tweets[-1]["text"].startswith(f"Cascade RT{cascades[-1].number}: ")
    assert planned.size == sum(len(one.ages) for one in cascades)


def test_it_sends_every_retweet_once_in_order_of_time(
    served: tuple[type[Peer], Sender], cascades: list[Cascade]
) -> None:
    peer, sender = served
    planned = Replay("northwind", [one for one in cascades if one.number in {10, 49}], STARTED_AT)
    receipts = [receipt for _, receipt in replay.send(planned, sender, 0, threading.Event())]
    assert len(receipts) == -(-planned.size // replay.BATCH)
    assert set(peer.times.values()) == {1}
    times = [found["occurred_at"] for found in peer.events.values()]
    assert times == sorted(times)
    for one in planned.cascades:
        minutes = Counter(
            int((datetime.fromisoformat(found["occurred_at"]) - STARTED_AT).total_seconds() // 60)
            for found in peer.events.values()
            if found["tweet_id"] == str(planned.tweet_id(one))
        )
        assert minutes == replay.by_minute(one)


def test_it_sends_the_same_under_the_same_ids_again(served: tuple[type[Peer], Sender]) -> None:
    peer, sender = served
    planned = Replay("northwind", [cascade(3, 0, 0, 7, 7, 90)], STARTED_AT)
    for _ in range(2):
        list(replay.send(planned, sender, 0, threading.Event()))
    # The peer asserts that an id it has seen comes with the same content.
    assert list(peer.times.values()) == [2] * 5


def test_it_keeps_the_real_spacing_divided_by_the_speed(served: tuple[type[Peer], Sender]) -> None:
    peer, sender = served
    planned = Replay("northwind", [cascade(1, 0, 3000), cascade(2, 1500, 3000)], STARTED_AT)
    began, arrivals = time.monotonic(), []
    for sent, _ in replay.send(planned, sender, 3000, threading.Event()):
        arrivals.append((sent, time.monotonic() - began))
    assert arrivals[0][0] == 1
    assert arrivals[-1][0] == 4
    assert arrivals[0][1] < 0.4
    assert arrivals[-1][1] >= 1
    assert len(peer.events) == 4


def test_it_stops_between_batches(served: tuple[type[Peer], Sender]) -> None:
    stop = threading.Event()
    stop.set()
    assert list(replay.send(Replay("x", [cascade(1, 0, 1)], STARTED_AT), served[1], 1, stop)) == []


def test_it_reads_speeds_and_instants() -> None:
    assert speed("max") == speed("0") == 0
    assert speed("2.5") == 2.5
    assert instant("2026-03-05T10:00+01:00") == STARTED_AT
    for text in ("-1", "fast", "inf", "nan"):
        with pytest.raises(ValueError, match=text):
            speed(text)
    for text in ("2026-03-05T10:00", "2026-03-05T10:00:30Z", "yesterday"):
        with pytest.raises(ValueError, match=text):
            instant(text)
