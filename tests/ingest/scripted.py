"""A connector that does what a test tells it, and a runner that works it in a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from django.db import connections

from metrics.ingest import runner
from metrics.ingest.connectors import Connector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from types import TracebackType

    from metrics.ingest.connectors import Shift
    from metrics.models import Source

    Script = Callable[[Shift], Awaitable[datetime | None]]


class Scripted(Connector):
    """Runs one script an attempt, in order; the last one again and again."""

    kind, label, description = "scripted", "Scripted", "What a test tells it."

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.attempts = 0

    async def run(self, shift: Shift) -> datetime | None:
        self.attempts += 1
        return await self._scripts[min(self.attempts, len(self._scripts)) - 1](shift)


class Worked:
    """A source worked by a runner, in a thread; a context manager that lets the shift end."""

    def __init__(self, source: Source) -> None:
        self.stop, self.wanted = threading.Event(), threading.Event()
        self.goes_on: bool | None = None
        """What the runner said at the end."""
        self._source_id = source.pk
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Worked:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self._thread.join(20)
        assert self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the shift has ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.goes_on = runner.run(self._source_id, runner.Terms(self.stop.is_set, self.wanted.is_set))
        finally:
            connections.close_all()
