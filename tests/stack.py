"""A whole running installation for tests: own PostgreSQL and Redis that lose nothing, web server, workers and beat.

    def test_it_counts(live_stack: Stack) -> None:
        live_stack.add_handle("northwind", email="alice@northwind.example")
        token = live_stack.token("northwind")
        httpx.post(live_stack.url + "/api/v1/events", …)

One for all tests of a session, so every module makes its own handles. Tests may end its parts: `kill`, `kill_writers`,
`redis.kill()`, `postgres.stop()`; `eventually` starts ended programs again, as the supervisor would.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import psycopg
import pytest
from django.conf import settings

from insightstrack_site import embedded, processes
from insightstrack_site.run import BASE_DIR, Plan, programs
from tests.cast import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from insightstrack_site.supervisor import Program


def eventually(check: Callable[[], bool], seconds: float, what: str) -> None:
    """Ask until the check is true; AssertionError with `what` once the time is up."""
    assert processes.wait_for(check, seconds, every=0.1), f"not within {seconds:.0f} s: {what}"


class Stack:
    """The running parts, and the ways to use, break and mend them. Use it in the main thread."""

    def __init__(self, var_dir: Path, port: int, beside: Stack | None = None) -> None:
        """`beside` another one: a second machine, with the services of the first."""
        self.var_dir, self.port, self.beside = var_dir, port, beside
        self.url = f"http://127.0.0.1:{port}"
        self.postgres = beside.postgres if beside else embedded.Postgres(var_dir, {"shared_buffers": "128MB"})
        self.redis = beside.redis if beside else embedded.Redis(var_dir, {"appendfsync": "always"})
        plan = Plan(var_dir, "127.0.0.1", port, "daphne", demo=False, shards=2, database_url=None, redis_url=None)
        self.env = {
            **os.environ,
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "VAR_DIR": str(var_dir),
            "PORT": str(port),
            "SHARDS": str(plan.shards),
            "DJANGO_SETTINGS_MODULE": "insightstrack_site.settings",
        }
        self._clerk: subprocess.Popen[str] | None = None
        self.processes: dict[str, Program] = {program.name: program for program in programs(plan, self.env)}

    def start(self) -> None:
        """Start every part and wait until the installation says that it is ready."""
        if self.beside is None:
            self.postgres.start()
            self.redis.start()
        self.manage("migrate", "--verbosity", "0")
        (self.var_dir / "static").symlink_to(Path(settings.STATIC_ROOT).resolve())
        for program in self.processes.values():
            program.spawn()
        self.wait_until_ready()

    def stop(self) -> None:
        """End every part."""
        if self._clerk is not None:
            self._clerk.communicate()
        for program in self.processes.values():
            if program.process is not None:
                processes.stop(program.process, signal.SIGKILL, 5.0)
        if self.beside is None:
            self.redis.stop()
            self.postgres.stop()

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Wait for `/readyz`."""
        self.eventually(self.is_ready, seconds, "/readyz answers 200")

    def is_ready(self) -> bool:
        """Whether `/readyz` answers 200 now."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def eventually(self, check: Callable[[], bool], seconds: float, what: str) -> None:
        """Ask until the check is true, starting ended programs again meanwhile."""

        def tended() -> bool:
            self.tend()
            return check()

        eventually(tended, seconds, what)

    def tend(self) -> None:
        """Start the programs again that have ended."""
        for program in self.processes.values():
            if program.process is not None and program.process.poll() is not None:
                processes.signal_group(program.process.pid, signal.SIGKILL)
                program.spawn()

    def kill(self, name: str) -> None:
        """End one program (web, consumers, worker, sources, beat) at once; `eventually` and `tend` start it again."""
        process = self.processes[name].process
        assert process is not None
        processes.signal_group(process.pid, signal.SIGKILL)
        process.wait()

    def restart(self, name: str) -> None:
        """End one program at once and start it again."""
        self.kill(name)
        self.tend()

    def kill_writers(self) -> None:
        """End the processes in which the consumers work, at once, and leave the worker that started them."""
        worker = self.processes["consumers"].process
        assert worker is not None
        for child in psutil.Process(worker.pid).children():
            with suppress(psutil.NoSuchProcess):
                child.kill()

    def manage(self, *arguments: str, stdin: str = "") -> str:
        """What `manage.py …` prints on stdout."""
        told = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env=self.env,
            cwd=BASE_DIR,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        return told.stdout

    def add_handle(
        self,
        username: str,
        email: str = "alice@northwind.example",
        team: str = "Northwind",
        role: str = "owner",
        password: str = PASSWORD,
    ) -> int:
        """Make the handle, its team, and a member who can sign in, where they do not exist; returns the handle's id."""
        return int(self._ask_clerk("add_handle", username, email, password, team, role))

    def token(self, *handles: str, scopes: tuple[str, ...] = ("ingest", "read")) -> str:
        """The secret of a new token for these handles of one team."""
        return str(self._ask_clerk("token", handles, scopes))

    def connect(self, username: str, kind: str, name: str, settings: dict[str, str], secrets: dict[str, str]) -> int:
        """Connect a source of the handle; returns its number."""
        return int(str(self._ask_clerk("connect", username, kind, name, settings, secrets)))

    def _ask_clerk(self, *wanted: object) -> object:
        if self._clerk is None:
            self._clerk = subprocess.Popen(
                [sys.executable, "-m", "tests.clerk"],
                env=self.env,
                cwd=BASE_DIR,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._clerk.stdin is not None
        assert self._clerk.stdout is not None
        print(json.dumps(wanted), file=self._clerk.stdin, flush=True)
        return json.loads(self._clerk.stdout.readline())

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """A connection to the installation's database; its transaction ends with the block."""
        with psycopg.connect(self.postgres.url, connect_timeout=5) as connection:
            yield connection


@contextmanager
def redis_away(stack: Stack) -> Iterator[None]:
    """Redis is killed, and started again on its data."""
    stack.redis.kill()
    try:
        yield
    finally:
        stack.redis.start()


@contextmanager
def postgres_away(stack: Stack) -> Iterator[None]:
    """PostgreSQL is stopped and started again."""
    stack.postgres.stop()
    try:
        yield
    finally:
        stack.postgres.start()


def free_port() -> int:
    """A port of this machine that nobody listens on, and that nobody is given unasked while its server is away.

    Chosen at random below the ports that systems hand out themselves: other test processes choose at the same time.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@pytest.fixture(scope="session")
def live_stack() -> Iterator[Stack]:
    """The session's running installation."""
    with ExitStack() as undo:
        folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="it-stack-", ignore_cleanup_errors=True))
        stack = Stack(Path(folder), free_port())
        undo.callback(stack.stop)
        stack.start()
        yield stack
