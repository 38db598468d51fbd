"""Who looks at what right now: a sorted set in Redis, scored by when the interest ends.

Its members are `handle`, `handle/tweet` for one Tweet's page, and `handle/*` for a stream of every Tweet.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from metrics import stream

KEY = "watched"
SECONDS = 45
RENEW_SECONDS = 15


def topic(handle_id: int, tweet_id: int | None = None) -> str:
    """The member of the set."""
    return f"{handle_id}/{tweet_id}" if tweet_id else str(handle_id)


def scores(topics: Collection[str]) -> dict[str, float]:
    """What to store for these topics now."""
    ends_at = time.time() + SECONDS
    return dict.fromkeys(topics, ends_at)


def every_tweet(handle_id: int) -> str:
    """The member of the set for all Tweets of a handle."""
    return f"{handle_id}/*"


@dataclass(slots=True)
class Watched:
    """The handles that pages show, the Tweets of theirs that have a page open, and the handles that streams follow."""

    handles: set[int] = field(default_factory=set)
    tweets: dict[int, set[int]] = field(default_factory=dict)
    followed: set[int] = field(default_factory=set)

    def add(self, member: str) -> None:
        """Take a member of the set."""
        handle, _, tweet = member.partition("/")
        if tweet == "*":
            self.followed.add(int(handle))
            return
        self.handles.add(int(handle))
        if tweet:
            self.tweets.setdefault(int(handle), set()).add(int(tweet))


def watched() -> Watched:
    """What somebody looks at; forgets what nobody renewed."""
    now = time.time()
    with stream.client().pipeline(transaction=False) as pipe:
        pipe.zremrangebyscore(KEY, "-inf", now)
        pipe.zrange(KEY, 0, -1)
        members = pipe.execute()[1]
    found = Watched()
    for member in members:
        found.add(member.decode())
    return found
