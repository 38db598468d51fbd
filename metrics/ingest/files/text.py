"""From bytes to lines of text, in constant memory; what is no text is told apart by its first bytes."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from metrics.ingest.files.problems import FileError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEAD_BYTES = 65_536
# No line of an export is nearly as long: without a bound, a file without line ends would fill the memory.
MAX_LINE_BYTES = 2_000_000

_SAVE_AS_UTF8 = "Save it as “CSV UTF-8” (in a text editor: encoding UTF-8) and import it again."
# Longest first: UTF-32's mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EXCEL = "This is an Excel workbook (or another ZIP file), not CSV. Save the sheet as “CSV UTF-8” and import that."
_MAGIC = (
    (b"PK\x03\x04", _EXCEL),
    (b"PK\x05\x06", _EXCEL),
    (b"\xd0\xcf\x11\xe0", "This is an old Excel workbook, not CSV. Save the sheet as “CSV UTF-8” and import that."),
    (b"\x1f\x8b", "This file is compressed (gzip). Unpack it and import what is in it."),
    (b"%PDF", "This is a PDF, not CSV. Export the figures as CSV and import that."),
)


def open_text(chunks: Iterator[bytes]) -> tuple[str, io.TextIOWrapper]:
    """The file's first tens of kilobytes as text, and all of its lines with their ends as they are.

    Raises FileError when it is no text. Reading the lines raises UnicodeDecodeError where they are not what they
    seemed, and FileError where a line does not end.
    """
    head, chunks = _head(chunks)
    encoding = encoding_of(head)
    raw = io.BufferedReader(_Chunks(_ending_lines(chunks)), 1 << 18)
    return codecs.decode(head, encoding, "ignore"), io.TextIOWrapper(raw, encoding=encoding, newline="")


def _head(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    taken: list[bytes] = []
    size = 0
    for chunk in chunks:
        taken.append(chunk)
        size += len(chunk)
        if size >= HEAD_BYTES:
            break
    return b"".join(taken)[:HEAD_BYTES], chain(taken, chunks)


def encoding_of(head: bytes) -> str:
    """The encoding of a file that begins so; raises FileError when it is no text that can be read."""
    if not head.strip(b"\x00 \t\r\n"):
        raise FileError("The file is empty. Export it again.")
    for magic, sentence in _MAGIC:
        if head.startswith(magic):
            raise FileError(sentence)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if head.count(0) > len(head) // 4 and (not any(head[1:200:2]) or not any(head[0:200:2])):
        raise FileError(f"This file is encoded as UTF-16 and does not say so. {_SAVE_AS_UTF8}")
    if b"\x00" in head:
        raise FileError("This is a binary file, not text. Import a CSV or NDJSON file.")
    return "utf-8"


def not_text(error: UnicodeDecodeError, line: int) -> FileError:
    """What to tell when the lines turn out not to be in the file's encoding, somewhere after `line`."""
    if error.reason in {"unexpected end of data", "truncated data"}:
        return cut_off(line)
    name = "UTF-8" if error.encoding == "utf-8" else error.encoding.upper()
    return FileError(
        f"This file is not in {name}: near line {line + 1:,} it has bytes of another encoding. {_SAVE_AS_UTF8}"
    )


def cut_off(line: int) -> FileError:
    """What to tell when the file ends in the middle of the row that begins in this line."""
    return FileError(
        f"The file ends in the middle of the row that begins in line {line:,}: it was cut off there, or a quotation "
        "mark was never closed. Export it again and import it whole."
    )


def _ending_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks, as long as lines come to an end."""
    open_bytes = 0
    for chunk in chunks:
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
        open_bytes = open_bytes + len(chunk) if end < 0 else len(chunk) - end
        if open_bytes > MAX_LINE_BYTES:
            raise FileError(
                f"The file has a line of more than {MAX_LINE_BYTES // 1_000_000} MB, which no export has. "
                "Is it the right file?"
            )
        yield chunk


class _Chunks(io.RawIOBase):
    """An iterator of bytes as a raw stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        into = memoryview(buffer)
        size = min(len(into), len(self._rest))
        into[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
