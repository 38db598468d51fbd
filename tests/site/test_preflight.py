"""What stands in the way of a start is said in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from insightstrack_site import embedded, preflight
from insightstrack_site.preflight import StartRefusedError
from insightstrack_site.run import BASE_DIR, Plan, web_command


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def run(var_dir: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`make run` without make, until it gives up."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return subprocess.run(
        [sys.executable, "-m", "insightstrack_site.run"],
        env={**environment, "VAR_DIR": str(var_dir), **variables},
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_it_says_that_the_port_is_taken(tmp_path: Path, taken_port: int) -> None:
    ended = run(tmp_path, PORT=str(taken_port))
    assert ended.returncode == 1
    assert ended.stdout == (
        f"Port {taken_port} is used by another program; choose another one: make run PORT={taken_port + 1}\n"
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PORT": "http"}, "PORT=http is not a whole number from 1 to 65535"),
        ({"SHARDS": "0"}, "SHARDS=0 is not a whole number from 1 to 64"),
        ({"SERVER": "apache"}, "SERVER=apache is not known; choose one of: daphne, uvicorn"),
        ({"HOST": "192.0.2.1", "PORT": "8199"}, "Cannot listen on HOST=192.0.2.1: "),
        ({"DATABASE_URL": "mysql://me@here/db"}, "DATABASE_URL is not of the form postgresql://"),
        ({"DATABASE_URL": "postgresql://me:p%ZZ@here/db"}, "DATABASE_URL cannot be read; special characters"),
        (
            {"DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/db"},
            "The database of DATABASE_URL does not answer: ",
        ),
        ({"DATABASE_URL": "postgresql://me:hun@ter2ZZ/x@here/db"}, "DATABASE_URL cannot be read; special characters"),
        ({"REDIS_URL": "here:6379"}, "REDIS_URL is not of the form redis://"),
        ({"REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"}, "The Redis of REDIS_URL does not answer: "),
    ],
)
def test_it_names_the_variable_that_is_wrong(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    ended = run(tmp_path, **{"PORT": "8198", **variables})
    assert ended.returncode == 1
    assert ended.stdout.startswith(said)
    assert ended.stdout.count("\n") == 1
    assert ended.stderr == ""
    assert "hunter2" not in ended.stdout
    assert "ZZ" not in ended.stdout


def test_it_says_who_runs_on_the_same_data(tmp_path: Path) -> None:
    with preflight.hold_lock(tmp_path, "http://localhost:8123/"):
        ended = run(tmp_path)
    assert ended.returncode == 1
    assert f"already runs at http://localhost:8123/ (process {os.getpid()})" in ended.stdout
    assert ended.stdout.count("\n") == 1


def test_it_frees_the_data_when_it_ends(tmp_path: Path) -> None:
    preflight.hold_lock(tmp_path, "http://localhost:8123/").close()
    preflight.hold_lock(tmp_path, "http://localhost:8124/").close()


def test_it_refuses_servers_that_are_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "OLDEST_POSTGRES", 99)
    monkeypatch.setattr(preflight, "OLDEST_REDIS", (99, 1))
    with (
        embedded.postgres(tmp_path, {"shared_buffers": "32MB"}) as database,
        pytest.raises(StartRefusedError, match=r"is PostgreSQL 18; InsightsTrack needs 99 or newer"),
    ):
        preflight.check_database(database.url)
    with (
        embedded.redis(tmp_path) as stream,
        pytest.raises(StartRefusedError, match=r"is version 6\.2\.\d+; InsightsTrack needs 99\.1 or newer"),
    ):
        preflight.check_redis(stream.url)


def test_it_notices_a_redis_that_forgets(tmp_path: Path) -> None:
    with embedded.redis(tmp_path / "kept") as stream:
        assert not preflight.loses_answered_events(stream.url)
    with embedded.redis(tmp_path / "lost", {"appendonly": "no"}) as stream:
        assert preflight.loses_answered_events(stream.url)


def test_it_says_when_a_redis_wants_a_password(tmp_path: Path) -> None:
    with embedded.redis(tmp_path) as stream:
        with redis.Redis.from_url(stream.url) as client:
            client.config_set("requirepass", "hunter2")
        with pytest.raises(StartRefusedError, match=r"wants a password: redis://:password@host"):
            preflight.check_redis(stream.url)


def test_it_listens_on_loopback_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOST", raising=False)
    for server in ("daphne", "uvicorn"):
        monkeypatch.setenv("SERVER", server)
        command = web_command(Plan.from_environment())
        assert server in command
        assert "127.0.0.1" in command
