"""Load processes: started, told when to begin, asked for what they saw."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from metrics.benchmarks.installation import BenchmarkError

Work = Callable[[Any, Connection], None]
_SPAWN = multiprocessing.get_context("spawn")


class Crew:
    """A context manager: one new process for each plan, running `work(plan, pipe)`.

    A worker sends one message when it is ready, reads one that lets it begin, and sends its result.
    """

    def __init__(self, work: Work, plans: Sequence[Any]) -> None:
        self._pipes: list[Connection] = []
        self._processes = []
        for plan in plans:
            ours, theirs = _SPAWN.Pipe()
            process = _SPAWN.Process(target=work, args=(plan, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            if error is not None:
                process.terminate()
            process.join(10)

    def wait_until_ready(self) -> None:
        """Wait for every worker's first message."""
        self.results()

    def tell(self, message: Any) -> None:
        """Send all workers the message."""
        for pipe in self._pipes:
            pipe.send(message)

    def is_done(self, seconds: float) -> bool:
        """Whether the first worker has something to say, waiting at most so long."""
        return self._pipes[0].poll(seconds)

    def results(self) -> list[Any]:
        """Each worker's next message; raises BenchmarkError when one has died."""
        try:
            return [pipe.recv() for pipe in self._pipes]
        except EOFError as error:
            raise BenchmarkError("A load process broke down; its complaint is above.") from error


def cpu_seconds() -> float:
    """What all ended load processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
