"""Inferred counts: what snapshots said beyond the known events, laid down in pieces, and given up to late events.

A late event, one that a snapshot had covered already, takes its count out of a piece of its Tweet: so nothing counts
twice, whatever arrives first. Pieces of its own part come first, then those of BOTH; of each the one whose snapshot is
the oldest that can have covered it. That leaves every other late event a piece to take from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from django.db import connection
from django.db.backends.utils import CursorWrapper

from metrics.aggregate import fold
from metrics.aggregate.arrivals import Batch
from metrics.aggregate.binary import Layout, Records, joined
from metrics.aggregate.differences import Ints
from metrics.aggregate.statements import named
from metrics.vocabulary.snapshots import Part

ROWS = Layout(
    ("handle_id", "bigint"),
    ("tweet_id", "bigint"),
    ("as_of", "instant"),
    ("source_id", "bigint"),
    ("part", "smallint"),
    ("promoted", "boolean"),
    ("occurred_at", "instant"),
    ("counts", "vector"),
    ("is_history", "boolean"),
    ("received_at", "instant"),
)
KEY = ("handle_id", "tweet_id", "as_of", "source_id", "part", "promoted", "occurred_at")
SOUGHT = Layout(("handle_id", "bigint"), ("tweet_id", "bigint"), ("as_of", "instant"), ("part", "smallint"))
_CANDIDATES = Layout(("place", "integer"), ("handle_id", "bigint"), ("occurred_at", "instant"), ("event_key", "uuid"))
_COUNTED = Layout(("place", "integer"))
MOST_PIECES = 24
DAY_US = 86_400_000_000
# History of Tweets older than this is one piece at their creation: rolling live charts never see it.
_OLD_US = 28 * DAY_US


class Share(NamedTuple):
    """Counts to lay down between two instants (Unix µs): arrays [n], `counts` [n, 26]."""

    snapshots: Records
    counts: Ints
    since: Ints
    part: Ints
    is_history: npt.NDArray[np.bool_]
    at_once: npt.NDArray[np.bool_]


def shares(snapshots: Records, created_at: Ints, added: Ints, since: Ints, part: Ints) -> Share:
    """What the snapshots add, by stretch of time: mostly one for each, more when types were last told apart."""
    place, code = np.nonzero(added)
    key = np.stack([place, since[place, code], part[place, code]])
    order = np.lexsort(key[::-1])
    place, code, key = place[order], code[order], key[:, order]
    is_first = np.ones(len(place), dtype=bool)
    is_first[1:] = (key[:, 1:] != key[:, :-1]).any(axis=0)
    group = np.cumsum(is_first) - 1
    counts = np.zeros((int(is_first.sum()), added.shape[1]), dtype=np.int64)
    counts[group, code] = added[place, code]
    place, begins, parts = key[:, is_first]
    is_history = begins == 0
    as_of = snapshots["as_of"][place]
    begins = np.minimum(np.where(is_history, created_at[place], begins), as_of)
    return Share(snapshots[place], counts, begins, parts, is_history, is_history & (as_of - begins > _OLD_US))


def pieces(share: Share) -> Records:
    """Rows of inferred counts: each share in at most 24 even parts, at least a minute apart; the sum is exact."""
    as_of = share.snapshots["as_of"]
    span = as_of - share.since
    number = np.minimum(np.clip(span // fold.MINUTE_US, 1, MOST_PIECES), share.counts.max(axis=1, initial=1))
    number[share.at_once] = 1
    of = np.repeat(np.arange(len(number)), number)
    place = np.arange(len(of)) - np.repeat(np.cumsum(number) - number, number)
    rows = np.empty(len(of), dtype=ROWS.dtype)
    for name, field in (("handle_id",) * 2, ("tweet_id",) * 2, ("as_of",) * 2, ("source_id", "source")):
        rows[name] = share.snapshots[field][of]
    rows["received_at"] = share.snapshots["received_at"][of]
    rows["part"], rows["promoted"] = share.part[of], share.part[of] == Part.PROMOTED
    rows["is_history"] = share.is_history[of]
    middle = share.since[of] + span[of] * (2 * place + 1) // (2 * number[of])
    rows["occurred_at"] = np.where(share.at_once[of], share.since[of], middle)
    rows["counts"] = _even_part(share.counts[of], number[of][:, None], place[:, None])
    return rows[rows["counts"].any(axis=1)]


def _even_part(counts: Ints, number: Ints, place: Ints) -> Ints:
    """The part at a place of counts that are cut into a number of even whole ones."""
    until, since = (2 * counts * (place + more) // number + 1 for more in (1, 0))
    return until // 2 - since // 2


def changes_of(rows: Records, sign: int = 1) -> Records:
    """The rows as changes of the rollups, of Tweets that have some already."""
    changes = np.zeros(len(rows), dtype=fold.CHANGE)
    for name in ("handle_id", "tweet_id", "promoted", "received_at"):
        changes[name] = rows[name]
    changes["minute"], changes["counts"] = rows["occurred_at"], sign * rows["counts"]
    return changes


def load(cursor: CursorWrapper, sought: Records) -> Records:
    """The rows of Tweets whose snapshots are at least as young as `as_of`, and from `part` on."""
    sql = named("inferred.sql")
    cursor.execute(sql["sought_table"])
    SOUGHT.copy_in(cursor, "sought", sought)
    rows = ROWS.copy_out(cursor, sql["rows"])
    cursor.execute("DELETE FROM sought")
    return rows


def add(cursor: CursorWrapper, rows: Records, is_first: npt.NDArray[np.bool_]) -> None:
    """Store rows, those of one key as their sum; `is_first` are those of whose Tweet none is stored."""
    for of_kind, are_first in ((rows[is_first], True), (rows[~is_first], False)):
        if len(of_kind) and are_first:
            ROWS.copy_in(cursor, "metrics_inferredcount", fold.summed(of_kind, KEY))
        elif len(of_kind):
            _copy_pieces(cursor, fold.summed(of_kind, KEY), "add")


def keep(cursor: CursorWrapper, rows: Records) -> None:
    """Store what is left of rows that gave something up."""
    if len(rows):
        _copy_pieces(cursor, rows, "shrink", "remove")


def _copy_pieces(cursor: CursorWrapper, rows: Records, *steps: str) -> None:
    sql = named("inferred.sql")
    cursor.execute(sql["pieces_table"])
    ROWS.copy_in(cursor, "pieces", rows)
    for step in steps:
        cursor.execute(sql[step])
    cursor.execute("DELETE FROM pieces")


def absorb(batch: Batch, newest: dict[int, int]) -> tuple[fold.HandleCommit, ...]:
    """Let pieces give up what late events of the batch bring; call before the events are counted.

    `newest` is the youngest snapshot (Unix µs) of each handle that has inferred counts: for most batches that is the
    only look it takes. Events that were counted before take nothing.
    """
    limit = np.zeros(len(batch), dtype=np.int64)
    for handle_id, as_of in newest.items():
        limit[batch["handle_id"] == handle_id] = as_of
    late = batch[batch["occurred_at"] <= limit]
    if not len(late):
        return ()
    with connection.cursor() as cursor:
        rows = load(cursor, _oldest_by_tweet(late))
        late = _fresh(cursor, _of_types(late, rows)) if len(rows) else late[:0]
        taken = _taken(late, rows)
        given = taken.any(axis=1)
        if not given.any():
            return ()
        changes = changes_of(rows[given])
        changes["counts"] = -taken[given]
        changes["received_at"] = late["received_at"].max()
        rows["counts"] -= taken
        keep(cursor, rows[given])
    return fold.changes(changes)


def _oldest_by_tweet(late: Batch) -> Records:
    """For each Tweet its oldest late event, as what is sought."""
    late = late[np.lexsort((late["occurred_at"], late["tweet_id"], late["handle_id"]))]
    is_first = fold.begins(late, ("handle_id", "tweet_id"))
    sought = np.zeros(int(is_first.sum()), dtype=SOUGHT.dtype)
    for name, field in (("handle_id",) * 2, ("tweet_id",) * 2, ("as_of", "occurred_at")):
        sought[name] = late[field][is_first]
    return sought


def _of_types(late: Batch, rows: Records) -> Batch:
    """Those events whose Tweet has something of their type to give up."""
    row, code = np.nonzero(rows["counts"])
    offered = np.unique(np.stack([rows["handle_id"][row], rows["tweet_id"][row], code]), axis=1)
    wanted = np.stack([late["handle_id"], late["tweet_id"], late["type"].astype(np.int64)])
    _, number = np.unique(np.concatenate([offered, wanted], axis=1), axis=1, return_inverse=True)
    number = number.reshape(-1)
    return late[np.isin(number[offered.shape[1] :], number[: offered.shape[1]])]


def _fresh(cursor: CursorWrapper, late: Batch) -> Batch:
    """The events that were never counted, each once."""
    keys = late[["handle_id", "occurred_at", "event_key"]].copy()
    late = late[np.sort(np.unique(keys, return_index=True)[1])]
    if not len(late):
        return late
    sql = named("inferred.sql")
    candidates = np.empty(len(late), dtype=_CANDIDATES.dtype)
    candidates["place"] = np.arange(len(late))
    for name in ("handle_id", "occurred_at", "event_key"):
        candidates[name] = late[name]
    cursor.execute(sql["candidates_table"])
    _CANDIDATES.copy_in(cursor, "candidates", candidates)
    counted = _COUNTED.copy_out(cursor, sql["counted"])
    cursor.execute("DELETE FROM candidates")
    return np.delete(late, counted["place"])


def _taken(late: Batch, rows: Records) -> Ints:
    """How much of each row's counts [rows, 26] the events take."""
    left = rows["counts"].copy()
    by_tweet = dict(_rows_by_tweet(rows))
    for event in late[["handle_id", "tweet_id", "occurred_at", "type", "promoted", "count"]].tolist():
        handle_id, tweet_id, occurred_at, code, promoted, wanted = event
        own, both = by_tweet[handle_id, tweet_id][promoted], by_tweet[handle_id, tweet_id][2]
        for as_of, row in (*own, *both):
            if as_of >= occurred_at and left[row, code]:
                given = min(wanted, int(left[row, code]))
                left[row, code] -= given
                wanted -= given
                if not wanted:
                    break
    return np.asarray(rows["counts"] - left)


def _rows_by_tweet(rows: Records) -> Iterator[tuple[tuple[int, int], dict[int, list[tuple[int, int]]]]]:
    """(handle, Tweet) → part → (as_of, row), the oldest snapshots first."""
    order = np.lexsort((rows["as_of"], rows["tweet_id"], rows["handle_id"]))
    found: dict[tuple[int, int], dict[int, list[tuple[int, int]]]] = {}
    fields = rows[["handle_id", "tweet_id", "part", "as_of"]][order].tolist()
    for row, (handle_id, tweet_id, part, as_of) in zip(order.tolist(), fields, strict=True):
        found.setdefault((handle_id, tweet_id), {part: [] for part in Part})[part].append((as_of, row))
    yield from found.items()


def moved(pool: Records, snapshots: Records, amounts: Ints) -> tuple[Records, Ints]:
    """Move amounts [n, 26] out of a Tweet's BOTH rows into the snapshots' own part, the oldest first.

    Returns the new rows, and what each row of the pool has given [rows, 26].
    """
    left = pool["counts"].copy()
    by_tweet = dict(_rows_by_tweet(pool))
    found: list[Records] = []
    for snapshot, wanted in zip(snapshots, amounts, strict=True):
        places = [row for _, row in by_tweet[int(snapshot["handle_id"]), int(snapshot["tweet_id"])][Part.BOTH]]
        mass = left[places]
        given = np.clip(wanted - (np.cumsum(mass, axis=0) - mass), 0, mass)
        left[places] -= given
        found.append(_as_part_of(snapshot, pool[places], given))
    return joined(found, ROWS.dtype), np.asarray(pool["counts"] - left)


def _as_part_of(snapshot: Any, rows: Records, given: Ints) -> Records:
    rows = rows[given.any(axis=1)].copy()
    rows["counts"] = given[given.any(axis=1)]
    rows["as_of"], rows["source_id"], rows["part"] = snapshot["as_of"], snapshot["source"], snapshot["part"]
    rows["promoted"] = snapshot["part"] == Part.PROMOTED
    return rows
