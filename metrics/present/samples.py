"""Requests to try the Engagement API with: about a handle's newest Tweets, so that the answer holds real figures."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from accounts.models import Handle
from metrics.query.engagement import Surface

TWEETS: Final = 3
TITLES: Final = {
    Surface.TOTALS: "Lifetime totals",
    Surface.RECENT: "Last 28 hours",
    Surface.HISTORICAL: "Any 28 days",
}
_QUESTIONS: Final[dict[Surface, tuple[list[str], dict[str, list[str]]]]] = {
    Surface.TOTALS: (
        ["impressions", "engagements", "favorites", "retweets", "replies", "video_views"],
        {"by_tweet": ["tweet.id", "engagement.type"]},
    ),
    Surface.RECENT: (
        ["impressions", "engagements", "url_clicks"],
        {"by_hour": ["engagement.type", "engagement.day", "engagement.hour"]},
    ),
    Surface.HISTORICAL: (
        ["impressions", "engagements", "favorites", "url_clicks", "user_profile_clicks"],
        {"by_type": ["engagement.type"], "by_day": ["tweet.id", "engagement.day"]},
    ),
}


def request_for(surface: Surface, handle: Handle) -> str | None:
    """The body of a request about the handle's newest Tweets, as indented JSON; None while it has none."""
    newest = handle.tweets.order_by("-created_at").values_list("tweet_id", flat=True)[:TWEETS]
    if not newest:
        return None
    types, groupings = _QUESTIONS[surface]
    body: dict[str, Any] = {"tweet_ids": [str(tweet_id) for tweet_id in newest], "engagement_types": types}
    if surface is Surface.HISTORICAL:
        now = datetime.now(UTC)
        body |= {"start": f"{now - timedelta(days=6):%Y-%m-%d}", "end": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    body["groupings"] = {name: {"group_by": levels} for name, levels in groupings.items()}
    return readable(body)


def readable(body: object) -> str:
    """JSON for people: indented, but a short list stays on one line."""
    return _laid_out(body, "")


def _laid_out(value: object, margin: str) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (isinstance(value, list) and len(flat) + len(margin) < 60):
        return flat
    deeper = margin + "  "
    if isinstance(value, list):
        lines = [_laid_out(each, deeper) for each in value]
        return f"[\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{margin}]"
    lines = [f"{json.dumps(name, ensure_ascii=False)}: {_laid_out(each, deeper)}" for name, each in value.items()]
    return f"{{\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{margin}}}"
