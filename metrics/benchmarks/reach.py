"""What people cost: events a second through the writer of sketches, and how long reach, unions and overlaps take.

The writer is the product's own, working a shard that nobody else works, in this process: so its rate is that of one
core, with PostgreSQL and Redis beside it. The sketches that are read are stored as the writer would leave them:
500 Tweets of 28 days, most of whose people come on the first days.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from metrics import stream
from metrics.aggregate import reach
from metrics.benchmarks.guests import Guest, Guests
from metrics.benchmarks.installation import Installation
from metrics.benchmarks.measures import Meters
from metrics.benchmarks.timing import p95_ms
from metrics.models import OF_HANDLE, Audience
from metrics.query import audience, overlap
from metrics.query.audience import Member
from metrics.stream import Group
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import N_TYPES
from metrics.vocabulary.events import PACKED_DTYPE, snowflake_at
from metrics.vocabulary.periods import DAY, Grain, Period
from metrics.vocabulary.sketches import Sketch

EVENTS_PER_SECOND: Final = 200_000  # of the length asked for: how many there are, not how fast they come
EVENTS_A_POST: Final = 500
BUSY_TWEETS, CROWD = 200, 1_000_000
TWEETS, DAYS, FIRST_DAY_PEOPLE = 500, 28, 3_000
SETS, RUNS = 12, 60
_UNUSED_SHARD: Final = 8_191


def cost(installation: Installation, seconds: float, meters: Meters) -> dict[str, Any]:
    """Events a second through the writer, processor time for 10,000 of them, and p95 of the readers."""
    with Guests(handles=1, tweets=0) as guests:
        guest = guests.guests[0]
        writing = _written(guest, round(seconds * EVENTS_PER_SECOND), installation, meters)
        reading = _read(guest, meters)
    return {**writing, **reading}


def _written(guest: Guest, events: int, installation: Installation, meters: Meters) -> dict[str, Any]:
    with _shard_of_our_own() as shard:
        for payload in _posts(guest, events):
            stream.append(shard, payload)
        writer, kept = reach.Writer(shard), 0
        before, own, began = installation.cpu_seconds(), time.process_time(), time.perf_counter()
        with meters("Keeping people", "events", float(events)) as meter:
            while kept < events:
                kept += writer.step(10)
                meter.show(float(kept), kept)
        took, own = time.perf_counter() - began, time.process_time() - own
    after = installation.cpu_seconds()
    beside = sum(after.get(name, 0.0) - before.get(name, 0.0) for name in ("postgres", "redis"))
    return {
        "events_per_second": round(events / took, 1),
        "events": events,
        "cpu_seconds_for_10k_events": round((own + beside) / events * 10_000, 4),
        "writers_share_of_it": round(own / (own + beside), 2),
        "tweets": BUSY_TWEETS,
        "crowd": CROWD,
    }


@contextmanager
def _shard_of_our_own() -> Iterator[int]:
    """A shard that the installation's writers leave alone, because its leases are held."""
    leases = [stream.lease(_UNUSED_SHARD, group) for group in Group]
    for lease in leases:
        lease.timeout = 3_600
        lease.acquire(blocking=False)
    try:
        yield _UNUSED_SHARD
    finally:
        key = stream.stream_key(_UNUSED_SHARD)
        stream.client().delete(key, *(f"{key}:{name}" for name in ("added", "applied", Group.REACH)))
        for lease in leases:
            lease.release()


def _posts(guest: Guest, events: int) -> Iterator[bytes]:
    """Bodies of 500 events: six of ten are impressions, a third of them by people seen before."""
    random = np.random.default_rng(1)
    now = datetime.now(UTC)
    tweets = np.asarray([snowflake_at(now - timedelta(hours=2), number) for number in range(BUSY_TWEETS)])
    for _ in range(0, events, EVENTS_A_POST):
        batch = np.zeros(EVENTS_A_POST, dtype=PACKED_DTYPE)
        batch["handle_id"] = guest.handle.pk
        batch["tweet_id"] = tweets[random.integers(BUSY_TWEETS, size=EVENTS_A_POST)]
        batch["occurred_at"] = int(now.timestamp() * 1e6) - random.integers(60_000_000, size=EVENTS_A_POST)
        batch["person"] = _crowd(random, EVENTS_A_POST)
        batch["count"] = 1
        is_shown = random.random(EVENTS_A_POST) < 0.6
        batch["type"] = np.where(is_shown, 0, random.integers(1, N_TYPES, size=EVENTS_A_POST))
        yield batch.tobytes()


def _crowd(random: np.random.Generator, number: int) -> npt.NDArray[np.int64]:
    """People of a crowd, some of whom come far more often than others."""
    return np.asarray(1 + CROWD * random.random(number) ** 3, dtype=np.int64)


def _read(guest: Guest, meters: Meters) -> dict[str, Any]:
    until = periods.floor(datetime.now(UTC), DAY)
    born = until - (DAYS + 2) * DAY
    members = [Member(guest.handle.pk, snowflake_at(born, number)) for number in range(TWEETS)]
    stored = _store(guest, members, until, meters)
    # Ends a day ago, so that every Tweet's days are read, and not its one lifetime.
    asked = audience.span(Period(until - (DAYS + 1) * DAY, until - DAY), datetime.now(UTC))
    ever = audience.span(None, datetime.now(UTC))
    sets = [[member] for member in members[:SETS]]
    return {
        "tweet_p95_ms": p95_ms(lambda: audience.reached([members[:1]], ever), RUNS),
        "union_p95_ms": p95_ms(lambda: audience.people([members], asked, Audience.SEEN), RUNS),
        "overlap_p95_ms": p95_ms(lambda: overlap.overlap(sets, ever), RUNS),
        "sketches": stored,
        "runs": RUNS,
    }


def _store(guest: Guest, members: list[Member], until: datetime, meters: Meters) -> int:
    """Sketches by day, and lifetimes for those that are compared."""
    random, stored = np.random.default_rng(2), 0
    with meters("Sketches", "Tweets", float(len(members))) as meter:
        for place, member in enumerate(members):
            fresh, lifetime = {}, Sketch.of(())
            for day in range(DAYS):
                people = max(1, round(FIRST_DAY_PEOPLE / (day + 1) ** 1.5))
                sketch = Sketch.of(_crowd(random, people).tolist())
                start = int((until - (DAYS + 1 - day) * DAY).timestamp()) * 1_000_000
                fresh[_key(member, Grain.DAY, start)] = sketch
                lifetime |= sketch
            fresh[_key(member, Grain.LIFETIME, 0)] = lifetime
            reach.write(fresh)
            stored += len(fresh)
            meter.show(float(place + 1), place + 1)
    return stored


def _key(member: Member, grain: Grain, start: int) -> reach.Key:
    return reach.Key(member.handle_id, member.tweet_id or OF_HANDLE, grain, start, Audience.SEEN, 0)
