"""Tweets as their publisher knows them, in an upsert that fills the stubs that events made; and the team's tags."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import Handle
from metrics.ingest.validation import Reason, Refusal, handle_of, tweet_id_of
from metrics.models import Tweet
from metrics.vocabulary.events import CLOCK_TOLERANCE, FIRST_TWEET_AT, tweet_created_at

MAX_TAG_LENGTH: Final = 64
MOST_TAGS: Final = 20
_UNFIT: Final = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, ends of lines


class IncomingTweet(msgspec.Struct):
    """A Tweet as its sender writes it; `created_at` defaults to the snowflake's instant."""

    id: str | int
    text: Annotated[str, msgspec.Meta(max_length=25_000)] = ""
    created_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    media: Literal["none", "photo", "gif", "video"] = "none"
    link: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    tags: Annotated[list[Annotated[str, msgspec.Meta(max_length=100)]], msgspec.Meta(max_length=50)] = []
    handle: str | None = None


def checked(tweet: IncomingTweet, handles: Mapping[str, int]) -> Tweet:
    """The row to store; raises Refusal."""
    tweet_id = tweet_id_of(tweet.id, "id")
    handle_id = handle_of(tweet.handle, handles)
    if tweet.link and not tweet.link.startswith(("https://", "http://", "at://")):
        raise Refusal("link", Reason.BAD_VALUE, "link: must start with https://, http:// or at://.")
    created_at = tweet.created_at or tweet_created_at(tweet_id)
    if created_at < FIRST_TWEET_AT:
        raise Refusal("created_at", Reason.TOO_EARLY, "created_at: before 2006-03-21, the day of the first Tweet.")
    if created_at > datetime.now(UTC) + CLOCK_TOLERANCE:
        raise Refusal("created_at", Reason.IN_THE_FUTURE, "created_at: more than 5 minutes in the future.")
    return Tweet(
        handle_id=handle_id,
        tweet_id=tweet_id,
        text=tweet.text.replace("\x00", "�"),
        created_at=created_at.astimezone(UTC),
        media=tweet.media,
        link=tweet.link.replace("\x00", ""),
        tags=[tag.replace("\x00", "�") for tag in tweet.tags],
        is_stub=False,
    )


def upsert(tweets: list[Tweet]) -> None:
    """Store the Tweets; of several with one id the last wins. What the team did to their tags stays done."""
    last = {(tweet.handle_id, tweet.tweet_id): tweet for tweet in tweets}
    _keep_changes(last)
    Tweet.objects.bulk_create(
        last.values(),
        update_conflicts=True,
        unique_fields=["handle", "tweet_id"],
        update_fields=["text", "created_at", "media", "link", "tags", "is_stub", "changed_at"],
        batch_size=2_000,
    )


def introduce(handle_id: int, links: Mapping[int, str]) -> None:
    """Make stubs of Tweets that nobody has sent yet, each with its link, so that pages can lead to them."""
    Tweet.objects.bulk_create(
        (
            Tweet(handle_id=handle_id, tweet_id=number, created_at=tweet_created_at(number), link=link, is_stub=True)
            for number, link in links.items()
        ),
        ignore_conflicts=True,
        batch_size=2_000,
    )


class TagError(ValueError):
    """Why Tweets cannot be tagged, in a sentence for the person who tried."""


def add_tag(handle: Handle, tweet_ids: Collection[int], text: str) -> int:
    """Put the tag on these Tweets of the handle; returns how many had it not. Raises TagError, and then none has."""
    tag = checked_tag(text)
    return _change(handle, tweet_ids, {tag: True})


def remove_tag(handle: Handle, tweet_ids: Collection[int], text: str) -> int:
    """Take the tag off these Tweets of the handle; returns how many had it."""
    tag = text.strip()
    return _change(handle, tweet_ids, {tag: False, tag.removeprefix("#"): False})


def checked_tag(text: str) -> str:
    """The tag that somebody typed, without the # in front of it; raises TagError."""
    tag = text.strip().removeprefix("#").strip()
    if not tag:
        raise TagError("Name the tag.")
    if len(tag) > MAX_TAG_LENGTH:
        raise TagError(f"A tag has at most {MAX_TAG_LENGTH} characters; this one has {len(tag)}.")
    if any(unicodedata.category(character) in _UNFIT for character in tag):
        raise TagError("A tag is one line of text: this one holds a control character.")
    # It is part of an address, where these two mean something else.
    if {".", ".."} & set(tag.split("/")):
        raise TagError("A tag cannot be “.” or “..”, nor have them between slashes.")
    return tag


def _change(handle: Handle, tweet_ids: Collection[int], changes: Mapping[str, bool]) -> int:
    with transaction.atomic():
        found = Tweet.objects.select_for_update().filter(handle=handle, tweet_id__in=tweet_ids).order_by("pk")
        moved = []
        for tweet in found:
            tags = _tags_after(tweet.tags, changes)
            if tags != tweet.tags:
                done = {tag: kept for tag, kept in changes.items() if (tag in tags) != (tag in tweet.tags)}
                tweet.tags, tweet.tag_changes, tweet.changed_at = tags, tweet.tag_changes | done, timezone.now()
                moved.append(tweet)
        full = next((tweet for tweet in moved if len(tweet.tags) > MOST_TAGS and any(changes.values())), None)
        if full is not None:
            raise TagError(f"“{str(full)[:60]}” has {MOST_TAGS} tags already: remove one of them first.")
        Tweet.objects.bulk_update(moved, ["tags", "tag_changes", "changed_at"], batch_size=500)
    return len(moved)


def _tags_after(tags: Iterable[str], changes: Mapping[str, bool]) -> list[str]:
    """The tags with those added that are true, and without those that are false."""
    kept = [tag for tag in tags if changes.get(tag, True)]
    return kept + [tag for tag, is_wanted in changes.items() if is_wanted and tag not in kept]


def _keep_changes(told: Mapping[tuple[int, int], Tweet]) -> None:
    """Do to the tags of these Tweets what the team did to those that are stored."""
    within = Q(handle__in={handle_id for handle_id, _ in told}, tweet_id__in={number for _, number in told})
    changed = Tweet.objects.filter(within).exclude(tag_changes={})
    for handle_id, number, changes in changed.values_list("handle_id", "tweet_id", "tag_changes"):
        tweet = told.get((handle_id, number))
        if tweet is not None:
            tweet.tags = _tags_after(tweet.tags, changes)
