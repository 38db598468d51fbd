"""Round trip: one installation's stream feeds another, through a link that is cut; in the end both say the same.

    ROUND_TRIP_SECONDS=180 .venv/bin/python -m pytest tests/faults/test_round_trip.py

lets the load run longer. What the stream cannot tell is a type of which more was taken back than given over a Tweet's
whole life; within any stretch of time it may be so.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from metrics.vocabulary.engagements import CODE, TYPES, UNDO_OF
from metrics.vocabulary.events import snowflake_at
from tests.faults.load import Load
from tests.faults.proxy import Link
from tests.faults.streams import Counts, in_database
from tests.stack import Stack, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = float(os.environ.get("ROUND_TRIP_SECONDS", "15"))
TEAM, HANDLE, LABEL = "travellers", "traveller", "trip"
TWEETS = 12
PEOPLE = 300


class Traffic(Load):
    """All 26 types, now, on many Tweets; in its waves of regret more is taken back than given."""

    def __init__(self, stack: Stack, token: str) -> None:
        super().__init__(stack, token, [HANDLE])
        born_at = datetime.now(UTC) - timedelta(hours=1)
        self.tweet_ids = [snowflake_at(born_at, number) for number in range(TWEETS)]
        self._random = random.Random(26)
        self._given: Counter[tuple[int, str, bool]] = Counter()
        """What may still be taken back, by Tweet, type, and whether it was promoted."""

    def _event(self, number: int) -> dict[str, Any]:
        tweet_id = self._random.choice(self.tweet_ids)
        kind, count = self._random.choice(TYPES), self._random.randint(1, 4)
        if number // 600 % 3 == 2:
            kind = TYPES[CODE[self._random.choice([*UNDO_OF.values()])]]
        promoted = kind.promotable and self._random.random() < 0.3
        if kind.undoes:
            count = min(count, self._open(tweet_id, kind.undoes, promoted))
            if not count:
                kind, count = TYPES[CODE[kind.undoes]], 1
        self._given[tweet_id, kind.undoes or kind.name, promoted] += -count if kind.undoes else count
        return {
            "id": f"trip-{number}",
            "tweet_id": str(tweet_id),
            "type": kind.name,
            "promoted": promoted,
            "occurred_at": datetime.now(UTC).isoformat(),
            "count": count,
            "user_id": f"traveller-{number % PEOPLE}",
            "handle": HANDLE,
        }

    def _open(self, tweet_id: int, gain: str, promoted: bool) -> int:
        """How much may be taken back; of a promoted Retweet it is told as organic."""
        given = self._given[tweet_id, gain, promoted]
        return max(0, given + self._given[tweet_id, gain, True] if gain == "retweets" else given)


class Cutter:
    """Cuts a link again and again, at random; sometimes it lets it hang for a while first."""

    def __init__(self, link: Link) -> None:
        self._link, self._random = link, random.Random(5)
        self.cuts = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        enough = threading.Event()
        thread = threading.Thread(target=self._cut_until, args=(enough,))
        thread.start()
        try:
            yield
        finally:
            enough.set()
            thread.join()
            self._link.flow()

    def _cut_until(self, enough: threading.Event) -> None:
        # The pauses are the load's rhythm; nobody relies on them.
        while not enough.wait(self._random.uniform(0.3, 4.0)):
            if self._random.random() < 0.3:
                self._link.stall()
                enough.wait(self._random.uniform(0.1, 1.5))
                self._link.flow()
            self._link.cut()
            self.cuts += 1


@pytest.fixture(scope="module")
def reader() -> Iterator[Stack]:
    """The second installation, with a database and a Redis of its own."""
    with tempfile.TemporaryDirectory(prefix="it-reader-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Path(folder), free_port())
        try:
            stack.start()
            stack.add_handle(HANDLE, team=TEAM, email="reader@example.com")
            yield stack
        finally:
            stack.stop()


@pytest.fixture(scope="module")
def token(live_stack: Stack) -> str:
    """May send the first installation its events, and read its stream, which follows the handle."""
    live_stack.wait_until_ready()
    live_stack.add_handle(HANDLE, team=TEAM, email="sender@example.com")
    secret = live_stack.token(HANDLE)
    path = f"/rules/insightstrack/accounts/{TEAM}/publishers/twitter/{LABEL}.json"
    headers = {"Authorization": f"Bearer {secret}"}
    answer = httpx.post(live_stack.url + path, json={"rules": [{"value": HANDLE}]}, headers=headers, timeout=15)
    assert answer.status_code == 201
    return secret


def texts(stack: Stack, tweet_ids: list[int]) -> dict[object, object]:
    with stack.database() as connection:
        query = "SELECT tweet_id, text FROM metrics_tweet WHERE tweet_id = ANY(%s)"
        return {row[0]: row[1] for row in connection.execute(query, [tweet_ids])}


def in_parts(stack: Stack, tweet_id: int) -> list[tuple[object, ...]]:
    """Organic and promoted likes and replies, given and taken back."""
    columns = "promoted, favorites, unfavorites, replies, unreplies"
    with stack.database() as connection:
        query = f"SELECT {columns} FROM metrics_tweetrollup WHERE grain = 4 AND tweet_id = %s ORDER BY promoted"
        return connection.execute(query, [tweet_id]).fetchall()


def difference(one: dict[int, Counts], other: dict[int, Counts]) -> dict[tuple[int, str], tuple[int, int]]:
    """Where they differ: Tweet and type → both counts."""
    return {
        (tweet_id, name): (counts[name], other.get(tweet_id, {}).get(name, 0))
        for tweet_id, counts in one.items()
        for name in counts
        if counts[name] != other.get(tweet_id, {}).get(name, 0)
    }


def test_it_ends_with_what_the_other_has(live_stack: Stack, reader: Stack, token: str) -> None:
    load = Traffic(live_stack, token)
    headers = {"Authorization": f"Bearer {token}"}
    with Link(live_stack.port) as link:
        url = f"http://127.0.0.1:{link.port}/stream/insightstrack/accounts/{TEAM}/publishers/twitter/{LABEL}.json"
        reader.connect(HANDLE, "insightstrack", "upstream", {"url": url, "tweets": "all"}, {"token": token})
        reader.eventually(lambda: state_of(reader) == "live", 30, "the stream is live")
        cutter = Cutter(link)
        with cutter.running(), load.running():
            told = [{"id": str(number), "text": f"Tweet {number}"} for number in load.tweet_ids]
            assert httpx.put(f"{live_stack.url}/api/v1/tweets", json=told, headers=headers, timeout=15).is_success
            began = time.monotonic()
            live_stack.eventually(lambda: time.monotonic() - began > SECONDS, SECONDS + 30, "the load has run")
        ended = time.monotonic()
        live_stack.eventually(lambda: applied(live_stack, load), 60, "the first installation has counted all")
        truth = in_database(live_stack, load.tweet_ids)
        assert sum(sum(counts.values()) for counts in truth.values()) == sum(load.expected.values())
        found: dict[int, Counts] = {}

        def is_equal() -> bool:
            found.update(in_database(reader, load.tweet_ids))
            return not difference(truth, found)

        try:
            reader.eventually(is_equal, 60, "both have the same totals")
        finally:
            seconds = time.monotonic() - ended
            print(  # noqa: T201  what a long run measured
                f"\n{sum(map(len, load.batches))} events, {cutter.cuts} cuts in {SECONDS:.0f} s;"
                f" {len(difference(truth, found))} totals differ {seconds:.1f} s after the last event"
            )
        check_what_the_cuts_left(live_stack, reader, load)
        secret = reader.token(HANDLE)

        def is_told() -> bool:
            counted, told = reach_of(live_stack, token, load), reach_of(reader, secret, load)
            return told == [[number | {"basis": "reported"} for number in numbers] for numbers in counted]

        reader.eventually(is_told, 90, "the second has heard how many people it were")
    assert cutter.cuts > SECONDS / 5


def reach_of(stack: Stack, token: str, load: Traffic) -> list[list[dict[str, object]]]:
    """How many saw and how many engaged with each Tweet, and on what basis that is known."""
    headers = {"Authorization": f"Bearer {token}"}
    urls = [f"{stack.url}/api/v1/reach?tweet={tweet_id}" for tweet_id in load.tweet_ids]
    answers = [httpx.get(url, headers=headers, timeout=15).json() for url in urls]
    return [[answer["seen"], answer["engaged"]] for answer in answers]


def applied(stack: Stack, load: Traffic) -> bool:
    return all(load.outcome(receipt)["status"] == "applied" for receipt in list(load.receipts.values())[-20:])


def state_of(stack: Stack) -> object:
    with stack.database() as connection:
        row = connection.execute("SELECT state FROM metrics_source WHERE kind = 'insightstrack'").fetchone()
    return row and row[0]


def check_what_the_cuts_left(sender: Stack, reader: Stack, load: Traffic) -> None:
    """Parts and texts are the same as well, undone actions were seen, and every cut is an outage that has ended."""
    assert texts(reader, load.tweet_ids) == texts(sender, load.tweet_ids)
    assert load.expected["unfavorites"] > load.expected["favorites"] / 2
    for tweet_id in load.tweet_ids:
        assert in_parts(reader, tweet_id) == in_parts(sender, tweet_id)
    reader.eventually(lambda: state_of(reader) == "live", 30, "the stream is live again")
    with reader.database() as connection:
        row = connection.execute("SELECT count(*), count(until) FROM metrics_outage").fetchone()
    assert row is not None
    assert row[0] == row[1] > 0
