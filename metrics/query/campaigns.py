"""Campaigns: Tweets with the same tag, of any handles that somebody may see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import QuerySet

from accounts.models import Handle
from metrics.models import Tweet
from metrics.query import audience
from metrics.query.audience import Member, Reached, Span
from metrics.query.overlap import Step, growth

MAX_TAG_LENGTH = 64
MOST_TWEETS = 500
"""Of a campaign's Tweets the newest so many are told."""


class Campaign(NamedTuple):
    """A tag, how many Tweets carry it, whose they are, when the first and last were sent, and the newest of them."""

    tag: str
    tweets: int
    handles: tuple[Handle, ...]
    since: datetime
    until: datetime
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One Tweet of a campaign: what it reached by itself, and what it added to those before it."""

    tweet: Tweet
    reached: Reached
    step: Step

    @property
    def rate(self) -> float | None:
        """Engagements divided by impressions; None where nothing was shown."""
        return rate(self.reached)


@dataclass(frozen=True, slots=True)
class Told:
    """A campaign's people and counts, and those of each Tweet, oldest first."""

    total: Reached
    parts: tuple[Part, ...]

    def largest(self, most: int) -> list[Part]:
        """The parts that reached the most people that can be counted, oldest first."""
        known = [part for part in self.parts if part.step.reach.people]
        by_reach = sorted(known, key=lambda part: part.step.reach.people or 0)
        return sorted(by_reach[-most:], key=lambda part: part.step.place)


def rate(found: Reached) -> float | None:
    """Engagements divided by impressions; None where nothing was shown."""
    return found.engagements / found.impressions if found.impressions else None


def tell(tweets: Sequence[Tweet], asked: Span) -> Told:
    """What a campaign of these Tweets, oldest first, reached."""
    members = [audience.member(tweet) for tweet in tweets]
    sets = [[one] for one in members]
    total, *each = audience.reached([members, *sets], asked)
    steps = growth(sets, asked)
    return Told(total, tuple(map(Part, tweets, each, steps)))


def campaigns(handles: Iterable[Handle]) -> list[Campaign]:
    """Every tag of the handles' Tweets; the one with the newest Tweet first."""
    by_id = {handle.pk: handle for handle in handles}
    tagged = Tweet.objects.filter(handle__in=by_id).exclude(tags=[])
    held: dict[str, list[tuple[datetime, Member]]] = defaultdict(list)
    for handle_id, tweet_id, created_at, tags in tagged.values_list("handle_id", "tweet_id", "created_at", "tags"):
        for tag in set(filter(None, tags)):
            held[tag].append((created_at, Member(handle_id, tweet_id)))
    found = []
    for tag, tweets in held.items():
        tweets.sort()
        owners = {by_id[one.handle_id] for _, one in tweets}
        newest = tuple(one for _, one in tweets[-MOST_TWEETS:])
        whose = tuple(sorted(owners, key=lambda handle: handle.username))
        found.append(Campaign(tag, len(tweets), whose, tweets[0][0], tweets[-1][0], newest))
    return sorted(found, key=lambda campaign: (campaign.until, campaign.tag), reverse=True)


def tweets_of(handles: Iterable[Handle], tag: str) -> list[Tweet]:
    """The Tweets with the tag, oldest first: the newest MOST_TWEETS of them."""
    tagged = _tagged(handles, tag).select_related("handle")
    return list(tagged.order_by("-created_at", "-tweet_id")[:MOST_TWEETS])[::-1]


def number_of(handles: Iterable[Handle], tag: str) -> int:
    """How many Tweets have the tag."""
    return _tagged(handles, tag).count()


def _tagged(handles: Iterable[Handle], tag: str) -> QuerySet[Tweet]:
    # PostgreSQL holds no text with a NUL, and refuses to be asked for one.
    if "\x00" in tag:
        return Tweet.objects.none()
    return Tweet.objects.filter(handle__in=list(handles), tags__contains=[tag])


def tags_used(handle: Handle, most: int = 30) -> list[str]:
    """The tags of the handle's latest tagged Tweets, the latest first."""
    tagged = Tweet.objects.filter(handle=handle).exclude(tags=[]).order_by("-created_at")
    newest = tagged.values_list("tags", flat=True)[:MOST_TWEETS]
    return list(dict.fromkeys(tag for tags in newest for tag in tags if tag))[:most]


def tags_of(tweets: Sequence[Tweet]) -> list[str]:
    """Every tag of these Tweets, in order."""
    return sorted({tag for tweet in tweets for tag in tweet.tags}, key=str.lower)
