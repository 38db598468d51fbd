"""Who looks at what right now: a sorted set in Redis, `handle` or `handle/tweet` scored by when the interest ends."""

from __future__ import annotations

import time
from collections.abc import Collection

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


def watched() -> tuple[set[int], dict[int, set[int]]]:
    """The handles somebody looks at, and the Tweets by handle; forgets what nobody renewed."""
    now = time.time()
    with stream.client().pipeline(transaction=False) as pipe:
        pipe.zremrangebyscore(KEY, "-inf", now)
        pipe.zrange(KEY, 0, -1)
        members = pipe.execute()[1]
    handles: set[int] = set()
    tweets: dict[int, set[int]] = {}
    for member in members:
        handle, _, tweet = member.decode().partition("/")
        handles.add(int(handle))
        if tweet:
            tweets.setdefault(int(handle), set()).add(int(tweet))
    return handles, tweets
