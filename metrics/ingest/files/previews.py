"""What a file holds, told before anything is written.

`Preview.told()` is what the page shows, and what `FileImport.preview` keeps:

    format, label     which format it is, by name and in words
    brings            "tweets", "events" or "days" (of the account)
    handle            the @handle that the rows, or the file's name, are of; "" where neither tells
    is_of_other       true when that is another handle than the one it is imported into
    period            {"since", "until"}: RFC 3339, of the first and the last row; null where there are none
    rows              how many rows; an estimate when `is_estimate`, because only the beginning was read
    columns           [{"column", "to", "label", "part", "note"}]: each column, the type it counts as (null: none; the
                      note says why), and of which part
    header, first_rows  cells as text, at most 5 rows, cells cut at 200 characters
    problems          [{"line", "field", "reason", "detail"}]: the first 20
    problem_count     how many were found
    notes             sentences worth reading
    exported_at_from  "file" (its own time stamp), "upload" (when it came) or "earlier" (the same file was imported
                      before); `FileImport.exported_at` holds the instant itself
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from metrics.ingest.files.contents import Content
from metrics.ingest.files.formats import Format, Frame
from metrics.ingest.files.problems import FileError, Problem
from metrics.ingest.files.recognition import recognised
from metrics.ingest.files.text import open_text

BATCH_ROWS = 5_000
SECONDS = 8.0
SHOWN_ROWS, SHOWN_PROBLEMS, SHOWN_CHARACTERS = 5, 20, 200


@dataclass(slots=True)
class Preview:
    """What was found; `told` makes it JSON."""

    format: Format
    username: str
    rows: int = 0
    is_estimate: bool = False
    span: tuple[int, int] | None = None
    first_rows: list[list[str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    apart: dict[str, int] = field(default_factory=dict)

    @property
    def until(self) -> datetime | None:
        """The last instant of the file's period."""
        return instant(self.span[1]) if self.span else None

    def told(self) -> dict[str, Any]:
        """As it is shown and kept."""
        found = self.format
        header = getattr(found, "header", [])
        return {
            "format": found.name,
            "label": found.label,
            "brings": str(found.brings),
            "handle": found.handle,
            "is_of_other": bool(found.handle) and found.handle.lower() != self.username.lower(),
            "period": {"since": _told(self.span[0]), "until": _told(self.span[1])} if self.span else None,
            "rows": self.rows,
            "is_estimate": self.is_estimate,
            "columns": found.columns(),
            "header": [_cut(cell) for cell in header],
            "first_rows": self.first_rows,
            "problems": [problem._asdict() for problem in self.problems],
            "problem_count": self.problem_count,
            "notes": [*found.notes(), *apart_notes(self.apart)],
        }


def opened(content: Content, filename: str) -> tuple[Format, Iterator[tuple[int, Any]], Position]:
    """The file's format and its rows; raises FileError. The position tells how far it is read."""
    position = Position()
    head, lines = open_text(position.counted(content.chunks()))
    found = recognised(head, filename)
    return found, found.rows(lines), position


class Position:
    """How many bytes have been fetched so far."""

    def __init__(self) -> None:
        self.bytes = 0

    def counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks, counted."""
        for chunk in chunks:
            self.bytes += len(chunk)
            yield chunk


def batches(rows: Iterator[tuple[int, Any]]) -> Iterator[list[tuple[int, Any]]]:
    """Rows in batches of a constant size."""
    while some := list(islice(rows, BATCH_ROWS)):
        yield some


def examine(content: Content, filename: str, frame: Frame, seconds: float = SECONDS) -> Preview:
    """Read the file, or what can be read of it in so many seconds, and write nothing; raises FileError."""
    found, rows, position = opened(content, filename)
    preview = Preview(found, frame.username)
    ends_at = time.monotonic() + seconds
    for some in batches(rows):
        if not preview.rows:
            preview.first_rows = [[_cut(cell) for cell in found.shown(row)] for _, row in some[:SHOWN_ROWS]]
        _add(preview, found, some, frame)
        if time.monotonic() > ends_at and position.bytes < content.size:
            preview.rows = round(preview.rows * content.size / position.bytes)
            preview.is_estimate = True
            break
    if not preview.rows:
        raise FileError(f"This file ({found.label}) has a header and no rows. Export a period with Tweets in it.")
    return preview


def _add(preview: Preview, found: Format, rows: list[tuple[int, Any]], frame: Frame) -> None:
    batch = found.read(rows, frame)
    preview.rows += batch.rows
    preview.problem_count += len(batch.problems)
    preview.problems += sorted(batch.problems)[: SHOWN_PROBLEMS - len(preview.problems)]
    add_up(preview.apart, batch.apart)
    spans = [span for span in (preview.span, found.span(batch)) if span]
    if spans:
        preview.span = min(span[0] for span in spans), max(span[1] for span in spans)


def add_up(sums: dict[str, int], more: dict[str, int]) -> None:
    """Add the sums of columns that no type stands for."""
    for name, number in more.items():
        sums[name] = sums.get(name, 0) + number


def apart_notes(apart: dict[str, int]) -> list[str]:
    """What was read but counts nowhere, so that it is not lost without a word."""
    told = ", ".join(f"{name} {number:,}" for name, number in apart.items() if number)
    return [f"Not counted, because none of the 26 types stands for it: {told}."] if told else []


def instant(us: int) -> datetime:
    """Unix microseconds as an aware instant."""
    return datetime.fromtimestamp(us / 1e6, UTC)


def _told(us: int) -> str:
    return instant(us).isoformat(timespec="seconds")


def _cut(cell: str) -> str:
    return cell if len(cell) <= SHOWN_CHARACTERS else f"{cell[:SHOWN_CHARACTERS]}…"
