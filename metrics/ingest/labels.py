"""Labels of the snapshot door: the names that senders give themselves. Each is a source, made when first used."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from channels.db import database_sync_to_async

from metrics.ingest import sources
from metrics.ingest.snapshots import IncomingSnapshot
from metrics.ingest.sources import Taken
from metrics.ingest.validation import Reason, Refusal, handle_of
from metrics.models import Source, SourceState

KIND = "api"
MOST = 50
# A label whose source has been removed meanwhile gets a new one after this time.
_REMEMBERED_SECONDS = 60.0


class Label(NamedTuple):
    """A sender's name for itself, within a handle."""

    handle_id: int
    name: str


def of(snapshot: IncomingSnapshot, handles: Mapping[str, int]) -> Label:
    """The label of a snapshot; raises Refusal."""
    if "\x00" in snapshot.source:
        raise Refusal("source", Reason.BAD_VALUE, "source: must not hold a NUL character.")
    return Label(handle_of(snapshot.handle, handles), snapshot.source)


def source_id(label: Label, found: Mapping[Label, int]) -> int:
    """The key of the label's source; raises Refusal where the handle has too many."""
    if label not in found:
        detail = f"source: the handle has {MOST} sources of snapshots already; use the name of one of them."
        raise Refusal("source", Reason.TOO_MANY_SOURCES, detail)
    return found[label]


def known(labels: Collection[Label]) -> dict[Label, int]:
    """The sources of the labels, new ones made where their handle has room for them. Raises DatabaseError."""
    found: dict[Label, int] = {}
    for handle_id in {label.handle_id for label in labels}:
        of_handle = dict(Source.objects.filter(handle_id=handle_id, kind=KIND).values_list("name", "pk"))
        for label in sorted(label for label in labels if label.handle_id == handle_id):
            if label.name not in of_handle and len(of_handle) < MOST:
                source = sources.known(handle_id, KIND, label.name)
                sources.enter(source, SourceState.LIVE)
                of_handle[label.name] = source.pk
            if label.name in of_handle:
                found[label] = of_handle[label.name]
    return found


def heard(taken: Mapping[int, Taken]) -> None:
    """Note what each source (by its key) has brought. Raises DatabaseError."""
    for source in Source.objects.filter(pk__in=taken):
        sources.heard(source, taken[source.pk])


class Labels:
    """A server process's memory of labels, so that most batches ask the database nothing."""

    def __init__(self) -> None:
        self._found: dict[Label, tuple[int, float]] = {}

    async def sources(self, labels: Collection[Label]) -> dict[Label, int]:
        """The keys of the labels' sources; a label is missing where its handle has too many."""
        now = time.monotonic()
        found = {label: self._found[label][0] for label in labels if self._found.get(label, (0, 0.0))[1] > now}
        if missing := set(labels) - found.keys():
            fresh = await database_sync_to_async(known)(missing)
            self._found.update((label, (pk, now + _REMEMBERED_SECONDS)) for label, pk in fresh.items())
            found |= fresh
        return found
