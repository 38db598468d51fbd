"""The hub serves many sockets at once: one that is slow, gone or shut out is let go, and the others see every frame."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer

from accounts.models import Handle, Membership, User
from metrics.present import hub as hubs
from metrics.present import live
from metrics.present.announce import group_name
from tests.present.test_live import socket

pytestmark = pytest.mark.django_db(transaction=True)


PULSE = {"kind": "pulse", "behind": False}


def beat_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "PULSE_SECONDS", 0.02)
    monkeypatch.setattr(hubs, "CHECK_SECONDS", 0.02)


@pytest.fixture(autouse=True)
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[hubs.Hub]:
    """A hub of this test's event loop."""
    mine = hubs.Hub()
    monkeypatch.setattr(hubs, "_hub", mine)
    yield mine
    await mine.aclose()
    await get_channel_layer().flush()


class Line:
    """The web server's side of one socket: what it was given to send, and how it fails."""

    def __init__(self, failure: BaseException | None = None, is_stuck: bool = False) -> None:
        self.failure, self.is_stuck = failure, is_stuck
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(self, message: dict[str, Any]) -> None:
        if self.failure:
            raise self.failure
        if self.is_stuck:
            await asyncio.Event().wait()
        await self.sent.put(message)

    async def text(self) -> str:
        """The next text, or the close that came in its place."""
        message = await asyncio.wait_for(self.sent.get(), 5)
        return str(message.get("text") or message)


async def follower(line: Line, user: User, handle: Handle) -> live.LiveSocket:
    """A socket that has joined, on this line."""
    made = live.LiveSocket()
    made.handles, made.topics = {handle.pk: handle.username}, frozenset({str(handle.pk)})
    made.scope, made.base_send = {"user": user}, line.send
    await hubs.hub().join(made)
    return made


async def announce(handle: Handle, text: str) -> None:
    await get_channel_layer().group_send(group_name(handle.pk), {"type": "frame", "text": text})


@pytest.mark.parametrize(
    "broken",
    [Line(is_stuck=True), Line(OSError("the client is gone")), Line(RuntimeError("closed already"))],
    ids=["stuck", "gone", "closed"],
)
async def test_it_lets_a_socket_go_that_takes_no_frames_and_serves_the_others(
    broken: Line, hub: hubs.Hub, alice: User, northwind: Handle
) -> None:
    lines = [Line(), broken, Line()]
    sockets = [await follower(line, alice, northwind) for line in lines]
    for text in ("one", "two"):
        await announce(northwind, text)
        assert [await lines[place].text() for place in (0, 2)] == [text, text]
    assert hub._subscriptions[group_name(northwind.pk)].followers == {sockets[0], sockets[2]}


async def test_it_goes_on_pulsing_beside_a_broken_socket(
    alice: User, northwind: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat_quickly(monkeypatch)
    whole = Line()
    for line in (Line(RuntimeError("closed already")), whole):
        await follower(line, alice, northwind)
    assert [json.loads(await whole.text()) for _ in range(3)] == [PULSE] * 3


@pytest.mark.parametrize("left", ["the team", "for good"])
async def test_it_closes_the_sockets_of_people_who_may_not_look_any_more(
    left: str, alice: User, bob: User, northwind: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat_quickly(monkeypatch)
    lines = {"alice": Line(), "bob": Line()}
    for user in (alice, bob):
        await follower(lines[user.first_name.lower()], user, northwind)
    assert json.loads(await lines["bob"].text()) == PULSE
    if left == "the team":
        await Membership.objects.filter(user=bob).adelete()
    else:
        await User.objects.filter(pk=bob.pk).aupdate(is_active=False)
    async with asyncio.timeout(5):
        while (told := await lines["bob"].sent.get())["type"] == "websocket.send":
            assert json.loads(told["text"]) == PULSE
    assert told == {"type": "websocket.close", "code": live.NOT_FOUND}
    await announce(northwind, "after bob")
    async with asyncio.timeout(5):
        while await lines["alice"].text() != "after bob":
            pass
    assert lines["bob"].sent.empty()


async def test_it_forgets_a_socket_that_breaks_before_it_was_greeted(
    hub: hubs.Hub, alice: User, northwind: Handle
) -> None:
    line = Line()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            raise OSError("the client is gone")
        await line.send(message)

    asked = asyncio.Queue[dict[str, Any]]()
    await asked.put({"type": "websocket.connect"})
    scope = {"type": "websocket", "user": alice, "query_string": b"handle=northwind"}
    with pytest.raises(OSError, match="gone"):
        await live.LiveSocket.as_asgi()(scope, asked.get, send)
    assert hub._subscriptions == {}


async def test_it_subscribes_once_for_all_sockets_of_a_handle(alice: User, northwind: Handle) -> None:
    communicators = [socket(alice, "handle=northwind") for _ in range(3)]
    for communicator in communicators:
        await communicator.connect()
        await communicator.receive_from(5)
    layer: Any = get_channel_layer()
    assert len(layer._get_layer().channels) == 1
    for communicator in communicators:
        await communicator.disconnect()


def test_it_asks_the_gate_once_for_each_viewer(
    alice: User, bob: User, northwind: Handle, django_assert_num_queries: Any
) -> None:
    sockets = []
    for user in (alice, alice, alice, bob):
        made = live.LiveSocket()
        made.handles, made.scope = {northwind.pk: "northwind"}, {"user": user}
        sockets.append(made)
    with django_assert_num_queries(3):
        assert live.LiveSocket.barred(sockets) == []
