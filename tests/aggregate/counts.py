"""Snapshots for the writers' tests: small worlds of events, and what sources that see them all would say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from metrics.models import InferredCount, TweetRollup
from metrics.stream import Cargo, Entry
from metrics.vocabulary.engagements import CODE, N_TYPES, NAMES, UNDO_OF
from metrics.vocabulary.periods import Grain
from metrics.vocabulary.snapshots import SNAPSHOT_DTYPE, UNSAID, Part
from tests.aggregate.events import NOW, Event

LIKES, UNLIKES, SHOWN, CLICKS = (CODE[name] for name in ("favorites", "unfavorites", "impressions", "url_clicks"))
SOURCE = 7
_SOCIAL = [(CODE[gain], CODE[undo]) for gain, undo in UNDO_OF.items() if gain in {"favorites", "retweets"}]
_NET = {CODE[gain]: CODE[undo] for gain, undo in UNDO_OF.items()}


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of the small world; `seconds` before NOW."""

    counts: dict[int, int]
    seconds: float
    tweet: int = 0
    source: int = SOURCE
    part: Part = Part.ORGANIC

    def packed(self, handle_id: int) -> bytes:
        record = np.zeros(1, dtype=SNAPSHOT_DTYPE)
        record["handle_id"], record["tweet_id"] = handle_id, Event(0, self.tweet, 0, 0).tweet_id
        record["source"], record["part"] = self.source, self.part
        record["as_of"] = round((NOW.timestamp() - self.seconds) * 1_000_000)
        record["counts"] = [self.counts.get(code, UNSAID) for code in range(N_TYPES)]
        return record.tobytes()


def entry(handle_id: int, items: Iterable[Event | Snapshot], number: int) -> Entry:
    """One stream entry of events, or of snapshots."""
    held = list(items)
    cargo = Cargo.SNAPSHOTS if isinstance(held[0], Snapshot) else Cargo.EVENTS
    return Entry(f"{int(NOW.timestamp() * 1000)}-{number}", b"".join(item.packed(handle_id) for item in held), cargo)


def true_counts(events: Iterable[Event], snapshot: Snapshot) -> dict[int, int]:
    """What a source that misses nothing says of the types that the snapshot names."""
    sums: Counter[int] = Counter()
    for event in events:
        of_part = snapshot.part is Part.BOTH or event.promoted == (snapshot.part is Part.PROMOTED)
        if event.tweet == snapshot.tweet and of_part and event.seconds >= snapshot.seconds:
            sums[event.code] += event.count
    return {code: sums[code] - sums[_NET.get(code, -1)] for code in snapshot.counts}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Event], list[Snapshot]]:
    """Up to 24 events of two Tweets, each undo after what it undoes, and up to 14 true snapshots of three sources."""
    seconds = st.integers(0, 2 * 86_400) | st.integers(0, 90)
    events: list[Event] = []
    for key in range(draw(st.integers(1, 12))):
        gain, undo = draw(st.sampled_from([*_SOCIAL, (SHOWN, -1), (CLICKS, -1)]))
        event = Event(key, draw(st.integers(0, 1)), gain, draw(seconds), draw(st.integers(1, 40)), draw(st.booleans()))
        events.append(event)
        if undo >= 0 and draw(st.booleans()):
            later, count = draw(st.integers(0, event.seconds)), draw(st.integers(1, event.count))
            events.append(replace(event, key=key + 100, code=undo, seconds=later, count=count))
    codes = st.sets(st.sampled_from([SHOWN, CLICKS, *(code for pair in _SOCIAL for code in pair)]), min_size=1)
    blank = st.builds(
        Snapshot,
        counts=codes.map(lambda named: dict.fromkeys(named, 0)),
        seconds=seconds,
        tweet=st.integers(0, 1),
        source=st.integers(1, 3),
        part=st.sampled_from(Part),
    )
    blanks = draw(st.lists(blank, min_size=1, max_size=14))
    return events, [replace(one, counts=true_counts(events, one)) for one in blanks]


def lifetimes(handle_id: int, *, by_part: bool = False) -> Counter[tuple[int | bool, ...]]:
    """(Tweet, type) → lifetime total, or (Tweet, type, promoted) →."""
    sums: Counter[tuple[int | bool, ...]] = Counter()
    for row in TweetRollup.objects.filter(handle_id=handle_id, grain=Grain.LIFETIME).values():
        for code, name in enumerate(NAMES):
            key = (row["tweet_id"], code, row["promoted"]) if by_part else (row["tweet_id"], code)
            sums[key] += row[name]
    return +sums


def true_lifetimes(events: Iterable[Event]) -> Counter[tuple[int | bool, ...]]:
    """(Tweet, type, promoted) → what the events add up to."""
    sums: Counter[tuple[int | bool, ...]] = Counter()
    for event in {event.key: event for event in events}.values():
        sums[event.tweet_id, event.code, event.promoted] += event.count
    return sums


def inferred(handle_id: int, code: int) -> list[tuple[float, int, bool]]:
    """(seconds before NOW, count, is history) of each piece of a type, oldest first."""
    rows = InferredCount.objects.filter(handle_id=handle_id).order_by("occurred_at")
    found = [((NOW - row.occurred_at).total_seconds(), row.counts[code], row.is_history) for row in rows]
    return [piece for piece in found if piece[1]]
