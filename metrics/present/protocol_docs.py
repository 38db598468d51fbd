"""The vendor's protocols in OpenAPI's words: the InsightsTrack stream and its rules, the Engagement API, analytics.

They answer in the vendor's shapes, so their part of the schema is written by hand. Tests hold answers against it.
"""

from __future__ import annotations

from django.conf import settings

from metrics.present import rules
from metrics.present.door_docs import Json, described, ref
from metrics.present.insightstrack import MOST_BACKFILL_MINUTES, MOST_INTERVAL_SECONDS
from metrics.query import analytics
from metrics.query.engagement import DIMENSIONS_OF, LONGEST, MAX_GROUPINGS, MAX_TWEETS, TYPES_OF, Surface
from metrics.vocabulary.engagements import TYPES

_STREAM, _ENGAGEMENT = "InsightsTrack stream", "Engagement API"
_TEXT: Json = {"type": "string"}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_COUNT: Json = {"type": "integer", "minimum": 0}
_TAG: Json = {"type": ["string", "null"], "maxLength": rules.MAX_TAG}
_INSTANT: Json = {"type": "string", "format": "date-time"}
SECURITY_SCHEMES: Json = {
    "OAuth1": {
        "type": "http",
        "scheme": "OAuth",
        "description": "OAuth 1.0a, HMAC-SHA1, in the Authorization header; credentials are made with a token.",
    }
}


def _counts(promotable: bool) -> Json:
    parts = ("total", "organic", "promoted") if promotable else ("total",)
    one = {"type": "object", "required": ["count"], "properties": {"count": _COUNT}}
    return {"type": "object", "required": ["total"], "properties": dict.fromkeys(parts, one)}


def _nested(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


_TOTAL = _nested(total=_nested(count=_COUNT))
_TOTAL["properties"]["unique"] = described(
    "People, each counted once, with 95 % bounds; absent where unknown, and some seconds later than the total.",
    ["count"],
    **dict.fromkeys(("count", "low", "high"), _COUNT),
)
_TYPES = {kind.name: _counts(kind.promotable) for kind in TYPES if kind.name != "impressions"}

COMPONENTS: Json = {
    "Summary": described(
        "A Tweet's cumulative counts as of `end_time`, since it was sent; `start_time` is when following began. "
        "Counts never go backwards but for what is undone. `impressions.unique` is reach; who only had a video play is "
        "no part of `overall.unique`.",
        ["summary_event"],
        summary_event=_nested(
            target=_nested(id_str=_TEXT),
            start_time=_INSTANT,
            end_time=_INSTANT,
            metrics=_nested(
                impressions=_TOTAL,
                engagements=_nested(
                    overall=_TOTAL,
                    metric_counts=_nested(**_TYPES, detail_clicks=_TYPES["detail_expands"]),
                ),
            ),
        ),
    ),
    "StreamedTweet": described(
        "A Tweet of a followed handle, when it is published or becomes known.",
        ["id_str", "text", "created_at", "user"],
        id_str=_TEXT,
        text=_TEXT,
        created_at={"type": "string", "examples": ["Wed Mar 20 12:00:00 +0000 2019"]},
        user=_nested(id_str=_TEXT, screen_name=_TEXT, name=_TEXT),
        entities={"type": "object"},
    ),
    "Revocation": described(
        "A handle left the reach of the stream's token: nothing more comes about it.",
        ["user_event"],
        user_event=_nested(
            revoke=_nested(date_time=_INSTANT, target=_nested(app_id=_TEXT), source=_nested(user_id=_TEXT))
        ),
    ),
    "Rule": described(
        "That a handle is followed. `value` is its name: `northwind`, `@northwind` or `from:northwind`.",
        ["value"],
        value=_TEXT | {"examples": ["northwind"]},
        tag=_TAG,
        id={"type": "integer"},
    ),
    "RuleOutcome": described(
        "What became of one rule of a request.",
        ["rule"],
        rule={"type": "object"},
        created={"type": "boolean"},
        deleted={"type": "boolean"},
        message=_TEXT,
    ),
    "RulesRefused": described(
        "The request as a whole is refused.", ["error", "sent"], error=_nested(message=_TEXT), sent=_INSTANT
    ),
    "EngagementRefused": described(
        "The request as a whole is refused; each reason is a sentence.", ["errors"], errors=_TEXTS
    ),
    "EngagementAnswer": {
        "type": "object",
        "description": 'One key for each grouping, nested in its order; counts are strings, empty buckets `"0"`. '
        "`errors` and the lists are there only when Tweets are left out.",
        "properties": {
            "start": _INSTANT,
            "end": _INSTANT,
            "errors": _TEXTS,
            "unavailable_tweet_ids": _TEXTS,
            "unsupported_for_impressions_engagements_tweet_ids": _TEXTS,
            "unsupported_for_video_views_tweet_ids": _TEXTS,
        },
        "additionalProperties": {"type": "object"},
    },
    "Analytics": described(
        "Counts of each Tweet by bucket; a metric that is not held is null.",
        ["data"],
        data={
            "type": "array",
            "items": _nested(
                id=_TEXT,
                timestamped_metrics={
                    "type": "array",
                    "items": _nested(
                        timestamp=_INSTANT,
                        metrics={"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
                    ),
                },
            ),
        },
        errors={"type": "array", "items": ref("VendorProblem")},
    ),
    "VendorProblem": described(
        "What is wrong, as RFC 7807 has it.",
        ["title", "detail", "type"],
        title=_TEXT,
        detail=_TEXT,
        type=_TEXT,
        status={"type": "integer"},
        errors={"type": "array", "items": {"type": "object"}},
    ),
}


def _answer(description: str, schema: str, kind: str = "application/json") -> Json:
    return {"description": description, "content": {kind: {"schema": ref(schema)}}}


def _answers(schema: str, kind: str = "application/json", **told: str) -> Json:
    """Refusals of one form: `s401="…"` and so on."""
    return {status.removeprefix("s"): _answer(why, schema, kind) for status, why in told.items()}


def _whole(name: str, most: int, description: str) -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": most}
    return {"name": name, "in": "query", "description": description, "schema": schema}


_PLACE: list[Json] = [
    {"name": "team", "in": "path", "required": True, "description": "The team's slug.", "schema": _TEXT},
    {
        "name": "label",
        "in": "path",
        "required": True,
        "description": "Which of the team's streams; the usual one is `prod`.",
        "schema": {"type": "string", "pattern": f"^{rules.LABEL}$"},
    },
]
_BEARER: list[Json] = [{"TokenAuth": []}]
_SIGNED: list[Json] = [{"OAuth1": []}, {"TokenAuth": []}]
_NOBODY = "No token, or one that is unknown, expired or revoked."
_NO_STREAM = "The token's team has no such stream."
_TOO_MANY = f"More than {settings.ENGAGEMENT_REQUESTS_PER_MINUTE:,} requests in a minute with one token."

_READ_STREAM: Json = {
    "operationId": "read_stream",
    "tags": [_STREAM],
    "summary": "Read a stream",
    "description": "An open answer: JSON objects separated by newlines, and an empty line every 3 seconds. A changed "
    "Tweet's summary is sent within a second, at most once a second, for 7 days after the Tweet was sent. Tweets, "
    "summaries and revocations come on one connection; skip kinds that you do not know.",
    "security": _BEARER,
    "parameters": [
        *_PLACE,
        _whole("backfillMinutes", MOST_BACKFILL_MINUTES, "Replays the summaries of the last minutes first."),
        _whole("intervalSeconds", MOST_INTERVAL_SECONDS, "The least time between two summaries of a Tweet."),
    ],
    "responses": {
        "200": {
            "description": "The stream is open.",
            "content": {
                "application/json": {
                    "schema": {"anyOf": [ref("Summary"), ref("StreamedTweet"), ref("Revocation")]},
                }
            },
        },
        **_answers(
            "Refused",
            s400="A parameter is not a whole number in its range.",
            s401=_NOBODY,
            s403="The token lacks the scope `read`.",
            s404=_NO_STREAM,
            s405="Another method than GET.",
            s429=f"The token has {settings.STREAM_CONNECTIONS_PER_TOKEN} open streams already.",
            s503="Redis or the database is away: try again in a moment.",
        ),
    },
}
_RULES_REFUSED = {
    **_answers(
        "RulesRefused",
        s401=_NOBODY,
        s403="The token lacks the scope `read`.",
        s503="The database is away: try again in a moment.",
    ),
    "404": {"description": _NO_STREAM},
}
_LIST_RULES: Json = {
    "operationId": "list_rules",
    "tags": [_STREAM],
    "summary": "A stream's rules",
    "description": "Those about handles that the token covers, the oldest first.",
    "security": _BEARER,
    "parameters": _PLACE,
    "responses": {
        "200": {
            "description": "The rules.",
            "content": {
                "application/json": {"schema": _nested(rules={"type": "array", "items": ref("Rule")}, sent=_INSTANT)}
            },
        },
        **_RULES_REFUSED,
    },
}
_CHANGED: Json = _nested(
    summary={"type": "object", "additionalProperties": _COUNT},
    detail={"type": "array", "items": ref("RuleOutcome")},
    sent=_INSTANT,
)
_CHANGE_RULES: Json = {
    "operationId": "change_rules",
    "tags": [_STREAM],
    "summary": "Add or remove rules",
    "description": "Adds rules, one for each handle; a rule about a handle that the token does not cover is told in "
    "`detail`. With `_method=delete` it removes them, by `rules` or `rule_ids`.",
    "security": _BEARER,
    "parameters": [
        *_PLACE,
        {
            "name": "_method",
            "in": "query",
            "description": "`delete` to remove.",
            "schema": {"type": "string", "enum": ["delete"]},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "rules": {
                            "type": "array",
                            "maxItems": rules.MAX_RULES,
                            "items": described("A new rule.", ["value"], value=_TEXT, tag=_TAG),
                        },
                        "rule_ids": {
                            "type": "array",
                            "maxItems": rules.MAX_RULES,
                            "items": {"type": ["integer", "string"]},
                        },
                    },
                },
                "example": {"rules": [{"value": "northwind", "tag": "main"}]},
            }
        },
    },
    "responses": {
        "200": {"description": "Removed.", "content": {"application/json": {"schema": _CHANGED}}},
        "201": {
            "description": "At least one is new, or all were there.",
            "content": {"application/json": {"schema": _CHANGED}},
        },
        **_RULES_REFUSED,
        **_answers("RulesRefused", s413=f"The body is larger than {rules.MAX_BYTES // 1_000_000} MB."),
        "422": {
            "description": "No rule could be made, or the body is not of this shape.",
            "content": {"application/json": {"schema": {"anyOf": [_CHANGED, ref("RulesRefused")]}}},
        },
    },
}
_WINDOWS = {
    Surface.TOTALS: ("Lifetime totals", "Counts of Tweets over their whole life."),
    Surface.RECENT: ("The last 28 hours", "Counts of what happened in the 28 hours up to now, in whole hours."),
    Surface.HISTORICAL: (
        "Any 28 days",
        f"Counts of what happened from `start` to `end`, {LONGEST.days} days at most (by default the last ones), "
        "whenever the Tweet was published. The start is floored and the end ceiled to the hour.",
    ),
}
_TWEET_ID: Json = {"type": ["string", "integer"]}


def _question(surface: Surface) -> Json:
    group_by = {"type": "array", "minItems": 1, "items": {"type": "string", "enum": list(DIMENSIONS_OF[surface])}}
    properties: Json = {
        "tweet_ids": {"type": "array", "minItems": 1, "maxItems": MAX_TWEETS[surface], "items": _TWEET_ID},
        "engagement_types": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "enum": list(TYPES_OF[surface])},
        },
        "groupings": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": MAX_GROUPINGS,
            "additionalProperties": _nested(group_by=group_by),
        },
    }
    needed = list(properties)
    if surface is Surface.HISTORICAL:
        properties |= {name: _TEXT | {"description": "A date, or a time in UTC."} for name in ("start", "end")}
    return {"type": "object", "required": needed, "properties": properties}


def _engagement(surface: Surface) -> Json:
    summary, description = _WINDOWS[surface]
    example = {
        "tweet_ids": ["1108499416611061761"],
        "engagement_types": ["impressions", "favorites"],
        "groupings": {"by_tweet": {"group_by": ["tweet.id", "engagement.type"]}},
    }
    return {
        "operationId": f"count_engagements_{surface}",
        "tags": [_ENGAGEMENT],
        "summary": summary,
        "description": f"{description} Tweets that cannot be told are named beside those that can.",
        "security": _SIGNED,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _question(surface), "example": example}},
        },
        "responses": {
            "200": _answer("The counts.", "EngagementAnswer"),
            **_answers(
                "EngagementRefused",
                s400="The body is not JSON, or asks what cannot be answered.",
                s401="No credentials, or none that are good.",
                s403="Only Tweets of handles that the token does not cover.",
                s405="Another method than POST.",
                s413="The body is too large.",
                s429=_TOO_MANY,
            ),
        },
    }


def _asked(name: str, description: str, schema: Json, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


_ANALYTICS: Json = {
    "operationId": "read_analytics",
    "tags": [_ENGAGEMENT],
    "summary": "Analytics, as X API v2 has it",
    "description": "Counts of Tweets by bucket of a window, in whole hours of UTC.",
    "security": _SIGNED,
    "parameters": [
        _asked("ids", f"Tweet ids, {analytics.MAX_TWEETS} at most, separated by commas.", _TEXT, required=True),
        _asked("start_time", "The window's start.", _INSTANT, required=True),
        _asked("end_time", "The window's end; it does not count.", _INSTANT, required=True),
        _asked("granularity", "A bucket's length.", {"type": "string", "enum": list(analytics.Granularity)}),
        _asked("analytics.fields", "Metrics, separated by commas; all when absent.", _TEXT),
    ],
    "responses": {
        "200": _answer("The counts.", "Analytics"),
        **_answers(
            "VendorProblem",
            "application/problem+json",
            s400="A parameter is missing, or cannot be used.",
            s401="No credentials, or none that are good.",
            s405="Another method than GET.",
            s429=_TOO_MANY,
        ),
    },
}

_OF_LABEL = rules.address("{team}", "{label}")
PATHS: Json = {
    f"/stream/{_OF_LABEL}": {"get": _READ_STREAM},
    f"/rules/{_OF_LABEL}": {"get": _LIST_RULES, "post": _CHANGE_RULES},
    **{f"/insights/engagement/{surface}": {"post": _engagement(surface)} for surface in Surface},
    "/2/tweets/analytics": {"get": _ANALYTICS},
}
