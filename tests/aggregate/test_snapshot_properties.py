"""Events and true snapshots end at the true totals, whatever the order, the batches, the sources and the repeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import history, rollups
from metrics.models import HandleRollup, InferredCount, LastSnapshot, TweetRollup
from metrics.vocabulary.engagements import NAMES, UNDO_OF
from metrics.vocabulary.periods import Grain
from tests.aggregate.counts import Snapshot, entry, lifetimes, true_lifetimes, worlds
from tests.aggregate.events import Event, column_sums, stored
from tests.aggregate.test_rollups import begin_anew

pytestmark = pytest.mark.django_db
SHARD = 0
PROPERTY = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
Batches = list[list[list[Event | Snapshot]]]
Delivery = tuple[list[Event], Batches]


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    """A world's events, and the batches of entries in which all arrives: in any order, some of it twice."""
    events, snapshots = draw(worlds())
    items: list[Event | Snapshot] = [*events, *snapshots]
    again = draw(st.lists(st.sampled_from(items), max_size=6))
    order = draw(st.permutations([*items, *again]))
    batches: Batches = [[]]
    for item in order:
        entries = batches[-1]
        if entries and isinstance(entries[-1][0], type(item)) and draw(st.booleans()):
            entries[-1].append(item)
        elif entries and draw(st.booleans()):
            batches.append([[item]])
        else:
            entries.append([item])
    return events, batches


def applied(handle: Handle, batches: Batches) -> Iterator[None]:
    begin_anew()
    for facts in (InferredCount, LastSnapshot):
        facts.objects.all().delete()
    number = 0
    for batch in batches:
        entries: list[stream.Entry] = []
        for items in batch:
            number += 1
            entries.append(entry(handle.pk, items, number))
        rollups.apply(SHARD, entries)
        yield


@PROPERTY
@given(delivery=deliveries())
def test_it_ends_at_the_true_totals(northwind: Handle, delivery: Delivery) -> None:
    events, batches = delivery
    for _ in applied(northwind, batches):
        pass
    assert lifetimes(northwind.pk, by_part=True) == true_lifetimes(events)
    assert not InferredCount.objects.exists()


def sums(rollup: type[TweetRollup] | type[HandleRollup], handle: Handle, grain: Grain) -> list[int]:
    return column_sums(rollup.objects.filter(handle=handle, grain=grain).values(*NAMES))


@PROPERTY
@given(delivery=deliveries())
def test_it_keeps_every_sum_at_every_step(northwind: Handle, delivery: Delivery) -> None:
    _, batches = delivery
    before = Counter[tuple[int | bool, ...]]()
    for _ in applied(northwind, batches):
        lifetime = sums(TweetRollup, northwind, Grain.LIFETIME)
        for grain in Grain:
            assert sums(TweetRollup, northwind, grain) == lifetime
            assert sums(HandleRollup, northwind, grain) == lifetime
        after = lifetimes(northwind.pk)
        assert not [key for key, total in before.items() if NAMES[key[1]] not in UNDO_OF and after[key] < total]
        before = after


@PROPERTY
@given(delivery=deliveries())
def test_it_rebuilds_what_it_inferred(northwind: Handle, delivery: Delivery) -> None:
    _, batches = delivery
    for _ in applied(northwind, batches):
        before = stored(northwind.pk)
        history.rebuild(northwind.pk)
        assert stored(northwind.pk) == before
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE rebuilt")  # the test's one transaction never commits
