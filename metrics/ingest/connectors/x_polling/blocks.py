"""From X's answers to Tweets and snapshots: which field of which block is which engagement type, and of which part.

Where X tells organic and promoted counts apart, each is a snapshot of its part. What only a combined block tells
(quotes; everything, once the private blocks are closed after 30 days) is a snapshot of both parts together. A type
that once came apart is not taken from a combined block while the private blocks are open: an answer that lacks its
organic block for once would begin another series of counts, of which the first is history. Only on the last day
before they close are both told, so that the combined series has begun when it is needed.

A field that is null or absent says nothing. It is never taken for zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from html import unescape
from typing import Any, Literal

from metrics.ingest.snapshots import IncomingSnapshot
from metrics.ingest.tweets import IncomingTweet
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.events import MAX_TWEET_ID
from metrics.vocabulary.snapshots import MAX_TOTAL

Json = Mapping[str, Any]
Counts = dict[str, int]

# X's field names of the private blocks, and those that only the public one has.
_COUNTS = {
    "impression_count": "impressions",
    "like_count": "favorites",
    "reply_count": "replies",
    "retweet_count": "retweets",
    "url_link_clicks": "url_clicks",
    "user_profile_clicks": "user_profile_clicks",
}
_COMBINED = {**_COUNTS, "quote_count": "quote_tweets"}
# The start is told as the 0 % mark.
_PLAYBACK = {
    "playback_0_count": "video_starts",
    "playback_25_count": "video_viewed_25",
    "playback_50_count": "video_viewed_50",
    "playback_75_count": "video_viewed_75",
    "playback_100_count": "video_viewed_100",
}
# What the analytics tell beyond the blocks; their other metrics are the blocks' own, and never read twice.
_ANALYTICS = {
    "follows": "user_follows",
    "hashtag_clicks": "hashtag_clicks",
    "detail_expands": "detail_expands",
    "permalink_clicks": "permalink_clicks",
    "app_install_attempts": "app_install_attempts",
    "app_opens": "app_opens",
    "email_tweet": "email_tweet",
    "media_views": "video_views",
}
# The blocks have these as long as they are open; of an older Tweet only the analytics go on telling them.
_ANALYTICS_OF_CLOSED = {"url_clicks": "url_clicks", "user_profile_clicks": "user_profile_clicks"}
ANALYTICS_FIELDS = (*_ANALYTICS, *_ANALYTICS_OF_CLOSED)
_VIDEO_KINDS = {"video", "animated_gif"}
_MEDIA: Mapping[str, Literal["photo", "gif", "video"]] = {"video": "video", "animated_gif": "gif", "photo": "photo"}


@dataclass(frozen=True, slots=True)
class Said:
    """What one answer says of a Tweet: its snapshots, and the types that have come apart so far."""

    snapshots: list[IncomingSnapshot]
    split: frozenset[str]


class Door(StrEnum):
    """Whether X tells the private blocks of a Tweet."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


def said(tweet: Json, media: Mapping[str, Json], as_of: datetime, split: Iterable[str], door: Door) -> Said:
    """The snapshots of a Tweet from its metric blocks; `split` are the types that have come apart before."""
    videos = _videos(tweet, media)
    apart: dict[bool | None, Counts] = {
        promoted: {} if door is Door.CLOSED else _of(tweet, name, _COUNTS) | _sums(videos, name)
        for promoted, name in ((False, "organic_metrics"), (True, "promoted_metrics"))
    }
    known = frozenset(split).union(*apart.values())
    both = _of(tweet, "non_public_metrics", _COUNTS) | _of(tweet, "public_metrics", _COMBINED)
    both |= _sums(videos, "non_public_metrics")
    if door is Door.OPEN:
        both = {name: number for name, number in both.items() if name not in known}
    found = [
        IncomingSnapshot(tweet["id"], as_of, dict(counts), promoted=promoted)
        for promoted, counts in {**apart, None: both}.items()
        if counts
    ]
    return Said(found, known)


def is_promoted(tweet: Json) -> bool:
    """Whether the public block counts more than the organic one, so that there must be a promoted one."""
    public, organic = _of(tweet, "public_metrics", _COUNTS), _of(tweet, "organic_metrics", _COUNTS)
    return any(public[name] > organic[name] for name in public.keys() & organic.keys())


def analysed(tweet: Json, created_at: datetime, as_of: datetime, is_closed: bool) -> IncomingSnapshot | None:
    """The snapshot of a Tweet from its analytics in one bucket; None where they are not its whole life, or say nothing.

    X cuts windows at full hours and may start one later than asked: then the count is not a lifetime's total.
    """
    buckets = _objects(tweet.get("timestamped_metrics"))
    if len(buckets) != 1 or (start := _instant(buckets[0].get("timestamp"))) is None or start > created_at:
        return None
    fields = {**_ANALYTICS, **_ANALYTICS_OF_CLOSED} if is_closed else _ANALYTICS
    counts = _of(buckets[0], "metrics", fields)
    return IncomingSnapshot(tweet["id"], as_of, dict(counts), promoted=None) if counts else None


def tweet_of(tweet: Json, media: Mapping[str, Json], username: str) -> IncomingTweet:
    """The Tweet itself, as X's timeline tells it."""
    entities = tweet.get("entities")
    hashtags = _objects(entities.get("hashtags")) if isinstance(entities, dict) else []
    tags = [str(tag["tag"])[:100] for tag in hashtags if tag.get("tag")]
    kinds = {_MEDIA.get(str(item.get("type"))) for item in _media(tweet, media)}
    return IncomingTweet(
        id=tweet["id"],
        text=unescape(str(tweet.get("text") or ""))[:25_000],
        created_at=_instant(tweet.get("created_at")),
        media=next((kind for kind in _MEDIA.values() if kind in kinds), "none"),
        link=f"https://x.com/{username or 'i'}/status/{tweet['id']}",
        tags=tags[:50],
    )


def included(body: Json) -> dict[str, Json]:
    """The media of an answer by their keys."""
    includes = body.get("includes")
    items = _objects(includes.get("media")) if isinstance(includes, dict) else []
    return {str(item["media_key"]): item for item in items if "media_key" in item}


def tweets_in(body: Json) -> list[Json]:
    """The Tweets of an answer; what is none is passed over."""
    return [item for item in _objects(body.get("data")) if number_of(item.get("id"))]


def number_of(value: object) -> int:
    """A Tweet's id, which X writes as text; 0 for what is none."""
    text = str(value)
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
    return number if number <= MAX_TWEET_ID else 0


def problems_in(body: Json) -> list[Json]:
    """What an answer says to be missing from it."""
    return _objects(body.get("errors"))


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _instant(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def _of(item: Json, block: str, fields: Mapping[str, str]) -> Counts:
    found = item.get(block)
    values = found if isinstance(found, dict) else {}
    return {name: values[field] for field, name in fields.items() if _is_count(values.get(field))}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOTAL


def _media(tweet: Json, media: Mapping[str, Json]) -> list[Json]:
    attachments = tweet.get("attachments")
    keys = attachments.get("media_keys") if isinstance(attachments, dict) else None
    return [media[key] for key in keys if key in media] if isinstance(keys, list) else []


def _videos(tweet: Json, media: Mapping[str, Json]) -> list[Json]:
    return [item for item in _media(tweet, media) if item.get("type") in _VIDEO_KINDS]


def _sums(videos: list[Json], block: str) -> Counts:
    """The playback counts of all videos of a Tweet; a type that one of them leaves out is left out."""
    each = [_of(video, block, _PLAYBACK) for video in videos]
    said_by_all = set(NAMES).intersection(*each) if each else set()
    return {name: sum(counts[name] for counts in each) for name in said_by_all}
