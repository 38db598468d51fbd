"""Progress of a long command: a bar on a terminal, a plain line now and then when piped."""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from io import TextIOBase
    from types import TracebackType

LINE_EVERY_S = 5.0


class Meter:
    """Shows how much of `total` is done, at which rate, and how long the rest takes. A context manager.

    label: what is being done. unit: what `count` counts, in the plural.
    """

    def __init__(self, stream: IO[str] | TextIOBase, label: str, unit: str, total: float) -> None:
        self._stream, self._label, self._unit, self._total = stream, label, unit, total
        self._started = time.monotonic()
        self._line_at = self._started
        self._finished = False
        self._bar: Progress | None = None
        if stream.isatty():
            columns = (
                TextColumn(label),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[rate]}"),
            )
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(file=cast("IO[str]", stream)))
            self._task = self._bar.add_task(label, total=total, rate="")

    def __enter__(self) -> Meter:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def show(self, done: float, count: int) -> None:
        """So much of the total is done, and so many units went by."""
        now = time.monotonic()
        rate = f"{count:,} {self._unit}, {count / max(now - self._started, 1e-3):,.0f}/s"
        if self._bar:
            self._bar.update(self._task, completed=done, rate=rate)
        elif now - self._line_at >= LINE_EVERY_S or (done >= self._total and not self._finished):
            self._line_at, self._finished = now, done >= self._total
            share = done / self._total if self._total else 1.0
            left = (now - self._started) * (1 - share) / share if share > 0 else 0.0
            self._stream.write(f"{self._label}: {share:.0%}, {rate}, {left:,.0f} s left\n")
            self._stream.flush()
