"""Keeps a set of child processes alive, and ends all of them within ten seconds.

One thread, one loop: look at each child, start the ended ones again (with a growing pause), show what is
alarming in their logs.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from insightstrack_site import processes
from insightstrack_site.console import Console

LOOK_EVERY = 0.2  # seconds
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between restarts
STEADY_AFTER = 60.0  # a child that ran this long has recovered
WORK_GRACE, SERVICE_GRACE = 3.5, 4.0  # seconds to end in order before being killed; together under ten


class Supervised(Protocol):
    """Anything with a process that can be started again: a `Program` or an embedded service."""

    @property
    def name(self) -> str: ...
    @property
    def log(self) -> Path: ...
    @property
    def stop_signal(self) -> signal.Signals: ...
    @property
    def process(self) -> subprocess.Popen[bytes] | None: ...

    def spawn(self) -> None:
        """Start the process without waiting for it."""


@dataclass
class Program:
    """A command of ours: a web server, a worker, the beat, the demo feed."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        self.process = processes.spawn(
            self.command,
            log=self.log,
            environment=self.environment,
            folder=self.folder,
            parent_death_signal=signal.SIGKILL,
        )


@dataclass
class _Watch:
    """One child and the story of its restarts."""

    child: Supervised
    is_service: bool
    started_at: float = field(default_factory=time.monotonic)
    failures: int = 0
    start_at: float | None = None

    def pause(self) -> float:
        return float(min(SHORTEST_PAUSE * 2 ** (self.failures - 1), LONGEST_PAUSE))


class Supervisor:
    """Runs children until it is asked to stop. Use it in the main thread: it handles SIGINT and SIGTERM."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stopping = False
        self._watched: list[_Watch] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def add(self, child: Supervised, *, is_service: bool = False) -> None:
        """Start a child and keep it running; services are ended after everything that uses them."""
        self.console.follow(child.name, child.log)
        child.spawn()
        self._watched.append(_Watch(child, is_service))

    def most_failures(self) -> tuple[int, Supervised | None]:
        """How often the least lucky child has ended lately, and which one it is."""
        worst = max(self._watched, key=lambda watch: watch.failures, default=None)
        return (worst.failures, worst.child) if worst else (0, None)

    def run_until(self, condition: Callable[[], bool], seconds: float = float("inf")) -> bool:
        """Tend the children until `condition` holds (True), time is up, or a stop is asked for (False)."""
        deadline = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < deadline:
            self.tend()
            if condition():
                return True
            time.sleep(LOOK_EVERY)
        return False

    def tend(self) -> None:
        """Look at every child once: note the ended ones, start those whose pause is over, show their news."""
        now = time.monotonic()
        for watch in self._watched:
            if watch.start_at is None:
                self._notice_end(watch, now)
            elif now >= watch.start_at:
                watch.child.spawn()
                watch.started_at, watch.start_at = now, None
        self.console.show_news()

    def _notice_end(self, watch: _Watch, now: float) -> None:
        process = watch.child.process
        if process is None or process.poll() is None:
            return
        # Its own children, if any survive, would do the work of the next one a second time.
        processes.signal_group(process.pid, signal.SIGKILL)
        watch.failures = 1 if now - watch.started_at > STEADY_AFTER else watch.failures + 1
        watch.start_at = now + watch.pause()
        self.console.say(
            f"{watch.child.name}: ended ({_how(process.returncode)}); starts again in {watch.pause():.1f} s"
        )

    @property
    def children(self) -> list[Supervised]:
        """Everything that was added, in that order."""
        return [watch.child for watch in self._watched]

    def stop(self, grace: float = WORK_GRACE) -> None:
        """End all children: first the programs, together, then the services."""
        self.stopping = True
        _end((watch.child for watch in self._watched if not watch.is_service), grace)
        _end((watch.child for watch in self._watched if watch.is_service), SERVICE_GRACE)


def _end(children: Iterable[Supervised], grace: float) -> None:
    running = [
        (child.process, child.stop_signal)
        for child in children
        if child.process is not None and child.process.poll() is None
    ]
    for process, number in running:
        process.send_signal(number)
    processes.wait_for(lambda: all(process.poll() is not None for process, _ in running), grace)
    for process, _ in running:
        processes.signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
