"""Tweets as their publisher knows them: a batch upsert that fills the stubs that events made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from metrics.ingest.validation import Reason, Refusal, handle_of, tweet_id_of
from metrics.models import Tweet
from metrics.vocabulary.events import CLOCK_TOLERANCE, FIRST_TWEET_AT, tweet_created_at


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
    """Store the Tweets; of several with one id the last wins."""
    last = {(tweet.handle_id, tweet.tweet_id): tweet for tweet in tweets}
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
