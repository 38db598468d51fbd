"""Streams over links that stall, break and lag, while parts die: nothing is lost, and nobody waits for another."""

from __future__ import annotations

import itertools
import random
import statistics
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from metrics.demo.follower import Address, Follower
from metrics.demo.sender import RefusedError
from metrics.vocabulary.engagements import NAMES, TYPES
from metrics.vocabulary.events import snowflake_at
from tests.faults.proxy import Link
from tests.faults.streams import Plain, Watcher, check_never_backwards, counts, in_database, site
from tests.stack import eventually

if TYPE_CHECKING:
    from tests.stack import Stack

HANDLE, TEAM, LABEL = "streaming", "streams", "prod"
_numbers = itertools.count(1)
_BORN_AT = datetime.now(UTC) - timedelta(hours=2)


@pytest.fixture(scope="module")
def token(live_stack: Stack) -> str:
    live_stack.wait_until_ready()
    live_stack.add_handle(HANDLE, team="Streams", email="streams@example.com")
    secret = live_stack.token(HANDLE)
    path = f"/rules/insightstrack/accounts/{TEAM}/publishers/twitter/{LABEL}.json"
    headers = {"Authorization": f"Bearer {secret}"}
    answer = httpx.post(live_stack.url + path, json={"rules": [{"value": HANDLE}]}, headers=headers, timeout=15)
    assert answer.status_code == 201
    return secret


def stream_at(url: str, secret: str) -> Address:
    return Address(url, secret, TEAM, LABEL)


def new_tweets(number: int) -> list[int]:
    return [snowflake_at(_BORN_AT, next(_numbers)) for _ in range(number)]


def likes(tweet_ids: list[int], times: int = 1) -> list[dict[str, Any]]:
    """So many new likes of each Tweet, given now."""
    now = datetime.now(UTC).isoformat()
    return [
        {"id": f"streams-{next(_numbers)}", "tweet_id": str(tweet_id), "type": "favorites", "occurred_at": now}
        for tweet_id in tweet_ids
        for _ in range(times)
    ]


def send(stack: Stack, secret: str, events: list[dict[str, Any]]) -> None:
    """Post until the batch is taken."""

    def is_taken() -> bool:
        try:
            answer = httpx.post(
                f"{stack.url}/api/v1/events", json=events, headers={"Authorization": f"Bearer {secret}"}, timeout=15
            )
        except httpx.TransportError:
            return False
        assert answer.status_code in {202, 503}, answer.text
        return answer.status_code == 202

    stack.eventually(is_taken, 60, "a batch is taken")


def wait_for_likes(watcher: Watcher, tweet_ids: list[int], least: int, seconds: float = 30) -> None:
    """Wait for summaries of all these Tweets that hold so many likes."""

    def have_come() -> bool:
        last = watcher.last(tweet_ids)
        return len(last) == len(tweet_ids) and all(counted["favorites"] >= least for counted in last.values())

    eventually(have_come, seconds, f"summaries of {len(tweet_ids)} Tweets with {least} likes")


def wait_for_the_databases_totals(stack: Stack, watcher: Watcher, sent: dict[int, int]) -> None:
    """Wait until the newest summaries hold the likes that were sent; they must be what the database holds."""
    stack.eventually(
        lambda: {number: told["favorites"] for number, told in watcher.last(sent).items()} == sent,
        60,
        "the newest summaries hold all likes",
    )
    assert watcher.last(sent) == in_database(stack, sent)


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_it_ends_a_reader_that_stops_reading_and_slows_nobody(live_stack: Stack, token: str, server: str) -> None:
    parts = [new_tweets(150) for _ in range(3)]  # in turn, so that no Tweet waits for its next second
    waits = []
    with site(live_stack, server, STREAM_BUFFER_BYTES="300000") as web, Link(web.port) as link:
        address = stream_at(web.url, token)
        with Plain(link.port, address) as slow, Watcher(address) as other:
            link.stall()
            for number in itertools.count():
                part = parts[number % 3]
                send(live_stack, token, likes(part))
                sent_at = time.monotonic()
                wait_for_likes(other, part, number // 3 + 1)
                waits.append(max(other.summaries(tweet_id)[-1][0] for tweet_id in part) - sent_at)
                if number >= 5 and "stream_reader_too_slow" in web.log():
                    break
                assert number < 60, "the slow reader is never ended"
            assert slow.ended_at is None
            link.flow()
            eventually(lambda: slow.ended_at is not None, 20, "the slow reader's stream ends")
            assert slow.ended_properly
            assert slow.messages()
            assert other.follower.opened == 1
        assert "Traceback" not in web.log()
    assert statistics.median(waits) < 1.5


def test_it_makes_good_for_a_link_that_was_cut(live_stack: Stack, token: str) -> None:
    tweets = new_tweets(5)
    port = live_stack.port
    with Link(port) as link, Watcher(stream_at(f"http://127.0.0.1:{link.port}", token)) as watcher:
        for number in range(1, 4):
            send(live_stack, token, likes(tweets))
            wait_for_likes(watcher, tweets, 2 * number - 1)
            link.cut()
            send(live_stack, token, likes(tweets))
            eventually(lambda n=number: watcher.follower.opened > n, 20, "the stream is opened again")
            wait_for_likes(watcher, tweets, 2 * number)
        wait_for_the_databases_totals(live_stack, watcher, dict.fromkeys(tweets, 6))


def test_it_keeps_the_order_over_a_slow_link(live_stack: Stack, token: str) -> None:
    tweets = new_tweets(10)
    with Link(live_stack.port) as link, Watcher(stream_at(f"http://127.0.0.1:{link.port}", token)) as watcher:
        for number in range(12):
            link.delay_seconds = (0.7, 0.1, 1.5)[number % 3]
            send(live_stack, token, likes(tweets))
            wait_for_likes(watcher, tweets[:1], number // 2)
        wait_for_the_databases_totals(live_stack, watcher, dict.fromkeys(tweets, 12))
        assert watcher.follower.opened == 1
        for tweet_id in tweets:
            check_never_backwards(watcher, tweet_id)


def test_it_ends_at_the_databases_totals_when_redis_is_killed(live_stack: Stack, token: str) -> None:
    tweets = new_tweets(5)
    with Watcher(stream_at(live_stack.url, token)) as watcher:
        send(live_stack, token, likes(tweets))
        wait_for_likes(watcher, tweets, 1)
        send(live_stack, token, likes(tweets))
        live_stack.redis.kill()
        live_stack.redis.start()
        send(live_stack, token, likes(tweets))
        wait_for_the_databases_totals(live_stack, watcher, dict.fromkeys(tweets, 3))
        send(live_stack, token, likes(tweets))
        wait_for_the_databases_totals(live_stack, watcher, dict.fromkeys(tweets, 4))


def test_it_ends_at_the_databases_totals_when_the_web_server_is_killed(live_stack: Stack, token: str) -> None:
    tweets = new_tweets(5)
    address = stream_at(live_stack.url, token)
    with Watcher(address) as watcher, Watcher(address) as other:
        send(live_stack, token, likes(tweets))
        wait_for_likes(watcher, tweets, 1)
        send(live_stack, token, likes(tweets))
        live_stack.kill("web")
        send(live_stack, token, likes(tweets))
        for each in (watcher, other):
            wait_for_the_databases_totals(live_stack, each, dict.fromkeys(tweets, 3))
            assert each.follower.opened == 2


def test_it_ends_the_stream_of_a_revoked_token(live_stack: Stack, token: str) -> None:
    revoked = live_stack.token(HANDLE, scopes=("read",))
    with Plain(live_stack.port, stream_at(live_stack.url, revoked)) as reader:
        with live_stack.database() as connection:
            connection.execute("UPDATE accounts_apitoken SET revoked_at = now() WHERE prefix = %s", [revoked[:11]])
        revoked_at = time.monotonic()
        eventually(lambda: reader.ended_at is not None, 15, "the stream ends")
        assert reader.ended_properly
        assert (reader.ended_at or 0) - revoked_at <= 5
    address = stream_at(live_stack.url, revoked)
    with pytest.raises(RefusedError, match="401: the token is unknown, expired or revoked"):
        next(Follower(address, threading.Event()).messages())


def test_it_sends_nothing_more_of_a_handle_that_left_the_tokens_reach(live_stack: Stack, token: str) -> None:
    tweets = new_tweets(3)
    handle_id = live_stack.add_handle(HANDLE, team="Streams", email="streams@example.com")
    shrunk = live_stack.token(HANDLE, scopes=("read",))
    with Plain(live_stack.port, stream_at(live_stack.url, shrunk)) as reader:
        with Watcher(stream_at(live_stack.url, token)) as other:
            send(live_stack, token, likes(tweets))
            eventually(lambda: any("summary_event" in message for message in reader.messages()), 20, "a summary")
            with live_stack.database() as connection:
                connection.execute(
                    "DELETE FROM accounts_apitoken_handles WHERE handle_id = %s AND apitoken_id ="
                    " (SELECT id FROM accounts_apitoken WHERE prefix = %s)",
                    [handle_id, shrunk[:11]],
                )
            eventually(lambda: any("user_event" in message for message in reader.messages()), 5, "the revoke message")
            send(live_stack, token, likes(tweets))
            wait_for_likes(other, tweets, 2)
        assert reader.ended_at is None
        last = reader.messages()[-1]["user_event"]["revoke"]
        assert last["source"]["user_id"] == str(handle_id)


def test_it_tells_an_hour_at_speed_in_order_and_to_the_last_event(live_stack: Stack, token: str) -> None:
    tweets = new_tweets(40)
    choose = random.Random(11)
    start = datetime.now(UTC) - timedelta(hours=1)
    events = [
        {
            "id": f"hour-{next(_numbers)}",
            "tweet_id": str(choose.choice(tweets)),
            "type": (name := choose.choice(NAMES)),
            "occurred_at": (start + timedelta(seconds=3600 * number / 30_000)).isoformat(),
            "promoted": name in PROMOTABLE and choose.random() < 0.3,
            "count": choose.randint(1, 3),
        }
        for number in range(30_000)
    ]
    with Watcher(stream_at(live_stack.url, token)) as watcher:
        for first in range(0, len(events), 500):
            send(live_stack, token, events[first : first + 500])
        total = sum(event["count"] for event in events)
        live_stack.eventually(
            lambda: sum(sum(told.values()) for told in watcher.last(tweets).values()) == total, 60, "all has come"
        )
        assert watcher.last(tweets) == in_database(live_stack, tweets)
        assert watcher.follower.opened == 1
    for tweet_id in tweets:
        check_never_backwards(watcher, tweet_id)
        told = [counts(event) for _, event in watcher.summaries(tweet_id)]
        assert len(told) > 1


PROMOTABLE = {kind.name for kind in TYPES if kind.promotable}
