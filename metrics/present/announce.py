"""The writer's side of the live channel: changed handles become one conflated frame each, for those who watch.

A frame carries state, never steps: the current totals of the buckets that changed, read after the commit. Handles that
nobody watches cost one look into a set.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec
from channels.layers import get_channel_layer
from django.conf import settings

from accounts.models import Handle
from metrics.aggregate.rollups import Applied, HandleCommit
from metrics.present import watch
from metrics.query import frames
from metrics.vocabulary.periods import Grain

MOST_TWEETS = 20
# A batch of history touches thousands of minutes: past this a browser does better to fetch the page's state anew.
MOST_MINUTES = 30
_GRAINS = {"minutes": Grain.MINUTE, "quarters": Grain.QUARTER, "hours": Grain.HOUR, "days": Grain.DAY}
_encode = msgspec.json.Encoder().encode


def group_name(handle_id: int) -> str:
    """The channel-layer group of a handle."""
    return f"handle.{handle_id}"


@dataclass(slots=True)
class Pending:
    """What has changed of a handle since its last frame."""

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


class Announcer:
    """Collects commits and sends each watched handle at most one frame an interval."""

    def __init__(self) -> None:
        self._pending: dict[int, Pending] = {}
        self._due: dict[int, float] = {}
        self._names: dict[int, str] = {}
        self._interval = settings.LIVE_INTERVAL_MS / 1000
        # One event loop for the process's life: the layer's connections belong to the loop that opened them.
        self._runner = asyncio.Runner()
        self._layer: Any = get_channel_layer()

    def note(self, applied: Applied) -> None:
        """Remember what a commit changed."""
        for commit in applied.handles:
            pending = self._pending.setdefault(commit.handle_id, Pending(commit.sequence - 1))
            pending.add(commit)

    def patience_ms(self, most: int = 1000) -> int:
        """How long the writer may wait for new entries before a frame is due."""
        if not self._pending:
            return most
        now = time.monotonic()
        wait = min(self._due.get(handle_id, now) for handle_id in self._pending) - now
        return max(1, min(most, int(wait * 1000)))

    def send_due(self, early: bool = False) -> int:
        """Send the frames that are due, or all of them before their time; returns how many."""
        now = time.monotonic()
        due = [handle_id for handle_id in self._pending if early or self._due.get(handle_id, 0.0) <= now]
        if not due:
            return 0
        handles, tweets = watch.watched()
        messages = {}
        for handle_id in due:
            pending = self._pending.pop(handle_id)
            if handle_id in handles:
                self._due[handle_id] = now + self._interval
                messages[handle_id] = self._frame(handle_id, pending, tweets.get(handle_id, set()))
        if messages:
            self._runner.run(self._send(messages))
        return len(messages)

    def close(self) -> None:
        """Close the layer's connections with their loop."""
        self._runner.run(self._layer.flush())
        self._runner.close()

    async def _send(self, messages: dict[int, str]) -> None:
        for handle_id, text in messages.items():
            await self._layer.group_send(group_name(handle_id), {"type": "frame", "text": text})

    def _frame(self, handle_id: int, pending: Pending, watched: set[int]) -> str:
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
            "handle": self._name(handle_id),
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

    def _name(self, handle_id: int) -> str:
        if handle_id not in self._names:
            self._names[handle_id] = Handle.objects.values_list("username", flat=True).get(pk=handle_id)
        return self._names[handle_id]


def _rows(buckets: dict[int, frames.Vectors]) -> list[list[Any]]:
    return [[start, *vectors] for start, vectors in sorted(buckets.items())]


def _tweet(tweet_id: int, tweet: frames.TweetState) -> dict[str, Any]:
    return {"id": str(tweet_id), "lifetime": tweet.lifetime, "minutes": _rows(tweet.minutes)}
