"""Readers of the InsightsTrack stream for the fault tests, and what the database says that they must have seen."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from insightstrack_site import processes
from insightstrack_site.run import Plan, programs
from metrics.demo.follower import Address, Follower
from metrics.vocabulary.engagements import NAMES, TYPES
from tests.stack import Stack, eventually, free_port

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from types import TracebackType

UNDONE = {kind.name for kind in TYPES if kind.undoes}
Counts = dict[str, int]
END = b"\r\n0\r\n\r\n"  # of the last chunk, and the empty one after it


class Watcher:
    """A reader that opens the stream again whenever it breaks, in a thread of its own; a context manager."""

    def __init__(self, address: Address) -> None:
        self._stop = threading.Event()
        self.follower = Follower(address, self._stop)
        self.messages: list[tuple[float, dict[str, Any]]] = []
        """With when each came, in monotonic seconds."""
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Watcher:
        self._thread.start()
        eventually(lambda: self.follower.opened > 0, 20, "the stream opens")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(20)

    def _read(self) -> None:
        for message in self.follower.messages():
            self.messages.append((time.monotonic(), message))

    def summaries(self, tweet_id: int) -> list[tuple[float, dict[str, Any]]]:
        """The Tweet's summaries in order of arrival, and when each came."""
        told = [(at, message.get("summary_event")) for at, message in list(self.messages)]
        return [(at, event) for at, event in told if event and event["target"]["id_str"] == str(tweet_id)]

    def last(self, tweet_ids: Collection[int]) -> dict[int, Counts]:
        """The counts of each Tweet's newest summary; duplicates of older minutes are legal after a reconnect."""
        found: dict[int, tuple[str, Counts]] = {}
        for _, message in list(self.messages):
            event = message.get("summary_event")
            number = int(event["target"]["id_str"]) if event else 0
            if event and number in tweet_ids and event["end_time"] >= found.get(number, ("", {}))[0]:
                found[number] = event["end_time"], counts(event)
        return {number: counted for number, (_, counted) in found.items()}


def counts(event: dict[str, Any]) -> Counts:
    """The totals of all 26 types."""
    metrics = event["metrics"]
    by_type = {name: each["total"]["count"] for name, each in metrics["engagements"]["metric_counts"].items()}
    del by_type["detail_clicks"]
    return {"impressions": metrics["impressions"]["total"]["count"], **by_type}


def check_never_backwards(watcher: Watcher, tweet_id: int) -> None:
    """Neither `end_time` nor any count but those of undone actions."""
    events = [event for _, event in watcher.summaries(tweet_id)]
    assert [event["end_time"] for event in events] == sorted(event["end_time"] for event in events)
    for name in set(NAMES) - UNDONE:
        told = [counts(event)[name] for event in events]
        assert told == sorted(told), name


def in_database(stack: Stack, tweet_ids: Collection[int]) -> dict[int, Counts]:
    """The lifetime totals of all 26 types."""
    sums = ", ".join(f"sum({name})::bigint" for name in NAMES)
    with stack.database() as connection:
        rows = connection.execute(
            f"SELECT tweet_id, {sums} FROM metrics_tweetrollup WHERE grain = 4 AND tweet_id = ANY(%s) GROUP BY 1",
            [list(tweet_ids)],
        ).fetchall()
    return {int(str(row[0])): dict(zip(NAMES, map(int, map(str, row[1:])), strict=True)) for row in rows}


class Plain:
    """One connection and every byte that came over it; a context manager."""

    def __init__(self, port: int, address: Address) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        request = f"GET {address.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {address.token}\r\n\r\n"
        self._socket.sendall(request.encode())
        self._text = b""
        self.ended_at: float | None = None
        """When the answer or the connection ended, in monotonic seconds."""
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Plain:
        self._thread.start()
        eventually(lambda: b"\r\n\r\n" in self._text, 20, "the stream answers")
        assert self._text.startswith(b"HTTP/1.1 200 ")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)
        self._socket.close()

    def _read(self) -> None:
        with suppress(OSError):
            while data := self._socket.recv(65_536):
                self._text += data
                if self._text.endswith(END):
                    break
        self.ended_at = time.monotonic()

    def messages(self) -> list[dict[str, Any]]:
        """What came in whole lines so far. Raises ValueError for a body that is no chunked JSON lines."""
        return [json.loads(line) for line in self._chunks().split(b"\r\n")[:-1] if line]

    @property
    def ended_properly(self) -> bool:
        """Whether the chunked body came to its end."""
        return self.ended_at is not None and self._text.endswith(END)

    def _chunks(self) -> bytes:
        rest, body = self._text.partition(b"\r\n\r\n")[2], b""
        while match := re.match(rb"([0-9a-fA-F]+)\r\n", rest):
            size = int(match[1], 16)
            body += rest[match.end() : match.end() + size]
            rest = rest[match.end() + size + 2 :]
        if rest:
            raise ValueError(rest[:80])
        return body


class Site:
    """One more web process beside a stack's own."""

    def __init__(self, port: int, log: Path) -> None:
        self.port, self._log = port, log
        self.url = f"http://127.0.0.1:{port}"

    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()


@contextmanager
def site(stack: Stack, server: str, **settings: str) -> Iterator[Site]:
    """Another web process of the installation, under this server and with these settings."""
    folder, port = stack.var_dir / "sites", free_port()
    plan = Plan(folder, "127.0.0.1", port, server, demo=False, shards=2, database_url=None, redis_url=None)
    environment = {**stack.env, "PORT": str(port), **settings}
    web = next(program for program in programs(plan, environment) if program.name == "web")
    web.log = folder / f"{server}-{port}.log"
    web.spawn()
    assert web.process is not None
    try:
        eventually(lambda: _answers(port), 60, f"{server} answers")
        yield Site(port, web.log)
    finally:
        processes.stop(web.process, signal.SIGTERM, 5.0)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
