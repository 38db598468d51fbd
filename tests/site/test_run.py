"""One whole installation: started, broken, looked at from beside, and stopped without a trace."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from insightstrack_site import processes
from insightstrack_site.run import BASE_DIR
from tests.stack import free_port


@dataclass
class Installation:
    """A running supervisor and what it said."""

    var_dir: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def said(self) -> str:
        return (self.var_dir / "console").read_text()

    def is_ready(self) -> bool:
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            asking.request("GET", "/readyz")
            return asking.getresponse().status == 200
        except OSError:
            return False
        finally:
            asking.close()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def leader(self, words: str) -> psutil.Process | None:
        """The supervisor's own child (no orphan that it adopted) whose command line holds these words."""
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                if words in " ".join(child.cmdline()) and os.getpgid(child.pid) == child.pid:
                    return child
        return None


def environment_of(var_dir: Path, port: int) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")
    }
    return {**kept, "VAR_DIR": str(var_dir), "PORT": str(port), "DEMO": "0"}


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="it-") as folder:
        var_dir, port = Path(folder), free_port()
        with (var_dir / "console").open("wb") as console:
            process = subprocess.Popen(
                [sys.executable, "-m", "insightstrack_site.run"],
                env=environment_of(var_dir, port),
                cwd=BASE_DIR,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        started = Installation(var_dir, port, process)
        try:
            assert processes.wait_for(lambda: "runs at" in started.said or process.poll() is not None, 120)
            assert process.poll() is None, started.said
            yield started
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_it_says_where_it_runs_and_how_to_begin(installation: Installation) -> None:
    assert f"InsightsTrack runs at http://localhost:{installation.port}/" in installation.said
    assert f"open http://localhost:{installation.port}/settings/setup/ and enter" in installation.said
    assert re.search(r"([A-Z0-9]{4}-){3,}[A-Z0-9]{4}", installation.said)
    assert installation.is_ready()


def test_it_lets_commands_in_other_terminals_find_it(installation: Installation) -> None:
    environment = environment_of(installation.var_dir, installation.port)
    told = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--check"],
        env=environment,
        cwd=BASE_DIR,
        capture_output=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr


def test_it_lets_no_second_one_onto_its_data(installation: Installation) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "insightstrack_site.run"],
        env=environment_of(installation.var_dir, installation.port),
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert second.stdout.startswith("InsightsTrack already runs at")
    assert second.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "words", ["asgi:application", "consumers@", "sources@", " beat --schedule", "bin/postgres -D", "redis-server"]
)
def test_it_recovers_from_the_death_of(installation: Installation, words: str) -> None:
    dead = installation.leader(words)
    assert dead is not None
    dead.kill()
    assert processes.wait_for(lambda: installation.leader(words) not in (None, dead), 15)
    assert processes.wait_for(installation.is_ready, 60, every=0.2)


def test_it_writes_no_secret_into_logs(installation: Installation) -> None:
    key = (installation.var_dir / "secret_key").read_text()
    code = re.search(r"([A-Z0-9]{4}-){3,}[A-Z0-9]{4}", installation.said)
    assert code is not None
    logs = [path.read_text(errors="replace") for path in (installation.var_dir / "log").iterdir()]
    assert len(logs) >= 5
    assert not any(secret in log for log in logs for secret in (key, code[0]))


def test_it_stops_within_ten_seconds_and_leaves_nothing(installation: Installation) -> None:
    family = installation.family()
    assert len(family) >= 8
    began = time.monotonic()
    installation.process.send_signal(signal.SIGINT)
    assert installation.process.wait(15) == 0
    assert time.monotonic() - began < 10
    assert [member for member in family if member.is_running() and member.status() != "zombie"] == []
    assert "Stopped; all data is kept." in installation.said
    assert not (installation.var_dir / "services.env").exists()
    assert json.loads((installation.var_dir / "run.lock").read_text())["pid"] == installation.process.pid
