"""Where a running source does what blocks: one thread for its database and Redis work, beside its event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError, close_old_connections
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 3.0
Result = TypeVar("Result")


class BacklogError(Exception):
    """So many accepted events wait to be counted that no more may be taken now."""


AWAY = (BacklogError, InterfaceError, OperationalError, RedisError)
"""What is over some time: the database or Redis is away, or the writers are far behind."""


class Desk:
    """One thread, so that a source's writes happen in order and only one of them at a time."""

    def __init__(self, over: asyncio.Event) -> None:
        self._over = over
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="source-desk")

    async def do(self, work: Callable[[], Result]) -> Result:
        """Do it, and again while the database or Redis is away; raises one of AWAY once the shift is over."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self.once(work)
            except AWAY as error:
                if self._over.is_set():
                    raise
                log.warning("source_waits", error=str(error).strip())
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    async def once(self, work: Callable[[], Result]) -> Result:
        """Do it; raises one of AWAY. What has begun comes to its end, even when nobody waits for it any more."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, _connected, work)

    def close(self) -> None:
        """Wait for what has begun, and drop the rest."""
        self._thread.shutdown(cancel_futures=True)


def _connected(work: Callable[[], Result]) -> Result:
    try:
        return work()
    finally:
        # Back into the pool: a thousand quiet sources share a few connections.
        close_old_connections()
