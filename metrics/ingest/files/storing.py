"""A batch becomes facts: Tweets and days of the account in PostgreSQL, snapshots and events through the stream.

Each batch may be stored again, after a crash or by a second import: what is known already changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from django.db import connection, transaction

from accounts.models import Handle
from metrics import stream
from metrics.ingest import sources
from metrics.ingest.files.batches import Batch, Counted, ToldDay, ToldEvent
from metrics.ingest.files.formats import Format
from metrics.ingest.files.known import drop_known, last_said
from metrics.ingest.files.previews import instant
from metrics.ingest.files.problems import Problem, RowReason
from metrics.ingest.sources import Taken
from metrics.models import AccountDay, DroppedDay
from metrics.stream import Cargo
from metrics.vocabulary.snapshots import SNAPSHOT_DTYPE, UNSAID

KIND = "file"


@dataclass(slots=True)
class Stored:
    """What became of a batch's good rows: how many brought something new, and the stream's last entry for them."""

    imported: int = 0
    unchanged: int = 0
    problems: list[Problem] = field(default_factory=list)
    entry: str = ""


class Storage:
    """Stores the batches of one file."""

    def __init__(self, handle: Handle, found: Format, exported_at: datetime) -> None:
        self._handle, self._format, self._exported_at = handle, found, exported_at
        self.source = sources.known(handle, KIND, found.source)
        self._shard = stream.shard_of(handle.pk)

    def store(self, batch: Batch) -> Stored:
        """Store the batch; raises RedisError or DatabaseError, and may be called again then."""
        stored = Stored(problems=list(batch.problems))
        taken = Taken(tweets=len(batch.tweets))
        changed = self._store_days(batch.days) if batch.days else set()
        if batch.events:
            changed |= self._store_events(batch.events, stored, taken)
        if batch.tweets or len(batch.counted):
            changed |= self._store_tweets(batch) | self._store_counts(batch.counted, stored, taken)
        stored.imported = len(changed)
        stored.unchanged = batch.rows - len(stored.problems) - len(changed)
        taken.refused = len(stored.problems)
        sources.heard(self.source, taken)
        return stored

    def _store_tweets(self, batch: Batch) -> set[int]:
        """Returns the lines whose Tweets were new or told anew."""
        told = {tweet.tweet_id: tweet for tweet in batch.tweets}
        if not told:
            return set()
        rows = msgspec.json.encode(list(told.values())).decode()
        with connection.cursor() as cursor:
            cursor.execute(_statement("tweets.sql"), {"handle_id": self._handle.pk, "told": rows})
            return {told[tweet_id].line for (tweet_id,) in cursor.fetchall()}

    def _store_counts(self, counted: Counted, stored: Stored, taken: Taken) -> set[int]:
        """Returns the lines that say a number that this source had not said before."""
        if self._format.is_own:
            counted = drop_known(counted, self._handle.pk, self.source.pk)
        before, as_of = last_said(counted, self._handle.pk, self.source.pk)
        fresh = (counted.counts != UNSAID) & (counted.as_of_us[:, None] > as_of)
        # The same number as of later is worth sending too: what comes next is then known to have happened since.
        send = counted.where(fresh.any(axis=1))
        if len(send):
            stored.entry = stream.append(self._shard, self._packed(send), Cargo.SNAPSHOTS)
            taken.snapshots = len(send)
            taken.newest_at = instant(int(send.as_of_us.max()))
        return set(counted.lines[(fresh & (counted.counts != before)).any(axis=1)].tolist())

    def _packed(self, counted: Counted) -> bytes:
        records = np.zeros(len(counted), dtype=SNAPSHOT_DTYPE)
        records["handle_id"], records["source"] = self._handle.pk, self.source.pk
        records["tweet_id"], records["as_of"] = counted.tweet_ids, counted.as_of_us
        records["part"], records["counts"] = counted.parts, counted.counts
        return records.tobytes()

    def _store_events(self, events: list[ToldEvent], stored: Stored, taken: Taken) -> set[int]:
        """Returns the lines whose events were not stored before."""
        open_events = _of_open_days(events, stored.problems)
        known = self._known(open_events)
        new = [event for place, event in enumerate(open_events, 1) if place not in known]
        if new:
            stored.entry = stream.append(self._shard, b"".join(event.packed for event in new))
            taken.events = len(new)
            taken.newest_at = instant(max(event.occurred_us for event in new))
        return {event.line for event in new}

    def _known(self, events: list[ToldEvent]) -> set[int]:
        parameters: dict[str, Any] = {
            "handle_id": self._handle.pk,
            "instants": [instant(event.occurred_us) for event in events],
            "keys": [UUID(bytes=event.key) for event in events],
        }
        with connection.cursor() as cursor:
            cursor.execute(_statement("known_events.sql"), parameters)
            return {place for (place,) in cursor.fetchall()}

    def _store_days(self, days: Iterable[ToldDay]) -> set[int]:
        """Returns the lines that say a number that was not known; of each number the latest export's stays."""
        told = {day.day: day for day in days}
        changed, renewed = set(), []
        with transaction.atomic():
            # One import at a time: two that read the same day before writing it would lose one's numbers.
            Handle.objects.select_for_update(of=("self",), no_key=True).get(pk=self._handle.pk)
            rows = {row.day: row for row in AccountDay.objects.filter(handle=self._handle, day__in=list(told))}
            for day in told.values():
                row = rows.get(day.day) or AccountDay(handle=self._handle, day=day.day, exported_at=self._exported_at)
                is_newer = self._exported_at >= row.exported_at
                counts = {**row.counts, **day.counts} if is_newer else {**day.counts, **row.counts}
                if counts != row.counts:
                    changed.add(day.line)
                row.counts, row.exported_at = counts, max(row.exported_at, self._exported_at)
                renewed.append(row)
            AccountDay.objects.bulk_create(
                renewed,
                update_conflicts=True,
                unique_fields=["handle", "day"],
                update_fields=["counts", "exported_at"],
            )
        return changed


def _of_open_days(events: list[ToldEvent], problems: list[Problem]) -> list[ToldEvent]:
    """The events of days whose events are still held; the others could be resends, and nobody could tell."""
    days = {event.line: datetime.fromtimestamp(event.occurred_us // 1_000_000, UTC).date() for event in events}
    closed = set(DroppedDay.objects.filter(day__in=set(days.values())).values_list("day", flat=True))
    for event in events:
        if days[event.line] in closed:
            detail = (
                f"occurred_at: the events of {days[event.line]} were dropped, so nobody can tell whether this one was "
                "counted. Import the Tweet's totals (tweets.csv) instead."
            )
            problems.append(Problem(event.line, "occurred_at", RowReason.DAY_CLOSED, detail))
    return [event for event in events if days[event.line] not in closed] if closed else events


@cache
def _statement(name: str) -> str:
    return Path(__file__).with_name(name).read_text()
