"""What every format offers, and which columns of a table it finds where."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from metrics.ingest.files.batches import Batch
from metrics.ingest.files.columns import Column, places_by_name
from metrics.ingest.files.problems import RowError, RowReason
from metrics.ingest.files.tables import BROKEN, csv_rows

_NAMED_BY_X = re.compile(r"^(?:daily_)?tweet_activity_metrics_(\w+?)_\d{8}_\d{8}")


class Brings(StrEnum):
    """What a format's rows become."""

    TWEETS = "tweets"
    EVENTS = "events"
    DAYS = "days"


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known beside the file: as of when its counts are, what time it is now (Unix µs), and the handle."""

    exported_us: int
    now_us: int
    handle_id: int
    username: str


@dataclass(frozen=True, slots=True)
class Glimpse:
    """The beginning of a file: its name, its delimiter, and its first rows, of which the header is one."""

    filename: str
    delimiter: str
    header: list[str]
    rows: list[list[str]]


class Format(ABC):
    """One format; an instance reads one file once, and keeps what is to be told of it as a whole."""

    name: ClassVar[str]
    label: ClassVar[str]
    brings: ClassVar[Brings]
    # The source as which its counts are known: an export of the platform, or one of ours.
    source: ClassVar[str] = "x"
    # Ours may be of this very installation: what it says is known here is not said again (see `storing`).
    is_own: ClassVar[bool] = False

    handle: str = ""
    """The handle that the rows, or else the file's name, are of; "" where neither tells."""

    @abstractmethod
    def rows(self, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
        """The rows after the header, each with its line; raises FileError where no row can follow."""

    @abstractmethod
    def read(self, rows: Sequence[tuple[int, Any]], frame: Frame) -> Batch:
        """What these rows bring."""

    @abstractmethod
    def span(self, batch: Batch) -> tuple[int, int] | None:
        """First and last instant (Unix µs) that the batch is of, by which the file's period is told."""

    @abstractmethod
    def columns(self) -> list[dict[str, Any]]:
        """What each column counts as, for the preview: column, to, label, part, note."""

    def shown(self, row: Any) -> list[str]:
        """A row as the preview shows it."""
        return [str(cell) for cell in row]

    def notes(self) -> list[str]:
        """What is worth telling of the file as a whole, in sentences."""
        return []


class Table(Format):
    """A format of rows and columns."""

    def __init__(self, glimpse: Glimpse) -> None:
        self.header = glimpse.header
        named = _NAMED_BY_X.match(glimpse.filename)
        self.handle = named[1] if named else ""
        self._delimiter = glimpse.delimiter

    def rows(self, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
        """The rows after the header."""
        rows = csv_rows(lines, self._delimiter)
        next(rows, None)
        return rows

    def fitted(self, cells: list[str]) -> list[str]:
        """The row's cells, as many as the header has; raises RowError."""
        width = len(self.header)
        if len(cells) == width:
            return cells
        if cells is BROKEN:
            detail = "A quotation mark inside a cell is not doubled, so the row's columns cannot be told apart."
            raise RowError("", RowReason.BROKEN_QUOTES, detail)
        if len(cells) > width and not any(cells[width:]):
            return cells[:width]
        detail = (
            f"The row has {len(cells)} cells, the header {width}: it was cut off or changed. Export the file again."
        )
        raise RowError("", RowReason.WRONG_COLUMNS, detail)


def layout(
    glimpse: Glimpse, variants: Sequence[tuple[Column, ...]], essential: Sequence[str], fits: bool
) -> dict[int, Column] | None:
    """Which place of the header holds which column; None when the file is of another format.

    By order when the number of columns is that of a variant and no known name contradicts it: names are translated,
    the order is not. `fits` says whether the first rows look right, which decides where all names are foreign.
    """
    named = places_by_name(glimpse.header, [column for variant in variants for column in variant])
    is_known = {*essential} <= {column.name for column in named.values()}
    if is_known or fits:
        for columns in variants:
            in_order = all(columns[place] is column for place, column in named.items() if place < len(columns))
            if len(columns) == len(glimpse.header) and in_order:
                return dict(enumerate(columns))
    return named if is_known else None
