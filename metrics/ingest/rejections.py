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
from metrics.ingest.validation import IncomingEvent, Refusal, pack, person_of, refusal_of
from metrics.models import Rejection
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


def store(rejected: list[Rejected], credential: Credential) -> None:
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
            event=_without_people(item.sent),
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
    event = dict(rejection.event) if isinstance(rejection.event, dict) else {}
    person = event.pop("person", 0)
    try:
        incoming = msgspec.convert(event, IncomingEvent)
    except msgspec.ValidationError as error:
        raise refusal_of(error) from error
    handle_id, _, packed = pack(incoming, _handles_of(rejection), time.time_ns() // 1000)
    record = list(PACKED.unpack(packed))
    record[4] = person
    entry = stream.append(stream.shard_of(handle_id), PACKED.pack(*record))
    rejection.replayed_at = timezone.now()
    rejection.save(update_fields=["replayed_at"])
    return entry


def _handles_of(rejection: Rejection) -> Mapping[str, int]:
    token = ApiToken.objects.filter(pk=rejection.token_id or 0).first()
    covered = list(token.handles.all()) if token else []
    if rejection.handle is not None and rejection.handle not in covered:
        covered.append(rejection.handle)
    return {handle.username.lower(): handle.pk for handle in covered}


def _handle_of(sent: Any, handles: Mapping[str, int]) -> int | None:
    name = sent.get("handle") if isinstance(sent, dict) else None
    return handles.get(name.removeprefix("@").lower()) if isinstance(name, str) else None


def _without_people(sent: Any) -> Any:
    """The documented fields of what was sent, with a keyed hash in place of the user id.

    Nothing else is kept: a field that nobody asked for, or a value inside another, may name a person.
    """
    if not isinstance(sent, dict):
        return {"not_an_object": type(sent).__name__}
    fields = [name for name in IncomingEvent.__struct_fields__ if name in sent and name != "user_id"]
    user_id = sent.get("user_id")
    person = {"person": person_of(user_id)} if isinstance(user_id, str) else {}
    return {name: _storable(sent[name]) for name in fields} | person


def _storable(value: Any) -> Any:
    """A plain value that fits the table; others are left out, and cannot be replayed."""
    if isinstance(value, str):
        return value[:_LONGEST_TEXT].replace("\x00", "�")
    if isinstance(value, int) and abs(value) >= 2**63:
        return {"left_out": "a number beyond 64 bits"}
    return value if value is None or isinstance(value, int | float) else {"left_out": type(value).__name__}
