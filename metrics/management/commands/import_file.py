"""`manage.py import_file PATH… --handle NAME`: files of this machine into a handle, as the Import page does it."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.models import Handle
from metrics.demo.progress import Meter
from metrics.ingest.files import engine
from metrics.ingest.files.contents import LocalContent
from metrics.models import FileImport, ImportState


class Command(BaseCommand):
    """Progress goes to stderr, the report to stdout; exit status 1 when a file could not be used."""

    help = "Import exported files (X's CSV, our own CSV, NDJSON of events) into a handle."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which files, into which handle, as of when."""
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--handle", required=True, help="the handle's username")
        parser.add_argument("--exported-at", type=_instant, help="as of when the counts are, e.g. 2026-03-01T09:30:00Z")
        parser.add_argument("--preview", action="store_true", help="only say what is in the files, and write nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        """One file after the other; one that cannot be used does not keep the others back."""
        name = options["handle"].removeprefix("@")
        handle = Handle.objects.filter(username__iexact=name).first()
        if handle is None:
            raise CommandError(f"--handle: there is no @{name}.")
        failed = 0
        for path in options["paths"]:
            try:
                file = self._import(path, handle, options["exported_at"], options["preview"])
            except OSError as error:
                raise CommandError(f"{path}: {error.strerror}.") from error
            except ValueError as error:
                raise CommandError(f"--{error}".replace("_", "-", 1)) from error
            failed += file.state == ImportState.FAILED
        if failed:
            raise CommandError(f"{failed} of {len(options['paths'])} files could not be imported.")

    def _import(self, path: Path, handle: Handle, exported_at: datetime | None, is_preview: bool) -> FileImport:
        content = LocalContent(path)
        file = FileImport.objects.create(
            handle=handle,
            filename=path.name[-255:],
            size=content.size,
            received=content.size,
            modified_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            state=ImportState.READING,
            asked_at=timezone.now(),
        )
        try:
            engine.work(file.pk, lambda _file: None, content)
            file.refresh_from_db()
            if is_preview:
                self.stdout.write(json.dumps(_preview(file), indent=2, ensure_ascii=False))
            elif file.state == ImportState.READY:
                file = self._run(file, content, exported_at)
                self.stdout.write(_report(file))
            else:
                self.stdout.write(f"{file.filename}: {file.error}")
        finally:
            self._leave(file, is_preview)
        return file

    def _run(self, file: FileImport, content: LocalContent, exported_at: datetime | None) -> FileImport:
        engine.start(file, exported_at, is_asked=False)
        with ExitStack() as stack:
            meter = stack.enter_context(Meter(self.stderr, file.filename, "rows", float(file.rows or 1)))
            engine.work(file.pk, lambda now: meter.show(min(now.read, now.rows or 1), now.read), content)
        file.refresh_from_db()
        return file

    def _leave(self, file: FileImport, is_preview: bool) -> None:
        """Nobody else can read this machine's file: what is interrupted here is over."""
        if is_preview:
            file.delete()
        else:
            engine.cancel(file)


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ArgumentTypeError("give an instant with an offset, e.g. 2026-03-01T09:30:00Z")
    return found


def _preview(file: FileImport) -> dict[str, Any]:
    if file.state == ImportState.FAILED:
        return {"file": file.filename, "error": file.error}
    at = file.exported_at
    return {"file": file.filename, **file.preview, "exported_at": at.isoformat() if at else None}


def _report(file: FileImport) -> str:
    """What became of the file: figures, notes, and each row that was refused."""
    done = (
        f"{file.filename} ({file.preview['label']}) into @{file.handle.username}, counts as of "
        f"{file.exported_at:%Y-%m-%d %H:%M} UTC: {file.read:,} rows, {file.imported:,} imported, "
        f"{file.unchanged:,} unchanged, {file.refused:,} refused."
    )
    if file.state != ImportState.DONE:
        done += f" {file.get_state_display().capitalize()}: {file.error or 'stopped'}"
    if file.preview["is_of_other"]:
        done += f"\n  The file says that it is of @{file.preview['handle']}."
    kept = [f"  line {problem.line}: {problem.reason}: {problem.detail}" for problem in file.problems.all()]
    left = file.refused - len(kept)
    more = [f"  … and {left:,} more"] if left > 0 else []
    return "\n".join([done, *(f"  {note}" for note in file.report.get("notes", [])), *kept, *more])
