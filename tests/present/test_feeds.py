"""What open streams share: whatever is lost or late, no count goes backwards, and the last summary is the truth."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.db import Error as DatabaseError
from django.db import connections

from accounts.models import Handle
from metrics.aggregate import partitions
from metrics.present import announce, summaries, uniques, watch
from metrics.present.feeds import Feed, FeedKey, Following, Rule
from metrics.query import following, series
from metrics.query.audience import Basis, Reach
from metrics.query.following import People, State
from metrics.vocabulary.engagements import CODE, NAMES, UNDO_OF
from metrics.vocabulary.events import snowflake_at
from tests.aggregate.events import Event
from tests.present.stream_reader import commit

pytestmark = pytest.mark.django_db(transaction=True)
COUNTED = [name for name in NAMES if name != "impressions"]
NOW = datetime.now(UTC)


class Taker:
    """Keeps every summary."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def put(self, lines: bytes, summaries: int) -> None:
        """Take them."""
        came = [json.loads(line)["summary_event"] for line in lines.splitlines()]
        assert len(came) == summaries
        self.told += came

    def of(self, tweet_id: int) -> list[list[int]]:
        """The counts of all summaries of a Tweet: impressions, then the other types."""
        return [counts(each) for each in self.told if each["target"]["id_str"] == str(tweet_id)]


def counts(summary: dict[str, Any]) -> list[int]:
    engaged = summary["metrics"]["engagements"]["metric_counts"]
    shown = summary["metrics"]["impressions"]["total"]["count"]
    return [shown, *(engaged[name]["total"]["count"] for name in COUNTED)]


def state(tweet: int, shown: int, sequence: int) -> State:
    return State(snowflake_at(NOW, tweet), [shown] + [0] * 25, [], NOW, sequence)


def fed(interval: float = 0.02, handle_id: int = 1) -> tuple[Following, Taker]:
    """A handle that one taker follows."""
    followed = Following(handle_id, lambda _lost: None)
    key = FeedKey(Rule(1, handle_id, NOW - timedelta(days=1)), interval)
    feed = followed.feeds[key] = Feed(key)
    taker = Taker()
    feed.takers.add(taker)
    return followed, taker


async def settle(check: Any) -> None:
    """Wait until the check holds."""
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.01)


async def test_it_sends_the_first_change_at_once_and_then_only_the_newest() -> None:
    followed, taker = fed()
    for shown in range(1, 6):
        followed.note([state(1, shown, shown)])
    assert [each[0] for each in taker.of(state(1, 0, 0).tweet_id)] == [1]
    await settle(lambda: len(taker.told) == 2)
    assert [each[0] for each in taker.of(state(1, 0, 0).tweet_id)] == [1, 5]


async def test_it_keeps_tweets_apart() -> None:
    followed, taker = fed(interval=60)
    followed.note([state(1, 1, 1), state(2, 2, 1)])
    followed.note([state(3, 3, 2)])
    assert [counts(each)[0] for each in taker.told] == [1, 2, 3]


async def test_it_passes_over_older_states() -> None:
    followed, taker = fed(interval=0)
    followed.note([state(1, 5, 3)])
    followed.note([state(1, 4, 2), state(1, 5, 3)])
    assert [counts(each)[0] for each in taker.told] == [5]


async def test_it_says_no_earlier_time_when_the_writers_clock_is_behind() -> None:
    followed, taker = fed(interval=0)
    followed.note([state(1, 5, 3)])
    followed.note([state(1, 6, 4)._replace(at=NOW - timedelta(seconds=5))])
    assert [counts(each)[0] for each in taker.told] == [5, 6]
    assert taker.told[0]["end_time"] == taker.told[1]["end_time"]


async def test_it_reads_again_what_was_lost_while_it_read(northwind: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    partitions.forget()
    followed, taker = fed(interval=0, handle_id=northwind.pk)
    has_read, may_go_on = threading.Event(), threading.Event()
    read = following.states

    def read_slowly(handle_id: int, now: datetime) -> list[State]:
        found = read(handle_id, now)
        has_read.set()
        may_go_on.wait(5)
        return found

    monkeypatch.setattr(following, "states", read_slowly)
    followed.catch_up()
    await settle(has_read.is_set)
    later = Event(1, 0, 0, 60, 7)
    await asyncio.to_thread(commit, northwind, later)
    await asyncio.to_thread(connections.close_all)
    followed.catch_up()
    may_go_on.set()
    await settle(lambda: [each[0] for each in taker.of(later.tweet_id)] == [7])
    followed.close()


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_it_misses_no_part_of_a_large_commit(
    lost: int, northwind: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "MOST_FOLLOWED", 1)
    partitions.forget()
    followed, taker = fed(interval=0, handle_id=northwind.pk)
    followed.begin(0)
    totals, changed = announce.Totals(), [Event(number, number, 0, 60, 7) for number in range(3)]
    for handle in (await database_sync_to_async(commit)(northwind, *changed)).handles:
        totals.note(handle)
    parts = [await database_sync_to_async(message)(totals, northwind, early=False) for _ in changed]
    for handle in (await database_sync_to_async(commit)(northwind, Event(9, 9, 0, 60))).handles:
        totals.note(handle)
    parts.append(await database_sync_to_async(message)(totals, northwind))
    for place, text in enumerate(parts):
        if place != lost:
            await followed.deliver(text)
    await settle(lambda: all([each[0] for each in taker.of(event.tweet_id)] == [7] for event in changed))
    followed.close()


async def test_it_misses_no_last_message(northwind: Handle) -> None:
    partitions.forget()
    followed, taker = fed(interval=0, handle_id=northwind.pk)
    followed.begin(0)
    await database_sync_to_async(commit)(northwind, last := Event(1, 0, 0, 60, 7))  # nobody is told
    followed.compare(1)
    assert followed._catching_up is None
    followed.compare(1)
    await settle(lambda: [each[0] for each in taker.of(last.tweet_id)] == [7])
    followed.compare(1)
    await settle(lambda: followed._catching_up is not None and followed._catching_up.done())
    followed.close()


async def test_it_reads_people_of_all_changed_tweets_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniques, "FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(uniques, "LONGEST_WAIT_SECONDS", 0.09)
    monkeypatch.setattr(uniques, "LOOK_SECONDS", 0.02)
    reads: list[set[int]] = []

    def read(handle_id: int, tweet_ids: list[int], now: datetime) -> dict[int, People]:
        reads.append({*tweet_ids})
        return {number: People(Reach(Basis.EXACT, 7, 7, 7), None) for number in tweet_ids}

    monkeypatch.setattr(following, "people", read)
    followed, taker = fed(interval=0)
    for number in range(3):
        followed.note([state(number, 1, 1)])
    await settle(lambda: len(taker.told) == 6)
    await settle(lambda: len(reads) == 3)
    assert reads == [{state(number, 1, 1).tweet_id for number in range(3)}] * 3  # after 0.02, 0.04 and 0.08 s
    assert [each["metrics"]["impressions"].get("unique", {}).get("count") for each in taker.told] == [None] * 3 + [
        7
    ] * 3
    followed.note([state(0, 2, 2)])
    assert taker.told[-1]["metrics"]["impressions"]["unique"]["count"] == 7
    followed.close()


async def test_it_reads_people_again_when_the_database_is_back(
    northwind: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uniques, "FIRST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(uniques, "LOOK_SECONDS", 0.02)
    tries = iter([DatabaseError("gone"), {state(1, 0, 0).tweet_id: People(Reach(Basis.EXACT, 1, 1, 1), None)}])

    def read(handle_id: int, tweet_ids: list[int], now: datetime) -> dict[int, People]:
        found = next(tries, {})
        if isinstance(found, DatabaseError):
            raise found
        return found

    monkeypatch.setattr(following, "people", read)
    followed, taker = fed(interval=0)
    followed.note([state(1, 1, 1)])
    await settle(lambda: len(taker.told) == 2)
    followed.close()


async def test_it_forgets_tweets_after_seven_days() -> None:
    followed, _ = fed()
    followed.note([state(1, 1, 1)])
    followed.forget_old(NOW + timedelta(days=6))
    assert followed._known
    followed.forget_old(NOW + timedelta(days=8))
    assert not followed._known


def story(seed: int) -> list[Event]:
    """Events of three Tweets in any order, with undos and promoted likes."""
    dice = random.Random(seed)
    return [
        Event(
            number,
            dice.randrange(3),
            code,
            dice.randrange(60, 86_400),
            dice.randrange(1, 50),
            code == CODE["favorites"],
        )
        for number in range(40)
        for code in [dice.randrange(len(NAMES))]
    ]


@pytest.mark.parametrize("seed", range(5))
async def test_it_ends_at_the_truth_whatever_was_lost_or_late(seed: int, northwind: Handle) -> None:
    partitions.forget()
    dice = random.Random(seed)
    followed, taker = fed(interval=0.005, handle_id=northwind.pk)
    followed.begin(0)
    totals, kept = announce.Totals(), []
    for place, event in enumerate(events := story(seed)):
        applied = await database_sync_to_async(commit)(northwind, event)
        for handle in applied.handles:
            totals.note(handle)
        text = await database_sync_to_async(message)(totals, northwind)
        kept.append(text)
        if place == len(events) - 1 or dice.random() < 0.5:
            await followed.deliver(text)
        if dice.random() < 0.3:
            await followed.deliver(dice.choice(kept[: place + 1]))
    truth = await database_sync_to_async(series.tweet_lifetimes)(
        northwind.pk, list({event.tweet_id for event in events})
    )
    expected = {number: lifetime.sum(axis=0).tolist() for number, lifetime in truth.items()}
    await settle(lambda: {number: (taker.of(number) or [None])[-1] for number in expected} == expected)
    undo = {CODE[name] for name in UNDO_OF.values()}
    for number in expected:
        seen = taker.of(number)
        assert all(
            before[code] <= after[code]
            for before, after in itertools.pairwise(seen)
            for code in range(26)
            if code not in undo
        )
    ends = [each["end_time"] for each in taker.told]
    assert ends == sorted(ends)
    await settle(lambda: followed._catching_up is None or followed._catching_up.done())
    followed.close()


def message(totals: announce.Totals, handle: Handle, early: bool = True) -> str:
    """What the writers would send now."""
    found = totals.message(handle.pk, watch.Watched(followed={handle.pk}), early)
    assert found is not None
    return found[1]


def test_it_reads_the_state_of_followed_tweets(northwind: Handle) -> None:
    partitions.forget()
    commit(northwind, Event(1, 0, 0, 60, 5), Event(2, 1, 1, 60, 2, True))
    found = {each.tweet_id: each for each in following.states(northwind.pk, datetime.now(UTC))}
    shown, liked = found[Event(1, 0, 0, 0).tweet_id], found[Event(2, 1, 0, 0).tweet_id]
    assert (shown.organic[0], shown.promoted, liked.organic, liked.promoted[1]) == (5, [], [], 2)
    assert {each.sequence for each in found.values()} == {1}
    assert summaries.summary(shown, NOW).endswith(b"\r\n")
