"""Refused events, kept for an admin to see and to replay: a capped table, without the people in them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from django.conf import settings
from django.utils import timezone

from accounts.credentials import Credential
from accounts.models import ApiToken
from metrics import stream
from metrics.ingest import labels, snapshots
from metrics.ingest.people import epoch, person_of
from metrics.ingest.validation import IncomingEvent, Refusal, pack, refusal_of
from metrics.models import Rejection
from metrics.stream import Cargo
from metrics.vocabulary.engagements import N_TYPES
from metrics.vocabulary.events import PACKED

# A sender that gets everything wrong shows it in a hundred events as well as in ten thousand.
KEPT_A_BATCH = 100
# It may do so many times a second: the table cannot wait for the timetable to be trimmed.
TRIM_EVERY = 1_000
_LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Rejected:
    """One refused item of a batch, with what was sent."""

    index: int
    refusal: Refusal
    sent: Any

    def answer(self) -> dict[str, Any]:
        """The item of the door's answer."""
        refusal = self.refusal
        return {
            "index": self.index,
            "field": refusal.field,
            "reason": refusal.reason,
            "detail": refusal.detail,
        }


def store(rejected: list[Rejected], credential: Credential, cargo: Cargo = Cargo.EVENTS) -> None:
    """Keep the first refused events of a batch; each thousandth that is kept makes the oldest go."""
    only = next(iter(credential.handles.values())) if len(credential.handles) == 1 else None
    kept = Rejection.objects.bulk_create(
        Rejection(
            handle_id=_handle_of(item.sent, credential.handles) or only,
            token_id=credential.token_id,
            index=item.index,
            field=item.refusal.field[:40],
            reason=item.refusal.reason,
            detail=item.refusal.detail.replace("\x00", "�"),
            cargo=cargo,
            event=_without_people(item.sent, cargo),
        )
        for item in rejected[:KEPT_A_BATCH]
    )
    if any(rejection.pk % TRIM_EVERY == 0 for rejection in kept):
        trim()


def trim() -> int:
    """Drop the oldest rejections past the cap; returns how many went."""
    edge = Rejection.objects.order_by("-id").values_list("id", flat=True)[settings.REJECTIONS_KEPT :].first()
    return Rejection.objects.filter(id__lte=edge).delete()[0] if edge else 0


def replay(rejection: Rejection) -> str:
    """Send a refused event through the same checks again; returns the stream entry's id, or raises Refusal."""
    sent = dict(rejection.event) if isinstance(rejection.event, dict) else {}
    cargo = Cargo(rejection.cargo)
    packed = _packed_snapshot if cargo is Cargo.SNAPSHOTS else _packed_event
    try:
        handle_id, payload = packed(sent, _handles_of(rejection), time.time_ns() // 1000)
    except msgspec.ValidationError as error:
        raise refusal_of(error) from error
    entry = stream.append(stream.shard_of(handle_id), payload, cargo)
    rejection.replayed_at = timezone.now()
    rejection.save(update_fields=["replayed_at"])
    return entry


def forget(person: int, epoch: int) -> int:
    """Take a person out of the refused events; returns out of how many."""
    theirs = Rejection.objects.filter(event__person=person, event__epoch=epoch)
    for rejection in theirs:
        rejection.event = {name: value for name, value in rejection.event.items() if name not in {"person", "epoch"}}
    return Rejection.objects.bulk_update(theirs, ["event"])


def _packed_event(sent: dict[str, Any], handles: Mapping[str, int], now_us: int) -> tuple[int, bytes]:
    # Hashed with the key of its time; with that of another epoch, if the key has changed since, nobody is named.
    person = sent.pop("person", 0) if sent.pop("epoch", 0) == epoch() else 0
    handle_id, _, packed = pack(msgspec.convert(sent, IncomingEvent), handles, now_us)
    record = list(PACKED.unpack(packed))
    record[4] = person
    return handle_id, PACKED.pack(*record)


def _packed_snapshot(sent: dict[str, Any], handles: Mapping[str, int], now_us: int) -> tuple[int, bytes]:
    incoming = msgspec.convert(sent, snapshots.IncomingSnapshot)
    label = labels.of(incoming, handles)
    return snapshots.pack(incoming, labels.source_id(label, labels.known({label})), handles, now_us)


def _handles_of(rejection: Rejection) -> Mapping[str, int]:
    token = ApiToken.objects.filter(pk=rejection.token_id or 0).first()
    covered = list(token.handles.all()) if token else []
    if rejection.handle is not None and rejection.handle not in covered:
        covered.append(rejection.handle)
    return {handle.username.lower(): handle.pk for handle in covered}


def _handle_of(sent: Any, handles: Mapping[str, int]) -> int | None:
    name = sent.get("handle") if isinstance(sent, dict) else None
    return handles.get(name.removeprefix("@").lower()) if isinstance(name, str) else None


def _without_people(sent: Any, cargo: Cargo) -> Any:
    """The documented fields of what was sent, with a keyed hash in place of the user id.

    Nothing else is kept: a field that nobody asked for, or a value inside another, may name a person.
    """
    if not isinstance(sent, dict):
        return {"not_an_object": type(sent).__name__}
    kind = snapshots.IncomingSnapshot if cargo is Cargo.SNAPSHOTS else IncomingEvent
    fields = [name for name in kind.__struct_fields__ if name in sent and name != "user_id"]
    if cargo is Cargo.SNAPSHOTS:
        return {name: _counts(sent[name]) if name == "counts" else _storable(sent[name]) for name in fields}
    user_id = sent.get("user_id")
    person = {"person": person_of(user_id), "epoch": epoch()} if isinstance(user_id, str) else {}
    return {name: _storable(sent[name]) for name in fields} | person


def _counts(counts: Any) -> Any:
    """A snapshot's counts by type, as many as there are types."""
    if not isinstance(counts, dict):
        return _storable(counts)
    return {str(name)[:40].replace("\x00", "�"): _storable(counts[name]) for name in list(counts)[:N_TYPES]}


def _storable(value: Any) -> Any:
    """A plain value that fits the table; others are left out, and cannot be replayed."""
    if isinstance(value, str):
        return value[:_LONGEST_TEXT].replace("\x00", "�")
    if isinstance(value, int) and abs(value) >= 2**63:
        return {"left_out": "a number beyond 64 bits"}
    return value if value is None or isinstance(value, int | float) else {"left_out": type(value).__name__}
