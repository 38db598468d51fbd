"""History first, then the present: what `manage.py demo_feed` runs.

A small file remembers how far the feed has come. The present is sent as it happens; what was missed (all of
history on the first start, a pause later) is sent as bulk spans in between, newest first. A span stays in the
file until all of it was taken, and is the same events under the same ids whenever it is sent.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from metrics.demo import events, plan
from metrics.demo.content import BLUESKY_VOICES, VOICES
from metrics.demo.jetstream import Scribe, Server
from metrics.demo.kernel import DAY
from metrics.demo.viewers import Viewers

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from metrics.demo.events import Event
    from metrics.demo.plan import Story
    from metrics.demo.sender import Sender

HISTORY_DAYS = 90
TICK_S = 0.4
BATCH = 4_000
TWEETS_AT_ONCE = 500
# A present that was missed for longer than this is made up for in bulk.
LONGEST_TICK_S = 20.0
PLAN_AHEAD = DAY


class Memory(msgspec.Struct):
    """How far the feed has come, in Unix seconds.

    began: nothing happened before. until: the present was sent up to here. missed: spans still to be sent in
    bulk.
    """

    seed: int
    began: float
    until: float
    missed: list[tuple[float, float]]


class Progress(msgspec.Struct):
    """For the person who watches: bulk sent and to come, in seconds of history, and events of either kind."""

    bulk_done_s: float = 0.0
    bulk_total_s: float = 0.0
    bulk_events: int = 0
    live_events: int = 0
    rejected: int = 0


def tweet_of(story: Story) -> dict[str, Any]:
    """The story's Tweet as the ingest API takes it."""
    post = story.post
    return {
        "handle": story.voice.username,
        "id": str(story.tweet_id),
        "text": post.text,
        "created_at": datetime.fromtimestamp(story.created, UTC),
        "media": post.media,
        "link": story.uri or post.link,
        "tags": list(post.tags),
    }


class Feed:
    """Sends the demo handles' past and present through `sender`, until told to stop.

    path: the file that remembers. seed and days: of a first start; later the file's seed holds. jetstream: tells the
    present of the handles on Bluesky; without it all goes through `sender`.
    """

    def __init__(
        self,
        sender: Sender,
        path: Path,
        seed: int,
        days: int = HISTORY_DAYS,
        clock: Callable[[], float] = time.time,
        jetstream: Server | None = None,
    ) -> None:
        self._sender, self._path, self._clock, self._jetstream = sender, path, clock, jetstream
        self.progress = Progress()
        now = clock()
        self._memory = self._recall() or Memory(seed, now - days * DAY, now - days * DAY, [])
        self._viewers = Viewers(self._memory.seed, int(now * 1000))
        self._scribe = Scribe(int(now * 1000))
        self._catch_up(now)
        self._stories: list[Story] = []
        self._planned_until = 0.0
        self._replan(now)
        self._bulk = self._bulk_batches()

    @property
    def behind(self) -> bool:
        """Whether spans of the past are still to be sent."""
        return bool(self._memory.missed)

    def run(self, stop: threading.Event, after_tick: Callable[[Progress], object]) -> None:
        """Tick until `stop` is set; raises RefusedError when the server will not have it at all."""
        while not stop.is_set():
            started = self._clock()
            self.tick()
            after_tick(self.progress)
            stop.wait(max(0.0, TICK_S - (self._clock() - started)) if not self.behind else 0.01)

    def tick(self) -> None:
        """Send the present up to now, and one batch of the past while there is one."""
        now = self._clock()
        if now - self._memory.until > LONGEST_TICK_S:
            self._catch_up(now)
        if now > self._planned_until - PLAN_AHEAD / 2:
            self._replan(now)
        # The newest of the past comes before the present: a dashboard opened now is right at once.
        if self.behind:
            next(self._bulk, None)
        if now - self._memory.until >= TICK_S or not self.behind:
            self._send_present(now)

    def _send_present(self, now: float) -> None:
        since = self._memory.until
        new = [story for story in self._stories if since <= story.created < now]
        batch = self._viewers.events(self._stories, since, now)
        self.progress.live_events += len(batch)
        if self._jetstream:
            new, batch = self._tell(self._jetstream, new, batch)
        if new:
            self._sender.tweets([tweet_of(story) for story in new])
        if batch:
            self.progress.rejected += len(self._sender.events(batch).rejected)
        self._memory.until = now
        self._remember()

    def _tell(self, jetstream: Server, new: list[Story], batch: list[Event]) -> tuple[list[Story], list[Event]]:
        """Let Jetstream tell what is Bluesky's; returns the Tweets and events of the other handles."""
        there = {voice.username for voice in BLUESKY_VOICES}
        told = [event for event in batch if event.handle in there]
        known = [story for story in self._stories if story.uri]
        jetstream.tell(self._scribe.write([story for story in new if story.uri], told, known))
        return [story for story in new if not story.uri], [event for event in batch if event.handle not in there]

    def _bulk_batches(self) -> Iterator[int]:
        """Send the missed spans batch by batch, for ever; yields the events sent."""
        while True:
            while self._memory.missed:
                since, until = span = max(self._memory.missed)
                yield from self._send_span(since, until)
                self._memory.missed.remove(span)
                self._remember()
            yield 0

    def _send_span(self, since: float, until: float) -> Iterator[int]:
        past = [story for story in self._stories if story.alive(since, until)]
        new = [tweet_of(story) for story in reversed(past) if story.created >= since]
        for start in range(0, len(new), TWEETS_AT_ONCE):
            self._sender.tweets(new[start : start + TWEETS_AT_ONCE])
        done_before = self.progress.bulk_done_s
        for batch, reached in events.history(past, self._memory.seed, since, until, BATCH):
            self.progress.rejected += len(self._sender.events(batch).rejected)
            self.progress.bulk_events += len(batch)
            self.progress.bulk_done_s = done_before + until - reached
            yield len(batch)
        self.progress.bulk_done_s = done_before + until - since

    def _catch_up(self, now: float) -> None:
        """Turn the time since the last present into a missed span."""
        since = self._memory.until
        if now > since:
            self._memory.missed.append((since, now))
        ahead = sum(until - start for start, until in self._memory.missed)
        self.progress.bulk_total_s = self.progress.bulk_done_s + ahead
        self._memory.until = now
        self._remember()

    def _replan(self, now: float) -> None:
        """Know every Tweet that matters from the oldest missed span, or from now, until tomorrow."""
        self._planned_until = now + PLAN_AHEAD
        oldest = min([now, *(since for since, _ in self._memory.missed)])
        first = max(self._memory.began, oldest - plan.LOOKBACK)
        self._stories = plan.all_stories((*VOICES, *BLUESKY_VOICES), self._memory.seed, first, self._planned_until)

    def _recall(self) -> Memory | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Memory)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _remember(self) -> None:
        written = self._path.with_suffix(".new")
        written.write_bytes(msgspec.json.encode(self._memory))
        written.replace(self._path)
