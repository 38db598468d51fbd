"""One event at a time: from what a sender wrote to a packed record, or a refusal with its reason.

This is the only place that decides what a good event is. It runs for every event, so it is plain code in one pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Annotated

import msgspec

from metrics.ingest.people import epoch, person_of
from metrics.vocabulary.engagements import CODE, TYPES
from metrics.vocabulary.events import (
    CLOCK_TOLERANCE,
    FIRST_TWEET_AT,
    MAX_COUNT,
    MAX_EVENT_ID_LENGTH,
    MAX_TWEET_ID,
    PACKED,
    tweet_created_ms,
)

_TOLERANCE_US = CLOCK_TOLERANCE // timedelta(microseconds=1)
_FIRST_US = int(FIRST_TWEET_AT.timestamp()) * 1_000_000
_PROMOTABLE = tuple(kind.promotable for kind in TYPES)


class Reason(StrEnum):
    """Why an event was refused: the closed list that senders can rely on."""

    NOT_AN_OBJECT = "not_an_object"
    MISSING = "missing"
    WRONG_TYPE = "wrong_type"
    BAD_LENGTH = "bad_length"
    UNKNOWN_TYPE = "unknown_type"
    BAD_TWEET_ID = "bad_tweet_id"
    BAD_TIME = "bad_time"
    IN_THE_FUTURE = "in_the_future"
    BEFORE_THE_TWEET = "before_the_tweet"
    TOO_EARLY = "too_early"
    NOT_PROMOTABLE = "not_promotable"
    COUNT_OUT_OF_RANGE = "count_out_of_range"
    HANDLE_REQUIRED = "handle_required"
    UNKNOWN_HANDLE = "unknown_handle"
    BAD_VALUE = "bad_value"
    TOO_MANY_SOURCES = "too_many_sources"


REASONS = {
    Reason.NOT_AN_OBJECT: "The item is not a JSON object.",
    Reason.MISSING: "A required field is missing.",
    Reason.WRONG_TYPE: "The field has another JSON type than the one documented.",
    Reason.BAD_LENGTH: "The text is empty or too long.",
    Reason.UNKNOWN_TYPE: "The engagement type is not one of the 26.",
    Reason.BAD_TWEET_ID: "The Tweet id is not a positive 64-bit integer.",
    Reason.BAD_TIME: "The instant is not RFC 3339 with an offset.",
    Reason.IN_THE_FUTURE: "The event lies more than five minutes in the future.",
    Reason.BEFORE_THE_TWEET: "The event lies more than five minutes before its Tweet.",
    Reason.TOO_EARLY: "The event lies before the first Tweet ever (2006-03-21).",
    Reason.NOT_PROMOTABLE: "This engagement type is never reported as promoted.",
    Reason.COUNT_OUT_OF_RANGE: "The count is not between 1 and 1,000,000, or a snapshot's not between 0 and 10^15.",
    Reason.HANDLE_REQUIRED: "The token covers several handles, so the event must name its own.",
    Reason.UNKNOWN_HANDLE: "The token covers no handle of this name.",
    Reason.BAD_VALUE: "The value is not one of those documented.",
    Reason.TOO_MANY_SOURCES: "The handle has 50 sources of snapshots already; use the name of one of them.",
}


class Refusal(Exception):  # noqa: N818  # a refusal is an answer to the sender, not a fault
    """Why one item is refused: the field at fault, a reason of the closed list, and what to do about it."""

    def __init__(self, field: str, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.field, self.reason, self.detail = field, reason, detail


class IncomingEvent(msgspec.Struct, gc=False):
    """An event as its sender writes it; unknown fields are passed over."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_EVENT_ID_LENGTH)]
    tweet_id: str | int
    type: str
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)]
    promoted: bool = False
    user_id: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    count: int = 1
    handle: str | None = None


def pack(event: IncomingEvent, handles: Mapping[str, int], now_us: int) -> tuple[int, int, bytes]:
    """The event's handle id, its instant (Unix µs) and its packed record; raises Refusal."""
    handle_id = handle_of(event.handle, handles)
    tweet_id = tweet_id_of(event.tweet_id)
    code = CODE.get(event.type)
    if code is None:
        raise Refusal("type", Reason.UNKNOWN_TYPE, f"type: “{event.type[:40]}” is not one of the 26 engagement types.")
    if event.promoted and not _PROMOTABLE[code]:
        raise Refusal("promoted", Reason.NOT_PROMOTABLE, f"promoted: {event.type} is only ever organic; send false.")
    if not 1 <= event.count <= MAX_COUNT:
        raise Refusal("count", Reason.COUNT_OUT_OF_RANGE, f"count: must be 1 to {MAX_COUNT:,}.")
    occurred_us = int(event.occurred_at.timestamp() * 1e6 + 0.5)
    refuse_time("occurred_at", tweet_id, occurred_us, now_us)
    key = blake2b(event.id.encode(), digest_size=16).digest()
    person, flags = person_of(event.user_id), epoch() << 1 | event.promoted
    packed = PACKED.pack(handle_id, tweet_id, occurred_us, key, person, event.count, code, flags)
    return handle_id, occurred_us, packed


def handle_of(name: str | None, handles: Mapping[str, int]) -> int:
    """The id of the handle that an item names, or of the only one that the token covers; raises Refusal."""
    if name is None:
        if len(handles) == 1:
            return next(iter(handles.values()))
        raise Refusal("handle", Reason.HANDLE_REQUIRED, "handle: the token covers several handles; name one of them.")
    handle_id = handles.get(name.removeprefix("@").lower())
    if handle_id is None:
        raise Refusal("handle", Reason.UNKNOWN_HANDLE, f"handle: the token covers no @{name.removeprefix('@')[:64]}.")
    return handle_id


def tweet_id_of(value: str | int, field: str = "tweet_id") -> int:
    """The Tweet id as a positive 64-bit integer; raises Refusal, which names the field that holds it."""
    if isinstance(value, str):
        value = int(value) if len(value) <= 19 and value.isascii() and value.isdigit() else 0
    if 0 < value <= MAX_TWEET_ID:
        return value
    detail = f"{field}: must be a positive 64-bit integer, as string or number."
    raise Refusal(field, Reason.BAD_TWEET_ID, detail)


def refuse_time(field: str, tweet_id: int, instant_us: int, now_us: int) -> None:
    """Raise Refusal unless the instant (Unix µs) lies between the Tweet's creation and now, give or take 5 minutes."""
    if tweet_created_ms(tweet_id) * 1000 - _TOLERANCE_US <= instant_us <= now_us + _TOLERANCE_US:
        return
    if instant_us > now_us:
        raise Refusal(field, Reason.IN_THE_FUTURE, f"{field}: more than 5 minutes in the future.")
    if instant_us < _FIRST_US:
        raise Refusal(field, Reason.TOO_EARLY, f"{field}: before 2006-03-21, the day of the first Tweet.")
    raise Refusal(field, Reason.BEFORE_THE_TWEET, f"{field}: more than 5 minutes before the Tweet itself.")


_AT_FIELD = re.compile(r" - at `\$\.([a-z_]+)")
_MISSING = re.compile(r"missing required field `([a-z_]+)`")


def refusal_of(error: msgspec.ValidationError) -> Refusal:
    """What the decoder found wrong with one item, in our words."""
    text = str(error)
    if missing := _MISSING.search(text):
        return Refusal(missing[1], Reason.MISSING, f"{missing[1]}: required, but not there.")
    found = _AT_FIELD.search(text)
    if not found:
        return Refusal("", Reason.NOT_AN_OBJECT, "An item must be a JSON object.")
    field, complaint = found[1], text[: found.start()]
    for reason, applies, detail in _COMPLAINTS:
        if applies(field, complaint):
            return Refusal(field, reason, f"{field}: {detail or complaint}.")
    return Refusal(field, Reason.WRONG_TYPE, f"{field}: {complaint}.")


_Applies = Callable[[str, str], bool]
# How the decoder's complaints read, in the order in which they are looked for.
_COMPLAINTS: tuple[tuple[Reason, _Applies, str], ...] = (
    (Reason.BAD_LENGTH, lambda _field, complaint: "length" in complaint, ""),
    (
        Reason.BAD_TIME,
        lambda field, complaint: (
            field.endswith(("_at", "as_of")) and ("RFC3339" in complaint or "timezone" in complaint)
        ),
        "write RFC 3339 with an offset, e.g. 2026-01-31T12:00:00Z",
    ),
    (
        Reason.COUNT_OUT_OF_RANGE,
        lambda field, complaint: field == "count" and "out of range" in complaint,
        f"must be 1 to {MAX_COUNT:,}",
    ),
    (Reason.BAD_VALUE, lambda _field, complaint: "enum" in complaint, ""),
)
