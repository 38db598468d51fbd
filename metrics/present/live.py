"""The browser's side of the live channel: one subscription a process and handle, fanned out to its own sockets.

Frames arrive encoded once for all. A socket that cannot take them in time is closed rather than waited for: it comes
back and fetches the state. The same happens to all of them when Redis was away, because the channel layer connects
again without a word about what it missed. While counting stands still, pulses say so, and pages call themselves stale.
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
        for task in [*tasks, self._pulse]:
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
                await _deliver(subscription.sockets, message["text"])
        except (RedisError, OSError) as error:
            log.warning("subscription_lost", handle_id=handle_id, error=str(error))
            self._subscriptions.pop(handle_id, None)
            subscription.ready.set()
            await _dismiss(subscription.sockets)
        finally:
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
                await self._watch()
                await _deliver(self._sockets(), _encode({"kind": "pulse", "behind": not is_current}).decode())

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
            await _dismiss(subscription.sockets)

    def _sockets(self) -> set[LiveSocket]:
        return {socket for subscription in self._subscriptions.values() for socket in subscription.sockets}


async def _dismiss(sockets: Iterable[LiveSocket]) -> None:
    for socket in tuple(sockets):
        await socket.close(TRY_AGAIN)


async def _deliver(sockets: Iterable[LiveSocket], text: str) -> None:
    for number, socket in enumerate(tuple(sockets)):
        await socket.deliver(text)
        if number % 100 == 99:
            await asyncio.sleep(0)  # let requests in between


_hub: Hub | None = None


def hub() -> Hub:
    """This process's hub, made in its event loop on first use."""
    global _hub  # noqa: PLW0603  # the process's one piece of live state
    if _hub is None:
        _hub = Hub()
    return _hub


class LiveSocket(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels ships no types
    """`/ws/live/?handle=…[&handle=…][&tweet=…]`: frames of handles that the signed-in user may see."""

    handles: dict[int, str]
    topics: frozenset[str] = frozenset()

    async def connect(self) -> None:
        """Check the gate, follow, and say where the figures stand."""
        self.handles = {}
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

    async def disconnect(self, _code: int) -> None:
        """Stop following."""
        hub().leave(self)

    async def deliver(self, text: str) -> None:
        """Pass on a frame that is encoded already."""
        await self.base_send({"type": "websocket.send", "text": text})


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


def figures_are_current() -> bool:
    """Whether what is accepted gets counted: the database answers, and no event has waited for long."""
    try:
        HandleFeed.objects.exists()
        oldest = [stream.oldest_waiting_us(shard) for shard in range(settings.SHARDS)]
    except (DatabaseError, RedisError):
        return False
    limit = (time.time() - BEHIND_SECONDS) * 1_000_000
    return all(arrived_us is None or arrived_us > limit for arrived_us in oldest)
