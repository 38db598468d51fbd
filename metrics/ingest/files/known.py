"""Our own files may come back to the installation that wrote them: what they say is then known, and not said again.

A total of ours from a moment ago differs from today's, and that is neither a rise nor a fall. So of each type a
snapshot is sent only where it says more than was ever counted here, together with the one before, which tells since
when; and where this source has said something of the type before, as then its words are compared with each other.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from django.db import connection

from metrics.ingest.files.batches import Counted
from metrics.vocabulary.engagements import N_TYPES, NAMES, Counts
from metrics.vocabulary.periods import EPOCH, Grain
from metrics.vocabulary.snapshots import UNSAID, Part


def drop_known(counted: Counted, handle_id: int, source_id: int) -> Counted:
    """The snapshots without what is known already; those of which nothing is left are gone."""
    if not len(counted):
        return counted
    order = np.lexsort((counted.as_of_us, counted.parts, counted.tweet_ids))
    sorted_ = counted.where(order)  # type: ignore[arg-type]  # places serve too
    more = sorted_.counts > _lifetimes(sorted_, handle_id)
    keep = _with_the_one_before(sorted_, more) | (last_said(sorted_, handle_id, source_id)[1] > 0)
    sorted_.counts = np.where(keep, sorted_.counts, UNSAID)
    kept = sorted_.where((sorted_.counts != UNSAID).any(axis=1))
    return kept.where(np.lexsort((kept.as_of_us, kept.lines)))  # type: ignore[arg-type]  # places serve too


def _with_the_one_before(counted: Counted, more: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> Counts:
    """From the snapshot before the first that says more: bool[n, 26], by Tweet and part."""
    begins = np.ones(len(counted), dtype=bool)
    begins[1:] = (counted.tweet_ids[1:] != counted.tweet_ids[:-1]) | (counted.parts[1:] != counted.parts[:-1])
    # Each run starts above everything before it, so that one pass of maxima serves all of them.
    floor = 2 * np.cumsum(begins)[:, None]
    since = np.maximum.accumulate(more + floor, axis=0) > floor
    before = np.zeros_like(since)
    before[:-1] = since[1:] & ~begins[1:, None]
    return np.asarray(since | before)


def _lifetimes(counted: Counted, handle_id: int) -> Counts:
    """What was ever gained of each snapshot's Tweet and part: int64[n, 26]. No total of ours was ever above it."""
    ids = np.unique(counted.tweet_ids)
    totals = np.zeros((len(ids), len(Part), N_TYPES), dtype=np.int64)
    of = {"handle_id": handle_id, "tweet_ids": ids.tolist(), "grain": Grain.LIFETIME.value, "start": EPOCH}
    rows = _rows("lifetimes.sql", **of)
    for tweet_id, promoted, *counts in rows:
        totals[np.searchsorted(ids, tweet_id), Part.PROMOTED if promoted else Part.ORGANIC] = counts
    totals[:, Part.BOTH] = totals[:, Part.ORGANIC] + totals[:, Part.PROMOTED]
    return np.asarray(totals[np.searchsorted(ids, counted.tweet_ids), counted.parts])


def last_said(counted: Counted, handle_id: int, source_id: int) -> tuple[Counts, Counts]:
    """What the source last said of each snapshot's Tweet and part, and as of when (Unix µs, 0: never): int64[n, 26]."""
    counts, as_of = np.full((len(counted), N_TYPES), UNSAID), np.zeros((len(counted), N_TYPES), dtype=np.int64)
    ids = np.unique(counted.tweet_ids).tolist()
    rows = _rows("last_said.sql", handle_id=handle_id, source_id=source_id, tweet_ids=ids)
    said = {(tweet_id, part): vectors for tweet_id, part, *vectors in rows}
    if said:
        for place, pair in enumerate(zip(counted.tweet_ids.tolist(), counted.parts.tolist(), strict=True)):
            if pair in said:
                counts[place], as_of[place] = said[pair]
    return counts, as_of


def _rows(name: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(_statement(name), parameters)
        return list(cursor.fetchall())


@cache
def _statement(name: str) -> str:
    return Path(__file__).with_name(name).read_text().replace("{names}", ", ".join(NAMES))
