"""Never two pollers of one connection: the runner's lease, and the source's row where a lease ran out unnoticed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from django.test import Client

from accounts.models import User
from metrics import stream
from metrics.ingest.connectors.x_api import XApi
from metrics.ingest.connectors.x_polling.ledger import Endpoint, Ledger, SupersededError
from metrics.ingest.desk import Desk
from metrics.models import PolledTweet, Source, SourceState
from tests.ingest.bench import Bench
from tests.ingest.connectors.polled import COUNTS, HOURS_AGO, LOOKUP, TIMELINE, aged
from tests.ingest.scripted import Worked
from tests.stack import eventually
from tests.x_server import Fault, X, XTweet

pytestmark = pytest.mark.django_db(transaction=True)
Result = TypeVar("Result")


class Apart(Bench):
    """A shift in a thread of its own, whose database work is done at a desk, and that no lease protects."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.due_at: datetime | None = None
        self._desk = Desk(asyncio.Event())
        self._thread = threading.Thread(target=self._work)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        self.due_at = asyncio.run(XApi().run(self))
        self._desk.close()

    async def do(self, work: Callable[[], Result]) -> Result:
        return await self._desk.do(work)


@pytest.fixture
def one_transaction() -> None:
    """Here threads have connections of their own, which are closed after use."""


@pytest.fixture(autouse=True)
def _quiet_redis() -> None:
    stream.client().flushdb()


def test_it_is_run_by_the_runner_until_its_next_tweet_is_due(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    with Worked(bench.source) as worked:
        eventually(lambda: worked.is_over, 20, "the runner has nothing left to do")
    source = Source.objects.get()
    assert (source.state, source.lag_ms) == (SourceState.LIVE, None)
    assert source.due_at is not None
    assert timedelta() < source.due_at - datetime.now(UTC) < timedelta(minutes=2)
    assert source.days.get().snapshots == 2
    assert PolledTweet.objects.get().counted_at is not None


def test_it_is_not_run_twice_at_once(x: X, bench: Bench) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    x.faults.append(Fault(503, path=TIMELINE, seconds=1.5))
    with Worked(bench.source) as first:
        eventually(lambda: bool(x.asked(TIMELINE)), 10, "the first one asks")
        with Worked(bench.source) as second:
            eventually(lambda: second.is_over, 10, "the second one leaves it alone")
        eventually(lambda: first.is_over, 20, "the first one goes on")
    runs = Source.objects.get().cursor["run"]
    assert (runs, len(x.asked(TIMELINE))) == (1, 2), "one poller, and its second try"


def test_it_stops_when_another_poller_has_begun(x: X, bench: Bench) -> None:
    """The first one's lease ran out while it waited for an answer."""
    x.add(*(XTweet(aged(timedelta(hours=3), place), COUNTS, {}) for place in range(250)))
    x.limit("tweets", 4)
    x.faults.append(Fault(200, {"meta": {"result_count": 0}}, path=TIMELINE, seconds=1.0))
    first, second = Apart(bench.source), Apart(bench.source)
    first.start()
    eventually(lambda: len(x.asked(TIMELINE)) == 1, 10, "the first one asks")
    second.start()
    first.join()
    second.join()
    assert first.due_at is not None
    assert not first.deliveries
    assert second.states
    assert len(x.asked(LOOKUP)) <= 4
    assert any("Another poller" in str(note) for note in bench.source.notes.all())


def test_it_counts_every_call_in_the_database_before_it_is_made(bench: Bench) -> None:
    older = Ledger(bench.source.pk)
    newer = Ledger(bench.source.pk)
    with pytest.raises(SupersededError):
        older.spend(Endpoint.TWEETS, datetime.now(UTC))
    newer.spend(Endpoint.TWEETS, datetime.now(UTC))
    assert newer.allowance(Endpoint.TWEETS, datetime.now(UTC)).remaining == 14


def test_it_shows_its_schedule_and_is_tested_from_the_sources_page(x: X, bench: Bench, alice: User, bob: User) -> None:
    x.add(XTweet(HOURS_AGO, COUNTS))
    with Worked(bench.source) as worked:
        eventually(lambda: worked.is_over, 20, "the runner has nothing left to do")
    client = Client()
    client.force_login(bob)
    assert "1 Tweet: 1 every 5 minutes." in client.get("/h/northwind/sources/").content.decode()
    client.force_login(alice)
    answer = client.post(f"/h/northwind/sources/{bench.source.pk}/test/", follow=True).content.decode()
    assert "X answers and knows this connection as @northwind." in answer
