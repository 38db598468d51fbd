"""Streams that are opened: beside others of the same handle, many at once, and soon after the last one was left."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import OperationalError
from django.utils import timezone
from redis.exceptions import RedisError

from accounts.credentials import issue_token
from accounts.models import ApiToken, Handle
from metrics.ingest import tweets
from metrics.present import exchange, hub, readers, rules
from metrics.present.announce import follow_group
from metrics.present.insightstrack import StreamDoor
from tests.aggregate.events import Event
from tests.present.stream_reader import PATH, Stream, ago, happen, impressions

OTHER = PATH.replace("prod", "other")
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _follow(northwind: Handle) -> None:
    rules.follow(northwind.team_id, "prod", northwind)


async def test_it_replays_to_a_second_reader_what_the_first_one_knows(
    door: StreamDoor, northwind: Handle, read_token: str
) -> None:
    first, second = Stream(door, read_token), Stream(door, read_token, "backfillMinutes=5")
    await first.open()
    # In the running minute: only the newest state tells of it.
    await sync_to_async(happen)(northwind, Event(1, 0, 0, ago(timezone.now()), 7))
    assert impressions(await first.summary()) == 7
    await second.open()
    assert impressions(await asyncio.wait_for(second.summary(), 5)) == 7
    for stream in (first, second):
        await stream.close()


async def test_it_opens_many_streams_with_a_few_looks(
    door: StreamDoor, northwind: Handle, read_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    read = exchange.standing.read
    monkeypatch.setattr(exchange.standing, "read", lambda *given: (looks.append(1), read(*given))[1])
    await sync_to_async(happen)(northwind, Event(1, 0, 0, ago(timezone.now()), 7))
    streams = [Stream(door, read_token, "backfillMinutes=5") for _ in range(15)]
    assert await asyncio.gather(*(stream.open() for stream in streams)) == [200] * 15
    assert len(looks) < 15
    assert [impressions(await stream.summary()) for stream in streams] == [7] * 15
    for stream in streams:
        await stream.close()


async def test_it_watches_a_stream_that_opens_soon_after_the_last_one_left(
    door: StreamDoor, read_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.1)
    early = Stream(door, read_token)
    await early.open()
    await early.close()
    look = door.exchange._loops["look"]
    await until(look.done)
    assert not door.exchange._loops["keep alive"].done()
    late = Stream(door, read_token)
    await late.open()
    token = await ApiToken.objects.aget()
    await token.handles.aclear()
    assert "user_event" in await asyncio.wait_for(late.message(), 5)
    await late.close()


async def test_it_forgets_a_stream_that_is_given_up_while_it_opens(
    door: StreamDoor, read_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    read = exchange.standing.read
    monkeypatch.setattr(exchange.standing, "read", lambda *given: (may_go_on.wait(5), read(*given))[1])
    stream = Stream(door, read_token)
    opening = asyncio.create_task(stream.open())
    await until(lambda: bool(door.exchange.connections))
    may_go_on.set()
    await stream.give_up()
    assert not door.exchange.connections
    opening.cancel()


async def test_it_ends_streams_without_a_token_while_others_cannot_follow(
    door: StreamDoor, northwind: Handle, read_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.1)

    def revoked() -> tuple[ApiToken, str]:
        return issue_token(northwind.team, "revoked", ["read"], [northwind])

    token, secret = await sync_to_async(revoked)()
    ending, others = Stream(door, secret), [Stream(door, read_token, path=OTHER) for _ in range(12)]
    assert [await each.open() for each in (*others, ending)] == [200] * 13

    async def fail(_: Any) -> None:
        raise RedisError("away")

    monkeypatch.setattr(hub.hub(), "join", fail)
    await sync_to_async(unfollowed_handle)(northwind)
    await ApiToken.objects.filter(pk=token.pk).aupdate(revoked_at=timezone.now())
    await asyncio.wait_for(ending.end(), 5)


async def test_it_lets_no_subscription_outlive_its_streams(
    door: StreamDoor, read_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, may_join, joins = Stream(door, read_token), asyncio.Event(), []
    await stream.open()
    own, join = hub.hub(), hub.hub().join

    async def join_late(follower: Any) -> None:
        joins.append(follower)
        await may_join.wait()
        await join(follower)

    monkeypatch.setattr(own, "join", join_late)
    await own._lose()
    await until(lambda: bool(joins))
    await stream.close()
    may_join.set()
    await until(lambda: not door.exchange._tasks)
    assert not own._subscriptions


async def test_it_goes_on_after_a_message_that_cannot_be_read(
    door: StreamDoor, northwind: Handle, read_token: str
) -> None:
    stream = Stream(door, read_token)
    await stream.open()
    await get_channel_layer().group_send(follow_group(northwind.pk), {"type": "frame", "text": "{"})
    await sync_to_async(happen)(northwind, Event(1, 0, 0, 60, 7))
    assert impressions(await asyncio.wait_for(stream.summary(), 5)) == 7
    await stream.close()


async def test_it_ends_streams_that_it_cannot_look_after(
    door: StreamDoor, read_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.1)
    stream = Stream(door, read_token)
    await stream.open()

    def fail(*_: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(exchange.standing, "read", fail)
    await asyncio.wait_for(stream.end(), 5)


async def test_it_tells_tweets_that_became_known_while_it_could_not_look(
    door: StreamDoor, northwind: Handle, read_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(exchange, "OVERLAP", timedelta(milliseconds=100))
    stream, read, failures = Stream(door, read_token), exchange.standing.read, []
    await stream.open()

    def fail(*_: Any) -> None:
        failures.append(1)
        raise OperationalError("away")

    monkeypatch.setattr(exchange.standing, "read", fail)
    told = tweets.IncomingTweet(str(Event(1, 0, 0, 0).tweet_id), "Fresh beans")
    await sync_to_async(tweets.upsert)([tweets.checked(told, {"northwind": northwind.pk})])
    await until(lambda: len(failures) >= 4)
    monkeypatch.setattr(exchange.standing, "read", read)
    assert (await asyncio.wait_for(stream.message(), 5))["id_str"] == told.id
    await stream.close()


async def test_it_says_who_reads_while_it_cannot_look(
    door: StreamDoor, northwind: Handle, read_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.1)
    stream = Stream(door, read_token)
    await stream.open()

    def fail(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(exchange.standing, "read", fail)
    since = timezone.now()
    async with asyncio.timeout(5):
        while (await asyncio.to_thread(readers.connected, northwind.team_id))[0].seen_at <= since:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.05)
    await stream.close()


def unfollowed_handle(northwind: Handle) -> None:
    """A handle that the streams `other` are to follow from now on."""
    new = Handle.objects.create(team=northwind.team, username="new", display_name="New")
    ApiToken.objects.earliest("pk").handles.add(new)
    rules.follow(northwind.team_id, "other", new)


async def until(check: Any) -> None:
    """Wait until the check holds."""
    async with asyncio.timeout(5):
        while not check():  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.01)
