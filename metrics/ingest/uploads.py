"""Files on their way in: announced, sent in pieces, each piece stored where any machine's worker can read it.

The server says how much it has, and only the piece that begins there is new: a piece that comes twice changes nothing,
and an upload that was cut goes on where it was.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from metrics.ingest.files import engine
from metrics.models import FileImport, ImportPiece, ImportState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from accounts.models import Handle, User

MAX_BYTES = 1024**3
PIECE_BYTES = 4 * 1024**2
MAX_NAME = 255
_UNSEEN = {"Cc", "Cf", "Cs"}
# What was begun and then left alone gives its room back.
ABANDONED_AFTER = timedelta(days=3)
UNDECIDED = (ImportState.UPLOADING, ImportState.READY)


class UploadError(Exception):
    """Why an upload cannot go on, in a sentence for its sender; `received` is how much is there, where that helps."""

    def __init__(self, detail: str, status: HTTPStatus, received: int | None = None) -> None:
        super().__init__(detail)
        self.detail, self.status, self.received = detail, status, received


@dataclass(frozen=True, slots=True)
class Announced:
    """A file that somebody is about to send: its name, its bytes, and its own time stamp."""

    filename: str
    size: int
    modified_at: datetime | None


def announced(given: Mapping[str, str]) -> Announced:
    """What `name`, `size` and `modified` (ms since 1970) announce; raises UploadError, which names the field."""
    name = clean_name(given.get("name", ""))
    size = whole_number("size", given.get("size", ""))
    if size == 0:
        raise UploadError(f"“{name}” is empty: there is nothing to import.", HTTPStatus.UNPROCESSABLE_ENTITY)
    if size > MAX_BYTES:
        told = f"“{name}” is too large: {size / 1024**3:.1f} GB, and a file may have 1 GB."
        raise UploadError(f"{told} Export shorter periods, and import those.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    modified = given.get("modified", "")
    modified_at = None
    # Beyond these a browser's clock is wrong; the file has no time stamp then.
    if modified and 0 < (stamp := whole_number("modified", modified)) < 4_102_444_800_000:
        modified_at = datetime.fromtimestamp(stamp / 1000, UTC)
    return Announced(name, size, modified_at)


def clean_name(given: str) -> str:
    """A file's name without folders and without characters that cannot be seen, such as those that turn text round."""
    base = given.replace("\\", "/").rsplit("/", 1)[-1]
    visible = " ".join("".join(letter for letter in base if unicodedata.category(letter) not in _UNSEEN).split())
    if len(visible) > MAX_NAME:
        # What tells files apart is their beginning, what tells kinds apart their ending.
        ending = visible[-8:] if "." in visible[-8:] else ""
        visible = visible[: MAX_NAME - len(ending)] + ending
    return visible or "unnamed file"


def whole_number(field: str, given: str) -> int:
    """A parameter that is a number from 0 to 10^18; raises UploadError, which names it."""
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise UploadError(f"{field}: give a whole number, such as 1048576.", HTTPStatus.BAD_REQUEST)
    return int(given)


def begin(handle: Handle, user: User, file: Announced) -> FileImport:
    """The import that takes this file's pieces; the person's unfinished one of the same file, where there is one."""
    same = FileImport.objects.filter(
        handle=handle,
        created_by=user,
        state=ImportState.UPLOADING,
        filename=file.filename,
        size=file.size,
        modified_at=file.modified_at,
    )
    return same.first() or FileImport.objects.create(
        handle=handle, created_by=user, filename=file.filename, size=file.size, modified_at=file.modified_at
    )


def take(upload: FileImport, user: User, offset: int, data: bytes) -> FileImport:
    """Store a piece; returns the import as it is now, whole once its `state` is READING. Raises UploadError."""
    if upload.created_by_id != user.pk:
        whose = upload.created_by.email if upload.created_by else "somebody who has left"
        raise UploadError(f"“{upload.filename}” is being sent by {whose}; import your own copy.", HTTPStatus.FORBIDDEN)
    if offset + len(data) <= upload.received and data:
        return upload  # it came before, and the answer was lost
    _check_piece(upload, offset, data)
    with transaction.atomic():
        # Whoever moves `received` on owns the piece: of two that arrive at once, one is a repeat.
        moved = FileImport.objects.filter(pk=upload.pk, state=ImportState.UPLOADING, received=offset).update(
            received=F("received") + len(data)
        )
        if moved:
            ImportPiece.objects.create(file=upload, offset=offset, data=data)
        upload.refresh_from_db()
        if upload.received == upload.size:
            engine.finish_upload(upload)
    return upload


def _check_piece(upload: FileImport, offset: int, data: bytes) -> None:
    if upload.state != ImportState.UPLOADING:
        raise UploadError(
            f"“{upload.filename}” takes no more: it is {upload.get_state_display()}.",
            HTTPStatus.CONFLICT,
            upload.received,
        )
    if not data:
        raise UploadError("The piece is empty: send the bytes of the file as the body.", HTTPStatus.BAD_REQUEST)
    if offset + len(data) > upload.size:
        raise UploadError(
            f"“{upload.filename}” was announced with {upload.size:,} bytes and goes on after them: it was changed "
            "while it was sent. Choose it again.",
            HTTPStatus.UNPROCESSABLE_ENTITY,
        )
    if offset != upload.received:
        raise UploadError(f"Go on from byte {upload.received:,}.", HTTPStatus.CONFLICT, upload.received)


def drop_abandoned() -> None:
    """Cancel what nobody has finished sending, or decided on, for days."""
    for file in FileImport.objects.filter(state__in=UNDECIDED, created_at__lt=timezone.now() - ABANDONED_AFTER):
        engine.cancel(file)
