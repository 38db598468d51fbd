"""Parts die under load; afterwards every event answered 202 is counted once, and none twice."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.faults.load import BATCH, SENDERS, Load, wait_for_answers, writers_in_mid_batch
from tests.stack import postgres_away, redis_away

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Stack

HANDLES = ["falling", "standing"]
# What the statement that counts a batch writes last.
FEEDS = "metrics_handlefeed"


@pytest.fixture(scope="module")
def token(live_stack: Stack) -> str:
    # Made one after the other, so that each shard has one.
    shards = {live_stack.add_handle(name, team="Faults", email="faults@example.com") % 2 for name in HANDLES}
    assert shards == {0, 1}
    return live_stack.token(*HANDLES)


@pytest.fixture
def load(live_stack: Stack, token: str) -> Load:
    live_stack.wait_until_ready()
    return Load(live_stack, token, HANDLES)


def counted(stack: Stack, tweet_id: int) -> tuple[Counter[str], Counter[str]]:
    """The Tweet's lifetime totals, and the sums of its events."""
    with stack.database() as connection:
        rows = connection.execute(
            "SELECT coalesce(sum(impressions), 0)::bigint, coalesce(sum(favorites), 0)::bigint,"
            " coalesce(sum(url_clicks), 0)::bigint FROM metrics_tweetrollup WHERE grain = 4 AND tweet_id = %s"
            " UNION ALL SELECT coalesce(sum(count) FILTER (WHERE type = 0), 0),"
            " coalesce(sum(count) FILTER (WHERE type = 1), 0), coalesce(sum(count) FILTER (WHERE type = 9), 0)"
            " FROM metrics_engagementevent WHERE tweet_id = %s",
            [tweet_id, tweet_id],
        ).fetchall()
    rollups, events = (Counter(dict(zip(("impressions", "favorites", "url_clicks"), row, strict=True))) for row in rows)
    return rollups, events


def check_counted_once(stack: Stack, load: Load) -> None:
    """Wait for the totals; then make sure that they are right by rollups, by events and by receipts."""
    expected = load.expected
    stack.eventually(lambda: counted(stack, load.tweet_id)[0].total() >= expected.total(), 90, "all is counted")
    stack.wait_until_ready()
    assert counted(stack, load.tweet_id) == (expected, expected)
    assert set(load.answers) <= {0, 202, 503}
    kept = list(load.receipts.values())
    outcomes = [load.outcome(receipt) for receipt in kept[:: 1 + len(kept) // 100]]
    assert {outcome["status"] for outcome in outcomes} == {"applied"}
    assert {outcome["fresh"] + outcome["duplicates"] for outcome in outcomes} == {BATCH}


@contextmanager
def redis_away_in_mid_batch(stack: Stack) -> Iterator[None]:
    """Redis is killed while the writers stand still; they go on before it comes back."""
    with ExitStack() as returning, writers_in_mid_batch(stack, FEEDS, len(HANDLES)):
        returning.enter_context(redis_away(stack))
        yield


def test_it_counts_once_when_writers_are_killed_in_mid_batch(live_stack: Stack, load: Load) -> None:
    with load.running():
        wait_for_answers(live_stack, load)
        with writers_in_mid_batch(live_stack, FEEDS, len(HANDLES)):
            live_stack.kill_writers()
        wait_for_answers(live_stack, load)
    check_counted_once(live_stack, load)
    assert set(load.answers) == {202}


def test_it_counts_once_when_redis_is_killed_before_a_batch_is_acknowledged(live_stack: Stack, load: Load) -> None:
    with load.running():
        wait_for_answers(live_stack, load)
        with redis_away_in_mid_batch(live_stack):
            live_stack.eventually(lambda: load.answers[503] > 0, 60, "a batch is refused")
        wait_for_answers(live_stack, load)
    check_counted_once(live_stack, load)


def test_it_counts_once_when_postgresql_restarts(live_stack: Stack, load: Load) -> None:
    with load.running():
        wait_for_answers(live_stack, load)
        # The door believes a token for seconds, and cannot ask about it while the database is away: one that it has
        # only just been told.
        load.token = live_stack.token(*HANDLES)
        wait_for_answers(live_stack, load, SENDERS + 1)
        with postgres_away(live_stack):
            with pytest.raises(psycopg.OperationalError), live_stack.database():
                pass
            wait_for_answers(live_stack, load, 5)
        wait_for_answers(live_stack, load)
    check_counted_once(live_stack, load)


def test_it_counts_once_when_every_program_is_killed(live_stack: Stack, load: Load) -> None:
    with load.running():
        wait_for_answers(live_stack, load)
        for name in ("web", "consumers", "worker", "sources", "beat"):
            live_stack.kill(name)
        wait_for_answers(live_stack, load)
    check_counted_once(live_stack, load)
    assert load.answers[0] > 0


def test_it_counts_nothing_again_when_every_batch_comes_twice_more(live_stack: Stack, load: Load) -> None:
    with load.running():
        wait_for_answers(live_stack, load, 40)
    check_counted_once(live_stack, load)
    last = load.send_again(times=2)[-1]
    live_stack.eventually(lambda: load.outcome(last)["status"] == "applied", 90, "all has been applied")
    check_counted_once(live_stack, load)
    assert {load.outcome(receipt)["fresh"] for receipt in load.receipts.values()} == {0}
