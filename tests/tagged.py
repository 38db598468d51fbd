"""Campaigns for tests: Tweets with a tag, and the people who saw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metrics.models import Tweet
from metrics.vocabulary.events import tweet_created_at
from tests.aggregate.events import Event
from tests.crowds import SEEN, happen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from accounts.models import Handle


def a_campaign(handle: Handle, tag: str, crowds: Mapping[int, Iterable[int]], seconds: int = 600) -> list[Tweet]:
    """Tweets of these numbers with the tag, each seen once by each of its people; by person 0: by somebody unnamed."""
    events = [
        Event(hash((handle.pk, number, person)), number, SEEN, seconds, person=person)
        for number, crowd in crowds.items()
        for person in crowd
    ]
    happen(handle, *events)
    return [_tagged(handle, Event(0, number, 0, 0).tweet_id, tag, f"Beans {number}") for number in crowds]


def _tagged(handle: Handle, tweet_id: int, tag: str, text: str) -> Tweet:
    told = {"text": text, "created_at": tweet_created_at(tweet_id)}
    tweet, _ = Tweet.objects.update_or_create(handle=handle, tweet_id=tweet_id, defaults=told)
    tweet.tags = [*tweet.tags, tag]
    tweet.save(update_fields=["tags"])
    return tweet
