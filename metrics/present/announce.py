"""The writer's side of the live channels: what commits changed becomes a few messages, for those who watch.

A message carries state, never steps: current totals, read after the commit. There are two kinds: frames for pages
(`Frames`) and the totals of every changed Tweet for open streams (`Totals`). Handles that nobody watches cost one look
into a set.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec
from channels.layers import get_channel_layer
from django.conf import settings

from accounts.models import Handle
from metrics.aggregate.fold import HandleCommit
from metrics.aggregate.rollups import Applied
from metrics.present import watch
from metrics.query import frames
from metrics.vocabulary.periods import Grain

MOST_TWEETS = 20
# A batch of history touches thousands of minutes: past this a browser does better to fetch the page's state anew.
MOST_MINUTES = 30
# Every changed Tweet reaches the streams; more than this wait for the next message.
MOST_FOLLOWED = 1000
FOLLOW_SECONDS = 0.2
_GRAINS = {"minutes": Grain.MINUTE, "quarters": Grain.QUARTER, "hours": Grain.HOUR, "days": Grain.DAY}
_encode = msgspec.json.Encoder().encode


def group_name(handle_id: int) -> str:
    """The channel-layer group of a handle's frames."""
    return f"handle.{handle_id}"


def follow_group(handle_id: int) -> str:
    """The channel-layer group of the totals of a handle's Tweets."""
    return f"follow.{handle_id}"


@dataclass(slots=True)
class Pending:
    """What has changed of a handle since its last message."""

    previous: int
    received_ms: int = 0
    minutes: set[int] = field(default_factory=set)
    tweets: dict[int, tuple[int, set[int]]] = field(default_factory=dict)

    def add(self, commit: HandleCommit) -> None:
        self.received_ms = max(self.received_ms, int(commit.received_at.timestamp() * 1000))
        self.minutes |= commit.minutes
        for tweet_id, (events, minutes) in commit.tweets.items():
            before, seen = self.tweets.get(tweet_id, (0, set()))
            self.tweets[tweet_id] = (before + events, seen | minutes)


Waiting = TypeVar("Waiting")


class Outlet(ABC, Generic[Waiting]):
    """One kind of message: at most one an interval for each handle."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._pending: dict[int, Waiting] = {}
        self._due: dict[int, float] = {}

    @abstractmethod
    def note(self, commit: HandleCommit) -> None:
        """Remember what a commit changed."""

    @abstractmethod
    def message(self, handle_id: int, watched: watch.Watched, early: bool) -> tuple[str, str] | None:
        """Take what is pending of a handle: its group and the message, or None where nobody watches."""

    def wait(self, now: float) -> float:
        """Seconds until a message is due; infinite when nothing is pending."""
        return min((self._due.get(handle_id, now) for handle_id in self._pending), default=float("inf")) - now

    def is_due(self, handle_id: int, now: float) -> bool:
        """Whether the handle's interval is over."""
        return self._due.get(handle_id, 0.0) <= now

    def messages(self, watched: watch.Watched, now: float, early: bool) -> list[tuple[str, str]]:
        """The messages that are due, or all of them before their time."""
        found = []
        for handle_id in [number for number in self._pending if early or self.is_due(number, now)]:
            if message := self.message(handle_id, watched, early):
                self._due[handle_id] = now + self._interval
                found.append(message)
        return found


class Frames(Outlet[Pending]):
    """For pages: changed buckets, and the Tweets that moved most."""

    def __init__(self) -> None:
        super().__init__(settings.LIVE_INTERVAL_MS / 1000)
        self._names: dict[int, str | None] = {}

    def note(self, commit: HandleCommit) -> None:
        """Remember which minutes and Tweets changed."""
        self._pending.setdefault(commit.handle_id, Pending(commit.sequence - 1)).add(commit)

    def message(self, handle_id: int, watched: watch.Watched, early: bool) -> tuple[str, str] | None:
        """One frame of all that is pending."""
        pending = self._pending.pop(handle_id)
        name = self._name(handle_id) if handle_id in watched.handles else None
        if name is None:  # nobody watches, or the handle has been deleted
            return None
        return group_name(handle_id), self._frame(handle_id, name, pending, watched.tweets.get(handle_id, set()))

    def _frame(self, handle_id: int, name: str, pending: Pending, watched: set[int]) -> str:
        minutes = sorted(pending.minutes)[-MOST_MINUTES:]
        busiest = sorted(pending.tweets, key=lambda tweet_id: -pending.tweets[tweet_id][0])[:MOST_TWEETS]
        chosen = {
            tweet_id: sorted(pending.tweets[tweet_id][1])[-MOST_MINUTES:]
            for tweet_id in {*busiest, *(watched & pending.tweets.keys())}
        }
        state = frames.handle_state(handle_id, minutes, dict(chosen))
        cut = len(minutes) < len(pending.minutes)
        frame = {
            "kind": "frame",
            "handle": name,
            # A frame that leaves buckets out must look like a gap, so that the browser fetches them.
            "previous": state.sequence - 1 if cut else pending.previous,
            "sequence": state.sequence,
            "partial": cut,
            "received_at": pending.received_ms,
            **{name: _rows(state.buckets[grain]) for name, grain in _GRAINS.items()},
            "lifetime": state.buckets[Grain.LIFETIME].get(0, [[], []]),
            "tweets": [_tweet(tweet_id, tweet) for tweet_id, tweet in state.tweets.items()],
            "sent_at": time.time_ns() // 1_000_000,
        }
        return _encode(frame).decode()

    def _name(self, handle_id: int) -> str | None:
        if handle_id not in self._names:
            self._names[handle_id] = Handle.objects.filter(pk=handle_id).values_list("username", flat=True).first()
        return self._names[handle_id]


@dataclass(slots=True)
class Changed:
    """The Tweets of a handle that changed since its last message.

    `previous` is what that one reached: all of a commit (its sequence and 0), or some further parts of what came next.
    """

    previous: tuple[int, int]
    tweets: set[int] = field(default_factory=set)


class Totals(Outlet[Changed]):
    """For open streams: the lifetime totals of every changed Tweet."""

    def __init__(self) -> None:
        super().__init__(FOLLOW_SECONDS)

    def note(self, commit: HandleCommit) -> None:
        """Remember which Tweets changed."""
        self._pending.setdefault(commit.handle_id, Changed((commit.sequence - 1, 0))).tweets.update(commit.tweets)

    def message(self, handle_id: int, watched: watch.Watched, early: bool) -> tuple[str, str] | None:
        """The totals of the changed Tweets; past MOST_FOLLOWED, the rest stays pending unless it is the last chance."""
        changed = self._pending.pop(handle_id)
        if handle_id not in watched.followed:
            return None
        ordered = sorted(changed.tweets, reverse=True)
        chosen, left = (ordered, []) if early else (ordered[:MOST_FOLLOWED], ordered[MOST_FOLLOWED:])
        state = frames.handle_state(handle_id, [], dict.fromkeys(chosen, ()))
        reached = state.sequence, 0
        if left:
            # Not all of it: whoever loses the rest must see that it is missing.
            reached = changed.previous[0], changed.previous[1] + 1
            self._pending[handle_id] = Changed(reached, set(left))
        message = {
            "previous": changed.previous,
            "reached": reached,
            "sequence": state.sequence,
            "at": time.time_ns() // 1_000_000,
            "tweets": [[tweet_id, *tweet.lifetime] for tweet_id, tweet in state.tweets.items()],
        }
        return follow_group(handle_id), _encode(message).decode()


class Announcer:
    """Collects commits and sends each watched handle's messages when they are due."""

    def __init__(self) -> None:
        self._outlets: tuple[Outlet[Any], ...] = (Frames(), Totals())
        # One event loop for the process's life: the layer's connections belong to the loop that opened them.
        self._runner = asyncio.Runner()
        self._layer: Any = get_channel_layer()

    def note(self, applied: Applied) -> None:
        """Remember what a commit changed."""
        for commit in applied.handles:
            for outlet in self._outlets:
                outlet.note(commit)

    def patience_ms(self, most: int = 1000) -> int:
        """How long the writer may wait for new entries before a message is due."""
        now = time.monotonic()
        wait = min(outlet.wait(now) for outlet in self._outlets) * 1000
        return max(1, int(min(most, wait)))

    def send_due(self, early: bool = False) -> int:
        """Send the messages that are due, or all of them before their time; returns how many."""
        now = time.monotonic()
        if not early and all(outlet.wait(now) > 0 for outlet in self._outlets):
            return 0
        watched = watch.watched()
        messages = [message for outlet in self._outlets for message in outlet.messages(watched, now, early)]
        if messages:
            self._runner.run(self._send(messages))
        return len(messages)

    def close(self) -> None:
        """Close the layer's connections with their loop."""
        self._runner.run(self._layer.flush())
        self._runner.close()

    async def _send(self, messages: list[tuple[str, str]]) -> None:
        for group, text in messages:
            await self._layer.group_send(group, {"type": "frame", "text": text})


def _rows(buckets: dict[int, frames.Vectors]) -> list[list[Any]]:
    return [[start, *vectors] for start, vectors in sorted(buckets.items())]


def _tweet(tweet_id: int, tweet: frames.TweetState) -> dict[str, Any]:
    return {"id": str(tweet_id), "lifetime": tweet.lifetime, "minutes": _rows(tweet.minutes)}
