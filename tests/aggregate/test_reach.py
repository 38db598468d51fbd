"""People's sketches: who saw and who engaged, whatever the order, the batches, the repeats and the crashes."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import history, partitions, reach, reach_history, rollups
from metrics.aggregate.reach import Key
from metrics.models import Audience, DroppedDay, HandleRollup, ReachSketch, StreamCursor, TweetRollup
from metrics.stream import Group
from metrics.vocabulary.engagements import CODE, TYPES
from metrics.vocabulary.events import PACKED
from metrics.vocabulary.periods import EPOCH, Grain
from metrics.vocabulary.sketches import Sketch, hours_since
from tests.aggregate.events import NOW, Event, entries

SHARD = 0
HOUR, DAY = 3_600, 86_400
pytestmark = pytest.mark.django_db

_named = st.builds(
    Event,
    key=st.integers(0, 10**6),
    tweet=st.integers(0, 2),
    code=st.sampled_from(
        [CODE[name] for name in ("impressions", "favorites", "unfavorites", "video_views", "url_clicks")]
    ),
    seconds=st.integers(0, 3 * DAY),
    count=st.integers(1, 3),
    person=st.integers(0, 6),
    epoch=st.integers(0, 1),
)
worlds = st.lists(_named, min_size=1, max_size=40)


def stored(handle: Handle) -> dict[Key, bytes]:
    rows = ReachSketch.objects.filter(handle=handle)
    return {
        Key(row.handle_id, row.tweet_id, row.grain, round(row.start.timestamp()), row.audience, row.epoch): bytes(
            row.sketch
        )
        for row in rows
    }


def expected(handle: Handle, events: list[Event]) -> dict[Key, bytes]:
    people: dict[Key, set[int]] = defaultdict(set)
    for event in events:
        if event.person and (event.code == 0 or TYPES[event.code].is_engagement):
            audience = Audience.SEEN if event.code == 0 else Audience.ENGAGED
            for tweet_id in (event.tweet_id, 0):
                for grain, length in ((Grain.HOUR, HOUR), (Grain.DAY, DAY), (Grain.LIFETIME, None)):
                    start = event.occurred // length * length if length else 0
                    people[Key(handle.pk, tweet_id, grain, start, audience, event.epoch)].add(event.person)
    return {key: Sketch.of(someone).to_bytes() for key, someone in people.items()}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds, st.randoms(use_true_random=False), st.integers(1, 4))
def test_it_keeps_the_same_people_whatever_the_order_batches_and_repeats(
    northwind: Handle, events: list[Event], random: random.Random, parts: int
) -> None:
    ReachSketch.objects.all().delete()
    mixed = [*events, *events[::2]]
    random.shuffle(mixed)
    for batch in entries(northwind.pk, [part for place in range(parts) if (part := mixed[place::parts])]):
        reach.keep(SHARD, [batch])
    assert stored(northwind) == expected(northwind, events)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(worlds)
def test_it_rebuilds_from_events_what_it_had_kept(northwind: Handle, events: list[Event]) -> None:
    batch = entries(northwind.pk, [list({event.key: event for event in events}.values())])
    with transaction.atomic():
        StreamCursor.objects.create(shard=SHARD)
        rollups.apply(SHARD, batch)
        reach.keep(SHARD, batch)
        kept = stored(northwind)
        ReachSketch.objects.filter(grain=Grain.HOUR).delete()
        assert reach_history.rebuild(northwind.pk) == len(kept)
        assert stored(northwind) == kept
        transaction.set_rollback(True)


def test_it_keeps_what_days_without_events_hold(northwind: Handle) -> None:
    old, young = Event(1, 0, 0, 2 * DAY, person=1), Event(2, 0, 0, 60, person=2)
    batch = entries(northwind.pk, [[old, young]])
    StreamCursor.objects.create(shard=SHARD)
    rollups.apply(SHARD, batch)
    reach.keep(SHARD, batch)
    kept = stored(northwind)
    day = datetime.fromtimestamp(old.occurred, UTC).date()
    partitions.drop(partitions.EVENTS, day)
    DroppedDay.objects.create(day=day)
    reach_history.rebuild(northwind.pk)
    assert stored(northwind) == kept


def test_it_counts_the_impressions_that_name_a_person(northwind: Handle) -> None:
    StreamCursor.objects.create(shard=SHARD)
    events = [Event(1, 0, 0, 60, 4, person=7), Event(2, 0, 0, 60, 3), Event(3, 0, CODE["favorites"], 60, 2, person=7)]
    batch = entries(northwind.pk, [events])
    rollups.apply(SHARD, batch)
    rollups.apply(SHARD, entries(northwind.pk, [events], first=2))  # a resend
    for model in (TweetRollup, HandleRollup):
        assert {row.named_impressions for row in model.objects.all()} == {4}
        assert {row.impressions for row in model.objects.all()} == {7}
    history.rebuild(northwind.pk)
    assert {row.named_impressions for row in TweetRollup.objects.all()} == {4}


def test_it_keeps_hours_of_a_week_only(northwind: Handle) -> None:
    since = hours_since(timezone.now())
    week_ago = int((NOW - since).total_seconds())
    events = [Event(1, 9, 0, week_ago, person=1), Event(2, 9, 0, week_ago + 1, person=2)]
    reach.keep(SHARD, entries(northwind.pk, [events]))
    hours = ReachSketch.objects.filter(grain=Grain.HOUR, tweet_id=0)
    assert [hour.start for hour in hours] == [since]
    assert ReachSketch.objects.filter(grain=Grain.DAY, tweet_id=0).count() == 2
    ReachSketch.objects.filter(grain=Grain.HOUR).update(start=since - timedelta(hours=1))
    assert reach_history.drop_old_hours() == 2
    assert not ReachSketch.objects.filter(grain=Grain.HOUR).exists()


# --- the stream ---------------------------------------------------------------------------------------------


def sent(handle: Handle, *events: Event) -> None:
    stream.append(SHARD, b"".join(event.packed(handle.pk) for event in events))


def test_entries_stay_until_both_groups_are_done(northwind: Handle) -> None:
    counting, keeping = rollups.Writer(SHARD), reach.Writer(SHARD)
    sent(northwind, Event(1, 0, 0, 60, person=1))
    assert counting.step(1) is not None
    stream.trim(SHARD)
    assert stream.client().xlen(stream.stream_key(SHARD)) == 1
    assert (stream.backlog(SHARD), stream.backlog(SHARD, Group.REACH)) == (0, 1)
    assert stream.oldest_waiting_us(SHARD) is None
    assert stream.oldest_waiting_us(SHARD, Group.REACH) is not None
    keeping.step(1)
    assert keeping.flush() == 1
    assert stream.client().xlen(stream.stream_key(SHARD)) == 0
    assert stream.backlog(SHARD, Group.REACH) == 0


def test_an_entry_waits_for_the_counting_too(northwind: Handle) -> None:
    keeping = reach.Writer(SHARD)
    sent(northwind, Event(1, 0, 0, 60, person=1))
    keeping.step(1)
    keeping.flush()
    assert stream.client().xlen(stream.stream_key(SHARD)) == 1
    assert rollups.Writer(SHARD).step(1) is not None
    stream.trim(SHARD)
    assert stream.client().xlen(stream.stream_key(SHARD)) == 0


def test_it_takes_over_what_a_dead_writer_was_handed(northwind: Handle) -> None:
    dead = reach.Writer(SHARD)
    sent(northwind, Event(1, 0, 0, 60, person=1))
    sent(northwind, Event(2, 0, 0, 60, person=2))
    dead.step(1)
    sent(northwind, Event(3, 0, 0, 60, person=3))
    successor = reach.Writer(SHARD)
    for _ in range(3):
        successor.step(1)
    assert successor.flush() == 3
    lifetime = ReachSketch.objects.get(grain=Grain.LIFETIME, tweet_id=0, start=EPOCH)
    assert Sketch.from_bytes(bytes(lifetime.sketch)).estimate.people == 3


def test_it_passes_over_what_it_cannot_read(northwind: Handle) -> None:
    writer = reach.Writer(SHARD)
    stream.append(SHARD, b"no events")
    far = PACKED.pack(northwind.pk, Event(1, 0, 0, 0).tweet_id, 2**62, b"sixteen bytes 01", 7, 1, 0, 0)
    stream.append(SHARD, far)
    sent(northwind, Event(1, 0, 0, 60, person=1))
    writer.step(1)
    assert writer.flush() >= 1
    assert stored(northwind) == expected(northwind, [Event(1, 0, 0, 60, person=1)])
    assert stream.backlog(SHARD, Group.REACH) == 0


def test_a_group_that_is_younger_than_the_stream_owes_only_what_waits(northwind: Handle) -> None:
    rollups.Writer(SHARD)
    sent(northwind, Event(1, 0, 0, 60, person=1))
    rollups.Writer(SHARD).step(1)
    stream.client().xgroup_destroy(stream.stream_key(SHARD), Group.REACH)
    stream.client().delete(stream._done_key(SHARD, Group.REACH))
    reach.Writer(SHARD)
    assert stream.backlog(SHARD, Group.REACH) == 0


# --- forgetting ---------------------------------------------------------------------------------------------


def test_it_forgets_a_person(northwind: Handle) -> None:
    StreamCursor.objects.create(shard=SHARD)
    theirs = [Event(1, 0, 0, 60, person=1), Event(2, 1, CODE["favorites"], 2 * DAY, person=1)]
    others = [Event(3, 0, 0, 60, person=2), Event(4, 0, 0, 90, person=1, epoch=1)]
    batch = entries(northwind.pk, [[*theirs, *others]])
    rollups.apply(SHARD, batch)
    reach.keep(SHARD, batch)
    forgotten = reach_history.forget(1, epoch=0)
    assert (forgotten.events, forgotten.handles) == (2, (northwind.pk,))
    left = {key: data for key, data in stored(northwind).items() if Sketch.from_bytes(data).hashes.size}
    assert left == expected(northwind, others)
    assert HandleRollup.objects.get(grain=Grain.LIFETIME).impressions == 2
