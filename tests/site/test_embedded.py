"""The embedded servers: private, restartable, and keeping what they were given."""

from __future__ import annotations

import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
import redis

from insightstrack_site import embedded, processes

SMALL = {"shared_buffers": "32MB"}


@pytest.fixture
def var_dir() -> Iterator[Path]:
    with TemporaryDirectory(prefix="it-") as folder:
        yield Path(folder)


def test_it_makes_the_database_and_keeps_its_rows_over_a_crash(var_dir: Path) -> None:
    with embedded.postgres(var_dir, SMALL) as service:
        with psycopg.connect(service.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        service.kill()
        service.restart()
        with psycopg.connect(service.url) as connection:
            row = connection.execute("SELECT answer FROM kept").fetchone()
    assert row == (42,)


def test_it_makes_postgres_keep_every_commit(var_dir: Path) -> None:
    with embedded.postgres(var_dir, SMALL) as service, psycopg.connect(service.url) as connection:
        names = ("fsync", "synchronous_commit", "full_page_writes")
        values = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]
    assert values == [("on",), ("on",), ("on",)]


def test_it_keeps_answered_redis_writes_over_a_kill(var_dir: Path) -> None:
    with embedded.redis(var_dir) as service:
        with redis.Redis.from_url(service.url, decode_responses=True) as client:
            client.set("kept", "yes")
            assert client.config_get("appendfsync") == {"appendfsync": "always"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        service.kill()
        service.restart()
        with redis.Redis.from_url(service.url, decode_responses=True) as client:
            assert client.get("kept") == "yes"


def test_it_takes_appendfsync_from_the_environment(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_APPENDFSYNC", "everysec")
    command = embedded.Redis(var_dir).command()
    assert command[command.index("--appendfsync") + 1] == "everysec"


@pytest.mark.parametrize("service_class", [embedded.Postgres, embedded.Redis])
def test_it_takes_over_from_a_server_whose_supervisor_was_killed(
    var_dir: Path, service_class: type[embedded.Service]
) -> None:
    settings = SMALL if service_class is embedded.Postgres else {}
    forgotten = service_class(var_dir, settings).start()
    service = service_class(var_dir, settings).start()
    try:
        assert forgotten.process is not None
        assert forgotten.process.wait(5) is not None
        assert service.answers()
    finally:
        service.stop()


def test_it_listens_only_for_its_own_user(var_dir: Path) -> None:
    with embedded.redis(var_dir) as service:
        assert stat.S_IMODE(service.socket_dir.stat().st_mode) == 0o700
        assert service.url.startswith("unix://")


def test_it_moves_the_socket_when_the_path_is_too_long(var_dir: Path) -> None:
    deep = var_dir / ("a" * 60) / ("b" * 60)
    with embedded.redis(deep) as service:
        moved_to = service.socket_dir
        assert not moved_to.is_relative_to(var_dir)
        assert stat.S_IMODE(moved_to.stat().st_mode) == 0o700
    assert not moved_to.exists()


def test_it_says_which_log_explains_a_failed_start(var_dir: Path) -> None:
    with (
        pytest.raises(embedded.ServiceError, match=r"redis ended while starting; see .*redis\.log"),
        embedded.redis(var_dir, {"appendfsync": "sometimes"}),
    ):
        pass


def test_it_stops_a_group_with_a_member_that_ignores_the_signal(var_dir: Path) -> None:
    process = processes.spawn(["sh", "-c", "trap '' TERM; sleep 60 & wait"], log=var_dir / "stubborn.log")
    processes.stop(process, signal.SIGTERM, grace=0.2)
    assert processes.wait_for(lambda: not processes.group_alive(process.pid), 5)
