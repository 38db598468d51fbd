"""Files of this machine imported as a worker would, and counted as the shard's writer would."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.utils import timezone

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import partitions, rollups
from metrics.ingest.files import engine
from metrics.ingest.files.contents import LocalContent
from metrics.models import FileImport, ImportState

EXPORTED_AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

Import = Callable[..., FileImport]
Count = Callable[[], None]


def silent(_file: FileImport) -> None:
    """Nobody watches."""


@pytest.fixture
def imported(northwind: Handle) -> Import:
    """Imports a file into @northwind, preview first: `imported(path, exported_at=…)`; a path or bytes."""

    def run(path: Path, exported_at: datetime | None = EXPORTED_AT, handle: Handle = northwind) -> FileImport:
        size = path.stat().st_size
        file = FileImport.objects.create(handle=handle, filename=path.name, size=size, state=ImportState.READING)
        engine.work(file.pk, silent, LocalContent(path))
        file.refresh_from_db()
        if file.state == ImportState.READY:
            engine.start(file, exported_at or file.exported_at or timezone.now(), is_asked=False)
            engine.work(file.pk, silent, LocalContent(path))
        file.refresh_from_db()
        return file

    return run


@pytest.fixture
def count(northwind: Handle) -> Count:
    """Counts all that the handle's shard holds, as its writer does."""
    partitions.forget()

    def run() -> None:
        writer = rollups.Writer(stream.shard_of(northwind.pk))
        while writer.step(1):
            pass
        partitions.forget()

    return run
