"""What webhooks brought in the last second, told to the database in one go: a busy door writes no row a delivery."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from channels.db import database_sync_to_async
from django.db import Error as DatabaseError
from django.utils import timezone

from metrics.ingest import sources
from metrics.ingest.account_activity import Reading
from metrics.ingest.sources import Taken
from metrics.ingest.webhook_connections import Connection
from metrics.models import Source, SourceState

log = structlog.get_logger(__name__)

EVERY_SECONDS: Final = 1.0
NOTE_FORGED_EVERY: Final = timedelta(minutes=10)
FORGED: Final = "Refused deliveries whose signature does not fit the consumer secret."


@dataclass(slots=True)
class Sum:
    """What one source brought: deliveries read, challenges answered, deliveries with a wrong signature."""

    taken: Taken = field(default_factory=Taken)
    deliveries: int = 0
    proofs: int = 0
    forged: int = 0
    user_id: str = ""


class Tally:
    """The sums of all sources since they were last told. One process holds one, in its event loop."""

    def __init__(self) -> None:
        self._sums: dict[int, Sum] = {}
        self._telling: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def of(self, connection: Connection) -> Sum:
        """The source's sum, to add to."""
        return self._sums.setdefault(connection.source_id, Sum())

    def add(self, connection: Connection, reading: Reading, events: int) -> None:
        """Count a delivery of which so many events were taken."""
        found = self.of(connection)
        found.deliveries += 1
        found.user_id = reading.user_id if reading.user_id != connection.owner.user_id else found.user_id
        taken = found.taken
        taken.events += events
        taken.refused += reading.refused
        for kind, number in reading.ignored.items():
            taken.ignored[kind] = taken.ignored.get(kind, 0) + number
        instants = [event.occurred_at for event in reading.events]
        taken.newest_at = max([*instants, *([taken.newest_at] if taken.newest_at else [])], default=None)
        self.tell_soon()

    def tell_soon(self) -> None:
        """Tell the database within a second."""
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._sums and not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), EVERY_SECONDS)
            await self._tell_now()

    async def aclose(self) -> None:
        """Tell what is left, and stop."""
        self._closing.set()
        if self._telling is not None:
            await self._telling
        await self._tell_now()

    async def _tell_now(self) -> None:
        sums, self._sums = self._sums, {}
        if not sums:
            return
        try:
            await database_sync_to_async(_store)(sums)
        except DatabaseError as error:
            # What was taken is safe in Redis; only these sums would be lost, so they wait.
            log.warning("webhook_sums_not_stored", error=str(error))
            for source_id, found in sums.items():
                self._sums[source_id] = _both(found, self._sums.get(source_id, Sum()))


def _both(one: Sum, other: Sum) -> Sum:
    kinds = {**one.taken.ignored, **other.taken.ignored}
    instants = [instant for instant in (one.taken.newest_at, other.taken.newest_at) if instant]
    taken = Taken(
        events=one.taken.events + other.taken.events,
        refused=one.taken.refused + other.taken.refused,
        ignored={kind: one.taken.ignored.get(kind, 0) + other.taken.ignored.get(kind, 0) for kind in kinds},
        newest_at=max(instants, default=None),
    )
    return Sum(
        taken,
        one.deliveries + other.deliveries,
        one.proofs + other.proofs,
        one.forged + other.forged,
        other.user_id or one.user_id,
    )


def _store(sums: dict[int, Sum]) -> None:
    for source in Source.objects.filter(pk__in=sums):
        found = sums[source.pk]
        if found.deliveries or found.proofs:
            newest = found.taken.newest_at
            lag = max(0, int((datetime.now(UTC) - newest).total_seconds() * 1000)) if newest else None
            sources.heard(source, found.taken if found.deliveries else None, lag_ms=lag)
            _go_live(source, found)
        if found.user_id:
            source.settings = {**source.settings, "user_id": found.user_id}
            source.save(update_fields=["settings"])
        if found.forged:
            sources.turned_away(source, found.forged)
            _note_forged(source)


def _go_live(source: Source, found: Sum) -> None:
    """The source is live once X has called; after the access had ended, once something has happened since."""
    state = SourceState(source.state)
    newest = found.taken.newest_at
    if state is SourceState.DISCONNECTED and not (newest and newest > source.state_since):
        return
    if state not in {SourceState.LIVE, SourceState.PAUSED}:
        sources.enter(source, SourceState.LIVE)


def _note_forged(source: Source) -> None:
    """Say it in the source's log, but not for each: anybody who knows the address can send such."""
    if not source.notes.filter(text=FORGED, at__gt=timezone.now() - NOTE_FORGED_EVERY).exists():
        sources.note(source, FORGED, is_trouble=True)
