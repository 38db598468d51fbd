"""Receipts: what became of an accepted batch, without keeping anything for it.

A receipt names the stream entries of its batch, their handles and the stretch of time of their events. Whether an
entry is applied stands in its shard's cursor; which of its events were fresh is told by `received_at`, which is the
entry's id as a time. So an answer survives every crash that the figures survive. A receipt is no secret: the gate is
the token.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from django.conf import settings
from django.utils import timezone

from metrics import stream
from metrics.models import EngagementEvent, SetAsideEntry, StreamCursor
from metrics.stream import Cargo

_Number = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800_000_000)]


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One stream entry of a batch: how many `events` (or snapshots) it holds; instants are Unix µs, both included."""

    shard: Annotated[int, msgspec.Meta(ge=0, le=32_000)]
    entry: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{13}-[0-9]{1,9}$")]
    handles: list[Annotated[int, msgspec.Meta(ge=1, le=2**62)]]
    events: _Number
    first_us: _Number
    last_us: _Number
    cargo: Cargo = Cargo.EVENTS


class Outcome(msgspec.Struct, omit_defaults=True):
    """What a receipt answers once it is applied: `fresh` and `duplicates` of events, or how many `snapshots`."""

    status: str
    fresh: int | None = None
    duplicates: int | None = None
    snapshots: int | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Part])


def write(parts: list[Part]) -> str:
    """The receipt of a batch, safe in a URL."""
    return urlsafe_b64encode(_encoder.encode(parts)).decode().rstrip("=")


def read(receipt: str) -> list[Part] | None:
    """The parts of a receipt; None when it is none of ours."""
    try:
        return _decoder.decode(urlsafe_b64decode(receipt + "=" * (-len(receipt) % 4))) or None
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError):
        return None


def outcome(receipt: str, covered: Collection[int]) -> Outcome | None:
    """What became of the batch; None when the receipt is not one, or names a handle outside `covered`."""
    parts = read(receipt)
    if parts is None or not all(set(part.handles) <= set(covered) for part in parts):
        return None
    statuses = {_status(part) for part in parts}
    for status in ("pending", "set_aside", "expired"):
        if status in statuses:
            return Outcome(status)
    if all(part.cargo is Cargo.SNAPSHOTS for part in parts):
        return Outcome("applied", snapshots=sum(part.events for part in parts))
    fresh = sum(map(_fresh, parts))
    return Outcome("applied", fresh, sum(part.events for part in parts) - fresh)


def _status(part: Part) -> str:
    arrived_at = _instant(stream.arrived_us(part.entry))
    if SetAsideEntry.objects.filter(shard=part.shard, entry=part.entry, applied_at=None).exists():
        return "set_aside"
    if arrived_at < timezone.now() - timedelta(days=settings.EVENT_DAYS):
        return "expired"
    cursor = StreamCursor.objects.filter(shard=part.shard).values_list("last_entry", flat=True).first() or "0-0"
    return "applied" if stream.position(part.entry) <= stream.position(cursor) else "pending"


def _fresh(part: Part) -> int:
    return EngagementEvent.objects.filter(
        handle_id__in=part.handles,
        occurred_at__range=(_instant(part.first_us), _instant(part.last_us)),
        received_at=_instant(stream.arrived_us(part.entry)),
    ).count()


def _instant(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
