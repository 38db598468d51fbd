"""Cumulative counts, case by case: what each kind of snapshot adds, and what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count, pairwise

import pytest
from django.conf import LazySettings
from django.db import connection

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import rollups
from metrics.models import (
    HandleFeed,
    InferredCount,
    LastSnapshot,
    SetAsideEntry,
    StreamCursor,
    Tweet,
    TweetRollup,
)
from metrics.stream import Cargo
from metrics.vocabulary.engagements import CODE
from metrics.vocabulary.periods import Grain
from metrics.vocabulary.snapshots import Oddity, Part
from tests.aggregate.counts import CLICKS, LIKES, SHOWN, UNLIKES, Snapshot, entry, inferred, lifetimes
from tests.aggregate.events import NOW, OLD, Event

pytestmark = pytest.mark.django_db
TWEET = Event(0, 0, 0, 0).tweet_id
HOUR, DAY = 3600, 86_400
Send = Callable[..., rollups.Applied]
_numbers = count(1)


@pytest.fixture
def send(northwind: Handle) -> Iterator[Send]:
    """Apply items, each in an entry of its own, in one batch."""
    StreamCursor.objects.create(shard=0)

    def sent(*items: Event | Snapshot) -> rollups.Applied:
        return rollups.apply(0, [entry(northwind.pk, [item], next(_numbers)) for item in items])

    return sent


def total(code: int, promoted: bool | None = None) -> int:
    rows = TweetRollup.objects.filter(tweet_id=TWEET, grain=Grain.LIFETIME)
    if promoted is not None:
        rows = rows.filter(promoted=promoted)
    name = next(name for name, number in CODE.items() if number == code)
    return sum(rows.values_list(name, flat=True))


def shown(number: int, seconds: float, **changes: object) -> Snapshot:
    return replace(Snapshot({SHOWN: number}, seconds), **changes)


def liked(number: int, seconds: float, **changes: object) -> Snapshot:
    return replace(Snapshot({LIKES: number}, seconds), **changes)


def oddities(applied: rollups.Applied) -> list[tuple[Oddity, int]]:
    return [(finding.oddity, finding.type) for finding in applied.findings]


def test_its_first_snapshot_is_history_spread_over_the_tweets_age(northwind: Handle, send: Send) -> None:
    send(shown(24_000, 60))
    pieces = inferred(northwind.pk, SHOWN)
    assert total(SHOWN) == 24_000
    assert [number for _, number, _ in pieces] == [1_000] * 24
    assert all(is_history for _, _, is_history in pieces)
    assert len([age for age, _, _ in pieces if age < 2 * HOUR]) <= 1
    gaps = {round(a - b) for (a, _, _), (b, _, _) in pairwise(pieces)}
    assert max(gaps) - min(gaps) <= 1


def test_it_lays_the_history_of_an_old_tweet_at_its_creation(northwind: Handle, send: Send) -> None:
    applied = send(shown(500, 60, tweet=OLD), shown(30, 60))
    old = Event(0, OLD, 0, 0).tweet_id
    row = InferredCount.objects.get(tweet_id=old)
    assert (row.occurred_at, row.counts[SHOWN], row.is_history) == (NOW - timedelta(days=50), 500, True)
    assert not TweetRollup.objects.filter(tweet_id=old, grain=Grain.MINUTE).exists()
    assert Tweet.objects.get(tweet_id=old).is_stub
    assert applied.handles[0].tweets[old] == (1, frozenset({int(row.occurred_at.timestamp()) // 60 * 60}))


def test_it_attributes_growth_to_the_time_since_the_sources_last_word(northwind: Handle, send: Send) -> None:
    send(shown(100, 3 * HOUR), shown(160, 2 * HOUR))
    growth = [(age, number) for age, number, is_history in inferred(northwind.pk, SHOWN) if not is_history]
    assert sum(number for _, number in growth) == 60
    assert all(2 * HOUR <= age < 3 * HOUR for age, _ in growth)
    assert total(SHOWN) == 160


def test_it_lets_types_that_a_source_did_not_name_alone(northwind: Handle, send: Send) -> None:
    send(Snapshot({SHOWN: 100, CLICKS: 7}, 3 * HOUR), shown(110, 2 * HOUR), Snapshot({CLICKS: 9}, HOUR))
    assert (total(SHOWN), total(CLICKS)) == (110, 9)
    clicks = [age for age, _, is_history in inferred(northwind.pk, CLICKS) if not is_history]
    assert clicks
    assert all(HOUR <= age < 3 * HOUR for age in clicks)
    send(Snapshot({CLICKS: 0}, 60), Snapshot({SHOWN: 110}, 59))
    assert (total(SHOWN), total(CLICKS)) == (110, 9)


@pytest.mark.parametrize("seconds", [3 * HOUR, 2 * HOUR])
def test_it_passes_over_what_is_older_or_as_old_as_the_sources_last_word(
    northwind: Handle, send: Send, seconds: int
) -> None:
    send(shown(100, 2 * HOUR))
    sequence = HandleFeed.objects.get(handle=northwind).sequence
    assert send(shown(900, seconds)).handles == ()
    assert total(SHOWN) == 100
    assert HandleFeed.objects.get(handle=northwind).sequence == sequence


def test_it_takes_back_likes_once_fewer_were_seen_twice(northwind: Handle, send: Send) -> None:
    send(liked(10, 5 * HOUR), liked(7, 4 * HOUR))
    assert (total(LIKES), total(UNLIKES)) == (10, 0)
    applied = send(liked(8, 3 * HOUR))
    assert (total(LIKES), total(UNLIKES)) == (10, 2)
    assert applied.findings == ()
    ages = [age for age, _, _ in inferred(northwind.pk, UNLIKES)]
    assert all(3 * HOUR <= age < 4 * HOUR for age in ages), ages
    send(liked(8, 2 * HOUR), liked(9, HOUR))
    assert (total(LIKES), total(UNLIKES)) == (11, 2)


def test_it_forgets_a_fall_that_was_seen_once(send: Send) -> None:
    send(liked(10, 5 * HOUR), liked(7, 4 * HOUR), liked(10, 3 * HOUR), liked(7, 2 * HOUR))
    assert (total(LIKES), total(UNLIKES)) == (10, 0)


def test_it_counts_the_same_fall_once_when_it_is_told_twice_of_one_moment(send: Send) -> None:
    send(liked(10, 5 * HOUR), liked(7, 4 * HOUR), liked(7, 4 * HOUR))
    assert total(UNLIKES) == 0


def test_it_believes_a_fall_only_while_no_other_source_contradicts(send: Send) -> None:
    send(liked(10, 6 * HOUR), liked(10, 6 * HOUR, source=2))
    send(liked(7, 5 * HOUR), liked(10, 4 * HOUR, source=2), liked(7, 3 * HOUR))
    assert total(UNLIKES) == 0
    send(liked(7, 2 * HOUR))
    assert total(UNLIKES) == 3


def test_it_holds_a_correction_and_notes_it_once(send: Send) -> None:
    send(shown(100, 5 * HOUR), shown(90, 4 * HOUR))
    assert oddities(send(shown(91, 3 * HOUR))) == [(Oddity.CORRECTION, SHOWN)]
    assert oddities(send(shown(95, 2 * HOUR), shown(99, HOUR))) == []
    assert total(SHOWN) == 100
    send(shown(104, 60))
    assert total(SHOWN) == 104


def test_it_counts_on_from_a_source_that_started_anew(send: Send) -> None:
    first = Snapshot({SHOWN: 100, CLICKS: 40, LIKES: 9}, 5 * HOUR)
    send(first, Snapshot({SHOWN: 3, CLICKS: 35, LIKES: 1}, 4 * HOUR))
    applied = send(Snapshot({SHOWN: 5, CLICKS: 36, LIKES: 2}, 3 * HOUR))
    assert (Oddity.RESTART, SHOWN) in oddities(applied)
    assert (total(SHOWN), total(CLICKS), total(LIKES), total(UNLIKES)) == (100, 40, 9, 0)
    send(Snapshot({SHOWN: 25, CLICKS: 37, LIKES: 4}, 2 * HOUR))
    assert (total(SHOWN), total(CLICKS), total(LIKES), total(UNLIKES)) == (120, 41, 11, 0)


def test_it_does_not_count_twice_when_a_source_is_back_at_its_former_level(send: Send) -> None:
    send(shown(100, 5 * HOUR), shown(0, 4 * HOUR), shown(0, 3 * HOUR))
    assert oddities(send(shown(104, 2 * HOUR))) == [(Oddity.RETURN, SHOWN)]
    assert total(SHOWN) == 104


def test_it_counts_what_two_sources_say_once(send: Send) -> None:
    send(shown(100, 5 * HOUR), shown(100, 5 * HOUR, source=2), shown(130, 4 * HOUR, source=2), shown(130, 3 * HOUR))
    assert total(SHOWN) == 130
    # Older than the other source's word: only more than is known is news.
    send(shown(100, 4.5 * HOUR, source=3), liked(4, 2 * HOUR))
    send(liked(9, 3 * HOUR, source=2))
    assert (total(SHOWN), total(LIKES)) == (130, 4)
    send(shown(150, 4 * HOUR, source=3))
    assert total(SHOWN) == 150


def test_it_tells_organic_from_promoted_once_a_source_does(send: Send) -> None:
    send(shown(10, 5 * HOUR, part=Part.BOTH))
    assert (total(SHOWN, False), total(SHOWN, True)) == (10, 0)
    send(shown(4, 4 * HOUR, part=Part.PROMOTED), shown(6, 4 * HOUR, part=Part.ORGANIC))
    assert (total(SHOWN, False), total(SHOWN, True)) == (6, 4)
    send(shown(12, 3 * HOUR, part=Part.BOTH))
    assert total(SHOWN) == 12


def test_old_news_of_a_part_adds_nothing_that_both_had_said(send: Send) -> None:
    send(Event(1, 0, SHOWN, 4 * HOUR, 3), shown(5, 3 * HOUR, part=Part.BOTH))
    send(shown(2, 7 * HOUR, source=2, part=Part.PROMOTED))
    assert total(SHOWN) == 5
    send(Event(2, 0, SHOWN, 8 * HOUR, 1, True), Event(3, 0, SHOWN, 9 * HOUR, 1, True))
    assert (total(SHOWN, False), total(SHOWN, True)) == (3, 2)


def test_a_net_is_old_news_where_its_undos_are_known_as_of_later(send: Send) -> None:
    send(Event(1, 0, LIKES, 4 * HOUR, 2), Snapshot({UNLIKES: 1}, HOUR))
    send(Snapshot({LIKES: 2, UNLIKES: 0}, 4 * HOUR, source=2))
    send(Event(2, 0, UNLIKES, 3 * HOUR))
    assert (total(LIKES), total(UNLIKES)) == (2, 1)


def test_an_event_after_the_snapshot_counts_on_top(send: Send) -> None:
    send(Event(1, 0, SHOWN, 2 * HOUR, 5), Event(2, 0, SHOWN, HOUR, 3), Event(3, 0, SHOWN, 90 * 60 - 1, 2))
    send(shown(9, 90 * 60))
    assert total(SHOWN) == 14


def test_a_late_event_takes_its_place_in_what_was_inferred(northwind: Handle, send: Send) -> None:
    send(shown(10, HOUR))
    (absorbed, counted) = send(Event(1, 0, SHOWN, 2 * HOUR, 4)).handles
    assert (absorbed.fresh, counted.fresh, counted.sequence) == (0, 1, absorbed.sequence + 1)
    assert total(SHOWN) == 10
    assert sum(number for _, number, _ in inferred(northwind.pk, SHOWN)) == 6
    send(Event(2, 0, SHOWN, 60, 4))
    assert total(SHOWN) == 14
    send(Event(3, 0, SHOWN, 3 * HOUR, 9))
    assert total(SHOWN) == 17
    assert inferred(northwind.pk, SHOWN) == []


def test_late_events_take_only_from_snapshots_that_can_have_covered_them(northwind: Handle, send: Send) -> None:
    send(shown(10, 3 * HOUR), shown(15, HOUR))
    send(Event(1, 0, SHOWN, 4 * HOUR, 2), Event(2, 0, SHOWN, 2 * HOUR, 7))
    # Five of the seven were in the second snapshot's growth; two are more than it knew.
    assert total(SHOWN) == 17
    assert sum(number for _, number, _ in inferred(northwind.pk, SHOWN)) == 8


def test_a_resent_event_takes_nothing(northwind: Handle, send: Send) -> None:
    event = Event(1, 0, SHOWN, 2 * HOUR, 4)
    send(event, shown(10, HOUR))
    assert len(send(event, event).handles) == 0
    send(Event(2, 0, SHOWN, 2 * HOUR, 1), Event(2, 0, SHOWN, 2 * HOUR, 1))
    assert total(SHOWN) == 10
    assert sum(number for _, number, _ in inferred(northwind.pk, SHOWN)) == 5


def test_a_late_undo_takes_its_place_in_an_inferred_undo(northwind: Handle, send: Send) -> None:
    send(liked(10, 5 * HOUR), liked(7, 4 * HOUR), liked(7, 3 * HOUR))
    assert (total(LIKES), total(UNLIKES)) == (10, 3)
    send(Event(1, 0, UNLIKES, 3.5 * HOUR, 2))  # type: ignore[arg-type]  # seconds may be a fraction
    assert (total(LIKES), total(UNLIKES)) == (10, 3)
    assert sum(number for _, number, _ in inferred(northwind.pk, UNLIKES)) == 1


def test_it_changes_nothing_when_an_entry_comes_again(northwind: Handle, send: Send) -> None:
    entries = [
        entry(northwind.pk, [liked(10, 5 * HOUR), liked(7, 4 * HOUR)], next(_numbers)),
        entry(northwind.pk, [Event(1, 0, LIKES, 6 * HOUR, 2)], next(_numbers)),
    ]
    rollups.apply(0, entries)
    before = lifetimes(northwind.pk), list(InferredCount.objects.values()), list(LastSnapshot.objects.values())
    assert rollups.apply(0, entries).handles == ()
    assert rollups.apply(0, entries[:1]).handles == ()
    after = lifetimes(northwind.pk), list(InferredCount.objects.values()), list(LastSnapshot.objects.values())
    assert after == before


def test_it_counts_a_snapshot_that_was_overtaken(northwind: Handle, send: Send) -> None:
    first, second = (
        entry(northwind.pk, [shown(4, HOUR)], next(_numbers)),
        entry(northwind.pk, [shown(9, 60)], next(_numbers)),
    )
    rollups.apply(0, [second])
    assert rollups.apply(0, [first]).handles == ()
    assert total(SHOWN) == 9


def test_it_sets_snapshots_aside_that_cannot_be_read_and_applies_them_later(northwind: Handle, send: Send) -> None:
    good, number = entry(northwind.pk, [shown(5, HOUR)], next(_numbers)), next(_numbers)
    broken = stream.Entry(f"{good.id.partition('-')[0]}-{number}", b"not a snapshot", Cargo.SNAPSHOTS)
    rollups.apply(0, [good, broken])
    assert total(SHOWN) == 5
    aside = SetAsideEntry.objects.get()
    assert (aside.cargo, bytes(aside.payload)) == ("s", b"not a snapshot")
    aside.payload = shown(8, 60).packed(northwind.pk)
    aside.save()
    assert len(rollups.apply_again(aside)) == 1
    assert rollups.apply_again(aside) == ()
    assert total(SHOWN) == 8


def test_it_counts_nothing_of_a_handle_that_was_deleted(northwind: Handle, send: Send) -> None:
    applied = rollups.apply(0, [entry(northwind.pk + 1_000, [shown(5, HOUR)], next(_numbers))])
    assert (applied.events, applied.handles) == (1, ())
    assert not LastSnapshot.objects.exists()


def test_it_weighs_thousands_of_snapshots_of_one_tweet(northwind: Handle, send: Send) -> None:
    series = [shown(number, 3_000 - number) for number in range(2_000)]
    rollups.apply(0, [entry(northwind.pk, series, next(_numbers))])
    assert total(SHOWN) == 1_999
    assert sum(number for _, number, _ in inferred(northwind.pk, SHOWN)) == 1_999


def test_its_writer_takes_no_more_at_once_than_one_transaction_may_carry(
    northwind: Handle, settings: LazySettings
) -> None:
    settings.BATCH_EVENTS = 10
    for number in range(8):
        payload = shown(number, 100 - number).packed(northwind.pk) + liked(number, 100 - number).packed(northwind.pk)
        stream.append(0, payload, Cargo.SNAPSHOTS)
    writer = rollups.Writer(0)
    held = []
    while applied := writer.step(1):
        held.append(applied.events)
    assert sum(held) == 16
    assert max(held) <= 4
    assert (total(SHOWN), stream.backlog(0), stream.oldest_waiting_us(0)) == (7, 0, None)


def test_it_looks_once_for_inferred_counts_when_there_are_none(send: Send) -> None:
    send(Event(1, 0, SHOWN, HOUR))
    recorder = _Recorder()
    with connection.execute_wrapper(recorder):
        send(Event(2, 0, SHOWN, HOUR))
    assert sum("metrics_inferredcount" in text for text in recorder.seen) == 1


class _Recorder:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, execute: Callable[..., object], sql: str, *more: object) -> object:
        self.seen.append(sql)
        return execute(sql, *more)
