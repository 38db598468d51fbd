"""A sender under load: numbered events in batches, each sent again until it is answered 202."""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from metrics.vocabulary.events import snowflake_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Stack

BATCH = 40
SENDERS = 2
_sequence = iter(range(1, 1_000_000))


@contextmanager
def writers_in_mid_batch(stack: Stack, table: str, writers: int, mode: str = "ACCESS EXCLUSIVE") -> Iterator[None]:
    """While the block runs, so many writers stand still in front of this table, in the middle of a batch."""
    with stack.database() as connection:
        connection.execute(f"LOCK TABLE {table} IN {mode} MODE")  # type: ignore[arg-type]  # psycopg wants a literal
        stack.eventually(lambda: _waiting(stack, table) == writers, 60, "the writers are in mid-batch")
        yield


def _waiting(stack: Stack, table: str) -> int:
    with stack.database() as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass", [table]
        ).fetchone()
    assert found is not None
    return int(str(found[0]))


def wait_for_answers(stack: Stack, load: Load, more: int = 20) -> None:
    """Wait until so many more batches are taken."""
    goal = load.answered() + more
    stack.eventually(lambda: load.answered() >= goal, 90, f"{more} more batches are taken")


class Load:
    """Sends until it is told to stop; then knows what must have been counted."""

    def __init__(self, stack: Stack, token: str, handles: list[str]) -> None:
        self._stack, self._handles = stack, handles
        self.token = token
        self._created_at = datetime.now(UTC) - timedelta(days=2)
        self.tweet_id = snowflake_at(self._created_at, next(_sequence))
        self._numbers = iter(range(1_000_000))
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self.batches: list[list[dict[str, Any]]] = []
        self.receipts: dict[int, str] = {}
        self.answers: Counter[int] = Counter()
        """How often each status came; 0 stands for a connection that broke."""

    @property
    def expected(self) -> Counter[str]:
        """The sum of the counts of all events, by type."""
        totals: Counter[str] = Counter()
        for batch in self.batches:
            for event in batch:
                totals[event["type"]] += event["count"]
        return totals

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send from several threads while the block runs, then send again what was never answered 202."""
        threads = [threading.Thread(target=self._send_batches) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._enough.set()
            for thread in threads:
                thread.join()
        with self._client() as client:
            for number in range(len(self.batches)):
                if number not in self.receipts:
                    self._stack.eventually(lambda n=number: self._send(client, n), 60, "a batch is taken")

    def answered(self) -> int:
        """How many batches have been answered 202."""
        return self.answers[202]

    def send_again(self, times: int) -> list[str]:
        """Send every batch again, so many times, in random order; returns the receipts."""
        order = list(range(len(self.batches))) * times
        random.Random(7).shuffle(order)
        receipts = []
        with self._client() as client:
            for number in order:
                assert self._send(client, number)
                receipts.append(self.receipts[number])
        return receipts

    def outcome(self, receipt: str) -> dict[str, Any]:
        """What the receipt tells."""
        with self._client() as client:
            told: dict[str, Any] = client.get(f"/api/v1/receipts/{receipt}").raise_for_status().json()
            return told

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._stack.url, auth=self._authorized, timeout=15)

    def _authorized(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request

    def _send_batches(self) -> None:
        with self._client() as client:
            # The pause sets the load's rate; nobody relies on it.
            while not self._enough.wait(0.02):
                with self._lock:
                    number = len(self.batches)
                    self.batches.append([self._event(next(self._numbers)) for _ in range(BATCH)])
                self._send(client, number)

    def _event(self, number: int) -> dict[str, Any]:
        return {
            "id": f"{self.tweet_id}-{number}",
            "tweet_id": str(self.tweet_id),
            "type": ("impressions", "favorites", "url_clicks")[number % 3],
            "occurred_at": (self._created_at + timedelta(seconds=number * 7919 % 170_000)).isoformat(),
            "count": 1 + number % 4,
            "user_id": f"person {number % 97}",
            "handle": self._handles[number % len(self._handles)],
        }

    def _send(self, client: httpx.Client, number: int) -> bool:
        try:
            answer = client.post("/api/v1/events", json=self.batches[number])
        except httpx.TransportError:
            self._note(0)
            return False
        self._note(answer.status_code)
        if answer.status_code == 202:
            self.receipts[number] = answer.json()["receipt"]
        return answer.status_code == 202

    def _note(self, status: int) -> None:
        with self._lock:
            self.answers[status] += 1
