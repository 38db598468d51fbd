"""The fold: minutes are added to every grain of Tweet and handle, by one statement for events and inferred counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from django.conf import settings
from django.db import connection
from django.utils import timezone

from metrics.aggregate.binary import Layout, Records
from metrics.vocabulary import events as vocabulary
from metrics.vocabulary.engagements import NAMES

MINUTE_US = 60_000_000
CHANGES = Layout(
    ("handle_id", "bigint"),
    ("tweet_id", "bigint"),
    ("promoted", "boolean"),
    ("minute", "instant"),
    ("received_at", "instant"),
    ("counts", "types"),
)
_CHANGES_TABLE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS changes (
    handle_id bigint, tweet_id bigint, promoted boolean, minute timestamptz, received_at timestamptz,
    {", ".join(f"{name} bigint" for name in NAMES)}
) ON COMMIT DELETE ROWS
"""


@dataclass(frozen=True, slots=True)
class HandleCommit:
    """What one commit changed of one handle: its new sequence, and which minutes of which Tweets have new totals."""

    handle_id: int
    sequence: int
    fresh: int
    received_at: datetime
    minutes: frozenset[int]
    tweets: dict[int, tuple[int, frozenset[int]]]
    """Tweet id → (events or inferred minutes, minutes); minutes are Unix seconds."""


def minutes_since() -> datetime:
    """The first instant whose minutes are kept: midnight (UTC), MINUTE_DAYS ago."""
    return timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=settings.MINUTE_DAYS)


def changes(records: Records) -> tuple[HandleCommit, ...]:
    """Add signed counts (records of CHANGES.dtype, in any order) to the rollups, inside the caller's transaction."""
    records = _of_whole_minutes(records)
    if not len(records):
        return ()
    with connection.cursor() as cursor:
        cursor.execute(_CHANGES_TABLE)
        CHANGES.copy_in(cursor, "changes", records)
        cursor.execute(statement("changes"), constants())
        rows = cursor.fetchall()
        # A second fold of the same transaction must not count them again.
        cursor.execute("DELETE FROM changes")
    found = {(handle_id): (sequence, fresh) for handle_id, sequence, fresh in rows}
    return tuple(commits(records, records["minute"], found))


def _of_whole_minutes(records: Records) -> Records:
    """One record for each Tweet, kind and minute, without those that change nothing."""
    records = records.copy()
    records["minute"] -= records["minute"] % MINUTE_US
    records = summed(records, ("handle_id", "tweet_id", "promoted", "minute"))
    changed: Records = records[records["counts"].any(axis=1)]
    return changed


def summed(records: Records, key: tuple[str, ...]) -> Records:
    """One record for each key, in key order, with the sum of its counts; other fields are the last one's."""
    if not len(records):
        return records
    records = records[np.lexsort([records[name] for name in reversed(key)])]
    is_first = np.ones(len(records), dtype=bool)
    is_first[1:] = np.logical_or.reduce([records[name][1:] != records[name][:-1] for name in key])
    starts = np.flatnonzero(is_first)
    last: Records = records[np.append(starts[1:], len(records)) - 1]
    last["counts"] = np.add.reduceat(records["counts"], starts, axis=0)
    return last


def commits(batch: Records, instants: npt.NDArray[Any], found: dict[int, tuple[int, int]]) -> Iterator[HandleCommit]:
    """The commit of each handle, by {handle id: (sequence, fresh)}; instants (Unix µs) are those of the batch."""
    for handle_id, (sequence, fresh) in found.items():
        places = np.flatnonzero(batch["handle_id"] == handle_id)
        mine, starts = batch[places], instants[places] // MINUTE_US * 60
        tweet_ids, place, sizes = np.unique(mine["tweet_id"], return_inverse=True, return_counts=True)
        pairs = np.unique(np.stack([place, starts]), axis=1)
        edges = np.searchsorted(pairs[0], np.arange(len(tweet_ids) + 1))
        tweets = {
            int(tweet_id): (int(sizes[n]), frozenset(pairs[1, edges[n] : edges[n + 1]].tolist()))
            for n, tweet_id in enumerate(tweet_ids)
        }
        received_at = datetime.fromtimestamp(int(mine["received_at"].max()) / 1e6, UTC)
        yield HandleCommit(handle_id, sequence, fresh, received_at, frozenset(np.unique(starts).tolist()), tweets)


@cache
def statement(source: str) -> str:
    """The whole statement over the minutes of `events` or `changes`."""
    here = Path(__file__)
    template = here.with_name("fold.sql").read_text()
    template = template.replace("{minutes}", here.with_name(f"{source}.sql").read_text().strip())
    columns = {
        "names": "{0}",
        "floats": "{0}::float8 AS {0}",
        "sums": "coalesce(sum(n) FILTER (WHERE type = {1}), 0) AS {0}",
        "totals": "sum({0}) AS {0}",
        "casts": "{0}::bigint",
        "handle_casts": "sum({0})::bigint",
        "increments": "{0} = kept.{0} + excluded.{0}",
    }
    for slot, shape in columns.items():
        text = ", ".join(shape.format(name, code) for code, name in enumerate(NAMES))
        template = template.replace(f"{{{slot}}}", text)
    return template


def constants() -> dict[str, Any]:
    """The statement's parameters."""
    return {
        "minutes_since": minutes_since(),
        "first_snowflake": vocabulary.FIRST_SNOWFLAKE,
        "first_tweet_at": vocabulary.FIRST_TWEET_AT,
        "twitter_epoch_ms": vocabulary.TWITTER_EPOCH_MS,
    }
