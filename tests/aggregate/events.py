"""Events for the writers' tests: small worlds of a few Tweets, minutes and types."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import strategies as st

from metrics.models import TweetRollup
from metrics.stream import Entry
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.events import PACKED, snowflake_at
from metrics.vocabulary.periods import Grain

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
# The Tweet of this number is older than live charts reach.
OLD = 9
SPAN = {Grain.MINUTE: 60, Grain.QUARTER: 900, Grain.HOUR: 3600, Grain.DAY: 86_400}


@dataclass(frozen=True)
class Event:
    """One event of the small world; `seconds` before NOW."""

    key: int
    tweet: int
    code: int
    seconds: int
    count: int = 1
    promoted: bool = False
    person: int = 0
    epoch: int = 0

    @property
    def occurred(self) -> int:
        return int((NOW - timedelta(seconds=self.seconds)).timestamp())

    @property
    def tweet_id(self) -> int:
        return snowflake_at(NOW - timedelta(days=50 if self.tweet == OLD else 4), self.tweet)

    def packed(self, handle_id: int) -> bytes:
        key = hashlib.blake2b(str(self.key).encode(), digest_size=16).digest()
        who, flags = self.person, self.epoch << 1 | self.promoted
        return PACKED.pack(handle_id, self.tweet_id, self.occurred * 1_000_000, key, who, self.count, self.code, flags)


_any_event = st.builds(
    Event,
    key=st.integers(0, 10**6),
    tweet=st.integers(0, 3),
    code=st.integers(0, len(NAMES) - 1),
    seconds=st.integers(0, 3 * 86_400),
    count=st.integers(1, 1_000_000),
)


def worlds() -> st.SearchStrategy[list[Event]]:
    """Up to 30 events with distinct keys; likes may be promoted."""
    distinct = st.lists(_any_event, min_size=1, max_size=30, unique_by=lambda event: event.key)
    return distinct.map(
        lambda found: [replace(event, promoted=event.code == 1 and event.key % 2 == 1) for event in found]
    )


def entries(handle_id: int, batches: Iterable[list[Event]], first: int = 1) -> list[Entry]:
    """One stream entry for each batch, in order."""
    base = int(NOW.timestamp() * 1000)
    return [
        Entry(f"{base}-{first + place}", b"".join(event.packed(handle_id) for event in batch))
        for place, batch in enumerate(batches)
    ]


def expected(events: Iterable[Event]) -> Counter[tuple[int, int, int, bool, str]]:
    """(tweet, grain, start in Unix seconds, promoted, type) → sum, as plain arithmetic."""
    sums: Counter[tuple[int, int, int, bool, str]] = Counter()
    for event in events:
        starts = [(grain, event.occurred // span * span) for grain, span in SPAN.items()]
        for grain, start in [*starts, (Grain.LIFETIME, 0)]:
            sums[(event.tweet_id, int(grain), start, event.promoted, NAMES[event.code])] += event.count
    return sums


def stored(handle_id: int) -> Counter[tuple[int, int, int, bool, str]]:
    """The same of the rollups."""
    sums: Counter[tuple[int, int, int, bool, str]] = Counter()
    for row in TweetRollup.objects.filter(handle_id=handle_id).values():
        for name in NAMES:
            if row[name]:
                sums[(row["tweet_id"], row["grain"], int(row["start"].timestamp()), row["promoted"], name)] = row[name]
    return sums


def column_sums(rows: Iterable[dict[str, int]]) -> list[int]:
    """The sum of each type over rows of rollups."""
    return [int(np.sum([row[name] for row in found])) for found in [list(rows)] for name in NAMES]
