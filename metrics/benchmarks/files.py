"""How many Tweet rows a second an installation's worker takes out of an uploaded file, and how many it counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from metrics.benchmarks.guests import STALLED_AFTER, Guest, Guests, totals
from metrics.benchmarks.installation import BenchmarkError, Installation
from metrics.benchmarks.measures import Meters
from metrics.ingest.files import engine
from metrics.ingest.files.columns import PROMOTED_TAIL, TAIL, TWEET_FACTS
from metrics.models import FileImport, ImportPiece, ImportState
from metrics.vocabulary.engagements import CODE, N_TYPES, ORGANIC, Counts
from metrics.vocabulary.events import snowflake_at
from metrics.vocabulary.periods import Grain

ROWS_PER_SECOND = 20_000  # of the length asked for
ROWS_A_PIECE = 10_000
_BORN = datetime(2016, 1, 1, tzinfo=UTC)
_NOT_PROMOTED = ',"-"' * len(PROMOTED_TAIL)
_NUMBERS = [column for column in TAIL if column.type]


def files(installation: Installation, seconds: float, meters: Meters) -> dict[str, Any]:
    """Rows a second of a Tweet activity file, uploaded in pieces and imported by the installation's own worker."""
    rows = round(seconds * ROWS_PER_SECOND)
    with Guests(handles=1, tweets=0) as guests:
        guest = replace(guests.guests[0], tweets=tuple(map(_tweet_id, range(rows))))
        file = _upload(guest, rows)
        _wait(file, ImportState.READY, meters)
        before = installation.cpu_seconds().get("imports", 0.0)
        engine.start(file)
        _wait(file, ImportState.DONE, meters)
        used = installation.cpu_seconds().get("imports", 0.0) - before
        exact = file.imported == rows and np.array_equal(totals(guest, Grain.LIFETIME), _expected(rows))
    took = _seconds(file)
    return {
        "rows_per_second": round(rows / (took - file.report["waited"] - file.report["counting"]), 1),
        "counted_per_second": round(rows / took, 1),
        "exact": exact,
        "rows": rows,
        "bytes": file.size,
        "seconds": round(took, 2),
        "waited_seconds": file.report["waited"],
        "cores_of_the_worker": round(used / took, 2),
    }


def _seconds(file: FileImport) -> float:
    if file.started_at is None or file.ended_at is None:
        raise BenchmarkError(f"The import did not end: {file.error or file.state}.")
    return (file.ended_at - file.started_at).total_seconds()


def _upload(guest: Guest, rows: int) -> FileImport:
    """The file as the Import page leaves it."""
    file = FileImport.objects.create(handle=guest.handle, filename="tweet_activity.csv", size=0)
    for data in _pieces(guest.handle.username, rows):
        ImportPiece.objects.create(file=file, offset=file.size, data=data)
        file.size += len(data)
    file.received = file.size
    file.save(update_fields=["size", "received"])
    engine.finish_upload(file)
    return file


def _pieces(username: str, rows: int) -> Iterator[bytes]:
    header = ",".join(f'"{column.name}"' for column in (*TWEET_FACTS, *TAIL, *PROMOTED_TAIL)) + "\n"
    for since in range(0, rows, ROWS_A_PIECE):
        lines = [_row(username, place) for place in range(since, min(since + ROWS_A_PIECE, rows))]
        yield ((header if since == 0 else "") + "".join(lines)).encode()


def _row(username: str, place: int) -> str:
    tweet_id = _tweet_id(place)
    link = f"https://twitter.com/{username}/status/{tweet_id}"
    text = f'Tweet {place} of a large file &amp; more,\nin two lines, with ""quotes"" and #number{place % 10}'
    numbers = '","'.join(f"{_number(place, column.code)}.0" if column.type else "0.0" for column in TAIL)
    born = f"{_BORN + timedelta(minutes=place):%Y-%m-%d %H:%M} +0000"
    return f'"{tweet_id}","{link}","{text}","{born}","{numbers}"{_NOT_PROMOTED}\n'


def _tweet_id(place: int) -> int:
    return snowflake_at(_BORN + timedelta(minutes=place), place % 4096)


def _number(place: int, code: int) -> int:
    return (place * 7 + code * 13) % 997


def _expected(rows: int) -> Counts:
    """int64[rows, 2, 26]."""
    counts = np.zeros((rows, 2, N_TYPES), dtype=np.int64)
    for column in _NUMBERS:
        counts[:, ORGANIC, CODE[column.type]] = (np.arange(rows) * 7 + column.code * 13) % 997
    return counts


def _wait(file: FileImport, state: ImportState, meters: Meters) -> None:
    """Until the file has come to this state; raises BenchmarkError when it ends otherwise or nothing moves."""
    label = "Preview" if state is ImportState.READY else "Importing"
    read, moved_at = -1, time.monotonic()
    with meters(label, "rows", float(file.rows or 1)) as meter:
        while time.monotonic() - moved_at < STALLED_AFTER:
            file.refresh_from_db()
            if file.state == state:
                return
            if file.state in {ImportState.FAILED, ImportState.CANCELLED}:
                raise BenchmarkError(f"The import ended: {file.error or file.state}")
            moved_at = time.monotonic() if file.read != read else moved_at
            read = file.read
            meter.show(min(read, file.rows or 1), read)
            time.sleep(0.1)
    raise BenchmarkError("The import stands still. Does the installation run a worker of the queue “imports”?")
