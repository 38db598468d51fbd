"""From lines to rows of cells, each with the number of its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Final

from metrics.ingest.files.problems import FileError
from metrics.ingest.files.text import cut_off, not_text

DELIMITERS: Final = (",", ";", "\t")
BROKEN: Final[list[str]] = []
"""Stands for a row whose quotation marks cannot be understood: compare by identity."""

Row = tuple[int, list[str]]
"""The line in which the row begins, counted from 1, and its cells."""


def csv_rows(lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    """The rows, the header first; empty lines are passed over. Raises FileError where no row can follow."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            raise not_text(error, reader.line_num) from error
        except csv.Error as error:
            _raise_if_final(error, line)
            cells = BROKEN
        if cells or cells is BROKEN:
            yield line, cells


def _raise_if_final(error: csv.Error, line: int) -> None:
    if "field larger than" in str(error):
        raise FileError(
            f"A cell of the row that begins in line {line:,} is longer than {csv.field_size_limit():,} characters: a "
            "quotation mark is opened there and never closed, or this is not an export. Export the file again."
        ) from error
    if "unexpected end of data" in str(error):
        raise cut_off(line) from error


def text_lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Each line that is not empty, with its number; raises FileError where the encoding breaks."""
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if not line.isspace():
                yield number, line
    except UnicodeDecodeError as error:
        raise not_text(error, number) from error


def sample(head: str, delimiter: str, rows: int = 20) -> list[list[str]]:
    """The first rows of a file that begins so, as far as they can be told apart."""
    found: list[list[str]] = []
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
    try:
        for cells in reader:
            if cells:
                found.append(cells)
            if len(found) > rows:
                break
    except csv.Error:
        return found
    return found
