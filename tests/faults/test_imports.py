"""An import under real workers: the one at it is killed, PostgreSQL and Redis go away; all of it counts, and once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.ingest.files.writing import many_posts, tweet_activity
from tests.stack import postgres_away, redis_away

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack import Stack

ROWS = 30_000
_UPLOAD = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from accounts.models import Handle
from metrics.ingest.files import engine
from metrics.models import FileImport, ImportPiece
username, path = json.loads(sys.stdin.read())
data = Path(path).read_bytes()
file = FileImport.objects.create(
    handle=Handle.objects.get(username=username), filename="export.csv", size=len(data), received=len(data)
)
for at in range(0, len(data), 4_000_000):
    ImportPiece.objects.create(file=file, offset=at, data=data[at : at + 4_000_000])
engine.finish_upload(file)
print(file.pk)
"""
_START = """
import sys
from metrics.ingest.files import engine
from metrics.models import FileImport
engine.start(FileImport.objects.get(pk=int(sys.stdin.read())))
"""


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes a worker some seconds."""
    path: Path = tmp_path_factory.mktemp("files") / "export.csv"
    path.write_bytes(b"".join(tweet_activity(many_posts(ROWS))))
    return path


class Import:
    """An import of the running installation, looked at from outside."""

    def __init__(self, stack: Stack, username: str, path: Path) -> None:
        self._stack = stack
        self.handle = stack.add_handle(username)
        told = stack.manage("shell", "--no-imports", "--command", _UPLOAD, stdin=json.dumps([username, str(path)]))
        self.pk = int(told)
        stack.eventually(lambda: self.state == "ready", 90, "the preview is made")

    def start(self) -> None:
        self._stack.manage("shell", "--no-imports", "--command", _START, stdin=str(self.pk))

    def wait_until_under_way(self) -> None:
        self._stack.eventually(lambda: 0 < self.read < ROWS, 90, "rows are read")

    def wait_until_done(self) -> None:
        self._stack.eventually(lambda: self.state == "done", 240, "the import is done")

    @property
    def state(self) -> str:
        return str(self._field("state"))

    @property
    def read(self) -> int:
        return int(str(self._field("read")))

    def check(self) -> None:
        """Each row was imported or, told again by the worker that went on, unchanged; all of it counts, and once."""
        assert self._field("imported + unchanged") == ROWS
        assert self._field("refused") == 0
        self._stack.eventually(lambda: self._impressions() == self._expected(), 120, "all is counted")

    def _expected(self) -> int:
        return sum(post.organic["impressions"] + post.promoted.get("impressions", 0) for post in many_posts(ROWS))

    def _impressions(self) -> int:
        with self._stack.database() as connection:
            rows = connection.execute(
                "SELECT coalesce(sum(impressions), 0)::bigint FROM metrics_tweetrollup"
                " WHERE grain = 4 AND handle_id = %s",
                [self.handle],
            ).fetchall()
        return int(str(rows[0][0]))

    def _field(self, what: str) -> object:
        with self._stack.database() as connection:
            row = connection.execute(f"SELECT {what} FROM metrics_fileimport WHERE id = %s", [self.pk]).fetchone()
        assert row is not None
        return row[0]


def test_another_worker_goes_on_when_one_is_killed(live_stack: Stack, export: Path) -> None:
    live_stack.wait_until_ready()
    file = Import(live_stack, "filed", export)
    file.start()
    file.wait_until_under_way()
    before = file.read
    live_stack.kill("imports")
    file.wait_until_done()
    assert before > 0
    file.check()


def test_it_goes_on_when_redis_and_postgresql_were_away(live_stack: Stack, export: Path) -> None:
    live_stack.wait_until_ready()
    file = Import(live_stack, "filedtwice", export)
    file.start()
    file.wait_until_under_way()
    with redis_away(live_stack):
        pass
    live_stack.wait_until_ready()
    with postgres_away(live_stack):
        pass
    live_stack.wait_until_ready()
    file.wait_until_done()
    file.check()
