"""Where a file's bytes lie: uploaded in pieces, or on this machine. Both are read in order, some megabytes a time."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from metrics.ingest.files.problems import FileError
from metrics.models import FileImport

CHUNK_BYTES = 1 << 20


class Content(Protocol):
    """A file's bytes."""

    size: int

    def chunks(self, since: int = 0) -> Iterator[bytes]:
        """The bytes from an offset on; raises FileError when they are not all there."""


class LocalContent:
    """A file of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    def chunks(self, since: int = 0) -> Iterator[bytes]:
        """The bytes from an offset on."""
        with self._path.open("rb") as file:
            file.seek(since)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


class UploadedContent:
    """The pieces of an upload, fetched one at a time, so that no connection holds more."""

    def __init__(self, file: FileImport) -> None:
        self._pieces = file.pieces.order_by("offset")
        self.size = file.size

    def chunks(self, since: int = 0) -> Iterator[bytes]:
        """The bytes from an offset on; raises FileError where a piece is missing."""
        at = since
        while at < self.size:
            found = self._pieces.filter(offset__lte=at).values_list("offset", "data").last()
            data = bytes(found[1])[at - found[0] :] if found else b""
            if not data:
                raise FileError("The upload is incomplete, or its bytes are gone by now. Upload the file again.")
            yield data
            at += len(data)


def fingerprint(content: Content) -> str:
    """Tells the same file again without reading all of it: its size, its first and its last megabyte."""
    digest = blake2b(str(content.size).encode(), digest_size=32)
    for since in (0, max(0, content.size - CHUNK_BYTES)):
        left = CHUNK_BYTES
        for chunk in content.chunks(since):
            digest.update(chunk[:left])
            left -= len(chunk[:left])
            if not left:
                break
    return digest.hexdigest()
