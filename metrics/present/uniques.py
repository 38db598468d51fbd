"""How many people the followed Tweets of a handle have reached, read a little after their counts have changed.

People are kept some seconds later than counts, and nobody announces them. So a Tweet that changed is looked at soon and
then again after ever longer waits, until about a minute has passed without a change: from the second look on it is
quiet. All that are due are read at once, and at most once a second.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime

import structlog
from channels.db import database_sync_to_async
from django.db import Error as DatabaseError

from metrics.query import following
from metrics.query.following import People

log = structlog.get_logger(__name__)

FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 32.0
LOOK_SECONDS = 1.0
MOST_A_LOOK = 100


class Uniques:
    """Looks after the people of one handle's Tweets, and tells what it finds, and which Tweets are quiet."""

    def __init__(self, handle_id: int, found: Callable[[Mapping[int, People], Collection[int]], None]) -> None:
        self._handle_id, self._found = handle_id, found
        self._due: dict[int, tuple[float, float]] = {}
        """When to look at a Tweet (by the loop's clock), and how long it has waited for that."""
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    def note(self, tweet_ids: Iterable[int]) -> None:
        """These Tweets have changed."""
        soon = asyncio.get_running_loop().time() + FIRST_WAIT_SECONDS
        for number in tweet_ids:
            # One that changes all the time is looked at in its turn nevertheless.
            at, _ = self._due.get(number, (math.inf, 0.0))
            self._due[number] = min(at, soon), FIRST_WAIT_SECONDS
        self._wait()

    def close(self) -> None:
        """Nobody follows any more."""
        if self._timer:
            self._timer.cancel()
        if self._looking:
            self._looking.cancel()

    def _wait(self) -> None:
        is_busy = self._timer or (self._looking and not self._looking.done())
        if self._due and not is_busy:
            first_at = min(at for at, _ in self._due.values())
            self._timer = asyncio.get_running_loop().call_at(max(first_at, self._next_at), self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._looking = asyncio.create_task(self._look())
        self._looking.add_done_callback(lambda task: None if task.cancelled() else self._wait())

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        now = clock()
        due = [number for number, (at, _) in self._due.items() if at <= now][:MOST_A_LOOK]
        waited = {number: self._due.pop(number)[1] for number in due}
        try:
            found = await database_sync_to_async(following.people)(self._handle_id, due, datetime.now(UTC))
        except DatabaseError as error:
            log.warning("uniques_unreadable", handle_id=self._handle_id, error=str(error))
            found, waited = {}, dict.fromkeys(due, FIRST_WAIT_SECONDS / 2)
        self._next_at = clock() + LOOK_SECONDS
        for number, wait in waited.items():
            if 2 * wait <= LONGEST_WAIT_SECONDS:
                # What has changed meanwhile is due already.
                self._due.setdefault(number, (clock() + 2 * wait, 2 * wait))
        self._found(found, [number for number, wait in waited.items() if wait > FIRST_WAIT_SECONDS])
