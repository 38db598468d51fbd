"""What the Engagement API's contract says about windows, and about bodies that are refused: a line for each rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

BY_TWEET = {"g": {"group_by": ["tweet.id", "engagement.type"]}}
FOUR = ["tweet.id", "engagement.type", "engagement.day", "engagement.hour"]


def body_for(*ids: object, **more: Any) -> dict[str, Any]:
    return {"tweet_ids": list(ids), "engagement_types": ["impressions"], "groupings": BY_TWEET, **more}


def by(*items: str) -> dict[str, Any]:
    """One grouping by these items."""
    return {"g": {"group_by": list(items)}}


# The rule, what is given, the hours at which the window then starts and ends; it is 2016-02-29T21:20Z.
WINDOWS: list[tuple[str, dict[str, Any], str, str]] = [
    ("a start is floored, an end ceiled", {"start": "2016-02-10T12:24Z", "end": "2016-02-11T08:37Z"}, "10T12", "11T09"),
    ("whole hours stay", {"start": "2016-02-10T12:00:00Z", "end": "2016-02-11T09:00:00Z"}, "10T12", "11T09"),
    ("dates are midnights", {"start": "2016-02-10", "end": "2016-02-11"}, "10T00", "11T00"),
    ("an offset is minded", {"start": "2016-02-10T01:00+02:00", "end": "2016-02-10"}, "09T23", "10T00"),
    ("without one it is UTC", {"start": "2016-02-10T01:00", "end": "2016-02-10T02:00"}, "10T01", "10T02"),
    ("by default the last 28 days", {}, "01T21", "29T22"),
    ("empty values are absent", {"start": None, "end": None}, "01T21", "29T22"),
    ("a start alone runs until now", {"start": "2016-02-20"}, "20T00", "29T22"),
    ("an end alone begins 28 days before", {"end": "2016-02-29"}, "01T00", "29T00"),
    ("exactly 28 days, uneven", {"start": "2016-02-01T20:30Z", "end": "2016-02-29T20:30Z"}, "01T20", "29T21"),
]

# The rule, where it holds, the body, and how the error begins.
_LATE = (datetime.now(UTC) + timedelta(days=1)).isoformat()
ALL = ("totals", "28hr", "historical")
WINDOWED = ("28hr", "historical")
REFUSED: list[tuple[str, tuple[str, ...], object, str]] = [
    ("no JSON", ALL, b"{", "The body must be"),
    ("no UTF-8", ALL, b'{"tweet_ids": ["\xff"]}', "The body must be"),
    ("nothing", ALL, b"", "The body must be"),
    ("an endless list", ALL, b"[" * 100_000, "The body must be"),
    ("no object", ALL, [], "The body must be"),
    ("no ids", ALL, body_for(), "tweet_ids: "),
    ("ids in no list", ALL, body_for() | {"tweet_ids": "20"}, "tweet_ids: "),
    ("an id that is none", ALL, body_for("x"), "tweet_ids: “x” "),
    ("a negative id", ALL, body_for(-1), "tweet_ids: "),
    ("a fraction", ALL, body_for(1.5), "tweet_ids: "),
    ("a truth value", ALL, body_for(True), "tweet_ids: "),
    ("251 Tweets", ("totals",), body_for(*range(1, 252)), "tweet_ids: at most 250 "),
    ("26 Tweets", WINDOWED, body_for(*range(1, 27)), "tweet_ids: at most 25 "),
    ("no types", ALL, body_for("20", engagement_types=[]), "engagement_types: "),
    ("types missing", ALL, {"tweet_ids": ["20"], "groupings": BY_TWEET}, "engagement_types: "),
    ("an unknown type", ALL, body_for("20", engagement_types=["likes"]), "engagement_types: “likes” "),
    ("a type that is no text", ALL, body_for("20", engagement_types=[7]), "engagement_types: "),
    ("clicks over a life", ("totals",), body_for("20", engagement_types=["url_clicks"]), "engagement_types: “url_c"),
    ("media over a life", ("totals",), body_for("20", engagement_types=["media_views"]), "engagement_types: “media"),
    ("no groupings", ALL, body_for("20", groupings={}), "groupings: "),
    ("groupings missing", ALL, {"tweet_ids": ["20"], "engagement_types": ["impressions"]}, "groupings: "),
    ("four groupings", ALL, body_for("20", groupings=dict.fromkeys("abcd", BY_TWEET["g"])), "groupings: at most 3"),
    ("a grouping by nothing", ALL, body_for("20", groupings=by()), "groupings.g.group_by: "),
    ("a grouping that is none", ALL, body_for("20", groupings={"g": ["tweet.id"]}), "groupings.g.group_by: "),
    ("an unknown item", ALL, body_for("20", groupings=by("user.id")), "groupings.g.group_by: “user"),
    ("an item twice", ALL, body_for("20", groupings=by("tweet.id", "tweet.id")), "groupings.g.group_by: "),
    ("days of a life", ("totals",), body_for("20", groupings=by(*FOUR[:3])), "groupings.g.group_by: “e"),
    ("hours of a life", ("totals",), body_for("20", groupings=by(*FOUR[3:])), "groupings.g.group_by: “"),
    ("four in another order", WINDOWED, body_for("20", groupings=by(*FOUR[::-1])), "groupings.g.group_b"),
    ("four, day before type", WINDOWED, body_for("20", groupings=by(FOUR[0], FOUR[2], FOUR[1], FOUR[3])),
     "groupings.g.group_by: four "),
    ("four twice", WINDOWED, body_for("20", groupings={n: {"group_by": FOUR} for n in "ab"}), "groupings: only one "),
    ("a reserved name", ALL, body_for("20", groupings={"errors": BY_TWEET["g"]}), "groupings.errors: "),
    ("more than 28 days", ("historical",), body_for("20", start="2016-01-01", end="2016-01-30"), "start, end: at"),
    ("the future", ("historical",), body_for("20", end=_LATE), "end: lies in the future"),
    ("nothing between", ("historical",), body_for("20", start="2016-01-02", end="2016-01-02"), "start: must"),
    ("backwards", ("historical",), body_for("20", start="2016-01-02", end="2016-01-01"), "start: must"),
    ("before Twitter", ("historical",), body_for("20", start="2006-01-01", end="2006-01-02"), "start: there are no"),
    ("no time", ("historical",), body_for("20", start="soon"), "start: “soon” "),
    ("a time that is no text", ("historical",), body_for("20", end=1455123456), "end: "),
    ("a year out of reach", ("historical",), body_for("20", start="0001-01-01T00:00+14:00"), "start: "),
]  # fmt: skip
