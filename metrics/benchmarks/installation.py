"""The installation that is measured: where it answers, what its processes have used, on which machine."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psutil
from django.conf import settings

# What a command line holds, and what we call the process; the first that fits.
_NAMES = (
    # First, as PostgreSQL has workers too: for input and output, for parallel queries.
    ("bin/postgres", "postgres"),
    ("postgres: ", "postgres"),
    ("redis-server", "redis"),
    ("daphne", "web"),
    ("uvicorn", "web"),
    ("consumers", "consumers"),
    ("sources@", "sources"),
    ("imports@", "imports"),
    ("worker", "worker"),
    ("beat", "beat"),
    ("demo_feed", "demo"),
)


class BenchmarkError(Exception):
    """The benchmark cannot be run, or its load broke down."""


@dataclass(frozen=True)
class Installation:
    """A running installation: the host and port of its front door."""

    host: str
    port: int

    @classmethod
    def find(cls, url: str | None) -> Installation:
        """The one at `url`, or the `make run` of this folder; raises BenchmarkError when nothing answers there."""
        url = url or f"http://127.0.0.1:{settings.PORT}"
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise BenchmarkError(f"{url} is no http:// address; give the one that `make run` prints.")
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/readyz", timeout=10):  # noqa: S310  http, checked above
                return cls(parts.hostname, parts.port or 80)
        except urllib.error.HTTPError as error:
            with error:
                raise BenchmarkError(f"{url} answers but is not ready; wait a moment, or see /readyz.") from error
        except OSError as error:
            raise BenchmarkError(f"Nothing runs at {url}: start `make run` first (same VAR_DIR and PORT).") from error

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds used so far by the installation's processes on this machine, by name."""
        used: Counter[str] = Counter()
        for process in self._processes():
            with suppress(psutil.Error):
                name = " ".join([process.name(), *process.cmdline()]).lower()
                times = process.cpu_times()
                called = part_of(name)
                used[called] += times.user + times.system
                if called != "supervisor":  # whose ended children were counted under their own names
                    used[called] += times.children_user + times.children_system
        return dict(used)

    def _processes(self) -> list[psutil.Process]:
        """The supervisor of the process that listens on our port, with all below it; none when it is elsewhere."""
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == self.port and connection.pid:
                with suppress(psutil.Error):
                    supervisor = psutil.Process(connection.pid).parent()
                    return [] if supervisor is None else [supervisor, *supervisor.children(recursive=True)]
        return []


def part_of(name: str) -> str:
    """What we call a process, by its name and command line in lower case."""
    return next((called for word, called in _NAMES if word in name), "supervisor")


def machine() -> dict[str, Any]:
    """What it ran on, and which commit."""
    try:
        git = ["git", "-C", str(settings.BASE_DIR), "rev-parse", "--short=12", "HEAD"]
        answer = subprocess.run(git, capture_output=True, text=True, check=True)  # noqa: S603  a fixed command
        commit = answer.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average_before": round(os.getloadavg()[0], 2),
        "commit": commit,
    }
