"""Streams that are opened: beside others of the same handle, many at once, and soon after the last one was left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from accounts.models import ApiToken, Handle
from metrics.present import exchange, hub, rules
from metrics.present.insightstrack import StreamDoor
from tests.aggregate.events import Event
from tests.present.stream_reader import Stream, happen, impressions

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch, northwind: Handle) -> AsyncIterator[StreamDoor]:
    """A door of this test's event loop, whose stream `prod` follows @northwind."""
    await sync_to_async(rules.follow)(northwind.team_id, "prod", northwind)
    own = hub.Hub()
    monkeypatch.setattr(hub, "_hub", own)
    made = StreamDoor()
    yield made
    await made.exchange.aclose()
    await own.aclose()
    await get_channel_layer().flush()


async def test_it_replays_to_a_second_reader_what_the_first_one_knows(
    door: StreamDoor, northwind: Handle, read_token: str
) -> None:
    first, second = Stream(door, read_token), Stream(door, read_token, "backfillMinutes=5")
    await first.open()
    # In the running minute: only the newest state tells of it.
    await sync_to_async(happen)(northwind, Event(1, 0, 0, 0, 7))
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
    await sync_to_async(happen)(northwind, Event(1, 0, 0, 0, 7))
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
    await asyncio.sleep(0.5)  # the look has ended, the keep-alive has not
    late = Stream(door, read_token)
    await late.open()
    token = await ApiToken.objects.aget()
    await token.handles.aclear()
    assert "user_event" in await asyncio.wait_for(late.message(), 5)
    await late.close()
