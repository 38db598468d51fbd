"""Leased runners: one a source, its state from how the attempts went, and nothing that holds up the others."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from metrics import stream, tasks
from metrics.ingest import runner, sources
from metrics.ingest.connectors import DisconnectedError, LimitedError, Shift, SourceError, registry
from metrics.ingest.intake import Delivery
from metrics.ingest.validation import IncomingEvent
from metrics.models import Outage, Source, SourceState
from metrics.vocabulary.events import snowflake_at
from tests.ingest.scripted import Scripted, Worked
from tests.stack import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django import DjangoAssertNumQueries
    from pytest_django.fixtures import SettingsWrapper

    from accounts.models import Handle
    from tests.ingest.scripted import Script

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quiet_redis() -> Iterator[None]:
    stream.client().flushdb()
    yield
    stream.client().flushdb()


@pytest.fixture
def source(northwind: Handle) -> Source:
    return Source.objects.create(handle=northwind, kind="scripted", name="a stream")


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Scripted]:
    """Register a connector that runs these scripts."""

    def register(*scripts: Script) -> Scripted:
        connector = Scripted(*scripts)
        monkeypatch.setitem(registry(), "scripted", connector)
        return connector

    return register


async def stays_live(shift: Shift) -> None:
    await shift.live(40)
    await asyncio.Event().wait()


async def idles(_shift: Shift) -> None:
    await asyncio.Event().wait()


def raising(error: Exception) -> Script:
    async def fail(_shift: Shift) -> None:
        raise error

    return fail


def state_of(source: Source) -> str:
    return str(Source.objects.values_list("state", flat=True).get(pk=source.pk))


def becomes(source: Source, state: SourceState, seconds: float = 5) -> None:
    eventually(lambda: state_of(source) == state, seconds, f"the source is {state.label}")


def is_leased(source: Source) -> bool:
    return bool(stream.client().exists(runner.lease_key(source.pk)))


def a_like(number: int = 0) -> IncomingEvent:
    born_at = datetime.now(UTC) - timedelta(hours=1)
    return IncomingEvent(
        id=f"like-{number}", tweet_id=str(snowflake_at(born_at)), type="favorites", occurred_at=datetime.now(UTC)
    )


def test_it_is_live_only_once_the_connector_says_so(source: Source, play: Callable[..., Scripted]) -> None:
    answered = threading.Event()

    async def waits(shift: Shift) -> None:
        await asyncio.to_thread(answered.wait)
        await stays_live(shift)

    play(waits)
    with Worked(source):
        eventually(lambda: is_leased(source), 5, "the source is leased")
        assert state_of(source) == SourceState.STARTING
        answered.set()
        becomes(source, SourceState.LIVE)
    source.refresh_from_db()
    assert source.lag_ms == 40
    assert source.last_heard_at is not None


def test_it_tries_a_failed_source_again_within_a_second(source: Source, play: Callable[..., Scripted]) -> None:
    play(raising(SourceError("The platform is closed.")), stays_live)
    began = time.monotonic()
    with Worked(source):
        becomes(source, SourceState.LIVE)
    assert time.monotonic() - began < 3
    outage = Outage.objects.get(source=source)
    assert (outage.state, outage.reason) == (SourceState.FAILING, "The platform is closed.")
    assert outage.until is not None
    assert outage.until - outage.since < timedelta(seconds=1)


def test_it_leaves_the_thread_for_a_long_pause(
    source: Source, play: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PATIENCE_SECONDS", 0.1)
    play(raising(SourceError("The platform is closed.")))
    with Worked(source) as worked:
        eventually(lambda: worked.is_over, 5, "the shift ends by itself")
    source.refresh_from_db()
    assert worked.goes_on is False
    assert source.state == SourceState.FAILING
    assert source.due_at is not None
    assert source.pk not in runner.waiting(source.due_at - timedelta(milliseconds=1))
    assert source.pk in runner.waiting(source.due_at)


def test_it_goes_on_with_the_pauses_of_the_shift_before(source: Source, play: Callable[..., Scripted]) -> None:
    sources.enter(source, SourceState.FAILING, "The platform is closed.")
    Outage.objects.update(since=datetime.now(UTC) - timedelta(seconds=20))
    play(raising(SourceError("The platform is closed.")))
    with Worked(source) as worked:
        eventually(lambda: worked.is_over, 5, "the shift ends by itself")
    source.refresh_from_db()
    assert source.due_at is not None
    assert 15 < (source.due_at - datetime.now(UTC)).total_seconds() < 41


def test_it_waits_as_long_as_the_platform_says(source: Source, play: Callable[..., Scripted]) -> None:
    until = datetime.now(UTC) + timedelta(minutes=15)
    play(raising(LimitedError("300 requests in 15 minutes are used up.", until)))
    with Worked(source) as worked:
        eventually(lambda: worked.is_over, 5, "the shift ends by itself")
    source.refresh_from_db()
    assert (source.state, source.due_at) == (SourceState.LIMITED, until)
    assert source.reason == "300 requests in 15 minutes are used up."


def test_it_does_not_try_again_what_was_disconnected(source: Source, play: Callable[..., Scripted]) -> None:
    connector = play(raising(DisconnectedError("Access was revoked.")))
    with Worked(source) as worked:
        eventually(lambda: worked.is_over, 5, "the shift ends by itself")
    assert state_of(source) == SourceState.DISCONNECTED
    assert connector.attempts == 1
    assert runner.waiting(datetime.now(UTC) + timedelta(days=1)) == []


def test_it_asks_to_connect_again_what_nobody_can_unseal(source: Source, play: Callable[..., Scripted]) -> None:
    Source.objects.update(sealed="sealed under a key that is gone")

    async def reads_its_token(shift: Shift) -> None:
        assert shift.source.secrets["token"]

    play(reads_its_token)
    with Worked(source) as worked:
        eventually(lambda: worked.is_over, 5, "the shift ends by itself")
    source.refresh_from_db()
    assert source.state == SourceState.DISCONNECTED
    assert source.reason.endswith("connect it again.")


def test_it_shows_and_logs_an_unexpected_error_and_tries_again(
    source: Source, play: Callable[..., Scripted], capsys: pytest.CaptureFixture[str]
) -> None:
    play(raising(KeyError("data")), stays_live)
    with Worked(source):
        becomes(source, SourceState.LIVE)
    assert "(KeyError)" in Outage.objects.get(source=source).reason
    told = capsys.readouterr().out
    assert "connector_failed" in told
    assert "Traceback" in told


def test_it_stops_when_somebody_pauses_the_source(source: Source, play: Callable[..., Scripted]) -> None:
    play(stays_live)
    with Worked(source) as worked:
        becomes(source, SourceState.LIVE)
        sources.enter(Source.objects.get(pk=source.pk), SourceState.PAUSED, "Paused by Alice.")
        eventually(lambda: worked.is_over, 4, "the runner notices")
    assert state_of(source) == SourceState.PAUSED
    assert not is_leased(source)


def test_it_leaves_alone_what_was_moved_while_it_failed(source: Source, play: Callable[..., Scripted]) -> None:
    began, paused = threading.Event(), threading.Event()

    async def fails(_shift: Shift) -> None:
        began.set()
        await asyncio.to_thread(paused.wait)
        raise SourceError("The connection broke.")

    play(fails)
    with Worked(source) as worked:
        eventually(began.is_set, 5, "the connector begins")
        sources.enter(Source.objects.get(pk=source.pk), SourceState.PAUSED)
        paused.set()
        eventually(lambda: worked.is_over, 5, "the shift ends by itself")
    assert state_of(source) == SourceState.PAUSED


def test_it_runs_a_source_once_only(source: Source, play: Callable[..., Scripted]) -> None:
    connector = play(stays_live)
    with Worked(source) as first:
        becomes(source, SourceState.LIVE)
        with Worked(source) as second:
            eventually(lambda: second.is_over, 2, "the second runner goes away at once")
        assert second.goes_on is False
        assert not first.is_over
    assert connector.attempts == 1


def test_it_renews_its_lease(source: Source, play: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RENEW_SECONDS", 0.2)
    play(stays_live)
    with Worked(source):
        becomes(source, SourceState.LIVE)
        stream.client().pexpire(runner.lease_key(source.pk), 1_000)
        eventually(lambda: int(stream.client().pttl(runner.lease_key(source.pk))) > 9_000, 3, "the lease is renewed")


def test_it_stops_at_once_without_its_lease(
    source: Source, play: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "RENEW_SECONDS", 0.1)
    play(stays_live)
    with Worked(source) as worked:
        becomes(source, SourceState.LIVE)
        stream.client().set(runner.lease_key(source.pk), "another:1 abc")
        eventually(lambda: worked.is_over, 3, "the shift ends")
    assert worked.goes_on is False
    assert stream.client().get(runner.lease_key(source.pk)) == b"another:1 abc"
    assert state_of(source) == SourceState.LIVE


def test_it_hands_on_at_once_when_the_worker_stops(source: Source, play: Callable[..., Scripted]) -> None:
    play(stays_live)
    with Worked(source) as worked:
        becomes(source, SourceState.LIVE)
        worked.stop.set()
        eventually(lambda: worked.is_over, 3, "the shift ends")
    assert worked.goes_on is True
    assert not is_leased(source)
    assert state_of(source) == SourceState.LIVE


def test_it_goes_on_while_no_other_source_waits(
    source: Source, play: Callable[..., Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "SHIFT_SECONDS", 0.1)
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.05)
    asked: list[bool] = []
    connector = play(stays_live)
    worked = Worked(source)
    is_set = worked.wanted.is_set
    monkeypatch.setattr(worked.wanted, "is_set", lambda: asked.append(True) or is_set())
    with worked:
        eventually(lambda: len(asked) > 3, 5, "it asks whether others wait")
        assert connector.attempts == 1
        worked.wanted.set()
        eventually(lambda: worked.is_over, 5, "the shift ends")
    assert worked.goes_on is True


def test_it_keeps_the_cursor_of_what_it_has_taken(source: Source, play: Callable[..., Scripted]) -> None:
    async def takes(shift: Shift) -> datetime:
        receipt = await shift.take(Delivery(events=[a_like()], ignored={"delete": 2}), {"after": 7})
        assert receipt.taken.events == 1
        return datetime.now(UTC) + timedelta(hours=1)

    play(takes)
    with Worked(source) as worked:
        eventually(lambda: worked.is_over, 5, "the shift ends by itself")
    source.refresh_from_db()
    assert source.cursor == {"after": 7}
    assert stream.backlog(stream.shard_of(source.handle_id)) == 1
    day = source.days.get()
    assert (day.events, day.ignored) == (1, {"delete": 2})
    assert source.due_at is not None
    assert worked.goes_on is False


def test_it_takes_nothing_while_the_writers_are_far_behind(
    source: Source, play: Callable[..., Scripted], settings: SettingsWrapper
) -> None:
    settings.BACKLOG_LIMIT = -1
    began = threading.Event()

    async def takes(shift: Shift) -> None:
        began.set()
        await shift.take(Delivery(events=[a_like()]))
        await stays_live(shift)

    play(takes)
    with Worked(source):
        eventually(began.is_set, 5, "the connector begins")
        assert state_of(source) == SourceState.STARTING
        assert stream.backlog(stream.shard_of(source.handle_id)) == 0
        settings.BACKLOG_LIMIT = 10
        becomes(source, SourceState.LIVE)
    assert stream.backlog(stream.shard_of(source.handle_id)) == 1


def test_it_does_a_connectors_own_database_work(source: Source, play: Callable[..., Scripted]) -> None:
    async def looks(shift: Shift) -> datetime:
        number = await shift.do(Source.objects.count)
        await shift.note(f"There are {number} sources.")
        return datetime.now(UTC) + timedelta(hours=1)

    play(looks)
    with Worked(source) as worked:
        eventually(lambda: worked.is_over, 5, "the shift ends by itself")
    assert source.notes.get().text == "There are 1 sources."


def test_it_ends_when_the_source_is_deleted(source: Source, play: Callable[..., Scripted]) -> None:
    async def takes(shift: Shift) -> None:
        await stays_live(shift)

    play(takes)
    with Worked(source) as worked:
        becomes(source, SourceState.LIVE)
        Source.objects.filter(pk=source.pk).delete()
        eventually(lambda: worked.is_over, 4, "the runner notices")
    assert not Source.objects.filter(pk=source.pk).exists()


def test_it_notes_the_time_in_which_nobody_ran_the_source(source: Source, play: Callable[..., Scripted]) -> None:
    heard_at = datetime.now(UTC) - timedelta(minutes=20)
    Source.objects.update(state=SourceState.LIVE, last_heard_at=heard_at)
    play(stays_live)
    with Worked(source):
        eventually(lambda: Outage.objects.filter(source=source).exists(), 5, "the gap is noted")
    assert Outage.objects.get(source=source).since == heard_at


def test_it_does_not_spin_for_a_connector_with_nothing_to_do(source: Source, play: Callable[..., Scripted]) -> None:
    async def returns(_shift: Shift) -> None:
        return None

    connector = play(returns)
    began = time.monotonic()
    with Worked(source):
        eventually(lambda: connector.attempts == 3, 6, "three attempts")
    assert time.monotonic() - began > 1.9


def test_it_finds_what_is_due_and_runs_nowhere(
    source: Source, play: Callable[..., Scripted], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    play(idles)
    now = datetime.now(UTC)
    rows = [Source(handle_id=source.handle_id, kind="scripted", name=f"{n}", due_at=now) for n in range(1_000)]
    Source.objects.bulk_create(rows)
    Source.objects.create(handle_id=source.handle_id, kind="file", name="an export")
    Source.objects.create(handle_id=source.handle_id, kind="scripted", name="later", due_at=now + timedelta(hours=1))
    Source.objects.create(handle_id=source.handle_id, kind="scripted", name="off", state=SourceState.PAUSED)
    stream.client().set(runner.lease_key(rows[0].pk), "held")
    with django_assert_num_queries(1):
        waiting = runner.waiting(now)
    assert len(waiting) == 1_000
    assert waiting[0] == source.pk
    assert rows[0].pk not in waiting
    assert runner.held() == 1


def test_it_queues_a_source_once_until_a_thread_is_free(source: Source, play: Callable[..., Scripted]) -> None:
    play(idles)
    tasks.start_sources()
    tasks.start_sources()
    assert stream.client().llen("sources") == 1


def test_it_queues_a_source_again_whose_message_was_lost(source: Source, play: Callable[..., Scripted]) -> None:
    play(idles)
    tasks.start_sources()
    stream.client().delete("sources")
    tasks.start_sources()
    assert stream.client().llen("sources") == 1
