"""What people do with a Tweet, one by one: the live present.

Each impression belongs to a viewer, who may watch, click, like and regret it in the seconds and minutes that
follow. A few viewers come again and again, most of them rarely.
"""

from __future__ import annotations

import heapq
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from metrics.demo.events import FOLLOWS_OF_PROFILES, PROMOTED, UNDONE, Event, funnel, rates
from metrics.demo.people import somebody
from metrics.vocabulary.engagements import UNDO_OF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metrics.demo.plan import Story

# Seconds after the impression, on average, at which a viewer reacts, and after that, regrets.
REACTS_AFTER = 8.0
REGRETS_AFTER = 90.0
WATCHES_FOR = (0.4, 3.0, 4.0, 5.0, 6.0, 5.0, 1.5)


class Viewers:
    """The people in front of the screens. `events` moves the clock on and tells what they did.

    session: told apart in event ids from every other run, e.g. the start in milliseconds.
    """

    def __init__(self, seed: int, session: int) -> None:
        self._rng = np.random.default_rng([seed, session])
        self._session = session
        self._made = 0
        self._pending: list[tuple[float, int, Event]] = []
        self._rates: dict[int, tuple[float, float]] = {}

    def events(self, stories: Sequence[Story], since: float, until: float) -> list[Event]:
        """What happens in [since, until), a span of seconds, in order of time."""
        for story in stories:
            if story.alive(since, until):
                self._show(story, since, until)
                self._share(story, since, until)
                self._promote(story, since, until)
        due = []
        while self._pending and self._pending[0][0] < until:
            due.append(heapq.heappop(self._pending)[2])
        return due

    def _show(self, story: Story, since: float, until: float) -> None:
        for moment in self._moments(self._rate(story, until) * (until - since), max(since, story.created), until):
            self._view(story, moment)

    def _rate(self, story: Story, now: float) -> float:
        """Expected impressions a second in the running ten seconds; worked out once for them."""
        slot = now // 10
        known = self._rates.get(story.tweet_id)
        if known is None or known[0] != slot:
            shown = story.shown(np.array([slot * 10, slot * 10 + 10]))[0]
            known = self._rates[story.tweet_id] = (slot, float(shown) / 10)
        return known[1]

    def _view(self, story: Story, moment: float) -> None:
        """One impression and all that follows from it."""
        rng = self._rng
        person = somebody(story.voice, rng)
        self._plan(story, moment, "impressions", person)
        watched = moment
        for (kind, share), takes in zip(funnel(story).items(), WATCHES_FOR, strict=False):
            if rng.random() > share:
                break
            watched += takes
            self._plan(story, watched, kind, person)
        for kind, rate in rates(story).items():
            if rng.random() < rate:
                self._react(story, moment, kind, person)

    def _react(self, story: Story, moment: float, kind: str, person: str | None, promoted: bool = False) -> None:
        """One reaction, and what may follow from that: a follow, or its undoing."""
        rng = self._rng
        reacted = moment + 1 + rng.exponential(REACTS_AFTER)
        self._plan(story, reacted, kind, person, promoted)
        if kind == "user_profile_clicks" and rng.random() < FOLLOWS_OF_PROFILES:
            self._plan(story, reacted + 1 + rng.exponential(5), "user_follows", person)
        undoable = kind in UNDONE and not (promoted and kind == "retweets")
        if undoable and rng.random() < UNDONE[kind]:
            regretted = reacted + 2 + rng.exponential(REGRETS_AFTER)
            self._plan(story, regretted, UNDO_OF[kind], person, promoted)

    def _share(self, story: Story, since: float, until: float) -> None:
        first, last = np.searchsorted(story.shared_at, [since, until])
        for moment in story.shared_at[first:last].tolist():
            self._react(story, moment - 1, "retweets", somebody(story.voice, self._rng))

    def _promote(self, story: Story, since: float, until: float) -> None:
        if story.campaign is None:
            return
        start, stop = max(since, story.campaign[0]), min(until, story.campaign[1])
        for kind, rate in PROMOTED.items():
            for moment in self._moments(rate * story.spice * max(stop - start, 0) / 60, start, stop):
                self._react(story, moment, kind, somebody(story.voice, self._rng), promoted=True)

    def _moments(self, expected: float, since: float, until: float) -> list[float]:
        number = self._rng.poisson(expected) if expected > 0 else 0
        return (since + (until - since) * self._rng.random(number)).tolist() if number else []

    def _plan(self, story: Story, moment: float, kind: str, person: str | None, promoted: bool = False) -> None:
        if not story.voice.tells(kind, promoted):
            return
        self._made += 1
        event = Event(
            id=f"live-{self._session}-{self._made}",
            handle=story.voice.username,
            tweet_id=str(story.tweet_id),
            type=kind,
            occurred_at=datetime.fromtimestamp(moment, UTC),
            promoted=promoted,
            user_id=person,
        )
        heapq.heappush(self._pending, (moment, self._made, event))
