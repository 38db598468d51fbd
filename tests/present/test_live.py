"""Frames reach those who may see them, carry state, and are conflated."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser

from accounts.models import Handle, User
from metrics import stream, tasks
from metrics.aggregate import partitions, rollups
from metrics.models import StreamCursor
from metrics.present import hub, live
from metrics.present.announce import Announcer
from tests.aggregate.events import Event, entries

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def _own_hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    # Each test has an event loop of its own, and a hub belongs to one.
    own = hub.Hub()
    monkeypatch.setattr(hub, "_hub", own)
    partitions.forget()
    stream.client().flushdb()
    yield
    await own.aclose()
    await get_channel_layer().flush()


def socket(user: Any, query: str) -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(live.LiveSocket.as_asgi(), f"/ws/live/?{query}")
    communicator.scope["user"] = user
    return communicator


async def refusal(user: Any, query: str) -> int:
    communicator = socket(user, query)
    await communicator.connect()
    output = await communicator.receive_output(5)
    assert output["type"] == "websocket.close"
    return int(output["code"])


async def test_it_refuses_strangers_like_handles_that_do_not_exist(charlie: User, northwind: Handle) -> None:
    assert await refusal(charlie, "handle=northwind") == live.NOT_FOUND
    assert await refusal(charlie, "handle=nobody") == live.NOT_FOUND
    assert await refusal(charlie, "") == live.NOT_FOUND


async def test_it_refuses_those_who_have_not_signed_in(northwind: Handle) -> None:
    assert await refusal(AnonymousUser(), "handle=northwind") == live.NOT_SIGNED_IN


def commit(handle: Handle, events: list[Event], first: int) -> rollups.Applied:
    StreamCursor.objects.get_or_create(shard=0)
    return rollups.apply(0, entries(handle.pk, [events], first))


def announce(*applied: rollups.Applied) -> int:
    announcer = Announcer()
    for part in applied:
        announcer.note(part)
    sent = announcer.send_due()
    announcer.close()
    return sent


@pytest.mark.parametrize("viewer", ["alice", "bob"])
async def test_it_sends_the_current_totals_of_what_changed(
    viewer: str, alice: User, bob: User, northwind: Handle
) -> None:
    communicator = socket({"alice": alice, "bob": bob}[viewer], "handle=northwind")
    await communicator.connect()
    hello = json.loads(await communicator.receive_from(5))
    assert hello == {"kind": "hello", "handle": "northwind", "sequence": 0}
    first = await sync_to_async(commit)(northwind, [Event(1, 0, 0, 60, 5)], 1)
    second = await sync_to_async(commit)(northwind, [Event(2, 0, 0, 60, 2), Event(3, 0, 1, 60)], 2)
    assert await sync_to_async(announce)(first, second) == 1
    frame = json.loads(await communicator.receive_from(5))
    assert (frame["previous"], frame["sequence"], frame["handle"]) == (0, 2, "northwind")
    assert frame["lifetime"][0][:2] == [7, 1]
    assert [row[1][0] for row in frame["minutes"]] == [7]
    assert [row[1][0] for row in frame["quarters"]] == [7]
    (tweet,) = frame["tweets"]
    assert tweet["id"] == str(Event(1, 0, 0, 0).tweet_id)
    assert tweet["lifetime"][0][0] == 7
    await communicator.disconnect()


async def test_it_announces_nothing_that_nobody_watches(northwind: Handle) -> None:
    applied = await sync_to_async(commit)(northwind, [Event(1, 0, 0, 60)], 1)
    assert await sync_to_async(announce)(applied) == 0


async def test_it_passes_over_a_handle_that_was_deleted_while_it_was_watched(alice: User, northwind: Handle) -> None:
    communicator = socket(alice, "handle=northwind")
    await communicator.connect()
    await communicator.receive_from(5)
    applied = await sync_to_async(commit)(northwind, [Event(1, 0, 0, 60)], 1)
    await sync_to_async(northwind.delete)()
    assert await sync_to_async(announce)(applied) == 0
    await communicator.disconnect()


async def test_it_calls_a_frame_that_leaves_buckets_out_a_gap(alice: User, northwind: Handle) -> None:
    communicator = socket(alice, "handle=northwind")
    await communicator.connect()
    await communicator.receive_from(5)
    history = [Event(number, 0, 0, number * 3600) for number in range(1, 60)]
    applied = [await sync_to_async(commit)(northwind, [event], place) for place, event in enumerate(history, 1)]
    await sync_to_async(announce)(*applied)
    frame = json.loads(await communicator.receive_from(5))
    assert frame["partial"]
    assert frame["previous"] == frame["sequence"] - 1
    await communicator.disconnect()


async def test_it_sends_what_still_waits_before_a_writer_hands_its_shard_on(
    alice: User, northwind: Handle, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BATCH_EVENTS, settings.LIVE_INTERVAL_MS = 1, 60_000
    monkeypatch.setattr(tasks, "SHIFT_SECONDS", 0.5)
    communicator = socket(alice, "handle=northwind")
    await communicator.connect()
    await communicator.receive_from(5)
    shard = stream.shard_of(northwind.pk)
    for number in (1, 2):
        payload = entries(northwind.pk, [[Event(number, 0, 0, 60)]])[0].payload
        await sync_to_async(stream.append)(shard, payload)
    await sync_to_async(tasks.consume)(shard)
    sequences = [json.loads(await communicator.receive_from(5))["sequence"] for _ in range(2)]
    assert sequences == [1, 2]
    await communicator.disconnect()
