"""Which records engage which of our posts: a deletion names only the record, and repeats must be recognised.

A record's life begins with its creation and ends with its deletion. Both are kept with the time that they were first
given, so that whatever is told again (by another Jetstream server, whose times differ, too) is the same event again.
What was part of a delivery up to the cursor's needs no second one; what was part of a later one may never have arrived.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b

from metrics.ingest.bluesky.messages import Deed
from metrics.ingest.validation import IncomingEvent, Refusal, refuse_time
from metrics.models import RememberedRecord
from metrics.vocabulary import atproto
from metrics.vocabulary.engagements import CODE, NAMES, UNDO_OF

# The newest that a source remembers; about 100 bytes each in memory, and 150 in the database.
RECORDS_KEPT = 500_000
# In place of the delivery's number: it was remembered, but whether it was delivered is not known.
UNSENT = 2**63 - 1
_CHANGING = ["tweet_id", "rev", "at_us", "delivery", "undone_rev", "undone_at_us", "undone_delivery"]


@dataclass(slots=True)
class Settled:
    """What deeds amount to: events, the posts engaged by them (id → URI), and what was passed over, by kind."""

    events: list[IncomingEvent] = field(default_factory=list)
    posts: dict[int, str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)


class Memory:
    """What one source remembers; `keys` are the records, for a quick look."""

    def __init__(self, source_id: int, kept: int = RECORDS_KEPT) -> None:
        self.keys: set[int] = set()
        self._source_id, self._kept, self._newest = source_id, kept, 0

    @property
    def is_overfull(self) -> bool:
        """Whether it is time to forget some."""
        return len(self.keys) > self._kept * 1.1

    def resume(self, taken: int) -> None:
        """Call before anything is settled: `taken` is the last delivery that surely arrived.

        The numbers after it are given again, to deliveries that hold something else.
        """
        ours = RememberedRecord.objects.filter(source_id=self._source_id)
        ours.filter(delivery__gt=taken).update(delivery=UNSENT)
        ours.filter(undone_delivery__gt=taken).update(undone_delivery=UNSENT)
        self.refresh()

    def refresh(self) -> None:
        """Forget what is beyond the bound, oldest first, and learn what another process has remembered meanwhile."""
        ours = RememberedRecord.objects.filter(source_id=self._source_id)
        edge = ours.order_by("-id").values_list("id", flat=True)[self._kept : self._kept + 1].first()
        if edge:
            gone = ours.filter(id__lte=edge)
            self.keys.difference_update(gone.values_list("record", flat=True))
            gone.delete()
        for number, record in ours.filter(id__gt=self._newest).order_by("id").values_list("id", "record").iterator():
            self._newest = number
            self.keys.add(record)

    def settle(self, deeds: Sequence[Deed], delivery: int) -> Settled:
        """The events of the deeds, remembered as part of this delivery; those of earlier ones have arrived.

        Raises DatabaseError; nothing is remembered then.
        """
        settled, known = Settled(), self._known(deeds)
        changed: dict[int, RememberedRecord] = {}
        now_us = time.time_ns() // 1000
        for deed in deeds:
            rows = list(self._rows(deed, known))
            if not rows:
                settled.ignored["deletion of an unknown record"] += 1
            for row in rows:
                if _is_impossible(row.tweet_id, deed.at_us, now_us):
                    # The border refuses it, and tells; what is not counted must not be taken back either.
                    settled.events.append(_event(deed, row, deed.rev, deed.at_us))
                elif event := _change(row, deed, delivery):
                    settled.events.append(event)
                    settled.posts.update((atproto.post_id(post), post) for post in deed.posts.values())
                    known[row.record][row.engagement] = changed[id(row)] = row
                else:
                    settled.ignored["repeated message"] += 1
        self._save(changed.values())
        return settled

    def _known(self, deeds: Iterable[Deed]) -> dict[int, dict[int, RememberedRecord]]:
        """The remembered rows of the deeds' records: record → engagement → row."""
        known: dict[int, dict[int, RememberedRecord]] = defaultdict(dict)
        ours = RememberedRecord.objects.filter(source_id=self._source_id)
        for row in ours.filter(record__in={deed.key for deed in deeds}):
            known[row.record][row.engagement] = row
        return known

    def _rows(self, deed: Deed, known: dict[int, dict[int, RememberedRecord]]) -> Iterator[RememberedRecord]:
        """The rows that a deed is about: known ones, and of a creation new ones where none are known."""
        rows = known[deed.key]
        if not deed.posts:
            yield from rows.values()
        for kind, post in deed.posts.items():
            yield rows.get(CODE[kind]) or RememberedRecord(
                source_id=self._source_id,
                record=deed.key,
                engagement=CODE[kind],
                tweet_id=atproto.post_id(post),
                at_us=0,
            )

    def _save(self, rows: Iterable[RememberedRecord]) -> None:
        RememberedRecord.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["source", "record", "engagement"],
            update_fields=_CHANGING,
            batch_size=2_000,
        )


def _is_impossible(tweet_id: int, at_us: int, now_us: int) -> bool:
    try:
        refuse_time("occurred_at", tweet_id, at_us, now_us)
    except Refusal:
        return True
    return False


def _change(row: RememberedRecord, deed: Deed, delivery: int) -> IncomingEvent | None:
    """Begin or end the row's life; the event to send, or None where it has arrived before."""
    if deed.posts:
        is_to_send = _begin(row, deed, delivery)
        return _event(deed, row, row.rev, row.at_us) if is_to_send else None
    is_to_send = _end(row, deed, delivery)
    return _event(deed, row, row.undone_rev, row.undone_at_us or 0) if is_to_send else None


def _begin(row: RememberedRecord, deed: Deed, delivery: int) -> bool:
    is_new = row.at_us == 0
    # A record key may be used again once its record is gone.
    is_next = row.undone_at_us is not None and deed.rev > row.undone_rev
    if not (is_new or is_next):
        is_unsent = deed.rev == row.rev and row.delivery == UNSENT
        row.delivery = delivery if is_unsent else row.delivery
        return is_unsent
    row.rev, row.at_us, row.delivery = deed.rev, deed.at_us, delivery
    row.tweet_id = atproto.post_id(deed.posts[NAMES[row.engagement]])
    row.undone_rev, row.undone_at_us, row.undone_delivery = "", None, None
    return True


def _end(row: RememberedRecord, deed: Deed, delivery: int) -> bool:
    if row.undone_at_us is not None:
        is_unsent = deed.rev == row.undone_rev and row.undone_delivery == UNSENT
        row.undone_delivery = delivery if is_unsent else row.undone_delivery
        return is_unsent
    # What was never sent cannot be taken back; and this may be the end of an earlier life.
    if row.delivery == UNSENT or (deed.rev and deed.rev < row.rev):
        return False
    row.undone_rev, row.undone_at_us, row.undone_delivery = deed.rev, max(deed.at_us, row.at_us), delivery
    return True


def _event(deed: Deed, row: RememberedRecord, rev: str, at_us: int) -> IncomingEvent:
    """The event of a record's creation or deletion: its id is made of what never changes however often it is told."""
    kind = NAMES[row.engagement]
    if not deed.posts:
        kind = UNDO_OF[kind]
    return IncomingEvent(
        id=blake2b(f"{deed.record} {rev} {kind}".encode(), digest_size=24).hexdigest(),
        tweet_id=row.tweet_id,
        type=kind,
        occurred_at=datetime.fromtimestamp(at_us / 1e6, UTC),
        user_id=deed.person,
    )
