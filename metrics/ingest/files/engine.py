"""Imports, from the last byte of an upload to the report. The page calls `finish_upload`, `start` and `cancel`.

    UPLOADING --finish_upload--> READING --(worker: preview)--> READY --start--> RUNNING --(worker)--> DONE
    and from any of them: cancel --> CANCELLED, or a FileError --> FAILED, whose sentence is in `FileImport.error`

A worker claims a file by a conditional UPDATE and says every second that it lives; beat asks again for files that
nobody has been seen at. One that takes over goes on after the last row that was written down; rows that it stores once
more change nothing. `FileImport.report` then holds:

    reasons   reason → how many rows were refused for it; the first PROBLEMS_KEPT rows are `ImportProblem`s
    apart     column that none of the 26 types stands for → its sum
    notes     sentences worth reading
    waited    seconds for which it stood still because the writer had enough to count
    counting  seconds after the last row until the last of it was counted
    is_waiting  true when the last of it is stored and not yet counted, because no writer runs
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from accounts.models import Platform
from metrics import stream
from metrics.ingest import sources
from metrics.ingest.files import previews
from metrics.ingest.files.batches import Batch
from metrics.ingest.files.cells import micros
from metrics.ingest.files.contents import Content, UploadedContent, fingerprint
from metrics.ingest.files.formats import Brings, Format, Frame
from metrics.ingest.files.problems import FileError, Problem
from metrics.ingest.files.storing import Storage, Stored
from metrics.models import FileImport, ImportProblem, ImportState, SourceState, StreamCursor

log = structlog.get_logger(__name__)

TASK = "metrics.tasks.import_file"
PROBLEMS_KEPT = 1_000
TELL_SECONDS = 1.0
# A worker that was not seen for so long is gone, and another may take its file.
GONE = timedelta(seconds=15)
# What is asked of the workers is asked again after this.
ASK_AGAIN = timedelta(seconds=20)
# A file at which so many workers ended in a row, without a step between them, is given up.
ATTEMPTS = 4
# Records ahead of the writer: enough to keep it busy, few enough that live events wait for a few seconds at most.
AHEAD = 20_000
COUNTED_PATIENCE_S = 15.0

Progress = Callable[[FileImport], None]
"""Called about once a second and at each change of state, with the row as it was just saved."""
_WORKED_AT = (ImportState.READING, ImportState.RUNNING)
_COUNTS = ("rows", "read", "imported", "unchanged", "refused", "report")
_SAVED = (*_COUNTS, "state", "error", "format", "preview", "exported_at", "ended_at", "fingerprint")


class TakenOverError(Exception):
    """Another worker has this file now, or the file is gone: stop without a word."""


class CancelledError(Exception):
    """Somebody asked for the file's import to end."""


class StoppedError(Exception):
    """This worker is to stop: another goes on."""


# --- what the page calls ------------------------------------------------------------------------------------


def finish_upload(file: FileImport) -> None:
    """All bytes are here: a worker reads them and makes the preview."""
    _hand_over(file, ImportState.UPLOADING, ImportState.READING)


def start(file: FileImport, exported_at: datetime | None = None, is_asked: bool = True) -> None:
    """Import what the preview showed, its counts as of `exported_at`; nothing unless it is READY.

    `is_asked=False` when the caller does the work itself. Raises ValueError (`exported_at: …`) for an instant in the
    future.
    """
    if exported_at is not None:
        if exported_at > timezone.now() + timedelta(minutes=5):
            raise ValueError("exported_at: lies in the future. Counts can only be as of now or earlier.")
        file.exported_at = exported_at
    changes = {"exported_at": file.exported_at, "started_at": timezone.now()}
    _hand_over(file, ImportState.READY, ImportState.RUNNING, is_asked, **changes)


def cancel(file: FileImport) -> None:
    """End the import; what was stored stays. A worker that is at it stops after its batch."""
    resting = [ImportState.UPLOADING, ImportState.READY]
    waiting = Q(state__in=resting) | Q(state__in=_WORKED_AT, seen_at=None)
    cancelled = FileImport.objects.filter(waiting, pk=file.pk).update(
        state=ImportState.CANCELLED, ended_at=timezone.now(), is_cancel_asked=True
    )
    if cancelled:
        file.pieces.all().delete()
    else:
        FileImport.objects.filter(pk=file.pk, state__in=_WORKED_AT).update(is_cancel_asked=True)
    file.refresh_from_db()


def _hand_over(
    file: FileImport, before: ImportState, after: ImportState, is_asked: bool = True, **more: datetime | None
) -> None:
    changes = {"state": after, "seen_at": None, "attempts": 0, "asked_at": timezone.now(), **more}
    if FileImport.objects.filter(pk=file.pk, state=before).update(**changes) and is_asked:
        transaction.on_commit(lambda: ask(file.pk))
    file.refresh_from_db()


def ask(file_id: int) -> None:
    """Ask the workers for a file; while Redis is away, beat asks again later."""
    try:
        current_app.send_task(TASK, args=[file_id], expires=ASK_AGAIN.total_seconds(), retry=False)
    except BrokerError as error:
        log.warning("import_not_asked", file=file_id, error=str(error))


def ask_for_waiting() -> None:
    """Ask for the files that nobody is at, because none had time, or the one at it is gone."""
    now = timezone.now()
    nobody = Q(seen_at=None) | Q(seen_at__lt=now - GONE)
    unasked = Q(asked_at=None) | Q(asked_at__lt=now - ASK_AGAIN)
    waiting = FileImport.objects.filter(nobody, unasked, state__in=_WORKED_AT)
    for file_id in waiting.values_list("pk", flat=True):
        if FileImport.objects.filter(unasked, pk=file_id).update(asked_at=now):
            ask(file_id)


# --- what a worker does -------------------------------------------------------------------------------------


def work(
    file_id: int,
    progress: Progress,
    content: Content | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> FileImport | None:
    """Do what the file's state asks for, to its end; None when there is nothing to do, or another is at it.

    Raises DatabaseError or RedisError when one of them is away: the file waits for the next worker then.
    """
    file = _claimed(file_id)
    if file is None:
        return None
    job = Job(file, progress, content or UploadedContent(file), is_stopping)
    try:
        job.run()
    except TakenOverError:
        return None
    except StoppedError:
        job.let_go()
        return None
    except CancelledError:
        job.end(ImportState.CANCELLED)
    except FileError as error:
        job.end(ImportState.FAILED, str(error))
    return file


def _claimed(file_id: int) -> FileImport | None:
    now, token = timezone.now(), secrets.token_hex(16)
    nobody = Q(seen_at=None) | Q(seen_at__lt=now - GONE)
    claimed = FileImport.objects.filter(nobody, pk=file_id, state__in=_WORKED_AT).update(
        runner=token, seen_at=now, attempts=F("attempts") + 1
    )
    return FileImport.objects.select_related("handle").get(pk=file_id) if claimed else None


class Job:
    """One worker's work at one file."""

    def __init__(self, file: FileImport, progress: Progress, content: Content, is_stopping: Callable[[], bool]) -> None:
        self.file, self._progress, self._content, self._is_stopping = file, progress, content, is_stopping
        self._told_at = 0.0
        self._entry = ""
        self._runner = file.runner

    def run(self) -> None:
        """Make the preview, or import; raises FileError, CancelledError or TakenOverError."""
        if self.file.attempts > ATTEMPTS:
            raise FileError(f"InsightsTrack stopped at this file {ATTEMPTS} times: see the server's log.")
        self._save()
        self._tell(at_once=True)
        if self.file.state == ImportState.READING:
            self._read()
        else:
            self._import()

    # --- the preview ---

    def _read(self) -> None:
        file = self.file
        found = previews.examine(self._content, file.filename, self._frame(timezone.now()))
        if found.format.source == "x" and file.handle.platform != Platform.X:
            raise FileError(f"This is an export of X, and {file.handle} is not on X. Import it into a handle of X.")
        file.fingerprint = fingerprint(self._content)
        file.exported_at, known_from = export_time(file, found)
        file.preview = {**found.told(), "exported_at_from": known_from}
        file.format, file.rows = found.format.name, found.rows
        self._save()
        self.end(ImportState.READY)

    def _frame(self, exported_at: datetime) -> Frame:
        handle = self.file.handle
        return Frame(micros(exported_at), time.time_ns() // 1000, handle.pk, handle.username)

    # --- the import ---

    def _import(self) -> None:
        file = self.file
        exported_at = file.exported_at or timezone.now()
        found, rows, _ = previews.opened(self._content, file.filename)
        storage = Storage(file.handle, found, exported_at)
        frame = self._frame(exported_at)
        done, seen = file.read, 0
        for some in previews.batches(rows):
            batch = found.read(some, frame)
            seen += batch.rows
            # What an earlier worker has written down is read once more, but not stored.
            if seen > done:
                self._wait_for_writers()
                self._take(batch, storage.store(batch))
        self._wait_until_counted()
        file.rows = file.read
        file.report = {**file.report, "notes": [*found.notes(), *previews.apart_notes(file.report.get("apart", {}))]}
        self._note_at(storage, found)
        self.end(ImportState.DONE)

    def _take(self, batch: Batch, stored: Stored) -> None:
        """Write down what became of a batch, in one transaction."""
        file = self.file
        file.read += batch.rows
        file.imported += stored.imported
        file.unchanged += stored.unchanged
        file.refused += len(stored.problems)
        file.rows = max(file.rows or 0, file.read)
        self._entry = stored.entry or self._entry
        report = {"reasons": {}, "apart": {}, **file.report}
        kept = sum(report["reasons"].values())
        for problem in stored.problems:
            previews.add_up(report["reasons"], {problem.reason: 1})
        previews.add_up(report["apart"], batch.apart)
        file.report = report
        with transaction.atomic():
            self._save(attempts=0)
            _keep(file, sorted(stored.problems)[: max(0, PROBLEMS_KEPT - kept)])
        self._tell()

    def _wait_for_writers(self) -> None:
        shard, limit = stream.shard_of(self.file.handle_id), int(settings.BACKLOG_LIMIT)
        began = time.monotonic()
        while (waiting := stream.backlog(shard)) > min(AHEAD, limit):
            # Where nobody counts, nobody watches either: it may pile up as far as for anyone.
            if waiting <= limit and not stream.lease(shard).locked():
                return
            time.sleep(0.02)
            self._live_on()
        waited = self.file.report.get("waited", 0.0) + time.monotonic() - began
        self.file.report = {**self.file.report, "waited": round(waited, 3)}

    def _wait_until_counted(self) -> None:
        """Until the writer has counted our last entry; not for a writer that is not there."""
        began = time.monotonic()
        self._look_at_the_writer()
        self.file.report = {**self.file.report, "counting": round(time.monotonic() - began, 3)}

    def _look_at_the_writer(self) -> None:
        if not self._entry:
            return
        shard = stream.shard_of(self.file.handle_id)
        last, moved_at, before = stream.position(self._entry), time.monotonic(), (0, 0)
        while (at := _position(shard)) < last:
            now = time.monotonic()
            moved_at = now if at != before else moved_at
            before = at
            if now - moved_at > COUNTED_PATIENCE_S or not stream.lease(shard).locked():
                self.file.report["is_waiting"] = True
                return
            time.sleep(0.05)
            self._live_on()

    def _note_at(self, storage: Storage, found: Format) -> None:
        file = self.file
        text = (
            f"{file.filename}: {file.imported:,} rows imported, {file.unchanged:,} unchanged, {file.refused:,} refused."
        )
        sources.note(storage.source, text, is_trouble=not (file.imported or file.unchanged))
        if found.brings is not Brings.DAYS:
            sources.enter(storage.source, SourceState.LIVE)

    # --- what others see ---

    def end(self, state: ImportState, error: str = "") -> None:
        """The file has come to this state; a finished one lets go of its bytes."""
        file = self.file
        file.state, file.error = state, error
        if state is not ImportState.READY:
            file.ended_at = timezone.now()
        try:
            self._save(seen_at=None, runner="")
        except TakenOverError:
            return
        if state is not ImportState.READY:
            file.pieces.all().delete()
        self._tell(at_once=True)

    def _live_on(self) -> None:
        if time.monotonic() - self._told_at > TELL_SECONDS:
            self._save()
            self._tell()

    def _save(self, **more: object) -> None:
        """Write the file down unless it is another worker's by now.

        Raises TakenOverError, CancelledError or StoppedError; of a batch's transaction nothing is written then, and
        the batch is stored again.
        """
        file = self.file
        changes = {name: getattr(file, name) for name in _SAVED} | {"seen_at": timezone.now()} | more
        mine = FileImport.objects.filter(pk=file.pk, runner=self._runner)
        if not mine.update(**changes):
            raise TakenOverError
        asked = FileImport.objects.filter(pk=file.pk).values_list("is_cancel_asked", flat=True).first()
        if asked and file.state in _WORKED_AT:
            raise CancelledError
        if self._is_stopping() and file.state in _WORKED_AT:
            raise StoppedError

    def let_go(self) -> None:
        """Leave the file to the next worker, which beat asks."""
        mine = FileImport.objects.filter(pk=self.file.pk, runner=self._runner)
        mine.update(seen_at=None, asked_at=None, attempts=0)

    def _tell(self, at_once: bool = False) -> None:
        """The one place from which progress is announced."""
        now = time.monotonic()
        if at_once or now - self._told_at > TELL_SECONDS:
            self._told_at = now
            self._progress(self.file)


def export_time(file: FileImport, found: previews.Preview) -> tuple[datetime, str]:
    """As of when the file's counts are, and how that is known ("earlier", "file" or "upload")."""
    same = FileImport.objects.filter(handle=file.handle, fingerprint=file.fingerprint, state=ImportState.DONE)
    earlier = same.exclude(pk=file.pk).exclude(exported_at=None).values_list("exported_at", flat=True).first()
    if earlier is not None:
        return earlier, "earlier"
    stamp = file.modified_at
    if stamp is not None and stamp <= timezone.now() and (found.until is None or found.until <= stamp):
        return stamp, "file"
    return file.created_at, "upload"


def _keep(file: FileImport, problems: list[Problem]) -> None:
    ImportProblem.objects.bulk_create(
        ImportProblem(
            file=file,
            line=problem.line,
            field=problem.field[:60].replace("\x00", "�"),
            reason=problem.reason,
            detail=problem.detail[:500].replace("\x00", "�"),
        )
        for problem in problems
    )


def _position(shard: int) -> tuple[int, int]:
    entry = StreamCursor.objects.filter(shard=shard).values_list("last_entry", flat=True).first()
    return stream.position(entry or "0-0")
