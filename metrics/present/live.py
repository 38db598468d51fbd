"""The browser's side of the live channel: one subscription a process and handle, fanned out to its own sockets.

Frames arrive encoded once for all. A socket that cannot take them in time is closed rather than waited for: it comes
back and fetches the state. The same happens to all of them when Redis was away, because the channel layer connects
again without a word about what it missed. With each pulse the gate is asked again: who leaves a team sees no more.
While counting stands still, pulses say so, and pages call themselves stale.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import msgspec
import structlog
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import Error as DatabaseError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from accounts.models import Handle, User
from metrics import stream
from metrics.models import HandleFeed
from metrics.present import watch
from metrics.present.announce import group_name

log = structlog.get_logger(__name__)

PULSE_SECONDS = 15
# A server lets us wait only for a socket whose buffers are full, which is many frames behind.
SEND_SECONDS = 0.25
CHECK_SECONDS = 2
# An accepted event that has waited for longer than this makes the figures on screen old ones.
BEHIND_SECONDS = 15
MOST_HANDLES = 50
# Daphne sends no close code below 3000 but 1000.
NOT_SIGNED_IN, NOT_FOUND, TRY_AGAIN = 4401, 4404, 4503
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Subscription:
    """One handle's place in the channel layer, and the sockets of this process that follow it."""

    task: asyncio.Task[None] | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    sockets: set[LiveSocket] = field(default_factory=set)


class Hub:
    """The subscriptions of this process: which of its sockets follow which handle."""

    def __init__(self) -> None:
        self._subscriptions: dict[int, Subscription] = {}
        self._pulse: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        # Without patience: whoever waits here can say "reconnecting" at once.
        self._redis: Redis = Redis.from_url(
            settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1)
        )

    async def join(self, socket: LiveSocket) -> None:
        """Let the socket follow its handles; returns when nothing after this moment can be missed."""
        await self._redis.zadd(watch.KEY, watch.scores(socket.topics))
        for handle_id in socket.handles:
            subscription = self._subscriptions.setdefault(handle_id, Subscription())
            subscription.sockets.add(socket)
            if subscription.task is None:
                subscription.task = asyncio.create_task(self._follow(handle_id, subscription))
            await subscription.ready.wait()
        if self._pulse is None or self._pulse.done():
            self._pulse = asyncio.create_task(self._beat())

    def leave(self, socket: LiveSocket) -> None:
        """Forget the socket; the last follower of a handle ends its subscription."""
        for handle_id in socket.handles:
            subscription = self._subscriptions.get(handle_id)
            if subscription is None:
                continue
            subscription.sockets.discard(socket)
            if not subscription.sockets:
                del self._subscriptions[handle_id]
                if subscription.task:
                    subscription.task.cancel()

    async def aclose(self) -> None:
        """End every subscription and close the connections; for tests, whose event loops end before the process."""
        tasks = [subscription.task for subscription in self._subscriptions.values()]
        for task in [*tasks, self._pulse, *self._closing]:
            if task:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._subscriptions.clear()
        await self._redis.aclose()

    async def _follow(self, handle_id: int, subscription: Subscription) -> None:
        layer: Any = get_channel_layer()
        group, channel = group_name(handle_id), ""
        try:
            channel = await layer.new_channel()
            await layer.group_add(group, channel)
            subscription.ready.set()
            while True:
                message = await layer.receive(channel)
                await self._deliver(subscription.sockets, message["text"])
        except (RedisError, OSError) as error:
            log.warning("subscription_lost", handle_id=handle_id, error=str(error))
            self._dismiss(subscription.sockets, TRY_AGAIN)
        finally:
            # Whatever ended it, nobody may join a subscription that nothing feeds any more.
            if self._subscriptions.get(handle_id) is subscription:
                del self._subscriptions[handle_id]
            subscription.ready.set()
            with suppress(RedisError, OSError):
                await asyncio.shield(layer.group_discard(group, channel))

    async def _beat(self) -> None:
        """While somebody follows: keep what is watched in Redis, and tell every socket how things stand."""
        was_current, run, pulse_at = True, await self._run(), time.monotonic() + PULSE_SECONDS
        while self._subscriptions:
            await asyncio.sleep(CHECK_SECONDS)
            before, run = run, await self._run()
            if run is None or run != before:
                await self._lose()
                continue
            is_current, now = await database_sync_to_async(figures_are_current)(), time.monotonic()
            if is_current != was_current or now >= pulse_at:
                was_current, pulse_at = is_current, now + PULSE_SECONDS
                await self._ask_the_gate()
                await self._watch()
                await self._deliver(self._sockets(), _encode({"kind": "pulse", "behind": not is_current}).decode())

    async def _run(self) -> str | None:
        """Which run of Redis answers: another one after each restart; None when none does."""
        try:
            return str((await self._redis.info("server"))["run_id"])
        except (RedisError, OSError):
            return None

    async def _watch(self) -> None:
        if topics := {topic for socket in self._sockets() for topic in socket.topics}:
            with suppress(RedisError, OSError):  # the next check finds out
                await self._redis.zadd(watch.KEY, watch.scores(topics))

    async def _lose(self) -> None:
        """Let all sockets go: frames may have been missed, and only a new subscription is sure to get the next."""
        log.warning("subscriptions_lost", handles=len(self._subscriptions))
        layer: Any = get_channel_layer()
        with suppress(RedisError, OSError):
            await layer.flush()
        lost, self._subscriptions = self._subscriptions, {}
        for subscription in lost.values():
            subscription.ready.set()
            if subscription.task:
                subscription.task.cancel()
            self._dismiss(subscription.sockets, TRY_AGAIN)

    async def _ask_the_gate(self) -> None:
        """Close the sockets of those who may no longer look."""
        with suppress(DatabaseError):  # the next pulse asks again
            self._dismiss(await database_sync_to_async(shut_out)(self._sockets()), NOT_FOUND)

    def _sockets(self) -> set[LiveSocket]:
        return {socket for subscription in self._subscriptions.values() for socket in subscription.sockets}

    async def _deliver(self, sockets: Iterable[LiveSocket], text: str) -> None:
        """Pass the text to every socket; one that is gone, or does not take it in time, holds up nobody else."""
        for number, socket in enumerate(tuple(sockets)):
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await socket.deliver(text)
            except (OSError, RuntimeError):  # how servers say that it is gone, or closed already
                self._dismiss([socket], TRY_AGAIN)
            if number % 100 == 99:
                await asyncio.sleep(0)  # let requests in between

    def _dismiss(self, sockets: Iterable[LiveSocket], code: int) -> None:
        """Forget the sockets and close them, without waiting for their other ends."""
        for socket in tuple(sockets):
            self.leave(socket)
            closing = asyncio.create_task(_close(socket, code))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def _close(socket: LiveSocket, code: int) -> None:
    with suppress(OSError, RuntimeError):
        await socket.close(code)


_hub: Hub | None = None


def hub() -> Hub:
    """This process's hub, made in its event loop on first use."""
    global _hub  # noqa: PLW0603  # the process's one piece of live state
    if _hub is None:
        _hub = Hub()
    return _hub


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

    async def deliver(self, text: str) -> None:
        """Pass on a frame that is encoded already."""
        await self.base_send({"type": "websocket.send", "text": text})


def visible_handles(user: User, names: list[str]) -> dict[int, str] | None:
    """The ids and usernames of these handles; None when one is unknown or not the user's to see, or none is named."""
    wanted = {name.lower() for name in names}
    visible = Handle.objects.visible_to(user).values_list("id", "username")
    found = {pk: username for pk, username in visible if username.lower() in wanted}
    return found if found and len(found) == len(wanted) else None


def shut_out(sockets: Iterable[LiveSocket]) -> list[LiveSocket]:
    """The sockets with a handle that their viewer may not see any more."""
    by_viewer: dict[int, list[LiveSocket]] = {}
    for socket in sockets:
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


def sequences(handles: Iterable[int]) -> dict[int, int]:
    """How far each handle's figures have come; 0 before its first event."""
    known = dict(HandleFeed.objects.filter(handle_id__in=handles).values_list("handle_id", "sequence"))
    return {handle_id: known.get(handle_id, 0) for handle_id in handles}


def figures_are_current() -> bool:
    """Whether what is accepted gets counted: the database answers, and no event has waited for long."""
    try:
        HandleFeed.objects.exists()
        oldest = [stream.oldest_waiting_us(shard) for shard in range(settings.SHARDS)]
    except (DatabaseError, RedisError):
        return False
    limit = (time.time() - BEHIND_SECONDS) * 1_000_000
    return all(arrived_us is None or arrived_us > limit for arrived_us in oldest)
