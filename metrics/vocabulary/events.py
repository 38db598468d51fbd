"""Facts about Tweets and events that need no database: snowflakes, limits, and keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

TWITTER_EPOCH_MS = 1_288_834_974_657
# Earlier Tweets were numbered one by one; from here on an id holds its time of creation.
FIRST_SNOWFLAKE = 30_000_000_000
FIRST_TWEET_AT = datetime(2006, 3, 21, tzinfo=UTC)
MAX_TWEET_ID = 2**63 - 1
CLOCK_TOLERANCE = timedelta(minutes=5)
MAX_EVENT_ID_LENGTH = 64
MAX_COUNT = 1_000_000


def tweet_created_ms(tweet_id: int) -> int:
    """When the Tweet was created, in Unix milliseconds; for ids before snowflakes the first Tweet's day."""
    if tweet_id < FIRST_SNOWFLAKE:
        return int(FIRST_TWEET_AT.timestamp() * 1000)
    return (tweet_id >> 22) + TWITTER_EPOCH_MS


def tweet_created_at(tweet_id: int) -> datetime:
    """`tweet_created_ms` as an aware instant."""
    return datetime.fromtimestamp(tweet_created_ms(tweet_id) / 1000, UTC)


def snowflake_at(instant: datetime, sequence: int = 0) -> int:
    """A Tweet id whose snowflake holds this instant (to the millisecond); `sequence` < 2**22 tells ids apart."""
    return ((int(instant.timestamp() * 1000) - TWITTER_EPOCH_MS) << 22) | sequence
