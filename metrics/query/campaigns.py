"""Campaigns: Tweets with the same tag, of any handles that somebody may see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from accounts.models import Handle
from metrics.models import Tweet

MAX_TAG_LENGTH = 64
MOST_TWEETS = 500
"""Of a campaign's Tweets the newest so many are told."""


class Campaign(NamedTuple):
    """A tag, how many Tweets carry it, whose they are, and when the first and last were sent."""

    tag: str
    tweets: int
    handles: tuple[Handle, ...]
    since: datetime
    until: datetime


def campaigns(handles: Iterable[Handle]) -> list[Campaign]:
    """Every tag of the handles' Tweets; the one with the newest Tweet first."""
    by_id = {handle.pk: handle for handle in handles}
    tagged = Tweet.objects.filter(handle__in=by_id).exclude(tags=[]).values_list("handle_id", "created_at", "tags")
    held: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for handle_id, created_at, tags in tagged:
        for tag in set(tags):
            held[tag].append((created_at, handle_id))
    found = [
        Campaign(
            tag,
            len(tweets),
            tuple(by_id[pk] for pk in sorted({pk for _, pk in tweets}, key=lambda pk: by_id[pk].username)),
            min(tweets)[0],
            max(tweets)[0],
        )
        for tag, tweets in held.items()
    ]
    return sorted(found, key=lambda campaign: (campaign.until, campaign.tag), reverse=True)


def tweets_of(handles: Iterable[Handle], tag: str) -> list[Tweet]:
    """The Tweets with the tag, oldest first: the newest MOST_TWEETS of them."""
    tagged = Tweet.objects.filter(handle__in=list(handles), tags__contains=[tag]).select_related("handle")
    return list(tagged.order_by("-created_at", "-pk")[:MOST_TWEETS])[::-1]


def tags_of(tweets: Sequence[Tweet]) -> list[str]:
    """Every tag of these Tweets, in order."""
    return sorted({tag for tweet in tweets for tag in tweet.tags}, key=str.lower)
