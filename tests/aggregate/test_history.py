"""Old days make room without changing a total."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts.models import Handle
from metrics.aggregate import history, partitions, rollups
from metrics.models import DroppedDay, EngagementEvent, StreamCursor
from metrics.vocabulary.periods import Grain
from tests.aggregate.events import Event, entries, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def counted(northwind: Handle) -> Handle:
    StreamCursor.objects.create(shard=0)
    rollups.apply(0, entries(northwind.pk, [[Event(1, 0, 0, 3 * 86_400), Event(2, 0, 1, 60)]]))
    return northwind


def test_it_keeps_days_whose_newest_arrival_is_young(counted: Handle) -> None:
    assert history.drop_old_events() == []
    assert EngagementEvent.objects.count() == 2


def test_it_drops_days_whose_events_arrived_long_ago_and_no_total_changes(counted: Handle) -> None:
    before = stored(counted.pk)
    EngagementEvent.objects.update(received_at=timezone.now() - timedelta(days=36))
    assert len(history.drop_old_events()) == 2
    assert EngagementEvent.objects.count() == 0
    assert stored(counted.pk) == before
    assert DroppedDay.objects.count() == 2


def test_it_rebuilds_around_the_days_that_were_dropped(counted: Handle) -> None:
    before = stored(counted.pk)
    EngagementEvent.objects.filter(type=0).update(received_at=timezone.now() - timedelta(days=36))
    assert len(history.drop_old_events()) == 1
    history.rebuild(counted.pk)
    assert stored(counted.pk) == before


def test_it_drops_minutes_past_their_time_and_keeps_quarters(counted: Handle, settings: LazySettings) -> None:
    before = stored(counted.pk)
    settings.MINUTE_DAYS = 1
    assert history.drop_old_minutes()
    after = stored(counted.pk)
    assert {key: value for key, value in before.items() if key[1] != Grain.MINUTE} == {
        key: value for key, value in after.items() if key[1] != Grain.MINUTE
    }
    assert sum(key[1] == Grain.MINUTE for key in after) == 1


def test_it_makes_the_days_ahead() -> None:
    history.prepare_days()
    today = timezone.now().date()
    for table in (partitions.EVENTS, *partitions.MINUTES):
        assert {today, today + timedelta(days=1)} <= set(partitions.existing(table))
