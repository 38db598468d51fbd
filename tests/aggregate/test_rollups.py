"""Events become rollups exactly once, whatever their order, their batches and their repeats."""

from __future__ import annotations

import random

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import history, rollups
from metrics.models import (
    EngagementEvent,
    HandleFeed,
    HandleRollup,
    Rollup,
    SetAsideEntry,
    StreamCursor,
    Tweet,
    TweetRollup,
)
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.periods import Grain
from tests.aggregate.events import Event, column_sums, entries, expected, stored, worlds

pytestmark = pytest.mark.django_db
PROPERTY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SHARD = 0


def begin_anew() -> None:
    """Hypothesis runs many examples in one test's transaction."""
    for model in (EngagementEvent, HandleRollup, TweetRollup, Tweet, HandleFeed, StreamCursor, SetAsideEntry):
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {model._meta.db_table}")
            # A commit empties it, but the test's one transaction never commits.
            cursor.execute("DROP TABLE IF EXISTS arrivals")
    StreamCursor.objects.create(shard=SHARD)


def sums(rollup: type[Rollup], handle: Handle, grain: Grain) -> list[int]:
    return column_sums(rollup.objects.filter(handle=handle, grain=grain).values(*NAMES))


@PROPERTY
@given(world=worlds(), seed=st.integers(0, 10**6))
def test_it_counts_the_same_whatever_the_order_the_batches_and_the_repeats(
    northwind: Handle, world: list[Event], seed: int
) -> None:
    begin_anew()
    dice = random.Random(seed)
    sent = world + dice.sample(world, len(world) // 2)
    dice.shuffle(sent)
    cuts = sorted(dice.sample(range(len(sent) + 1), min(3, len(sent))))
    batches = [part for part in (sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)) if part]
    applied = rollups.apply(SHARD, entries(northwind.pk, batches))
    assert applied.events == len(sent)
    assert applied.fresh == len(world)
    assert stored(northwind.pk) == expected(world)


@PROPERTY
@given(world=worlds())
def test_it_sums_minutes_to_quarters_to_hours_to_days_to_a_lifetime(northwind: Handle, world: list[Event]) -> None:
    begin_anew()
    rollups.apply(SHARD, entries(northwind.pk, [world]))
    lifetime = sums(TweetRollup, northwind, Grain.LIFETIME)
    for grain in Grain:
        assert sums(TweetRollup, northwind, grain) == lifetime
        assert sums(HandleRollup, northwind, grain) == lifetime


@PROPERTY
@given(world=worlds())
def test_it_rebuilds_what_it_counted(northwind: Handle, world: list[Event]) -> None:
    begin_anew()
    rollups.apply(SHARD, entries(northwind.pk, [[event] for event in world]))
    before, handle_before = stored(northwind.pk), sums(HandleRollup, northwind, Grain.QUARTER)
    TweetRollup.objects.filter(handle=northwind, grain=Grain.HOUR).update(impressions=7_777)
    history.rebuild(northwind.pk)
    assert stored(northwind.pk) == before
    assert sums(HandleRollup, northwind, Grain.QUARTER) == handle_before
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE rebuilt")  # the test's one transaction never commits


def test_it_skips_what_the_cursor_has_passed(northwind: Handle) -> None:
    StreamCursor.objects.create(shard=SHARD)
    batch = entries(northwind.pk, [[Event(1, 0, 0, 60)], [Event(2, 0, 0, 60)]])
    assert rollups.apply(SHARD, batch).fresh == 2
    again = rollups.apply(SHARD, batch)
    assert (again.events, again.fresh) == (0, 0)
    assert StreamCursor.objects.get(shard=SHARD).last_entry == batch[-1].id


def test_it_sets_a_poisoned_entry_aside_and_moves_on(northwind: Handle) -> None:
    StreamCursor.objects.create(shard=SHARD)
    first, second, third = entries(northwind.pk, [[Event(1, 0, 0, 60)], [Event(2, 0, 0, 60)], [Event(3, 0, 0, 60)]])
    poisoned = stream.Entry(second.id, b"not a whole event")
    assert rollups.apply(SHARD, [first, poisoned, third]).fresh == 2
    aside = SetAsideEntry.objects.get()
    assert (aside.entry, bytes(aside.payload)) == (second.id, b"not a whole event")


def test_it_tries_an_entry_again_before_it_is_set_aside(northwind: Handle) -> None:
    StreamCursor.objects.create(shard=SHARD)
    batch = entries(northwind.pk, [[Event(1, 0, 0, 60)]])
    with connection.cursor() as cursor:
        # A sequence counts on where a transaction is rolled back.
        cursor.execute("CREATE SEQUENCE tries")
        cursor.execute(
            "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN IF nextval('tries') = 1 THEN RAISE data_exception; END IF; RETURN NEW; END$$"
        )
        cursor.execute(
            "CREATE TRIGGER once BEFORE INSERT ON metrics_handlefeed FOR EACH ROW EXECUTE FUNCTION fail_once()"
        )
    assert rollups.apply(SHARD, batch).fresh == 1
    assert not SetAsideEntry.objects.exists()


def test_it_counts_nothing_of_a_handle_that_was_deleted(northwind: Handle) -> None:
    StreamCursor.objects.create(shard=SHARD)
    applied = rollups.apply(SHARD, entries(northwind.pk + 1_000, [[Event(1, 0, 0, 60)]]))
    assert applied.fresh == 0
    assert not SetAsideEntry.objects.exists()


def test_it_makes_a_stub_whose_age_comes_from_the_snowflake(northwind: Handle) -> None:
    StreamCursor.objects.create(shard=SHARD)
    event = Event(1, 2, 0, 60)
    rollups.apply(SHARD, entries(northwind.pk, [[event]]))
    tweet = Tweet.objects.get(handle=northwind)
    assert tweet.is_stub
    assert tweet.tweet_id == event.tweet_id
    assert int(tweet.created_at.timestamp() * 1000) == (event.tweet_id >> 22) + 1_288_834_974_657


def test_it_numbers_commits_and_tells_what_changed(northwind: Handle) -> None:
    StreamCursor.objects.create(shard=SHARD)
    one, two = entries(northwind.pk, [[Event(1, 0, 0, 60)], [Event(2, 1, 0, 120), Event(3, 1, 0, 121)]])
    assert rollups.apply(SHARD, [one]).handles[0].sequence == 1
    (change,) = rollups.apply(SHARD, [two]).handles
    assert change.sequence == 2
    assert change.tweets[Event(2, 1, 0, 0).tweet_id][0] == 2
    assert HandleFeed.objects.get(handle=northwind).sequence == 2


def test_its_writer_takes_over_what_a_dead_one_was_handed(northwind: Handle) -> None:
    stream.open_groups(SHARD)
    stream.append(SHARD, Event(1, 0, 0, 60).packed(northwind.pk))
    assert len(stream.read(SHARD, 10)) == 1  # handed out, never acknowledged
    assert stream.backlog(SHARD) == 1
    applied = rollups.Writer(SHARD).step(block_ms=1)
    assert applied is not None
    assert applied.fresh == 1
    assert stream.backlog(SHARD) == 0
    assert stream.oldest_waiting_us(SHARD) is None
