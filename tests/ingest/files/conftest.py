"""Golden files, and files of this machine imported as a worker would."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.utils import timezone

from accounts.models import Handle
from metrics.ingest.files import engine
from metrics.ingest.files.contents import LocalContent
from metrics.models import FileImport, ImportState

DATA = Path(__file__).parent / "data"
EXPORTED_AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

Import = Callable[..., FileImport]


def as_is(_file: FileImport) -> None:
    """Nobody watches."""


@pytest.fixture
def imported(northwind: Handle) -> Import:
    """Imports a file into @northwind, preview first: `imported(path, exported_at=…)`."""

    def run(path: Path, exported_at: datetime | None = EXPORTED_AT, handle: Handle = northwind) -> FileImport:
        file = FileImport.objects.create(
            handle=handle, filename=path.name, size=path.stat().st_size, state=ImportState.READING
        )
        engine.work(file.pk, as_is, LocalContent(path))
        file.refresh_from_db()
        if file.state == ImportState.READY:
            at = exported_at or file.exported_at or timezone.now()
            FileImport.objects.filter(pk=file.pk).update(state=ImportState.RUNNING, exported_at=at)
            engine.work(file.pk, as_is, LocalContent(path))
        file.refresh_from_db()
        return file

    return run
