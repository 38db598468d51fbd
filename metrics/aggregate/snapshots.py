"""Snapshots of one micro-batch: cumulative counts become the difference to what is known, inside one transaction.

A batch may hold many snapshots of one Tweet. They are weighed in rounds, in the order of `as_of`: each round takes one
snapshot of every Tweet, as whole arrays (`differences`). What was known is read before the first round, what has
become known is written after the last one, with a fixed number of statements whatever the batch holds. A snapshot that
comes again is stale by its `as_of`, so a redelivered entry changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from django.db import connection
from django.db.backends.utils import CursorWrapper

from metrics import stream
from metrics.aggregate import arrivals, differences, fold, inferred, partitions
from metrics.aggregate.arrivals import Batch
from metrics.aggregate.binary import Layout, Records, joined
from metrics.aggregate.differences import Ints, Known, Naming, Said, Verdict, Words
from metrics.aggregate.statements import named
from metrics.models import HandleFeed
from metrics.vocabulary import snapshots as vocabulary
from metrics.vocabulary.engagements import N_TYPES
from metrics.vocabulary.events import FIRST_SNOWFLAKE, FIRST_TWEET_AT, TWITTER_EPOCH_MS
from metrics.vocabulary.snapshots import Finding, Part

DTYPE = arrivals.dtype_of(vocabulary.SNAPSHOT_DTYPE)
# A snapshot costs about as much as so many events.
WEIGHT = 5
_TWEETS = Layout(("place", "integer"), ("handle_id", "bigint"), ("tweet_id", "bigint"))
_CREATED = Layout(("handle_id", "bigint"), ("tweet_id", "bigint"), ("created_at", "instant"))
_TOTALS = Layout(("place", "integer"), ("promoted", "boolean"), ("counts", "types"))
_WORD_FIELDS = tuple((name, "vector") for name in ("counts", "as_of", "low", "low_as_of", "ahead"))
_WORDS_READ = Layout(("place", "integer"), ("source_id", "bigint"), ("part", "smallint"), *_WORD_FIELDS)
_WORD_KEY = (("handle_id", "bigint"), ("tweet_id", "bigint"), ("source_id", "bigint"), ("part", "smallint"))
_WORDS = Layout(*_WORD_KEY, *_WORD_FIELDS)
_FIRST_WORDS = Layout(*_WORD_KEY, ("counts", "vector"), ("as_of", "vector"))
_MOMENTS = Layout(
    ("place", "integer"), ("handle_id", "bigint"), ("tweet_id", "bigint"), ("as_of", "instant"), ("edge", "instant")
)
_BEFORE_EDGE = Layout(("place", "integer"), ("promoted", "boolean"), ("type", "smallint"), ("count", "bigint"))
_WORD_KEYS = np.dtype([("tweet", "<i8"), ("source", "<i8"), ("part", "<i8")])
_FIRST_US = int(FIRST_TWEET_AT.timestamp()) * 1_000_000
_QUARTER_US = 15 * fold.MINUTE_US


def batch_of(entries: Sequence[stream.Entry]) -> Batch:
    """All snapshots of the entries, by Tweet and `as_of`, with `received_at` (Unix µs) from the entry's id."""
    batch = arrivals.batch_of(entries, vocabulary.unpack, DTYPE)
    return batch[np.lexsort((batch["part"], batch["as_of"], batch["tweet_id"], batch["handle_id"]))]


def ensure_partitions(batch: Batch) -> None:
    """Make the days whose minutes the batch's differences may be laid into."""
    if not len(batch):
        return
    first = int(max(batch["tweet_id"].min(), FIRST_SNOWFLAKE) >> 22) + TWITTER_EPOCH_MS
    since = max(fold.minutes_since().date(), date(1970, 1, 1) + timedelta(days=first // 86_400_000 - 1))
    until = date(1970, 1, 1) + timedelta(days=int(batch["as_of"].max()) // inferred.DAY_US)
    days = [since + timedelta(days=place) for place in range((until - since).days + 1)]
    for table in partitions.MINUTES:
        partitions.ensure(table, days)


def count(batch: Batch) -> tuple[tuple[fold.HandleCommit, ...], tuple[Finding, ...]]:
    """Add what the snapshots say beyond what is known; returns what it changed, and what was odd about them."""
    if not len(batch):
        return (), ()
    with connection.cursor() as cursor:
        hand = _Hand(cursor, batch)
        verdicts, findings = hand.weigh()
        changes = _store(cursor, hand, verdicts)
    return fold.changes(changes), tuple(findings)


class _Hand:
    """The Tweets at hand: the batch in order, which Tweet and which word each snapshot is of, and what is known."""

    def __init__(self, cursor: CursorWrapper, batch: Batch) -> None:
        self.batch = batch
        is_first = fold.begins(batch, ("handle_id", "tweet_id"))
        self.tweet = np.cumsum(is_first) - 1
        starts = np.flatnonzero(is_first)
        self.round = np.arange(len(batch)) - starts[self.tweet]
        self.tweets = np.empty(len(starts), dtype=_TWEETS.dtype)
        self.tweets["place"] = np.arange(len(starts))
        for name in ("handle_id", "tweet_id"):
            self.tweets[name] = batch[name][starts]
        self._read(cursor)

    def _read(self, cursor: CursorWrapper) -> None:
        sql = named("snapshots.sql")
        cursor.execute(sql["tweets_table"])
        _TWEETS.copy_in(cursor, "tweets_at_hand", self.tweets)
        self.created_at = _created_at(self.tweets["tweet_id"])
        self.is_stub = np.ones(len(self.tweets), dtype=bool)
        places = {(handle_id, tweet_id): place for place, handle_id, tweet_id in self.tweets.tolist()}
        for handle_id, tweet_id, created_at in _CREATED.copy_out(cursor, sql["created"]).tolist():
            # Two handles may each have a Tweet of the other one's id.
            if (place := places.get((handle_id, tweet_id))) is not None:
                self.created_at[place], self.is_stub[place] = created_at, False
        totals = np.zeros((len(self.tweets), 2, N_TYPES), dtype=np.int64)
        known = _TOTALS.copy_out(cursor, sql["totals"])
        totals[known["place"], known["promoted"]] = known["counts"]
        self.is_first = np.ones(len(self.tweets), dtype=bool)
        self.is_first[known["place"]] = False
        words = _WORDS_READ.copy_out(cursor, sql["words"])
        cursor.execute("DELETE FROM tweets_at_hand")
        self._join_words(words)
        self.pool = self._read_pool(cursor, words)
        both = np.zeros((len(self.tweets), N_TYPES), dtype=np.int64)
        np.add.at(both, self.places_of(self.pool), self.pool["counts"])
        newest, agreed = (np.zeros((len(self.tweets), 3, N_TYPES), dtype=np.int64) for _ in range(2))
        np.maximum.at(newest, (words["place"], words["part"]), words["as_of"])
        np.maximum.at(agreed, (words["place"], words["part"]), np.where(words["low"] < 0, words["as_of"], 0))
        self.known = Known(totals, both, newest, agreed, self.words)
        self.after_place, self.after = _read_after(cursor, self.batch, np.take(totals.any(axis=(1, 2)), self.tweet))

    def _join_words(self, stored: Records) -> None:
        """Give each (Tweet, source, part) its row, and to each snapshot the number of its own."""
        keys = np.empty(len(self.batch) + len(stored), dtype=_WORD_KEYS)
        keys["tweet"] = np.concatenate([self.tweet, stored["place"]])
        keys["source"] = np.concatenate([self.batch["source"], stored["source_id"]])
        keys["part"] = np.concatenate([self.batch["part"], stored["part"]])
        order = np.lexsort((keys["part"], keys["source"], keys["tweet"]))
        is_first = fold.begins(keys[order], ("tweet", "source", "part"))
        self.word_keys = keys[order][is_first]
        number = np.empty(len(keys), dtype=np.int64)
        number[order] = np.cumsum(is_first) - 1
        self.word, places = number[: len(self.batch)], number[len(self.batch) :]
        arrays = [np.zeros((len(self.word_keys), N_TYPES), dtype=np.int64) for _ in _WORD_FIELDS]
        self.words = Words(*arrays)
        self.words.low.fill(-1)
        for name, _ in _WORD_FIELDS:
            getattr(self.words, name)[places] = stored[name]
        self.is_stored = np.zeros(len(self.word_keys), dtype=bool)
        self.is_stored[places] = True

    def _read_pool(self, cursor: CursorWrapper, words: Records) -> Records:
        """What was inferred from BOTH of Tweets of which a single part is told now."""
        spoken = np.isin(np.arange(len(self.tweets)), words["place"][words["part"] == Part.BOTH])
        asked = np.unique(self.tweet[(self.batch["part"] != Part.BOTH) & spoken[self.tweet]])
        if not len(asked):
            return np.empty(0, dtype=inferred.ROWS.dtype)
        sought = np.zeros(len(asked), dtype=inferred.SOUGHT.dtype)
        for name in ("handle_id", "tweet_id"):
            sought[name] = self.tweets[name][asked]
        sought["part"] = Part.BOTH
        return inferred.load(cursor, sought)

    def places_of(self, rows: Records) -> Ints:
        """Which of the Tweets at hand each row is of."""
        place = np.zeros(len(rows), dtype=np.int64)
        for handle_id in np.unique(rows["handle_id"]):
            mine = rows["handle_id"] == handle_id
            first, last = np.searchsorted(self.tweets["handle_id"], [handle_id, handle_id + 1])
            place[mine] = first + np.searchsorted(self.tweets["tweet_id"][first:last], rows["tweet_id"][mine])
        return place

    def weigh(self) -> tuple[list[tuple[Ints, Verdict]], list[Finding]]:
        """Round by round, what each snapshot (by its place in the batch) adds."""
        verdicts, findings = [], []
        for places in self._rounds():
            snapshots = self.batch[places]
            after = np.zeros((len(places), 2, N_TYPES), dtype=np.int64)
            has_after = self.after_place[places] >= 0
            after[has_after] = self.after[self.after_place[places[has_after]]]
            said = Said(
                self.tweet[places],
                self.word[places],
                snapshots["part"].astype(np.int64),
                snapshots["as_of"],
                snapshots["counts"],
                after,
            )
            verdict, found = differences.weigh(self.known, said, Naming(snapshots["source"], snapshots["tweet_id"]))
            verdicts.append((places, verdict))
            findings += found
        return verdicts, findings

    def _rounds(self) -> Iterator[Ints]:
        order = np.argsort(self.round, kind="stable")
        edges = np.searchsorted(self.round[order], np.arange(int(self.round.max()) + 2))
        for since, until in pairwise(edges.tolist()):
            yield order[since:until]


def _created_at(tweet_id: Ints) -> Ints:
    """When Tweets were created, as their ids tell (Unix µs)."""
    return np.where(tweet_id < FIRST_SNOWFLAKE, _FIRST_US, ((tweet_id >> 22) + TWITTER_EPOCH_MS) * 1000)


def _read_after(cursor: CursorWrapper, batch: Batch, has_totals: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """What occurred after each snapshot: its place in the second array [m, 2, 26], or -1 where nothing did."""
    place = np.full(len(batch), -1)
    feeds = HandleFeed.objects.filter(handle__in=np.unique(batch["handle_id"]).tolist())
    asked = np.zeros(len(batch), dtype=bool)
    for handle_id, last in feeds.values_list("handle_id", "last_event_at"):
        if last is not None:
            asked |= (batch["handle_id"] == handle_id) & (batch["as_of"] < last.timestamp() * 1e6)
    places = np.flatnonzero(asked & has_totals)
    after = np.zeros((len(places), 2, N_TYPES), dtype=np.int64)
    place[places] = np.arange(len(places))
    if len(places):
        _sum_after(cursor, batch[places], after)
    return place, after


def _sum_after(cursor: CursorWrapper, batch: Batch, after: Ints) -> None:
    sql = named("snapshots.sql")
    moments = np.empty(len(batch), dtype=_MOMENTS.dtype)
    moments["place"] = np.arange(len(batch))
    for name in ("handle_id", "tweet_id", "as_of"):
        moments[name] = batch[name]
    # Where minutes are no longer kept, single events tell what happened up to the next quarter.
    kept = batch["as_of"] >= int(fold.minutes_since().timestamp() * 1e6)
    bucket = np.where(kept, fold.MINUTE_US, _QUARTER_US)
    moments["edge"] = (batch["as_of"] // bucket + 1) * bucket
    cursor.execute(sql["moments_table"])
    _MOMENTS.copy_in(cursor, "moments", moments)
    whole = _TOTALS.copy_out(cursor, sql["after_edge"])
    after[whole["place"], whole["promoted"]] += whole["counts"]
    single = _BEFORE_EDGE.copy_out(cursor, sql["before_edge"])
    np.add.at(after, (single["place"], single["promoted"], single["type"]), single["count"])
    cursor.execute("DELETE FROM moments")


def _store(cursor: CursorWrapper, hand: _Hand, verdicts: list[tuple[Ints, Verdict]]) -> Records:
    """Write the pieces and the sources' last words; returns the changes that the rollups need."""
    places = np.concatenate([places for places, _ in verdicts])
    verdict = Verdict(*(np.concatenate(parts) for parts in zip(*(one for _, one in verdicts), strict=True)))
    share = inferred.shares(
        hand.batch[places], hand.created_at[hand.tweet[places]], verdict.added, verdict.since, verdict.part
    )
    rows = inferred.pieces(share)
    changes = inferred.changes_of(rows)
    if verdict.moved.any():
        rows, moves = _move(cursor, hand, rows, places, verdict.moved)
        changes = np.concatenate([changes, moves])
    inferred.add(cursor, rows, hand.is_first[hand.places_of(rows)])
    _store_words(cursor, hand)
    place = hand.places_of(changes)
    changes["is_first"], changes["is_stub"] = hand.is_first[place], hand.is_stub[place]
    return changes


def _move(cursor: CursorWrapper, hand: _Hand, rows: Records, places: Ints, amounts: Ints) -> tuple[Records, Records]:
    """Move what BOTH had said to the parts that now tell; returns all rows to add, and what that changes."""
    is_both = rows["part"] == Part.BOTH
    pool = np.concatenate([hand.pool, rows[is_both]])
    movers = amounts.any(axis=1)
    added, given = inferred.moved(pool, hand.batch[places[movers]], amounts[movers])
    gone = given.any(axis=1)
    taken = pool.copy()
    taken["counts"] = given
    pool["counts"] -= given
    stored = np.arange(len(pool)) < len(hand.pool)
    inferred.keep(cursor, pool[gone & stored])
    fresh = pool[~stored]
    kept = joined([rows[~is_both], fresh[fresh["counts"].any(axis=1)], added], rows.dtype)
    return kept, np.concatenate([inferred.changes_of(taken[gone], -1), inferred.changes_of(added)])


def _store_words(cursor: CursorWrapper, hand: _Hand) -> None:
    touched = np.unique(hand.word)
    records = np.empty(len(touched), dtype=_WORDS.dtype)
    keys = hand.word_keys[touched]
    for name in ("handle_id", "tweet_id"):
        records[name] = hand.tweets[name][keys["tweet"]]
    records["source_id"], records["part"] = keys["source"], keys["part"]
    for name, _ in _WORD_FIELDS:
        records[name] = getattr(hand.words, name)[touched]
    is_first = ~hand.is_stored[touched]
    _FIRST_WORDS.copy_in(cursor, "metrics_lastsnapshot", records[is_first])
    has_more = (records["low"] >= 0).any(axis=1) | records["ahead"].any(axis=1)
    renewed = records[~is_first | has_more]
    if len(renewed):
        sql = named("snapshots.sql")
        cursor.execute(sql["words_table"])
        _WORDS.copy_in(cursor, "words", renewed)
        cursor.execute(sql["renew_words"])
        cursor.execute("DELETE FROM words")
