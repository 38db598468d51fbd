"""All open streams of this process: who follows what, kept in step with tokens and rules.

Every two seconds one look into the database, for all streams together, says which tokens are still good, what they
reach, which rules stand, and which Tweets have become known. An idle stream costs no thread and no connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import structlog
from channels.db import database_sync_to_async
from django.db import Error as DatabaseError
from redis.exceptions import RedisError

from metrics.models import Tweet
from metrics.present import standing, summaries
from metrics.present.connections import Connection
from metrics.present.feeds import Feed, FeedKey, Following, Rule
from metrics.present.hub import hub
from metrics.present.readers import Registry
from metrics.present.standing import Standing
from metrics.query import following
from metrics.query.following import State

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 3.0
LOOK_SECONDS = 2.0
# A Tweet is stored a moment before others can see it.
OVERLAP = timedelta(seconds=10)


class Missed(NamedTuple):
    """What one handle's Tweets went through lately: how they stood, how they stand, and those that became known."""

    past: Sequence[State] = ()
    present: Sequence[State] = ()
    tweets: Sequence[Tweet] = ()


Replay = Callable[[int], Awaitable[Missed]]


class Replays:
    """What handles' Tweets went through lately, read once for all streams that are opened together."""

    def __init__(self) -> None:
        self._read: dict[tuple[int, int], Missed] = {}

    async def read(self, handle_id: int, minutes: int) -> Missed:
        """Read it, or what was read for another stream. Raises DatabaseError."""
        key = handle_id, minutes
        if key not in self._read:
            now = datetime.now(UTC)
            tweets = await database_sync_to_async(following.became_known)(handle_id, now - timedelta(minutes=minutes))
            past, present = await database_sync_to_async(following.replay)(handle_id, minutes, now)
            self._read[key] = Missed(past, present, tweets)
        return self._read[key]


class Exchange:
    """The process's streams; made in its event loop on first use."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.connections: set[Connection] = set()
        self._opening: dict[Connection, int] = {}
        self._followings: dict[int, Following] = {}
        self._told: dict[tuple[int, bool], datetime] = {}
        self._looked_at = datetime.now(UTC)
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._looking = asyncio.Lock()

    async def open(self, connection: Connection, replay_minutes: int) -> None:
        """Let the connection follow its rules, after what it missed. Raises DatabaseError, RedisError or OSError."""
        self.connections.add(connection)
        self._opening[connection] = replay_minutes
        self._start()
        async with self._looking:
            if connection in self._opening:  # else somebody's look has seen to it
                await self._open_all()

    async def _open_all(self) -> None:
        """One look for all streams that wait to be opened: a server that comes back has all its readers at once."""
        opening, self._opening = self._opening, {}
        try:
            await self._look(opening, datetime.now(UTC) - OVERLAP)
        except BaseException:  # also when this one is given up
            # Each of the others tries for itself.
            self._opening |= {each: minutes for each, minutes in opening.items() if each in self.connections}
            raise

    async def close(self, connection: Connection) -> None:
        """Forget the connection."""
        self.connections.discard(connection)
        self._opening.pop(connection, None)
        self._leave_all(connection)
        with suppress(RedisError, OSError):
            await self.registry.forget(connection.reader)

    async def aclose(self) -> None:
        """End everything; for tests, whose event loops end before the process."""
        for connection in tuple(self.connections):
            connection.end("the server stops")
            await self.close(connection)
        # With no connection left the loops end by themselves, should one not hear that it is cancelled.
        tasks = [*self._loops.values(), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.registry.aclose()

    def _start(self) -> None:
        """Start the loops that have ended; each ends by itself when it finds no stream."""
        loops = {"keep alive": (KEEP_ALIVE_SECONDS, self._keep_alive), "look": (LOOK_SECONDS, self._look_again)}
        for name, (seconds, work) in loops.items():
            if name not in self._loops or self._loops[name].done():
                # Nobody waits for Tweets from before.
                self._looked_at = datetime.now(UTC)
                self._loops[name] = asyncio.create_task(self._every(seconds, work))

    async def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            while self.connections:
                await asyncio.sleep(seconds)
                await work()
        finally:
            # Whatever broke the loop: no stream stays open that nobody looks after.
            if self.connections:
                log.error("streams_given_up", streams=len(self.connections))
            for connection in self.connections:
                connection.end("the server failed")

    async def _keep_alive(self) -> None:
        for connection in self.connections:
            connection.put(summaries.KEEP_ALIVE)

    async def _look_again(self) -> None:
        now = datetime.now(UTC)
        try:
            async with self._looking:
                connections = dict.fromkeys(self.connections - self._opening.keys(), 0)
                found = await self._look(connections, self._looked_at - OVERLAP)
            self._looked_at = now
            for followed in self._followings.values():
                followed.compare(found.sequences.get(followed.handle_id, 0))
        except (DatabaseError, RedisError, OSError) as error:
            # The streams stay open: what they miss comes when the parts are back.
            log.warning("streams_unchecked", streams=len(self.connections), error=str(error).strip())
        await self._renew()

    async def _renew(self) -> None:
        """Keep the readers known, also while nothing can be looked up."""
        now = datetime.now(UTC)
        try:
            await self.registry.renew([connection.standing(now) for connection in self.connections])
        except (RedisError, OSError) as error:
            log.warning("readers_not_renewed", streams=len(self.connections), error=str(error).strip())

    async def _look(self, connections: dict[Connection, int], tweets_since: datetime) -> Standing:
        """Bring these connections in step with what the database says now; with how many minutes to replay to each."""
        now = datetime.now(UTC)
        found: Standing = await database_sync_to_async(standing.read)(
            [each.reader for each in connections], tweets_since
        )
        # First what must end, for all of them: to follow may fail, with Redis away.
        for connection in connections:
            self._end_what_must(connection, found)
        replays = Replays()
        for connection, minutes in connections.items():
            try:
                await self._follow_all(connection, found, partial(replays.read, minutes=minutes) if minutes else None)
            finally:
                if connection not in self.connections:  # its reader left meanwhile
                    self._leave_all(connection)
            if minutes:
                await asyncio.sleep(0)  # a replay is long: let others in between
        self._tell_tweets(found, now)
        for followed in self._followings.values():
            followed.forget_old(now)
        return found

    def _end_what_must(self, connection: Connection, found: Standing) -> None:
        """End the stream of a token that is gone; let no stream follow what left its token's reach or its rules."""
        reach = found.reach.get(connection.reader.token_id)
        if reach is None:
            connection.end("token revoked or expired")
            return
        rules = found.rules_of(connection.reader)
        for handle_id in tuple(connection.feeds):
            if handle_id not in reach:
                connection.put(summaries.revocation(handle_id, connection.reader.label, datetime.now(UTC)))
            if handle_id not in reach or handle_id not in rules:
                self._leave(connection, handle_id)

    async def _follow_all(self, connection: Connection, found: Standing, replay: Replay | None) -> None:
        """Let the stream follow what its rules name and its token reaches."""
        reach = found.reach.get(connection.reader.token_id, ())
        for handle_id, rule in found.rules_of(connection.reader).items():
            if handle_id in reach and handle_id not in connection.feeds:
                await self._join(connection, rule, replay)

    async def _join(self, connection: Connection, rule: Rule, replay: Replay | None) -> None:
        with self._joining(rule.handle_id) as followed:
            if not followed.has_begun:
                await hub().join(followed)
                sequences = await database_sync_to_async(following.sequences)([rule.handle_id])
                followed.begin(sequences[rule.handle_id])
            self._take_feed(connection, rule, followed, await replay(rule.handle_id) if replay else Missed())

    @contextmanager
    def _joining(self, handle_id: int) -> Iterator[Following]:
        """The handle as it is followed here; it is let go again when the stream that joins it takes no feed."""
        followed = self._followings.setdefault(handle_id, Following(handle_id, self._lost))
        followed.joining += 1
        try:
            yield followed
        finally:
            followed.joining -= 1
            self._unfollow_idle(followed)

    @staticmethod
    def _take_feed(connection: Connection, rule: Rule, followed: Following, missed: Missed) -> None:
        """Let the stream read the rule's feed, after what it missed."""
        feed = followed.feeds.setdefault(key := FeedKey(rule, connection.interval), Feed(key))
        connection.feeds[rule.handle_id] = feed
        # Nothing waits here, so that no older state can come after a newer one.
        followed.note(missed.present)
        newest = [followed.newest(state) for state in missed.present]
        feed.renew(newest)
        if missed.tweets:
            connection.put(b"".join(summaries.tweet(tweet, tweet.handle) for tweet in missed.tweets))
        if states := [*missed.past, *newest]:
            connection.put(b"".join(summaries.summary(state, feed.start_of(state)) for state in states), len(states))
        feed.takers.add(connection)

    def _leave_all(self, connection: Connection) -> None:
        for handle_id in tuple(connection.feeds):
            self._leave(connection, handle_id)

    def _leave(self, connection: Connection, handle_id: int) -> None:
        feed = connection.feeds.pop(handle_id)
        feed.takers.discard(connection)
        followed = self._followings.get(handle_id)
        if followed is None or feed.takers:
            return
        feed.close()
        followed.feeds = {key: other for key, other in followed.feeds.items() if other is not feed}
        self._unfollow_idle(followed)

    def _unfollow_idle(self, followed: Following) -> None:
        if not followed.feeds and not followed.joining:
            self._unfollow(followed)

    def _unfollow(self, followed: Following) -> None:
        hub().leave(followed)
        followed.close()
        if self._followings.get(followed.handle_id) is followed:
            del self._followings[followed.handle_id]

    def _lost(self, followed: Following) -> None:
        """The channel layer broke: subscribe again, then read what was missed."""
        hub().leave(followed)
        task = asyncio.create_task(self._follow_again(followed))
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _follow_again(self, followed: Following) -> None:
        while self._followings.get(followed.handle_id) is followed:
            try:
                await hub().join(followed)
            except (RedisError, OSError):
                await asyncio.sleep(1.0)
                continue
            followed.catch_up()
            break
        if self._followings.get(followed.handle_id) is not followed:  # the last stream left meanwhile
            hub().leave(followed)
            followed.close()

    def _tell_tweets(self, found: Standing, now: datetime) -> None:
        """Send the Tweets that have become known, each once as a stub and once in full."""
        readers = self._takers()
        for tweet in found.tweets:
            key = (tweet.pk, tweet.is_stub)
            if key not in self._told and following.is_followed(tweet.tweet_id, now):
                line = summaries.tweet(tweet, tweet.handle)
                for connection in readers.get(tweet.handle_id, ()):
                    connection.put(line)
            self._told[key] = now
        self._told = {key: at for key, at in self._told.items() if now - at < 2 * OVERLAP}

    def _takers(self) -> dict[int, list[Connection]]:
        takers: dict[int, list[Connection]] = {}
        for connection in self.connections:
            for handle_id in connection.feeds:
                takers.setdefault(handle_id, []).append(connection)
        return takers
