"""What the open streams of this process share: the newest state of followed Tweets, each summary encoded once.

A `Following` takes one handle's messages from the writers; a `Feed` paces them for one rule and one interval, and
hands the same bytes to all of its readers. In each feed the newest state of a Tweet wins: the first change leaves at
once, the next one an interval later at the earliest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog
from channels.db import database_sync_to_async
from django.db import Error as DatabaseError

from metrics.present import summaries, watch
from metrics.present.announce import follow_group
from metrics.present.uniques import Uniques
from metrics.query import following
from metrics.query.following import People, State
from metrics.vocabulary.events import tweet_created_at

log = structlog.get_logger(__name__)

CATCH_UP_AGAIN_SECONDS = 1.0
_decode = msgspec.json.Decoder().decode


class Taker(Protocol):
    """An open stream, as a feed sees it."""

    def put(self, lines: bytes, summaries: int) -> None:
        """Take so many summaries; never waits."""


@dataclass(frozen=True, slots=True)
class Rule:
    """That a handle is followed under a label, and since when."""

    pk: int
    handle_id: int
    since: datetime


class FeedKey(NamedTuple):
    """Streams that share a key share every byte."""

    rule: Rule
    interval: float


class Feed:
    """One rule at one pace."""

    def __init__(self, key: FeedKey) -> None:
        self.takers: set[Taker] = set()
        self._since, self._interval = key.rule.since, key.interval
        self._waiting: dict[int, State] = {}
        self._due: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def note(self, states: Iterable[State]) -> None:
        """Take newer states; send those that are due now."""
        for state in states:
            self._waiting[state.tweet_id] = state
        self._send_due()

    def renew(self, states: Iterable[State]) -> None:
        """Let none of these leave with an earlier time than here: a reader that just came has been told them."""
        for state in states:
            if state.tweet_id in self._waiting:
                self._waiting[state.tweet_id] = state

    def close(self) -> None:
        """Nobody reads any more."""
        if self._timer:
            self._timer.cancel()

    def _send_due(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer:
            self._timer.cancel()
            self._timer = None
        ready = [state for number, state in self._waiting.items() if self._due.get(number, now) <= now]
        if ready:
            # Whoever may be sent again already needs no remembering.
            self._due = {number: at for number, at in self._due.items() if at > now}
            self._send(ready, now + self._interval)
        if self._waiting:
            self._timer = loop.call_at(min(self._due[number] for number in self._waiting), self._send_due)

    def _send(self, states: Sequence[State], next_at: float) -> None:
        for state in states:
            del self._waiting[state.tweet_id]
            self._due[state.tweet_id] = next_at
        lines = b"".join(summaries.summary(state, self.start_of(state)) for state in states)
        for taker in tuple(self.takers):
            taker.put(lines, len(states))

    def start_of(self, state: State) -> datetime:
        """When following the Tweet began."""
        return max(self._since, tweet_created_at(state.tweet_id))


class Following:
    """One handle, as the streams of this process follow it."""

    def __init__(self, handle_id: int, lost: Callable[[Following], None]) -> None:
        self.handle_id = handle_id
        self.feeds: dict[FeedKey, Feed] = {}
        self.joining = 0
        """How many streams are about to take a feed."""
        self._known: dict[int, State] = {}
        self._sequence = 0
        """Of the newest message."""
        self._reached: list[int] | None = None
        """The sequence of the last commit that was told in full, and how many parts of what follows were told."""
        self._overdue = 0
        """How far the handle had come at the last look."""
        self._catching_up: asyncio.Task[None] | None = None
        self._is_behind = False
        self._lost = lost
        self._uniques = Uniques(handle_id, self._note_people)
        self._untold: set[int] = set()
        """Tweets of which more is known of people than their last summary told."""

    @property
    def follows(self) -> Collection[str]:
        """Where the writers send the totals of the handle's Tweets."""
        return (follow_group(self.handle_id),)

    @property
    def topics(self) -> Collection[str]:
        """What the writers are asked for: every Tweet of the handle."""
        return (watch.every_tweet(self.handle_id),)

    @property
    def has_begun(self) -> bool:
        """Whether it has joined the hub and knows from where on it misses nothing."""
        return self._reached is not None

    def begin(self, sequence: int) -> None:
        """Nothing up to this sequence was missed."""
        if self._reached is None:
            self._reached = [sequence, 0]

    def note(self, states: Sequence[State]) -> None:
        """Take states from wherever; older ones than are known change nothing."""
        newer = []
        for state in states:
            known = self._known.get(state.tweet_id)
            if known is None or known.sequence < state.sequence:
                # The clocks of two machines differ; no summary may say so.
                newest = state if known is None else state._replace(at=max(known.at, state.at), people=known.people)
                self._known[state.tweet_id] = newest
                newer.append(newest)
        for feed in self.feeds.values():
            feed.note(newer)
        if newer:
            changed = [state.tweet_id for state in newer]
            self._untold.difference_update(changed)
            self._uniques.note(changed)

    def _note_people(self, found: Mapping[int, People], quiet: Collection[int]) -> None:
        """Take what is known of people: told with a Tweet's next summary, or once more by itself where none comes."""
        for number, people in found.items():
            known = self._known.get(number)
            if known is not None and known.people != people:
                self._known[number] = known._replace(people=people)
                self._untold.add(number)
        told = self._untold.intersection(quiet)
        self._untold -= told
        for feed in self.feeds.values():
            feed.note(self._known[number] for number in sorted(told) if number in self._known)

    def newest(self, state: State) -> State:
        """The newest known state of the same Tweet, as of no earlier than the one given."""
        known = self._known.get(state.tweet_id, state)
        if known.sequence < state.sequence:
            return state._replace(people=known.people)
        return known._replace(at=max(known.at, state.at))

    def forget_old(self, now: datetime) -> None:
        """Drop the Tweets that are followed no longer."""
        self._known = {number: state for number, state in self._known.items() if following.is_followed(number, now)}

    async def deliver(self, text: str) -> None:
        """Take a message of the writers."""
        message: dict[str, Any] = _decode(text)
        sequence = message["sequence"]
        if sequence < self._sequence:
            return
        if self._reached is not None and message["previous"] > self._reached:
            self.catch_up()
        self._sequence = sequence
        self._reached = max(message["reached"], self._reached or [0, 0])
        at = datetime.fromtimestamp(message["at"] / 1000, UTC)
        self.note(
            [
                State(number, organic, promoted, at, sequence)
                for number, organic, promoted in message["tweets"]
                if following.is_followed(number, at)
            ]
        )

    async def pulse(self, is_current: bool) -> None:
        """Streams have a keep-alive of their own."""

    async def lose(self, is_barred: bool) -> None:
        """The subscription broke; whoever follows must begin anew."""
        self._lost(self)

    @staticmethod
    def barred(followers: Iterable[Following]) -> list[Following]:
        """Nobody: the exchange asks what tokens reach, more often than this."""
        return []

    def compare(self, sequence: int) -> None:
        """Take how far the handle has come; catch up with what no message told from one look to the next.

        The last message before a silence leaves no gap that a later one would show.
        """
        if self._reached is not None and [self._overdue, 0] > self._reached:
            self._reached = [self._overdue, 0]
            self.catch_up()
        self._overdue = sequence

    def catch_up(self) -> None:
        """Read what a lost message may have held."""
        self._is_behind = True
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = asyncio.create_task(self._catch_up())

    def close(self) -> None:
        """Nobody follows any more."""
        self._uniques.close()
        for feed in self.feeds.values():
            feed.close()
        if self._catching_up:
            self._catching_up.cancel()

    async def _catch_up(self) -> None:
        # Asked again while a read was under way: that one may have been too early to see what was lost.
        while self._is_behind:
            self._is_behind = False
            try:
                states = await database_sync_to_async(following.states)(self.handle_id, datetime.now(UTC))
            except DatabaseError as error:
                log.warning("followed_tweets_unreadable", handle_id=self.handle_id, error=str(error))
                self._is_behind = True
                await asyncio.sleep(CATCH_UP_AGAIN_SECONDS)
                continue
            self.note([state for state in states if self._is_news(state)])

    def _is_news(self, state: State) -> bool:
        known = self._known.get(state.tweet_id)
        return known is None or (known.organic, known.promoted) != (state.organic, state.promoted)
