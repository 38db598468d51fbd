"""This process's place in the channel layer: one subscription a group, fanned out to whoever follows it here.

Messages arrive encoded once for all. When Redis was away every follower is let go, because the channel layer connects
again without a word about what it missed: whoever follows begins anew and fetches the state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Any, Protocol

import structlog
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import Error as DatabaseError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from metrics import stream
from metrics.models import HandleFeed
from metrics.present import watch

log = structlog.get_logger(__name__)

PULSE_SECONDS = 15
CHECK_SECONDS = 2
# An accepted event that has waited for longer than this makes the figures on screen old ones.
BEHIND_SECONDS = 15
# A server lets us wait only for a socket whose buffers are full, which is many frames behind.
SEND_SECONDS = 0.25


class Follower(Protocol):
    """Somebody who takes the messages of groups."""

    @property
    def follows(self) -> Collection[str]:
        """The groups of the channel layer whose messages are wanted."""

    @property
    def topics(self) -> Collection[str]:
        """What the writers are told is watched, as members of `watch.KEY`."""

    async def deliver(self, text: str) -> None:
        """Take a message."""

    async def pulse(self, is_current: bool) -> None:
        """All is well here; `is_current` tells whether what is accepted gets counted."""

    async def lose(self, is_barred: bool) -> None:
        """No more will come: something may have been missed, or the gate has shut."""

    @staticmethod
    def barred(followers: Iterable[Any]) -> list[Any]:
        """Those (of this kind) who may no longer look; asks the database."""


@dataclass(slots=True)
class Subscription:
    """One group's place in the channel layer, and who follows it in this process."""

    task: asyncio.Task[None] | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    followers: set[Follower] = field(default_factory=set)


class Hub:
    """The subscriptions of this process: who follows which group."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._pulse: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        # Without patience: whoever waits here can say "reconnecting" at once.
        self._redis: Redis = Redis.from_url(
            settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1)
        )

    async def join(self, follower: Follower) -> None:
        """Let somebody follow; returns when nothing after this moment can be missed. Raises RedisError or OSError."""
        await self._redis.zadd(watch.KEY, watch.scores(follower.topics))
        for group in follower.follows:
            subscription = self._subscriptions.setdefault(group, Subscription())
            subscription.followers.add(follower)
            if subscription.task is None:
                subscription.task = asyncio.create_task(self._follow(group, subscription))
            await subscription.ready.wait()
        if self._pulse is None or self._pulse.done():
            self._pulse = asyncio.create_task(self._beat())

    def leave(self, follower: Follower) -> None:
        """Forget somebody; the last follower of a group ends its subscription."""
        for group in follower.follows:
            subscription = self._subscriptions.get(group)
            if subscription is None:
                continue
            subscription.followers.discard(follower)
            if not subscription.followers:
                del self._subscriptions[group]
                if subscription.task:
                    subscription.task.cancel()

    async def aclose(self) -> None:
        """End every subscription and close the connections; for tests, whose event loops end before the process."""
        tasks = [subscription.task for subscription in self._subscriptions.values()]
        self._subscriptions.clear()
        for task in [*tasks, self._pulse, *self._closing]:
            if task:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await self._redis.aclose()

    async def _follow(self, group: str, subscription: Subscription) -> None:
        layer: Any = get_channel_layer()
        channel = ""
        try:
            channel = await layer.new_channel()
            await layer.group_add(group, channel)
            subscription.ready.set()
            while True:
                message = await layer.receive(channel)
                await self._deliver(subscription.followers, message["text"])
        except (RedisError, OSError) as error:
            log.warning("subscription_lost", group=group, error=str(error))
        finally:
            # Whatever ended it, nobody may join or keep a subscription that nothing feeds any more.
            if self._subscriptions.get(group) is subscription:
                del self._subscriptions[group]
                self._dismiss(subscription.followers)
            subscription.ready.set()
            with suppress(RedisError, OSError):
                await asyncio.shield(layer.group_discard(group, channel))

    async def _beat(self) -> None:
        """While somebody follows: keep what is watched in Redis, and tell everybody how things stand."""
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
                await self._each(self._followers(), methodcaller("pulse", is_current))

    async def _run(self) -> str | None:
        """Which run of Redis answers: another one after each restart; None when none does."""
        try:
            return str((await self._redis.info("server"))["run_id"])
        except (RedisError, OSError):
            return None

    async def _watch(self) -> None:
        if topics := {topic for follower in self._followers() for topic in follower.topics}:
            with suppress(RedisError, OSError):  # the next check finds out
                await self._redis.zadd(watch.KEY, watch.scores(topics))

    async def _lose(self) -> None:
        """Let all followers go: messages may have been missed, and only a new subscription is sure to get the next."""
        log.warning("subscriptions_lost", groups=len(self._subscriptions))
        layer: Any = get_channel_layer()
        with suppress(RedisError, OSError):
            await layer.flush()
        lost, self._subscriptions = self._subscriptions, {}
        for subscription in lost.values():
            subscription.ready.set()
            if subscription.task:
                subscription.task.cancel()
            self._dismiss(subscription.followers)

    async def _ask_the_gate(self) -> None:
        """Let those go who may no longer look."""
        by_kind: dict[type[Follower], list[Follower]] = {}
        for follower in self._followers():
            by_kind.setdefault(type(follower), []).append(follower)
        with suppress(DatabaseError):  # the next pulse asks again
            for kind, followers in by_kind.items():
                self._dismiss(await database_sync_to_async(kind.barred)(followers), is_barred=True)

    def _followers(self) -> set[Follower]:
        return {follower for subscription in self._subscriptions.values() for follower in subscription.followers}

    async def _deliver(self, followers: Iterable[Follower], text: str) -> None:
        await self._each(followers, methodcaller("deliver", text))

    async def _each(self, followers: Iterable[Follower], act: Callable[[Follower], Awaitable[None]]) -> None:
        """Do something for everybody; one who is gone, or takes too long, holds up nobody else."""
        for number, follower in enumerate(tuple(followers)):
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await act(follower)
            except (OSError, RuntimeError):  # how servers say that it is gone, or closed already
                self._dismiss([follower])
            if number % 100 == 99:
                await asyncio.sleep(0)  # let requests in between

    def _dismiss(self, followers: Iterable[Follower], is_barred: bool = False) -> None:
        """Forget them and let them go, without waiting for their other ends."""
        for follower in tuple(followers):
            self.leave(follower)
            closing = asyncio.create_task(_let_go(follower, is_barred))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def _let_go(follower: Follower, is_barred: bool) -> None:
    with suppress(OSError, RuntimeError):
        await follower.lose(is_barred)


_hub: Hub | None = None


def hub() -> Hub:
    """This process's hub, made in its event loop on first use."""
    global _hub  # noqa: PLW0603  # the process's one piece of live state
    if _hub is None:
        _hub = Hub()
    return _hub


def figures_are_current() -> bool:
    """Whether what is accepted gets counted: the database answers, and no event has waited for long."""
    try:
        HandleFeed.objects.exists()
        oldest = [stream.oldest_waiting_us(shard) for shard in range(settings.SHARDS)]
    except (DatabaseError, RedisError):
        return False
    limit = (time.time() - BEHIND_SECONDS) * 1_000_000
    return all(arrived_us is None or arrived_us > limit for arrived_us in oldest)
