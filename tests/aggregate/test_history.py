"""Old days make room without changing a total."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date, timedelta

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from accounts.models import Handle
from insightstrack_site import processes
from metrics import stream, tasks
from metrics.aggregate import history, partitions, rollups
from metrics.models import DroppedDay, EngagementEvent, InferredCount, LastSnapshot, StreamCursor
from metrics.vocabulary.periods import Grain
from tests.aggregate.counts import SHOWN, Snapshot, entry
from tests.aggregate.events import OLD, Event, entries, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def counted(northwind: Handle) -> Handle:
    StreamCursor.objects.create(shard=0)
    rollups.apply(0, entries(northwind.pk, [[Event(1, 0, 0, 3 * 86_400), Event(2, 0, 1, 60)]]))
    return northwind


@pytest.fixture
def loaded(northwind: Handle) -> Handle:
    """A handle with three days of its past, which have just arrived."""
    StreamCursor.objects.create(shard=0)
    past = [Event(1, 0, 0, 38 * 86_400), Event(2, 0, 1, 40 * 86_400), Event(3, 0, 1, 50 * 86_400)]
    rollups.apply(0, entries(northwind.pk, [past]))
    return northwind


def dropped_days() -> list[date]:
    """The days that went with their events; empty ones go unnoted."""
    return list(DroppedDay.objects.order_by("day").values_list("day", flat=True))


def arrived(**days_ago: int) -> None:
    """Let the events of these types (`type_0=36`) have arrived so many days ago."""
    for name, days in days_ago.items():
        events = EngagementEvent.objects.filter(type=int(name.removeprefix("type_")))
        events.update(received_at=timezone.now() - timedelta(days=days))


def test_it_keeps_days_whose_newest_arrival_is_young(counted: Handle) -> None:
    assert history.drop_old_events() == []
    assert EngagementEvent.objects.count() == 2


def test_it_keeps_past_days_that_arrived_lately(loaded: Handle) -> None:
    arrived(type_0=36, type_1=34)
    history.drop_old_events()
    assert len(dropped_days()) == 1
    assert EngagementEvent.objects.count() == 2


def test_it_drops_days_whose_events_arrived_long_ago_and_no_total_changes(loaded: Handle) -> None:
    before = stored(loaded.pk)
    arrived(type_0=36, type_1=36)
    history.drop_old_events()
    assert EngagementEvent.objects.count() == 0
    assert stored(loaded.pk) == before
    assert len(dropped_days()) == 3


@pytest.mark.django_db(transaction=True)
def test_it_counts_late_events_of_a_day_that_another_process_dropped(loaded: Handle) -> None:
    arrived(type_0=36, type_1=36)
    known = set(partitions._known)
    history.drop_old_events()
    partitions._known.update(known)  # as the writers' processes still have it
    stream.client().flushdb()
    stream.append(0, entries(loaded.pk, [[Event(9, 0, 0, 50 * 86_400)]])[0].payload)
    applied = rollups.Writer(0).step(1000)
    assert applied is not None
    assert applied.fresh == 1


def test_it_rebuilds_around_the_days_that_were_dropped(loaded: Handle) -> None:
    before = stored(loaded.pk)
    arrived(type_0=36)
    history.drop_old_events()
    assert len(dropped_days()) == 1
    history.rebuild(loaded.pk)
    assert stored(loaded.pk) == before


def somebody_waits() -> bool:
    """Whether a session waits for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_it_rebuilds_around_a_day_that_is_dropped_while_it_waits(loaded: Handle) -> None:
    before = stored(loaded.pk)
    arrived(type_0=36)

    def rebuild() -> None:
        try:
            history.rebuild(loaded.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            StreamCursor.objects.get_or_create(shard=stream.shard_of(loaded.pk))
            StreamCursor.objects.select_for_update().get(shard=stream.shard_of(loaded.pk))
            rebuilding = pool.submit(rebuild)
            assert processes.wait_for(somebody_waits, 10)
            history.drop_old_events()
            assert len(dropped_days()) == 1
        rebuilding.result(10)
    assert stored(loaded.pk) == before


@pytest.mark.django_db(transaction=True)
def test_it_says_that_a_day_is_in_use_and_keeps_it(loaded: Handle) -> None:
    arrived(type_0=36)
    (day,) = EngagementEvent.objects.filter(type=0).values_list("occurred_at__date", flat=True)
    name = partitions.partition_name(partitions.EVENTS, day)
    with closing(connection.copy()) as other:
        other.set_autocommit(False)
        with other.cursor() as reader:
            reader.execute(f"LOCK TABLE {name} IN ACCESS SHARE MODE")
        with pytest.raises(OperationalError, match="lock timeout"):
            history.drop_old_events()
        tasks.retention()  # its other steps go on
    assert {day, timezone.now().date() + timedelta(days=1)} <= set(partitions.existing(partitions.EVENTS))
    history.drop_old_events()
    assert dropped_days() == [day]


def test_it_drops_minutes_past_their_time_and_keeps_quarters(counted: Handle, settings: LazySettings) -> None:
    before = stored(counted.pk)
    settings.MINUTE_DAYS = 1
    assert history.drop_old_minutes()
    after = stored(counted.pk)
    assert {key: value for key, value in before.items() if key[1] != Grain.MINUTE} == {
        key: value for key, value in after.items() if key[1] != Grain.MINUTE
    }
    assert sum(key[1] == Grain.MINUTE for key in after) == 1


@pytest.fixture
def inferred(northwind: Handle) -> Handle:
    """A handle of which a source has told two totals, so that one is history and one is growth, 38 days ago."""
    StreamCursor.objects.create(shard=0)
    told = [Snapshot({SHOWN: 100}, 39 * 86_400, OLD), Snapshot({SHOWN: 130}, 38 * 86_400, OLD)]
    rollups.apply(0, [entry(northwind.pk, told, 1), entry(northwind.pk, [Event(1, OLD, SHOWN, 60)], 2)])
    return northwind


def test_it_keeps_inferred_counts_that_arrived_lately(inferred: Handle) -> None:
    assert history.drop_old_inferred() == []


def test_it_drops_inferred_growth_that_arrived_long_ago_and_no_total_changes(inferred: Handle) -> None:
    before = stored(inferred.pk)
    InferredCount.objects.update(received_at=timezone.now() - timedelta(days=36))
    dropped = history.drop_old_inferred()
    assert dropped == dropped_days() != []
    assert set(InferredCount.objects.values_list("is_history", flat=True)) == {True}
    history.rebuild(inferred.pk)
    assert stored(inferred.pk) == before


def test_it_forgets_what_snapshots_left_of_deleted_handles(inferred: Handle, acme: Handle) -> None:
    rollups.apply(0, [entry(acme.pk, [Snapshot({SHOWN: 5}, 60)], 3)])
    assert history.forget_deleted_handles() == 0
    inferred.delete()
    assert history.forget_deleted_handles() == 1
    for facts in (InferredCount, LastSnapshot):
        assert set(facts.objects.values_list("handle", flat=True)) == {acme.pk}


def test_it_makes_the_days_ahead() -> None:
    history.prepare_days()
    today = timezone.now().date()
    for table in (partitions.EVENTS, *partitions.MINUTES):
        assert {today, today + timedelta(days=1)} <= set(partitions.existing(table))
