"""Facts about Tweets and events that need no database: snowflakes, limits, and keys."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from metrics.vocabulary.engagements import N_TYPES

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


# One accepted event as it travels through the stream: little-endian, no padding, ready for numpy.
# `occurred_at` is in Unix microseconds; `person` is 0 where nobody was named; `type` indexes `engagements.TYPES`;
# `flags` is whether it was promoted, in the lowest bit, and above it the epoch of the key that `person` is hashed with.
PACKED = struct.Struct("<qqq16sqiBB")
PACKED_DTYPE = np.dtype(
    [
        ("handle_id", "<i8"),
        ("tweet_id", "<i8"),
        ("occurred_at", "<i8"),
        ("event_key", "V16"),
        ("person", "<i8"),
        ("count", "<i4"),
        ("type", "u1"),
        ("flags", "u1"),
    ]
)
MAX_EPOCH = 127


def unpack(payload: bytes) -> npt.NDArray[np.void]:
    """The events of a stream entry as an array of PACKED_DTYPE, in place.

    Raises ValueError when the payload is not a whole number of events or names a type that does not exist.
    """
    events = np.frombuffer(payload, dtype=PACKED_DTYPE)
    if events.size == 0 or events["type"].max() >= N_TYPES or events["count"].min() < 1:
        raise ValueError("the entry holds no events, an unknown type or a count below 1")
    return events
