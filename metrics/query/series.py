"""Counts by display bucket, read from the rollups: exact, and their sum is the period's total."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.db import connection, transaction

from metrics.models import TweetRollup
from metrics.vocabulary.engagements import N_TYPES, NAMES
from metrics.vocabulary.periods import EPOCH, Grain, cover_buckets, display_edges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from metrics.vocabulary.engagements import Counts
    from metrics.vocabulary.periods import DisplayGrain, Period, Piece

# PostgreSQL's binary format: a header, then for each row how many fields, and each field after its length.
_HEADER = 19
_FIELD = np.dtype([("length", ">i4"), ("value", ">i8")])
_ROW = np.dtype([("fields_count", ">i2"), ("fields", _FIELD, 3 + N_TYPES)])
SUMS = ", ".join(f"sum(rollup.{name})::bigint" for name in NAMES)


def load_sql(name: str, **parts: str) -> str:
    """A statement from its file in this package, with its {parts} filled in."""
    return (Path(__file__).parent / name).read_text().format(**parts)


_PLAIN = ", ".join(f"rollup.{name}" for name in NAMES)
# Summed, and as they are stored.
_HANDLE_SUMS = {
    True: load_sql("handle_sums.sql", sums=SUMS, grouping="GROUP BY 2, 3"),
    False: load_sql("handle_sums.sql", sums=_PLAIN, grouping=""),
}
_TWEET_SUMS = {
    True: load_sql("tweet_sums.sql", sums=SUMS, grouping="GROUP BY 1, 2, 3"),
    False: load_sql("tweet_sums.sql", sums=_PLAIN, grouping=""),
}
_COHORT_SUMS = load_sql("cohort_sums.sql", sums=SUMS)


@dataclass(frozen=True, slots=True)
class Series:
    """Counts of n display buckets: their starts (UTC) and an int64[n, 2, 26]."""

    starts: tuple[datetime, ...]
    counts: Counts

    @property
    def totals(self) -> Counts:
        """int64[2, 26]: the sum over all buckets."""
        return np.asarray(self.counts.sum(axis=0), dtype=np.int64)


@contextmanager
def snapshot() -> Iterator[None]:
    """All queries inside see the same moment. Inside a caller's transaction, the caller's isolation holds."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def handle_series(handle_id: int, period: Period, grain: DisplayGrain, zone: ZoneInfo) -> Series:
    """What happened to all of a handle's Tweets, by display bucket."""
    edges = display_edges(period, grain, zone)
    return Series(tuple(edges[:-1]), _handle_counts(handle_id, edges))


def handle_totals(handle_id: int, period: Period) -> Counts:
    """int64[2, 26]: what happened to all of a handle's Tweets in a period of whole minutes."""
    return np.asarray(_handle_counts(handle_id, [period.since, period.until])[0], dtype=np.int64)


def tweet_series(
    handle_id: int, tweet_ids: Sequence[int], period: Period, grain: DisplayGrain, zone: ZoneInfo
) -> dict[int, Series]:
    """A series for each Tweet asked for, by id; all zero for one that is unknown or not the handle's."""
    edges = display_edges(period, grain, zone)
    counts = _tweet_counts(handle_id, tweet_ids, edges)
    starts = tuple(edges[:-1])
    return {tweet_id: Series(starts, counts[place]) for place, tweet_id in enumerate(tweet_ids)}


def tweet_totals(handle_id: int, tweet_ids: Sequence[int], period: Period) -> dict[int, Counts]:
    """int64[2, 26] for each Tweet asked for: what happened to it in a period of whole minutes."""
    counts = _tweet_counts(handle_id, tweet_ids, [period.since, period.until])
    return {tweet_id: counts[place, 0] for place, tweet_id in enumerate(tweet_ids)}


def tweet_lifetimes(handle_id: int, tweet_ids: Sequence[int]) -> dict[int, Counts]:
    """int64[2, 26] for each Tweet asked for: all that ever happened to it."""
    lifetimes = {tweet_id: np.zeros((2, N_TYPES), dtype=np.int64) for tweet_id in tweet_ids}
    rows = TweetRollup.objects.filter(
        handle_id=handle_id, tweet_id__in=list(lifetimes), grain=Grain.LIFETIME, start=EPOCH
    ).values_list("tweet_id", "promoted", *NAMES)
    for tweet_id, promoted, *counts in rows:
        lifetimes[tweet_id][int(promoted)] = counts
    return lifetimes


def cohort_series(handle_id: int, period: Period, grain: DisplayGrain, zone: ZoneInfo) -> Series:
    """The lifetime counts of the Tweets created in the period, by display bucket of their creation."""
    edges = display_edges(period, grain, zone)
    return Series(tuple(edges[:-1]), _cohort_counts(handle_id, edges))


def cohort_totals(handle_id: int, period: Period) -> Counts:
    """int64[2, 26]: the lifetime counts of the Tweets created in the period."""
    return np.asarray(_cohort_counts(handle_id, [period.since, period.until])[0], dtype=np.int64)


def _handle_counts(handle_id: int, edges: list[datetime]) -> Counts:
    """int64[buckets, 2, 26]."""
    counts = np.zeros((len(edges) - 1, 2, N_TYPES), dtype=np.int64)
    pieces = cover_buckets(edges)
    statement = _HANDLE_SUMS[_needs_sums(pieces, edges)]
    for params in piece_params(pieces):
        rows = fetch_counts(statement, handle_id=handle_id, edges=edges, **params)
        # A bucket may be made of rollups of several grains, but comes once from each.
        counts[rows[:, 1], rows[:, 2]] += rows[:, 3:]
    return counts


def _tweet_counts(handle_id: int, tweet_ids: Sequence[int], edges: list[datetime]) -> Counts:
    """int64[tweets, buckets, 2, 26]."""
    order = np.argsort(np.asarray(tweet_ids, dtype=np.int64))
    ordered = np.asarray(tweet_ids, dtype=np.int64)[order]
    counts = np.zeros((len(tweet_ids), len(edges) - 1, 2, N_TYPES), dtype=np.int64)
    given: dict[str, Any] = {"handle_id": handle_id, "tweet_ids": list(tweet_ids), "edges": edges}
    pieces = cover_buckets(edges) if tweet_ids else []
    statement = _TWEET_SUMS[_needs_sums(pieces, edges)]
    for params in piece_params(pieces):
        rows = fetch_counts(statement, **given, **params)
        places = order[np.searchsorted(ordered, rows[:, 0])]
        counts[places, rows[:, 1], rows[:, 2]] += rows[:, 3:]
    return counts


def _needs_sums(pieces: Sequence[Piece], edges: Sequence[datetime]) -> bool:
    """Whether some display bucket is made of several storage buckets."""
    return sum((piece.until - piece.since) // piece.grain.length for piece in pieces) > len(edges) - 1


def _cohort_counts(handle_id: int, edges: list[datetime]) -> Counts:
    counts = np.zeros((len(edges) - 1, 2, N_TYPES), dtype=np.int64)
    given = {"handle_id": handle_id, "edges": edges, "since": edges[0], "until": edges[-1]}
    rows = fetch_counts(_COHORT_SUMS, grain=Grain.LIFETIME.value, **given)
    counts[rows[:, 1], rows[:, 2]] += rows[:, 3:]
    return counts


def piece_params(pieces: Sequence[Piece]) -> Iterator[dict[str, Any]]:
    """The parameters of one query for each storage grain among the pieces."""
    by_grain = attrgetter("grain")
    for grain, group in groupby(sorted(pieces, key=by_grain), key=by_grain):
        some = list(group)
        sinces, untils = [piece.since for piece in some], [piece.until for piece in some]
        bounds = {"since": min(sinces), "until": max(untils)}
        yield {"grain": grain.value, "sinces": sinces, "untils": untils, **bounds}


def fetch_counts(sql: str, **params: Any) -> Counts:
    """int64[rows, 3 + 26]: the answer of a statement about tweet_id, bucket, promoted and the 26 counts, all bigint.

    As a binary copy, which numpy reads as it is: 25 Tweets by hour may be a million numbers.
    """
    copied = "COPY ({}) TO STDOUT (FORMAT BINARY)".format
    with connection.cursor() as cursor, cursor.copy(copied(cursor.mogrify(sql, params))) as copy:
        data = b"".join(copy)
    found = np.frombuffer(data, dtype=_ROW, offset=_HEADER, count=(len(data) - _HEADER) // _ROW.itemsize)
    return np.asarray(found["fields"]["value"], dtype=np.int64)


def fetch(sql: str, **params: Any) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
