"""People who see Tweets, applied as both writers do it: what tests of reach in answers, files and streams stand on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from accounts.models import Handle
from metrics.aggregate import reach, rollups
from metrics.models import StreamCursor, Tweet
from metrics.vocabulary.engagements import CODE
from tests.aggregate.events import NOW, Event, entries

SEEN, LIKED = CODE["impressions"], CODE["favorites"]


def happen(handle: Handle, *events: Event) -> None:
    """Count the events and keep their people."""
    StreamCursor.objects.get_or_create(shard=0)
    batch = entries(handle.pk, [list(events)])
    rollups.apply(0, batch)
    reach.keep(0, batch)


def tweet_of(handle: Handle, number: int, *tags: str) -> Tweet:
    """The Tweet of this number of the small world of events, an hour older than the number before it."""
    created = NOW - timedelta(days=4, hours=-number)
    tweet_id = Event(0, number, 0, 0).tweet_id
    facts = {"text": "Fresh beans.", "created_at": created, "tags": list(tags), "is_stub": False}
    return Tweet.objects.update_or_create(handle=handle, tweet_id=tweet_id, defaults=facts)[0]


def crowd(tweet: int, people: Iterable[int], liked: Iterable[int] = (), unnamed: int = 0) -> list[Event]:
    """Who saw the Tweet of this number, once each, and who liked it; with impressions that name nobody."""
    seen = [Event(10_000 * tweet + person, tweet, SEEN, 300, person=person) for person in people]
    liking = [Event(10_000 * tweet + 5_000 + person, tweet, LIKED, 200, person=person) for person in liked]
    return [*seen, *liking, *([Event(10_000 * tweet, tweet, SEEN, 300, unnamed)] if unnamed else [])]
