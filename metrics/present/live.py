"""The browser's side of the live channel: frames reach the sockets of those who may see the handle.

Frames arrive encoded once for all. A socket that cannot take them in time is closed rather than waited for: it comes
back and fetches the state. With each pulse the gate is asked again: who leaves a team sees no more. While counting
stands still, pulses say so, and pages call themselves stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

import msgspec
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from redis.exceptions import RedisError

from accounts.models import Handle, User
from metrics.models import HandleFeed
from metrics.present import watch
from metrics.present.announce import group_name
from metrics.present.hub import hub

MOST_HANDLES = 50
# Daphne sends no close code below 3000 but 1000.
NOT_SIGNED_IN, NOT_FOUND, TRY_AGAIN = 4401, 4404, 4503
_encode = msgspec.json.Encoder().encode


class LiveSocket(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels ships no types
    """`/ws/live/?handle=…[&handle=…][&tweet=…]`: frames of handles that the signed-in user may see."""

    # It needs no channel of its own: the hub subscribes for all.
    channel_layer_alias = "none"

    def __init__(self) -> None:
        super().__init__()
        self.handles: dict[int, str] = {}
        self.topics: frozenset[str] = frozenset()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection; however it ends, the hub forgets it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            hub().leave(self)

    async def connect(self) -> None:
        """Check the gate, follow, and say where the figures stand."""
        await self.accept()
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close(NOT_SIGNED_IN)
            return
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        names = query.get("handle", [])[:MOST_HANDLES]
        handles = await database_sync_to_async(visible_handles)(user, names)
        if handles is None:
            await self.close(NOT_FOUND)
            return
        self.handles = handles
        tweet = (query.get("tweet") or [""])[0]
        tweet_id = int(tweet) if tweet.isascii() and tweet.isdigit() and len(tweet) <= 19 else None
        self.topics = frozenset(
            topic for handle_id in handles for topic in (watch.topic(handle_id), watch.topic(handle_id, tweet_id))
        )
        try:
            await hub().join(self)
        except (RedisError, OSError):
            await self.close(TRY_AGAIN)
            return
        for handle_id, sequence in (await database_sync_to_async(sequences)(handles)).items():
            hello = {"kind": "hello", "handle": handles[handle_id], "sequence": sequence}
            await self.send(_encode(hello).decode())

    @property
    def follows(self) -> list[str]:
        """The groups of its handles."""
        return [group_name(handle_id) for handle_id in self.handles]

    async def deliver(self, text: str) -> None:
        """Pass on a frame that is encoded already."""
        await self.base_send({"type": "websocket.send", "text": text})

    async def pulse(self, is_current: bool) -> None:
        """Say that the connection is alive, and whether figures move."""
        await self.deliver(_encode({"kind": "pulse", "behind": not is_current}).decode())

    async def lose(self, is_barred: bool) -> None:
        """Close; the browser comes back and fetches the state, unless it may not see it any more."""
        await self.close(NOT_FOUND if is_barred else TRY_AGAIN)

    @staticmethod
    def barred(followers: Iterable[LiveSocket]) -> list[LiveSocket]:
        """The sockets with a handle that their viewer may not see any more."""
        by_viewer: dict[int, list[LiveSocket]] = {}
        for socket in followers:
            by_viewer.setdefault(socket.scope["user"].pk, []).append(socket)
        visible = {
            viewer.pk: set(Handle.objects.visible_to(viewer).values_list("pk", flat=True))
            for viewer in User.objects.filter(pk__in=by_viewer, is_active=True)
        }
        return [
            socket
            for viewer, theirs in by_viewer.items()
            for socket in theirs
            if not socket.handles.keys() <= visible.get(viewer, set())
        ]


def visible_handles(user: User, names: list[str]) -> dict[int, str] | None:
    """The ids and usernames of these handles; None when one is unknown or not the user's to see, or none is named."""
    wanted = {name.lower() for name in names}
    visible = Handle.objects.visible_to(user).values_list("id", "username")
    found = {pk: username for pk, username in visible if username.lower() in wanted}
    return found if found and len(found) == len(wanted) else None


def sequences(handles: Iterable[int]) -> dict[int, int]:
    """How far each handle's figures have come; 0 before its first event."""
    known = dict(HandleFeed.objects.filter(handle_id__in=handles).values_list("handle_id", "sequence"))
    return {handle_id: known.get(handle_id, 0) for handle_id in handles}
