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
from itertools import accumulate
from typing import Any

from metrics import stream

# Upper bounds of the histogram's buckets, in milliseconds; the last bucket has none.
BOUNDS_MS = (5, 10, 25, 50, 75, 100, 150, 200, 250, 350, 500, 750, 1_000, 2_500, 5_000, 10_000, 60_000)
LATENCY_KEY = "telemetry:announce_latency"
BEAT_KEY = "telemetry:beat"
# What was applied at each of the last beats, `milliseconds:events`, newest first. Each machine has a beat.
APPLIED_KEY = "telemetry:applied"
SAMPLES_KEPT = 300


@dataclass(frozen=True, slots=True)
class Latencies:
    """How long announcements took: observations in each bucket (not cumulative), and their sum in ms."""

    counts: tuple[int, ...]
    total_ms: int

    def percentile(self, share: float) -> int | None:
        """The upper bound in ms under which this share (0 to 1) of all stayed; None when nothing was observed.

        What took longer than the largest bound is told as that bound.
        """
        if not sum(self.counts):
            return None
        bucket = bisect_left(list(accumulate(self.counts)), share * sum(self.counts))
        return BOUNDS_MS[min(bucket, len(BOUNDS_MS) - 1)]


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
    now_ms = time.time_ns() // 1_000_000
    applied = stream.applied_events()
    with stream.client().pipeline(transaction=True) as pipe:
        pipe.set(BEAT_KEY, now_ms)
        pipe.lpush(APPLIED_KEY, f"{now_ms}:{applied}")
        pipe.ltrim(APPLIED_KEY, 0, SAMPLES_KEPT - 1)
        pipe.execute()


def throughput(seconds: float = 60.0) -> float | None:
    """Events applied each second, over the last `seconds`; None when the beat left no sample in that time."""
    now_ms = time.time_ns() // 1_000_000
    rows: list[Any] = stream.client().lrange(APPLIED_KEY, 0, SAMPLES_KEPT - 1)
    samples = [tuple(map(int, row.split(b":"))) for row in rows]
    recent = [sample for sample in samples if now_ms - seconds * 1000 <= sample[0] < now_ms]
    if not recent:
        return None
    since_ms, before = recent[-1]
    return max(0, stream.applied_events() - before) / (now_ms - since_ms) * 1000


def last_beat_at() -> datetime | None:
    """When the beat was last heard; None when never."""
    heard = stream.client().get(BEAT_KEY)
    return datetime.fromtimestamp(int(heard) / 1000, UTC) if heard else None
