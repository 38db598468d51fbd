"""How an import stands, in words, and the message that tells it to the pages that are open.

A message carries the whole state of one import, never a step: one that is lost is mended by the next, or by a fetch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from redis.exceptions import RedisError

from metrics.models import FileImport, ImportState
from metrics.present import figures
from metrics.present.announce import group_name

if TYPE_CHECKING:
    from datetime import datetime

log = structlog.get_logger(__name__)

# Before this a rate says more about how the worker started than about the file.
RATE_AFTER_SECONDS = 0.5
ACTIVE = (ImportState.UPLOADING, ImportState.READING, ImportState.READY, ImportState.RUNNING)


def told(file: FileImport, now: datetime | None = None) -> dict[str, Any]:
    """One import as data: its state, `share` of the work done (None while nobody can know), and `words` that say it."""
    share, words = _standing(file, now or timezone.now())
    return {"id": file.pk, "state": file.state, "received": file.received, "share": share, "words": words}


def _standing(file: FileImport, now: datetime) -> tuple[float | None, str]:
    match file.state:
        case ImportState.UPLOADING:
            sent = f"{filesizeformat(file.received)} of {filesizeformat(file.size)}"
            return file.received / file.size, f"{sent} are here"
        case ImportState.READING:
            return None, "Looking at the file. Nothing is imported yet."
        case ImportState.RUNNING:
            return _running(file, now)
    return None, ""


def _running(file: FileImport, now: datetime) -> tuple[float | None, str]:
    share = min(file.read / file.rows, 1.0) if file.rows else None
    if file.is_cancel_asked:
        return share, "Stopping after the rows in hand …"
    if not file.read:
        return share if file.rows is None else 0.0, "Waiting for a worker …"
    if file.rows and file.read >= file.rows and not file.preview.get("is_estimate"):
        return 1.0, f"All {figures.count(file.read)} rows are read, and are being counted …"
    of_all = f" of {figures.count(file.rows)}" if file.rows else ""
    parts = [f"{figures.count(file.read)}{of_all} rows"]
    seconds = (now - (file.started_at or now)).total_seconds()
    if seconds > RATE_AFTER_SECONDS:
        rate = file.read / seconds
        parts.append(f"{figures.count(round(rate))} a second")
        if file.rows and file.rows > file.read:
            parts.append(f"{duration((file.rows - file.read) / rate)} left")
    return share, " · ".join(parts)


def duration(seconds: float) -> str:
    """A length of time as people say it: "8 s", "2 min 5 s", "1 h 12 min"."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def announce(file: FileImport) -> None:
    """Tell the open pages of the file's handle how it stands; without Redis they ask by themselves."""
    message = {"kind": "import", "handle": file.handle.username, "import": told(file)}
    layer: Any = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(
            group_name(file.handle_id), {"type": "frame", "text": msgspec.json.encode(message).decode()}
        )
    except (RedisError, OSError) as error:
        log.warning("import_not_announced", file_import=file.pk, error=str(error))
