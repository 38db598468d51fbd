"""The ingest door in OpenAPI's words: it is served ahead of Django, so its part of the schema is written by hand.

A test sends requests to the door and checks its answers against these paths.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from metrics.ingest.bodies import MAX_BYTES, MAX_ITEMS
from metrics.ingest.labels import MOST
from metrics.ingest.validation import REASONS
from metrics.vocabulary.engagements import NAMES, TYPES
from metrics.vocabulary.events import MAX_COUNT, MAX_EVENT_ID_LENGTH
from metrics.vocabulary.snapshots import MAX_TOTAL

Json = dict[str, Any]

_TWEET_ID = {
    "anyOf": [{"type": "string", "maxLength": 19, "pattern": "^0*[1-9][0-9]*$"}, {"type": "integer", "minimum": 1}]
}
_HANDLE = {
    "type": ["string", "null"],
    "description": "The @handle, required when the token covers several.",
    "examples": ["northwind"],
}
_TOTAL = {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_TOTAL}
_PROMOTABLE = ", ".join(kind.name for kind in TYPES if kind.promotable)


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def described(description: str, required: list[str], **properties: Json) -> Json:
    return {"type": "object", "description": description, "required": required, "properties": properties}


COMPONENTS: Json = {
    "Event": described(
        "One engagement with a Tweet. Unknown fields are passed over.",
        ["id", "tweet_id", "type", "occurred_at"],
        id={
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_EVENT_ID_LENGTH,
            "description": "Unique for its handle: an event sent again with the same id and occurred_at counts once.",
            "examples": ["like-7f3a"],
        },
        tweet_id=_TWEET_ID | {"description": "The Tweet's snowflake.", "examples": ["1108499416611061761"]},
        type={"type": "string", "enum": list(NAMES), "examples": ["favorites"]},
        occurred_at={
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with an offset; not more than 5 minutes in the future or before the Tweet.",
            "examples": ["2026-01-31T12:00:00Z"],
        },
        promoted={"type": "boolean", "default": False, "description": f"True only for {_PROMOTABLE}."},
        user_id={
            "type": ["string", "null"],
            "maxLength": 256,
            "description": "Whoever engaged, in any form that is always the same; hashed at once, never stored.",
        },
        count={"type": "integer", "minimum": 1, "maximum": MAX_COUNT, "default": 1},
        handle=_HANDLE,
    ),
    "Snapshot": described(
        "What a source says of a Tweet as of an instant: its totals so far. Unknown fields are passed over.",
        ["tweet_id", "as_of", "counts"],
        tweet_id=_TWEET_ID | {"description": "The Tweet's snowflake.", "examples": ["1108499416611061761"]},
        as_of={
            "type": "string",
            "format": "date-time",
            "description": "When the totals were true: RFC 3339 with an offset; not more than 5 minutes in the future "
            "or before the Tweet.",
            "examples": ["2026-01-31T12:00:00Z"],
        },
        counts={
            "type": "object",
            "description": "Engagement types with their totals; of likes, replies, Retweets and quotes the net. A type "
            "that is null or absent is not spoken of, which is not zero. At least one is a number.",
            "properties": dict.fromkeys(NAMES, _TOTAL),
            "minProperties": 1,
            "additionalProperties": False,
            "examples": [{"impressions": 1204, "favorites": 17}],
        },
        promoted={
            "type": ["boolean", "null"],
            "default": False,
            "description": "False: organic counts. True: promoted ones. Null: both together.",
        },
        source={
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
            "default": "api",
            "pattern": "^[^\\u0000]*$",
            "description": f"Who counts: at most {MOST} names a handle.",
        },
        handle=_HANDLE,
    ),
    "IncomingTweet": described(
        "A Tweet as its publisher knows it.",
        ["id"],
        id=_TWEET_ID | {"description": "The Tweet's snowflake.", "examples": ["1108499416611061761"]},
        text={"type": "string", "maxLength": 25_000, "default": ""},
        created_at={"type": ["string", "null"], "format": "date-time", "description": "The snowflake's when absent."},
        media={"type": "string", "enum": ["none", "photo", "gif", "video"], "default": "none"},
        link={"type": "string", "maxLength": 2_000, "default": "", "pattern": "^(https?://|at://|$)"},
        tags={"type": "array", "maxItems": 50, "items": {"type": "string", "maxLength": 100}, "default": []},
        handle=_HANDLE,
    ),
    "Rejected": described(
        "One item that was refused: its place in the batch, the field at fault, and why.",
        ["index", "field", "reason", "detail"],
        index={"type": "integer", "minimum": 0},
        field={"type": "string", "description": "Empty when the item as a whole is at fault."},
        reason={
            "type": "string",
            "enum": [str(reason) for reason in REASONS],
            "description": "\n".join(f"- `{reason}`: {told}" for reason, told in REASONS.items()),
        },
        detail={"type": "string"},
    ),
    "Taken": described(
        "How many items were taken, and each that was not.",
        ["accepted", "rejected"],
        accepted={"type": "integer", "minimum": 0},
        rejected={"type": "array", "items": ref("Rejected")},
        receipt={"type": "string", "description": "Asks /api/v1/receipts/{receipt} what became of the batch."},
    ),
    "Outcome": described(
        "What became of a batch.",
        ["status"],
        status={
            "type": "string",
            "enum": ["pending", "applied", "set_aside", "expired"],
            "description": "pending: not counted yet; applied: counted; set_aside: could not be counted, an admin "
            "sees it; expired: too long ago to tell.",
        },
        fresh={"type": "integer", "minimum": 0, "description": "Events counted for the first time, once applied."},
        duplicates={"type": "integer", "minimum": 0, "description": "Events that had been counted before."},
        snapshots={"type": "integer", "minimum": 0, "description": "Of a batch of snapshots: how many were weighed."},
    ),
    "Refused": described(
        "The request as a whole is refused; nothing of it was taken.",
        ["error", "detail"],
        error={"type": "string", "description": "A word that programs can rely on."},
        detail={"type": "string", "description": "What is wrong, and what to do about it."},
    ),
}
_WHY = {
    400: "The body is not JSON, not gzip, or neither of the two forms.",
    401: "No token, or one that is unknown, expired or revoked.",
    403: "The token lacks the scope `ingest`.",
    404: "No such receipt, or it is somebody else's.",
    405: "Another method than this one.",
    413: f"More than {MAX_BYTES // 1_000_000} MB or {MAX_ITEMS:,} items, also after unzipping.",
    415: "Neither JSON nor NDJSON, or compressed otherwise than by gzip.",
    422: "Not one item of the batch was good.",
    429: f"More than {settings.TOKEN_REQUESTS_PER_SECOND:,} requests a second with one token.",
    503: "Redis or the database is away, or too many events wait: nothing was taken. Send the batch again.",
}
_WAITS = {429, 503}


def _answer(description: str, schema: str, example: Json | None = None) -> Json:
    content: Json = {"schema": ref(schema)}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {"application/json": content}}


def _refusals(*statuses: int) -> Json:
    answers = {}
    for status in statuses:
        answers[str(status)] = _answer(_WHY[status], "Refused")
        if status in _WAITS:
            wait = {"description": "Seconds to wait.", "schema": {"type": "integer"}, "required": True}
            answers[str(status)]["headers"] = {"Retry-After": wait}
    return answers


def _batch(kind: str, wrapper: str, example: Json) -> Json:
    """A body of items: an array, an object that wraps it, or one JSON object a line."""
    items: Json = {"type": "array", "minItems": 1, "maxItems": MAX_ITEMS, "items": ref(kind)}
    wrapped = {"type": "object", "required": [wrapper], "properties": {wrapper: items}}
    return {
        "required": True,
        "description": f'An array, `{{"{wrapper}": […]}}`, or NDJSON; optionally with `Content-Encoding: gzip`.',
        "content": {
            "application/json": {"schema": {"anyOf": [items, wrapped]}, "example": [example]},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }


_SECURITY: list[Json] = [{"TokenAuth": []}]
_EVENT = {
    "id": "like-7f3a",
    "tweet_id": "1108499416611061761",
    "type": "favorites",
    "occurred_at": "2026-01-31T12:00:00Z",
    "user_id": "u-42",
}
_SNAPSHOT = {
    "tweet_id": "1108499416611061761",
    "as_of": "2026-01-31T12:00:00Z",
    "counts": {"impressions": 1204, "favorites": 17},
    "source": "nightly-job",
}
_TWEET = {"id": "1108499416611061761", "text": "Fresh beans.", "media": "photo", "tags": ["spring"]}
_REJECTED = {
    "index": 3,
    "field": "type",
    "reason": "unknown_type",
    "detail": "type: “like” is not one of the 26 engagement types.",
}

PATHS: Json = {
    "/api/v1/events": {
        "post": {
            "operationId": "send_events",
            "tags": ["Ingest"],
            "summary": "Send events",
            "description": "Takes a batch of engagements. It answers 202 once the good events are stored durably; "
            "they are counted moments later. Bad ones are told apart, each with its reason.",
            "security": _SECURITY,
            "requestBody": _batch("Event", "events", _EVENT),
            "responses": {
                "202": _answer("Taken.", "Taken", {"accepted": 499, "rejected": [_REJECTED], "receipt": "kZUAszE3NjQ"}),
                **_refusals(400, 401, 403, 405, 413, 415),
                "422": _answer(_WHY[422], "Taken", {"accepted": 0, "rejected": [_REJECTED]}),
                **_refusals(429, 503),
            },
        }
    },
    "/api/v1/snapshots": {
        "post": {
            "operationId": "send_snapshots",
            "tags": ["Ingest"],
            "summary": "Send cumulative counts",
            "description": "Takes a batch of snapshots: totals of Tweets as of an instant. What they say beyond the "
            "known events is added, once, whichever arrives first; a snapshot that comes again changes nothing.",
            "security": _SECURITY,
            "requestBody": _batch("Snapshot", "snapshots", _SNAPSHOT),
            "responses": {
                "202": _answer("Taken.", "Taken", {"accepted": 1, "rejected": [], "receipt": "kZUAszE3NjQ"}),
                **_refusals(400, 401, 403, 405, 413, 415),
                "422": _answer(_WHY[422], "Taken", {"accepted": 0, "rejected": [_REJECTED]}),
                **_refusals(429, 503),
            },
        }
    },
    "/api/v1/receipts/{receipt}": {
        "get": {
            "operationId": "read_receipt",
            "tags": ["Ingest"],
            "summary": "What became of a batch",
            "description": "Tells whether the batch's events are counted yet, and how many of them were new.",
            "security": _SECURITY,
            "parameters": [
                {
                    "name": "receipt",
                    "in": "path",
                    "required": True,
                    "description": "The receipt that the batch's answer gave.",
                    "schema": {"type": "string", "minLength": 1},
                }
            ],
            "responses": {
                "200": _answer("Known.", "Outcome", {"status": "applied", "fresh": 498, "duplicates": 1}),
                **_refusals(401, 403, 404, 405, 429, 503),
            },
        }
    },
    "/api/v1/tweets": {
        "put": {
            "operationId": "put_tweets",
            "tags": ["Ingest"],
            "summary": "Tell Tweets",
            "description": "Stores what Tweets say, new ones and known ones alike; the last of several with one id "
            "wins. Events may come before their Tweet.",
            "security": _SECURITY,
            "requestBody": _batch("IncomingTweet", "tweets", _TWEET),
            "responses": {
                "200": _answer("Stored.", "Taken", {"accepted": 1, "rejected": []}),
                **_refusals(400, 401, 403, 405, 413, 415),
                "422": _answer(_WHY[422], "Taken", {"accepted": 0, "rejected": [_REJECTED]}),
                **_refusals(429, 503),
            },
        }
    },
}
