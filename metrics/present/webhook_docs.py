"""The webhook that X calls, in OpenAPI's words: it is served ahead of Django, so this is written by hand."""

from __future__ import annotations

from typing import Any

from metrics.ingest.bodies import MAX_BYTES
from metrics.present.door_docs import Json, described, ref

COMPONENTS: Json = {
    "Proof": described(
        "That this installation knows the app's consumer secret.",
        ["response_token"],
        response_token={
            "type": "string",
            "description": "`sha256=` and the base64 HMAC-SHA256 of the `crc_token`.",
            "examples": ["sha256=x0mYd8hz2goCTfcNAaMqENy2BFgJJfJOb4PdvTffpwg="],
        },
    ),
    "Delivered": described(
        "The delivery is held durably.",
        ["taken"],
        taken={"type": "integer", "minimum": 0, "description": "Events in it that are about the handle's Tweets."},
    ),
}
_WHY = {
    400: "No `crc_token`, or a body that is not a JSON object.",
    401: "No signature.",
    403: "A signature that does not fit the body.",
    404: "No webhook has this address.",
    413: f"More than {MAX_BYTES // 1_000_000} MB.",
    503: "Redis or the database is away, too many events wait, or no consumer secret is known: nothing was taken.",
}
_CONNECTION: Json = {
    "name": "connection",
    "in": "path",
    "required": True,
    "description": "The address's own part, from the handle's page about X.",
    "schema": {"type": "string", "minLength": 1},
}


def _answer(description: str, schema: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": ref(schema)}}}


def _operation(name: str, summary: str, description: str, answer: Json, *refusals: int, **more: Any) -> Json:
    refused = {str(status): _answer(_WHY[status], "Refused") for status in refusals}
    return {
        "operationId": name,
        "tags": ["Ingest"],
        "summary": summary,
        "description": description,
        "security": [],
        "responses": {"200": answer, **refused},
        **more,
    }


PATHS: Json = {
    "/webhooks/x/{connection}": {
        "get": _operation(
            "prove_webhook",
            "Answer X's challenge",
            "X asks this when the address is registered, and about every hour.",
            _answer("Proved.", "Proof"),
            *(400, 404, 503),
            parameters=[
                _CONNECTION,
                {
                    "name": "crc_token",
                    "in": "query",
                    "required": True,
                    "description": "What to sign.",
                    "schema": {"type": "string", "minLength": 1},
                },
            ],
        ),
        "post": _operation(
            "take_webhook",
            "Take an Account Activity delivery",
            "Likes, replies, Retweets and quotes of the handle's Tweets become events, its own Tweets are stored, a "
            "deleted answer is taken back, a revocation disconnects; the rest is counted as ignored, by kind. The same "
            "delivery may come any number of times, in any order.",
            _answer("Held durably.", "Delivered"),
            *(400, 401, 403, 404, 413, 503),
            parameters=[
                _CONNECTION,
                {
                    "name": "x-twitter-webhooks-signature",
                    "in": "header",
                    "required": True,
                    "description": "`sha256=` and the base64 HMAC-SHA256 of the raw body under the consumer secret.",
                    "schema": {"type": "string"},
                },
            ],
            requestBody={
                "required": True,
                "content": {"application/json": {"schema": {"type": "object", "additionalProperties": True}}},
            },
        ),
    }
}
