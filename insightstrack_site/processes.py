"""Child processes that never outlive their parent.

Each leads a process group of its own, so that it can be ended with all of its children, and Linux ends it
when the parent dies without a chance to.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
# Loaded before any fork: loading a library between fork and exec can deadlock.
libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """The operating-system user that a child runs as."""

    name: str
    uid: int
    gid: int


def die_with_parent(with_signal: signal.Signals) -> None:
    """Ask Linux to send this process `with_signal` when its parent dies, even by SIGKILL."""
    if libc is not None:
        libc.prctl(PR_SET_PDEATHSIG, int(with_signal))


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    account: Account | None = None,
    folder: Path = Path("/"),
    parent_death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `command` as the leader of a new session, its output appended to `log`.

    Call it from a thread that lives as long as the child should: Linux counts the end of the *thread* that
    forked as the parent's death. Raises OSError when the program cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603  no shell, and every command is ours
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            # After the change of user, which would clear it.
            preexec_fn=lambda: die_with_parent(parent_death_signal),  # noqa: PLW1509  one system call, safe after fork
        )


def signal_group(group: int, number: signal.Signals) -> bool:
    """Send a signal to a whole process group; False when the group has nobody left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def group_alive(group: int) -> bool:
    """Tell whether any process of the group still exists."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def stop(process: subprocess.Popen[bytes], first: signal.Signals, grace: float) -> None:
    """Send `first` to the leader, wait up to `grace` seconds, then kill whatever is left of its group."""
    if process.poll() is None:
        process.send_signal(first)
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
    signal_group(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Ask `condition` repeatedly until it is true (returns True) or the time is up (False)."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def adopt_orphans() -> None:
    """Make descendants whose parent has died children of this process: `end_descendants` then finds them."""
    if libc is not None:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_descendants(seconds: float = 1.0) -> None:
    """Kill and bury every process that descends from this one: the last thing that a supervisor does."""
    descendants = psutil.Process().children(recursive=True)
    for process in descendants:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(descendants, timeout=seconds)
