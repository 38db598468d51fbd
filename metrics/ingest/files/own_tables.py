"""Our own CSV files back in: lifetimes of Tweets, and one Tweet's series.

What they hold are our totals, so they come back as snapshots of the source "insightstrack": where the same is known
already, nothing is added. Undone likes and the like come back as what remained.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from metrics.ingest.files.batches import Batch, Counted, Ints, ToldTweet, created_us, joined, refuse_times
from metrics.ingest.files.cells import instant_of, plain_link, tweet_id_of, whole, wholes
from metrics.ingest.files.formats import Brings, Frame, Glimpse, Table
from metrics.ingest.files.problems import FileError, RowError, problem_of
from metrics.ingest.files.tables import Row
from metrics.models import Media
from metrics.vocabulary import tags
from metrics.vocabulary.engagements import CODE, N_TYPES, NAMES, TYPES, UNDO_OF, Counts
from metrics.vocabulary.events import CLOCK_TOLERANCE
from metrics.vocabulary.snapshots import UNSAID, Part

_PROMOTABLE = tuple(kind.name for kind in TYPES if kind.promotable)
_PROMOTED_NAMES = tuple(f"promoted_{name}" for name in _PROMOTABLE)
_GAINED = tuple(kind for kind in TYPES if kind.undoes is None)
_APART = [CODE[kind.name] for kind in _GAINED if kind.promotable]
_TOGETHER = [CODE[kind.name] for kind in _GAINED if not kind.promotable]
_COUNTED_PEOPLE = tuple(f"{of}{end}" for of in ("reach", "engaged_people") for end in ("", "_low", "_high", "_basis"))
_PEOPLE = (*_COUNTED_PEOPLE, "frequency", "coverage")
_NAMED = re.compile(r"^(.+)_(?:tweets|series|breakdown|tweet_(\d{1,19}))_\d{8}_\d{8}\b")
_TOLERANCE_US = round(CLOCK_TOLERANCE.total_seconds() * 1e6)
_IN_SPREADSHEETS = "=+-@\t\r\n"


class OwnTable(Table):
    """A table in which all 26 types stand under a prefix, and the promoted part of some of them beside."""

    source = "insightstrack"
    is_own = True
    prefix: str
    facts: dict[str, str]

    def __init__(self, glimpse: Glimpse) -> None:
        super().__init__(glimpse)
        self._at = {name: place for place, name in enumerate(self.header)}
        names = [f"{self.prefix}_{name}" for name in (*NAMES, *_PROMOTED_NAMES)]
        self._names = names
        self._get = itemgetter(*(self._at[name] for name in names))
        named = _NAMED.match(glimpse.filename)
        self.handle = named[1] if named else ""

    @classmethod
    def has_columns(cls, glimpse: Glimpse, *others: str) -> bool:
        """Whether the header names all that is needed."""
        needed = {f"{cls.prefix}_{name}" for name in (*NAMES, *_PROMOTED_NAMES)}
        return needed | {*others} <= {*glimpse.header}

    def _numbers(self, cells: Sequence[str]) -> list[int]:
        values = self._get(cells)
        plain = wholes([values])
        return (
            plain.tolist()
            if plain is not None
            else [max(0, whole(name, value)) for name, value in zip(self._names, values, strict=True)]
        )

    def columns(self) -> list[dict[str, Any]]:
        """Every column of the header."""
        return [self._told(name) for name in self.header]

    def _told(self, name: str) -> dict[str, Any]:
        bare = name.removeprefix(f"{self.prefix}_")
        kind = next((kind for kind in TYPES if name != bare and bare in {kind.name, f"promoted_{kind.name}"}), None)
        if kind is None:
            note = self.facts.get(name, "not counted: follows from the other columns")
            return {"column": name, "to": None, "label": "", "part": "", "note": note}
        part = "promoted" if bare != kind.name else "organic and promoted together"
        if kind.undoes:
            note = f"taken off {kind.undoes}: what remained comes back"
            return {"column": name, "to": None, "label": kind.label, "part": part, "note": note}
        return {"column": name, "to": kind.name, "label": kind.label, "part": part, "note": ""}


def _snapshots(lines: Sequence[int], tweet_ids: Ints, as_of_us: Ints, numbers: Sequence[list[int]]) -> Counted:
    """Rows of the 26 totals and the promoted parts as snapshots: up to three of a row, in its line's order."""
    grid = np.asarray(numbers, dtype=np.int64).reshape(len(lines), N_TYPES + len(_PROMOTABLE))
    both, promoted = grid[:, :N_TYPES].copy(), np.zeros((len(grid), N_TYPES), dtype=np.int64)
    promoted[:, [CODE[name] for name in _PROMOTABLE]] = grid[:, N_TYPES:]
    organic = both - promoted
    for counts in (both, promoted, organic):
        for gained, lost in UNDO_OF.items():
            counts[:, CODE[gained]] = (counts[:, CODE[gained]] - counts[:, CODE[lost]]).clip(0)
    rows = np.asarray(lines, dtype=np.int64)
    kinds: tuple[tuple[Part, Counts, list[int]], ...] = (
        (Part.ORGANIC, organic, _APART),
        (Part.PROMOTED, promoted, _APART),
        (Part.BOTH, both, _TOGETHER),
    )
    found = []
    for part, counts, codes in kinds:
        said = np.full_like(counts, UNSAID)
        said[:, codes] = counts[:, codes]
        one = Counted(rows, tweet_ids, as_of_us, np.full_like(rows, part), said)
        if part is Part.PROMOTED:
            one = one.where(np.isin(tweet_ids, tweet_ids[(counts[:, codes] > 0).any(axis=1)]))
        found.append(one)
    return joined(found)


class OwnTweets(OwnTable):
    """`<handle>_tweets_<from>_<to>.csv`: the lifetimes of Tweets."""

    name = "own_tweets"
    label = "InsightsTrack: Tweets"
    brings = Brings.TWEETS
    prefix = "lifetime"
    facts = {
        "tweet_id": "names the Tweet",
        "created_at": "when the Tweet was created",
        "text": "the Tweet's text",
        "media": "what it shows",
        "link": "its link",
        "tags": "its tags",
        **{f"period_{name}": "not counted: part of the lifetime" for name in (*NAMES, *_PROMOTED_NAMES)},
        **dict.fromkeys(_PEOPLE, "not counted: a number of people does not say who they are"),
    }

    @classmethod
    def of(cls, glimpse: Glimpse) -> OwnTweets | None:
        """The format, where the file is one."""
        return cls(glimpse) if cls.has_columns(glimpse, "tweet_id", "created_at", "text") else None

    def read(self, rows: Sequence[Row], frame: Frame) -> Batch:
        """The rows' Tweets and their lifetimes as of the export."""
        batch = Batch(rows=len(rows))
        numbers = []
        for line, cells in rows:
            try:
                tweet = self._tweet(line, self.fitted(cells))
                numbers.append(self._numbers(cells))
            except RowError as error:
                batch.problems.append(problem_of(line, error))
            else:
                batch.tweets.append(tweet)
        ids = np.asarray([tweet.tweet_id for tweet in batch.tweets], dtype=np.int64)
        lines = [tweet.line for tweet in batch.tweets]
        batch.counted = _snapshots(lines, ids, np.full_like(ids, frame.exported_us), numbers)
        refuse_times(batch, frame.now_us)
        return batch

    def _tweet(self, line: int, cells: Sequence[str]) -> ToldTweet:
        def cell(name: str) -> str:
            return cells[self._at[name]] if name in self._at else ""

        tweet_id, _ = tweet_id_of("tweet_id", cell("tweet_id"), "")
        text, media = _unguarded(cell("text")).replace("\x00", "�"), cell("media")
        born = instant_of("created_at", cell("created_at"))
        if abs(born - int(created_us(np.asarray([tweet_id]))[0])) < 1_000_000:
            born = int(created_us(np.asarray([tweet_id]))[0])  # the file has whole seconds
        known = media if media in Media.values else None
        return ToldTweet(
            line, tweet_id, born, text, plain_link(cell("link")), known, tags.read(_unguarded(cell("tags")))
        )

    def span(self, batch: Batch) -> tuple[int, int] | None:
        """From the first Tweet's creation to the last one's."""
        born = [tweet.created_us for tweet in batch.tweets]
        return (min(born), max(born)) if born else None


class OwnTweetSeries(OwnTable):
    """`<handle>_tweet_<id>_<from>_<to>.csv`: one Tweet by bucket, each a snapshot of what had gathered."""

    name = "own_tweet_series"
    label = "InsightsTrack: one Tweet's series"
    brings = Brings.TWEETS
    prefix = "cumulative"
    facts = {
        "start": "where the bucket begins",
        "until": "as of when the cumulative counts are",
        "unfinished": "1: its counts are as of the export",
        **dict.fromkeys((*NAMES, *_PROMOTED_NAMES), "not counted: part of the cumulative counts"),
    }

    def __init__(self, glimpse: Glimpse) -> None:
        super().__init__(glimpse)
        named = _NAMED.match(glimpse.filename)
        if not named or not named[2]:
            raise FileError(
                "This is the series of one Tweet, but the file's name no longer says of which. Name it as it was "
                "exported, such as northwind_tweet_1212092628029698048_20260401_20260408.csv, and import it again."
            )
        self._tweet_id = int(named[2])
        self._own_names = (*NAMES, *_PROMOTED_NAMES)
        self._own = itemgetter(*(self._at[name] for name in self._own_names))
        self._last: tuple[int, list[int]] | None = None

    @classmethod
    def of(cls, glimpse: Glimpse) -> OwnTweetSeries | None:
        """The format, where the file is one."""
        return cls(glimpse) if cls.has_columns(glimpse, "start", "until", "unfinished", *NAMES) else None

    def read(self, rows: Sequence[Row], frame: Frame) -> Batch:
        """The rows' cumulative counts, each as of its bucket's end, after those of the row before."""
        batch = Batch(rows=len(rows))
        taken: list[tuple[int, int, list[int]]] = []
        for line, cells in rows:
            try:
                taken.extend(self._row(line, self.fitted(cells), frame, not taken))
            except RowError as error:
                batch.problems.append(problem_of(line, error))
        if taken:
            lines, instants, numbers = zip(*taken, strict=True)
            ids = np.full(len(lines), self._tweet_id, dtype=np.int64)
            batch.counted = _snapshots(lines, ids, np.asarray(instants, dtype=np.int64), numbers)
        refuse_times(batch, frame.now_us)
        return batch

    def _row(self, line: int, cells: Sequence[str], frame: Frame, is_first: bool) -> list[tuple[int, int, list[int]]]:
        start = instant_of("start", cells[self._at["start"]])
        # What occurs at `until` itself is in the next bucket.
        as_of = min(instant_of("until", cells[self._at["until"]]) - 1, frame.exported_us)
        numbers = self._numbers(cells)
        if self._last is None:
            self._last = self._before(cells, start, numbers)
        # Each batch begins with the state before it: what it adds is of its own time, not "before tracking".
        found = [(line, *self._last)] if is_first else []
        # A total falls only once it has been seen twice: what we say ourselves, we are sure of.
        if (_net(numbers) < _net(self._last[1])).any():
            found.append((line, as_of - 1, numbers))
        self._last = as_of, numbers
        return [*found, (line, as_of, numbers)]

    def _before(self, cells: Sequence[str], start_us: int, numbers: list[int]) -> tuple[int, list[int]]:
        """What had gathered before the first bucket, and as of when."""
        own = [max(0, whole(name, cell)) for name, cell in zip(self._own_names, self._own(cells), strict=True)]
        born = int(created_us(np.asarray([self._tweet_id]))[0])
        return max(start_us - 1, born - _TOLERANCE_US), [a - b for a, b in zip(numbers, own, strict=True)]

    def span(self, batch: Batch) -> tuple[int, int] | None:
        """From the first bucket to the last."""
        instants = batch.counted.as_of_us
        return (int(instants.min()), int(instants.max())) if len(instants) else None


def _net(numbers: Sequence[int]) -> Ints:
    counts = np.asarray(numbers, dtype=np.int64)
    return np.asarray([counts[CODE[gained]] - counts[CODE[lost]] for gained, lost in UNDO_OF.items()])


def _unguarded(cell: str) -> str:
    """The text before our export kept it from being read as a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _IN_SPREADSHEETS and cell[1:] else cell


def refuse_others(glimpse: Glimpse) -> None:
    """Raise FileError for our own files whose numbers name no Tweet: they cannot be added without counting twice."""
    header = {*glimpse.header}
    if {"start", "until", "unfinished", "impressions"} <= header:
        what, other = "a handle's series", "its Tweets (tweets.csv)"
    elif {"type", "organic", "promoted", "gained", "lost", "net"} <= header:
        what, other = "a breakdown", "the handle's Tweets (tweets.csv)"
    else:
        return
    raise FileError(
        f"This is {what} from InsightsTrack. Its numbers name no Tweet, so they cannot be told from what is counted "
        f"already. Export {other} and import that instead."
    )
