"""The benchmark command: what it sends adds up to what it expects, and what it measures is counted rightly."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from io import StringIO

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import Handle, Team, User
from metrics import stream
from metrics.aggregate import events, partitions
from metrics.benchmarks import accuracy, measures, queries, reach, reading, streaming
from metrics.benchmarks.bodies import Template
from metrics.benchmarks.guests import RUN_LOCK, Guest, Guests, is_exact
from metrics.benchmarks.installation import Installation, part_of
from metrics.benchmarks.posting import DripPlan
from metrics.ingest.validation import IncomingEvent, pack
from metrics.models import EngagementEvent, ReachSketch
from metrics.present.summaries import summary
from metrics.query.following import State
from metrics.stream import Entry
from metrics.vocabulary.engagements import N_TYPES
from tests.stack import Stack


@pytest.fixture(autouse=True)
def _forget_partitions() -> None:
    """Those that another test made went with its transaction."""
    partitions.forget()


class Quiet:
    def show(self, done: float, count: int) -> None: ...


def _meter(label: str, unit: str, total: float) -> nullcontext[Quiet]:
    return nullcontext(Quiet())


def _count(guest: Guest, body: bytes) -> None:
    """What the door and a writer do with one body."""
    handles = {guest.handle.username: guest.handle.pk}
    now_us = time.time_ns() // 1000
    items = msgspec.json.decode(body, type=list[IncomingEvent])
    payload = b"".join(pack(item, handles, now_us)[2] for item in items)
    batch = events.batch_of([Entry(f"{now_us // 1000}-0", payload)])
    events.ensure_partitions(batch)
    events.count(batch)


@pytest.mark.django_db
def test_it_expects_exactly_what_its_bodies_hold() -> None:
    with Guests(handles=1, tweets=7) as guests:
        guest = guests.guests[0]
        template = Template(guest.handle.username, guest.tweets, 40)
        _count(guest, template.body(0))
        for row in range(40, 45):
            _count(guest, template.single(row))

        assert guests.counted() == 45
        assert is_exact(guest, template.expected(45))
        assert not is_exact(guest, template.expected(44))


@pytest.mark.django_db
def test_its_guests_leave_nothing_behind() -> None:
    with Guests(handles=2, tweets=3) as guests:
        _count(guests.guests[0], Template("x", guests.guests[0].tweets, 5).body(0))

    assert not Team.objects.filter(name="Benchmark").exists()
    assert not Handle.objects.filter(username__startswith="bench").exists()
    assert not EngagementEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_its_guests_leave_with_the_next_ones_when_their_run_was_killed() -> None:
    left = Guests(handles=1, tweets=3)
    left.__enter__()
    _count(left.guests[0], Template("x", left.guests[0].tweets, 5).body(0))
    connection.close()  # as the end of the run's process does
    living = connection.copy()
    with living.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [RUN_LOCK, left.team.pk])
        with Guests(handles=1, tweets=0):
            assert Team.objects.filter(pk=left.team.pk).exists()
    living.close()
    with connection.cursor() as cursor:
        # The server ends a session a moment after its client: wait until its lock is free.
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [RUN_LOCK, left.team.pk])
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [RUN_LOCK, left.team.pk])
    with Guests(handles=1, tweets=0) as guests:
        assert Team.objects.get() == guests.team
        assert User.objects.get() == guests.user
        assert not EngagementEvent.objects.exists()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("postgres postgres: io worker 1", "postgres"),
        ("postgres postgres: parallel worker for pid 7", "postgres"),
        ("python python -m celery worker --queues celery", "worker"),
        ("python python -m celery worker --queues consumers", "consumers"),
        ("python python -m insightstrack_site.run", "supervisor"),
    ],
)
def test_it_knows_the_parts_by_their_command_lines(name: str, part: str) -> None:
    assert part_of(name) == part


def test_it_times_each_post_by_the_first_frame_that_holds_it() -> None:
    sockets = [[(10, 0.1), (30, 0.5)], [(10, 0.2)]]

    delays, unseen = measures.delays_ms([0.0, 0.2, 0.3], 10, sockets)

    assert delays.round().tolist() == [100, 300, 200, 200]
    assert unseen == 2
    assert measures.frames_lost(sockets) == 1


def test_it_times_each_post_by_the_first_summary_that_holds_it() -> None:
    plan = DripPlan("", 0, "", "x", (11, 22), 1, 0.5, 4, parts=2)
    due = [0.0, 0.5, 1.0, 1.5]

    delays, lost = streaming.delays_ms(due, plan, {11: [(1, 0.2), (2, 1.1)], 22: [(1, 0.8)]})

    assert delays.round().tolist() == [200, 100, 300]
    assert lost == 1
    assert streaming.delays_ms(due, plan, {22: [(2, 1.8)]})[1] == 1


def test_it_gives_each_tweet_of_a_part_the_same_share() -> None:
    expected = Template("x", (1, 2, 3), 6, only_impressions=True).expected(12)

    assert expected.sum(axis=(1, 2)).tolist() == [4, 4, 4]


def test_its_readers_find_the_numbers_of_a_summary() -> None:
    organic, promoted = [0] * N_TYPES, [0] * N_TYPES
    organic[0], promoted[0], organic[1] = 30, 12, 7
    now = datetime.now(UTC)

    assert reading.numbers(summary(State(20, organic, promoted, now, 1), now)) == (20, 42)


@pytest.mark.django_db(transaction=True)
def test_it_times_the_readers_over_real_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "RUNS", 3)

    found = queries.query(_meter, [2_000, 3_000])

    assert found["events"] == 3_000
    for reader in ("report", "top_tweets", "tweets_28d_by_hour"):
        assert list(found[reader]) == ["p95_ms_0.002m", "p95_ms_0.003m"]
    assert json.dumps(found)


def test_it_times_the_engagement_api_over_http(live_stack: Stack) -> None:
    told = live_stack.manage("benchmark", "engagement", "--json", "--events", "3000", "--url", live_stack.url)

    found = json.loads(told)
    assert found["events"] == 3_000
    assert found["historical_p95_ms"] > found["historical"]["p50_ms"] > 0
    assert found["totals_p95_ms"] > found["totals"]["p50_ms"] > 0


def test_it_filters_a_whole_network_exactly(live_stack: Stack) -> None:
    told = live_stack.manage("benchmark", "jetstream", "--json", "--seconds", "0.5", "--url", live_stack.url)

    found = json.loads(told)
    assert (found["messages"], found["exact"]) == (10_000, True)
    assert 0 < found["events"] < 500
    assert found["messages_per_second"] > 100


def test_it_says_in_one_line_when_nothing_runs() -> None:
    with pytest.raises(CommandError, match=r"^Nothing runs at http://127\.0\.0\.1:1: start `make run` first.*$"):
        call_command("benchmark", "ingest", "--json", "--url", "http://127.0.0.1:1", stdout=StringIO())


def test_it_times_the_answers_to_webhooks(live_stack: Stack) -> None:
    told = json.loads(live_stack.manage("benchmark", "webhook", "--json", "--seconds", "2", "--url", live_stack.url))
    assert told["exact"]
    assert told["likes"] > 0
    assert told["deliveries"] > told["likes"]
    # X waits three seconds.
    assert 0 < told["p50_ms"] <= told["p99_ms"] < 3_000


def test_it_imports_a_file_exactly(live_stack: Stack) -> None:
    told = json.loads(live_stack.manage("benchmark", "files", "--json", "--seconds", "0.4", "--url", live_stack.url))
    assert (told["rows"], told["exact"]) == (8_000, True)
    assert told["rows_per_second"] >= told["counted_per_second"] > 0


def test_it_holds_its_estimates_against_the_truth() -> None:
    cases = [case for case in accuracy.CASES if case.sets == 2]
    found = accuracy.accuracy(_meter, runs=30, sizes=(100, 20_000), cases=cases)["cases"]
    assert found["100 people"] == {"held": 1.0, "relative_error": 0.0, "mean_people": 100.0}
    assert set(found) == {"100 people", "20,000 people", *(case.name for case in cases)}
    # Of 30 runs; the command's 500 tell it more exactly.
    assert all(case["held"] >= 0.8 for case in found.values())
    assert found["20,000 people"]["relative_error"] < 0.03


@pytest.mark.django_db(transaction=True)
def test_it_measures_what_people_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TWEETS", 12), ("RUNS", 2)):
        monkeypatch.setattr(reach, name, value)
    told = reach.cost(Installation("127.0.0.1", 1), 0.02, _meter)
    assert (told["events"], told["sketches"]) == (4_000, 12 * 29)
    assert all(told[name] > 0 for name in ("events_per_second", "tweet_p95_ms", "union_p95_ms", "overlap_p95_ms"))
    assert not ReachSketch.objects.exists()
    assert not stream.client().exists(stream.stream_key(reach._UNUSED_SHARD))
