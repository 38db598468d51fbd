"""What the running parts tell about themselves, kept in Redis so that any process can show it.

The time from an event's arrival to its announcement is observed in Celery's processes and read in the web's:
so the histogram is a Redis hash with one field for each bucket. The beat leaves the time of its last tick.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from metrics import stream

# Upper bounds of the histogram's buckets, in milliseconds; the last bucket has none.
BOUNDS_MS = (5, 10, 25, 50, 75, 100, 150, 200, 250, 350, 500, 750, 1_000, 2_500, 5_000, 10_000, 60_000)
LATENCY_KEY = "telemetry:announce_latency"
BEAT_KEY = "telemetry:beat"


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long announcements took: observations in each bucket (not cumulative), and their sum in ms."""

    counts: tuple[int, ...]
    total_ms: int


def observe_announcement(arrivals_us: Iterable[int], announced_us: int | None = None) -> None:
    """Note for each batch how long after its arrival (Unix µs) it was announced (now, when not given)."""
    now = time.time_ns() // 1000 if announced_us is None else announced_us
    waits = [max(0, (now - arrived) // 1000) for arrived in arrivals_us]
    if not waits:
        return
    buckets = Counter(bisect_left(BOUNDS_MS, wait) for wait in waits)
    with stream.client().pipeline(transaction=False) as pipe:
        for bucket, seen in buckets.items():
            pipe.hincrby(LATENCY_KEY, str(bucket), seen)
        pipe.hincrby(LATENCY_KEY, "total_ms", sum(waits))
        pipe.execute()


def latencies() -> Latencies:
    """Everything observed since Redis was first started."""
    names = [*map(str, range(len(BOUNDS_MS) + 1)), "total_ms"]
    *counts, total_ms = (int(value or 0) for value in stream.client().hmget(LATENCY_KEY, names))
    return Latencies(tuple(counts), total_ms)


def note_beat() -> None:
    """Called by the timetable's most frequent task: the beat sent it, and a worker lives to run it."""
    stream.client().set(BEAT_KEY, time.time_ns() // 1_000_000)


def last_beat_at() -> datetime | None:
    """When the beat was last heard; None when never."""
    heard = stream.client().get(BEAT_KEY)
    return datetime.fromtimestamp(int(heard) / 1000, UTC) if heard else None
