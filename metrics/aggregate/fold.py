"""The fold: minutes are added to every grain of Tweet and handle, by one statement for events and inferred counts.

Events are added up by the database, which alone knows which of them are new; inferred counts before they get there.
"""

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
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from metrics.aggregate.binary import Layout, Records
from metrics.aggregate.statements import named
from metrics.vocabulary import events as vocabulary
from metrics.vocabulary.engagements import CODE, N_TYPES, NAMES
from metrics.vocabulary.periods import Grain

MINUTE_US = 60_000_000
CHANGE = np.dtype(
    [
        ("handle_id", "<i8"),
        ("tweet_id", "<i8"),
        ("promoted", "u1"),
        ("minute", "<i8"),
        ("received_at", "<i8"),
        ("counts", "<i8", (N_TYPES,)),
        ("is_first", "u1"),
        ("is_stub", "u1"),
    ]
)
"""Signed counts of a Tweet at an instant. `is_first`: the Tweet has no rollups yet; `is_stub`: nor is it known."""
_BUCKET = (("promoted", "boolean"), ("grain", "smallint"), ("start", "instant"), ("counts", "types"))
_TWEETS = Layout(("handle_id", "bigint"), ("tweet_id", "bigint"), *_BUCKET)
_HANDLES = Layout(("handle_id", "bigint"), *_BUCKET)
_STUBS = Layout(("handle_id", "bigint"), ("tweet_id", "bigint"))
_FEEDS = Layout(("handle_id", "bigint"), ("last_event_at", "instant"), ("last_received_at", "instant"))


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
    """Add signed counts (records of CHANGE, in any order) to the rollups, inside the caller's transaction."""
    records = _of_whole_minutes(records)
    if not len(records):
        return ()
    sql = named("changes.sql")
    with connection.cursor() as cursor:
        cursor.execute(sql["tables"])
        _copy_changes(cursor, records)
        cursor.execute(statement("changes"), constants())
        found = {handle_id: (sequence, fresh) for handle_id, sequence, fresh in cursor.fetchall()}
        # A second fold of the same transaction must not count them again.
        cursor.execute(sql["clear"])
    return tuple(commits(records, records["minute"], found))


def _copy_changes(cursor: CursorWrapper, records: Records) -> None:
    buckets = [_buckets(records, grain) for grain in Grain]
    handles = [summed(of_grain, ("handle_id", "promoted", "start")) for of_grain in buckets]
    tweets = np.concatenate(buckets)
    # Rows of a Tweet that has none cannot collide with any: they need not go through the temporary table.
    is_first = tweets["is_first"] == 1
    _TWEETS.copy_in(cursor, "metrics_tweetrollup", tweets[is_first])
    _TWEETS.copy_in(cursor, "changed_tweets", tweets[~is_first])
    _HANDLES.copy_in(cursor, "changed_handles", np.concatenate(handles))
    stubs = records[records["is_stub"] == 1]
    _STUBS.copy_in(cursor, "changed_stubs", stubs[begins(stubs, ("handle_id", "tweet_id"))])
    feeds = np.empty(len(np.unique(records["handle_id"])), dtype=_FEEDS.dtype)
    for place, handle_id in enumerate(np.unique(records["handle_id"])):
        mine = records[records["handle_id"] == handle_id]
        feeds[place] = handle_id, mine["minute"].max(), mine["received_at"].max()
    _FEEDS.copy_in(cursor, "changed_feeds", feeds)


def _buckets(records: Records, grain: Grain) -> Records:
    """The buckets of a grain that sorted records, each of a minute, add up to: floors keep their order."""
    if grain is Grain.MINUTE:
        records = records[records["minute"] >= int(minutes_since().timestamp() * 1e6)]
    length = None if grain is Grain.LIFETIME else int(grain.length.total_seconds()) * 1_000_000
    buckets = np.empty(len(records), dtype=[*_TWEETS.dtype.descr, ("is_first", "u1")])
    for name in ("handle_id", "tweet_id", "promoted", "counts", "is_first"):
        buckets[name] = records[name]
    buckets["grain"] = grain
    buckets["start"] = 0 if length is None else records["minute"] - records["minute"] % length
    return _added_up(buckets, ("handle_id", "tweet_id", "promoted", "start"))


def _of_whole_minutes(records: Records) -> Records:
    """One record for each Tweet, kind and minute, in this order, without those that change nothing."""
    records = records.copy()
    records["minute"] -= records["minute"] % MINUTE_US
    records = summed(records, ("handle_id", "tweet_id", "promoted", "minute"))
    changed: Records = records[records["counts"].any(axis=1)]
    return changed


def begins(records: Records, key: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Where each run of one key begins, of records that are sorted by it."""
    is_first = np.ones(len(records), dtype=bool)
    is_first[1:] = np.logical_or.reduce([records[name][1:] != records[name][:-1] for name in key])
    return is_first


def summed(records: Records, key: tuple[str, ...]) -> Records:
    """One record for each key, in key order, with the sum of its counts; other fields are one of them's."""
    return _added_up(records[np.lexsort([records[name] for name in reversed(key)])], key)


def _added_up(records: Records, key: tuple[str, ...]) -> Records:
    is_first = begins(records, key)
    if is_first.all():
        return records
    added = records[is_first]
    added["counts"] = np.add.reduceat(records["counts"], np.flatnonzero(is_first), axis=0)
    return added


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
    """The whole statement over the buckets of `events` or `changes`."""
    here = Path(__file__)
    head = named("changes.sql")["buckets"] if source == "changes" else here.with_name("events.sql").read_text()
    template = head + "\n" + here.with_name("fold.sql").read_text()
    columns = {
        "names": "{0}",
        "sums": "coalesce(sum(n) FILTER (WHERE type = {1}), 0) AS {0}",
        "totals": "sum({0}) AS {0}",
        "casts": "{0}::bigint",
        "increments": "{0} = kept.{0} + excluded.{0}",
    }
    named_sum = "coalesce(sum(n) FILTER (WHERE is_named), 0) AS named_impressions"
    for slot, shape in columns.items():
        parts = [shape.format(name, code) for code, name in enumerate(NAMES)]
        parts.append(named_sum if slot == "sums" else shape.format("named_impressions"))
        template = template.replace(f"{{{slot}}}", ", ".join(parts))
    return template


def constants() -> dict[str, Any]:
    """The statement's parameters."""
    return {
        "minutes_since": minutes_since(),
        "impressions": CODE["impressions"],
        "first_snowflake": vocabulary.FIRST_SNOWFLAKE,
        "first_tweet_at": vocabulary.FIRST_TWEET_AT,
        "twitter_epoch_ms": vocabulary.TWITTER_EPOCH_MS,
    }
