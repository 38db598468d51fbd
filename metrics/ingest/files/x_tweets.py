"""X's exports with a row a Tweet: the old Tweet activity file and today's content file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, ClassVar

import numpy as np

from metrics.ingest.files.batches import Batch, Counted, Ints, ToldTweet, joined, refuse_times
from metrics.ingest.files.cells import (
    NOTHING,
    handle_in,
    instant_of,
    plain_link,
    plain_text,
    tweet_id_of,
    whole,
    wholes,
)
from metrics.ingest.files.columns import CONTENT, PROMOTED_TAIL, TAIL, TWEET_FACTS, Column
from metrics.ingest.files.formats import Brings, Frame, Glimpse, Table, layout
from metrics.ingest.files.problems import RowError, problem_of
from metrics.ingest.files.tables import Row
from metrics.vocabulary.engagements import N_TYPES, TYPES
from metrics.vocabulary.events import FIRST_SNOWFLAKE, tweet_created_ms
from metrics.vocabulary.snapshots import UNSAID, Part

_ENGAGEMENTS = {kind.name for kind in TYPES if kind.is_engagement}


class Numbers:
    """The columns of one part: reads a row's numbers, and makes snapshots of many rows at once."""

    def __init__(self, part: Part, places: Mapping[int, Column]) -> None:
        self.part = part
        self._columns = [column for column in places.values() if column.is_number]
        self._places = [place for place, column in places.items() if column.is_number]
        self._get = itemgetter(*self._places)
        self._typed = [at for at, column in enumerate(self._columns) if column.type]
        self._codes = [column.code for column in self._columns if column.type]
        self._apart = [at for at, column in enumerate(self._columns) if column.is_apart]
        self._check = [at for at, column in enumerate(self._columns) if column.is_check]
        self._summed = [at for at, column in enumerate(self._columns) if column.is_apart or column.type in _ENGAGEMENTS]
        self.differing = 0
        self.said = self.summed = 0

    def grid(self, rows: Sequence[Sequence[str]], errors: dict[int, RowError]) -> tuple[Ints, Ints]:
        """The numbers of the rows that have any of this part: the rows' places, and int64[n, columns] with UNSAID.

        A row at fault goes into `errors` by its place. A dash for each promoted number means "there was no promotion".
        """
        places = range(len(rows))
        if self.part is Part.PROMOTED:
            places = [place for place in places if not NOTHING.issuperset(self._get(rows[place]))]  # type: ignore[assignment]
        said = [self._get(rows[place]) for place in places]
        grid = wholes(said)
        if grid is None:
            grid = np.asarray(self._one_by_one(places, said, errors), dtype=np.int64)
        return np.asarray(places, dtype=np.int64), grid.reshape(len(said), len(self._columns))

    def _one_by_one(
        self, places: Sequence[int], said: Sequence[Sequence[str]], errors: dict[int, RowError]
    ) -> list[list[int]]:
        grid = []
        for place, values in zip(places, said, strict=True):
            try:
                grid.append([whole(column.name, value) for column, value in zip(self._columns, values, strict=True)])
            except RowError as error:
                errors[place] = error
                grid.append([UNSAID] * len(self._columns))
        return grid

    def snapshots(self, lines: Ints, tweet_ids: Ints, grid: Ints, at: int) -> Counted:
        """The rows' counts as of one instant (Unix µs)."""
        counts = np.full((len(grid), N_TYPES), UNSAID, dtype=np.int64)
        counts[:, self._codes] = grid[:, self._typed]
        self._compare(grid)
        found = Counted(lines, tweet_ids, np.full_like(lines, at), np.full_like(lines, self.part), counts)
        return found.where((counts != UNSAID).any(axis=1))

    def apart(self, grid: Ints) -> dict[str, int]:
        """The sums of the columns that no type stands for."""
        return {self._columns[at].name: int(grid[:, at].clip(0).sum()) for at in self._apart}

    def _compare(self, grid: Ints) -> None:
        """Keep how far the platform's own sum is from the sum of its parts."""
        if self._check and len(grid):
            said, summed = grid[:, self._check[0]], grid[:, self._summed].clip(0).sum(axis=1)
            here = said != UNSAID
            self.differing += int((said != summed)[here].sum())
            self.said += int(said[here].sum())
            self.summed += int(summed[here].sum())


class TweetTable(Table):
    """A table with a row a Tweet: an id, a link, a text, and numbers of one or two parts."""

    brings = Brings.TWEETS
    parts: ClassVar[tuple[tuple[Part, tuple[Column, ...]], ...]]
    facts: ClassVar[tuple[str, str, str, str]]
    """The names of the columns that hold id, link, text and time; "" for a time that the ids hold anyway."""

    def __init__(self, glimpse: Glimpse, places: Mapping[int, Column]) -> None:
        super().__init__(glimpse)
        self._places = places
        at = {column.name: place for place, column in places.items()}
        self._id, self._link, self._text, self._time = (at.get(name, -1) for name in self.facts)
        held = [(part, self._held(columns)) for part, columns in self.parts]
        self._numbers = [Numbers(part, some) for part, some in held if any(column.type for column in some.values())]
        self._mended = 0
        self._is_linked = False
        self._read = 0

    def _held(self, columns: Sequence[Column]) -> dict[int, Column]:
        return {place: column for place, column in self._places.items() if column in columns}

    def read(self, rows: Sequence[Row], frame: Frame) -> Batch:
        """The rows' Tweets and their counts as of the export."""
        batch = Batch(rows=len(rows))
        good, told = [], []
        for line, cells in rows:
            try:
                told.append(self._tweet(line, self.fitted(cells)))
            except RowError as error:
                batch.problems.append(problem_of(line, error))
            else:
                good.append(cells)
        self._count(batch, good, told, frame)
        self._read += len(batch.tweets)
        refuse_times(batch, frame.now_us)
        return batch

    def _count(self, batch: Batch, rows: list[list[str]], told: list[ToldTweet], frame: Frame) -> None:
        """Read the rows' numbers all at once, which takes a fraction of the time; those at fault are refused whole."""
        errors: dict[int, RowError] = {}
        grids = [numbers.grid(rows, errors) for numbers in self._numbers]
        batch.problems.extend(problem_of(told[place].line, error) for place, error in errors.items())
        batch.tweets = [tweet for place, tweet in enumerate(told) if place not in errors]
        lines = np.asarray([tweet.line for tweet in told], dtype=np.int64)
        tweet_ids = np.asarray([tweet.tweet_id for tweet in told], dtype=np.int64)
        found = []
        for numbers, (places, grid) in zip(self._numbers, grids, strict=True):
            fine = ~np.isin(places, list(errors))
            kept, here = grid[fine], places[fine]
            found.append(numbers.snapshots(lines[here], tweet_ids[here], kept, frame.exported_us))
            batch.apart.update(numbers.apart(kept))
        batch.counted = joined(found)

    def _tweet(self, line: int, cells: list[str]) -> ToldTweet:
        link = cells[self._link] if self._link >= 0 else ""
        tweet_id, is_mended = tweet_id_of(self.header[self._id], cells[self._id], link)
        self._mended += is_mended
        if tweet_id < FIRST_SNOWFLAKE and self._time >= 0:
            born = instant_of(self.header[self._time], cells[self._time])
        else:
            born = tweet_created_ms(tweet_id) * 1000
        if not self._is_linked and (linked := handle_in(link)):
            self.handle, self._is_linked = linked, True
        text = plain_text(cells[self._text]) if self._text >= 0 else ""
        return ToldTweet(line, tweet_id, born, text, plain_link(link))

    def span(self, batch: Batch) -> tuple[int, int] | None:
        """From the first Tweet's creation to the last one's."""
        if not batch.tweets:
            return None
        born = [tweet.created_us for tweet in batch.tweets]
        return min(born), max(born)

    def columns(self) -> list[dict[str, Any]]:
        """Every column of the header."""
        told = []
        for place, name in enumerate(self.header):
            column = self._places.get(place)
            part = next((part for part, columns in self.parts if column in columns), None)
            unknown = {"column": name, "to": None, "label": "", "part": "", "note": "not counted: not known"}
            told.append(column.told(name, part) if column else unknown)
        return told

    def notes(self) -> list[str]:
        """Sums that differ from their parts, and ids that were mended."""
        notes = []
        for numbers in self._numbers:
            if numbers.differing:
                of = "promoted engagements" if numbers.part is Part.PROMOTED else "engagements"
                notes.append(
                    f"In {numbers.differing:,} of {self._read:,} rows X's “{of}” is not the sum of its parts: X says "
                    f"{numbers.said:,} in all, the parts add up to {numbers.summed:,}. InsightsTrack counts the parts."
                )
        if self._mended:
            rows = "1 row" if self._mended == 1 else f"{self._mended:,} rows"
            notes.append(f"Ids in {rows} had been rounded, as spreadsheets do; the links beside them still had them.")
        return notes


class XTweetActivity(TweetTable):
    """`tweet_activity_metrics_<handle>_<from>_<to>_<language>.csv`."""

    name = "x_tweet_activity"
    label = "X: Tweet activity, a row a Tweet"
    parts = ((Part.ORGANIC, TAIL), (Part.PROMOTED, PROMOTED_TAIL))
    facts = ("Tweet id", "Tweet permalink", "Tweet text", "time")

    @classmethod
    def of(cls, glimpse: Glimpse) -> XTweetActivity | None:
        """The format, where the file is one."""
        whole_file = (*TWEET_FACTS, *TAIL, *PROMOTED_TAIL)
        variants = (whole_file, whole_file[: len(TWEET_FACTS) + len(TAIL)])
        fits = any(_is_tweet(row, 0, 1) for row in glimpse.rows)
        places = layout(glimpse, variants, ("Tweet id", "engagement rate"), fits)
        return cls(glimpse, places) if places else None


class XContent(TweetTable):
    """`account_analytics_content_<from>_<to>.csv`: organic and promoted counts together."""

    name = "x_content"
    label = "X: content, a row a post"
    parts = ((Part.BOTH, CONTENT),)
    facts = ("Post id", "Post Link", "Post text", "")

    @classmethod
    def of(cls, glimpse: Glimpse) -> XContent | None:
        """The format, where the file is one."""
        fits = any(_is_tweet(row, 0, 3) for row in glimpse.rows)
        places = layout(glimpse, (CONTENT,), ("Post id", "Bookmarks"), fits)
        return cls(glimpse, places) if places else None


def _is_tweet(row: Sequence[str], id_place: int, link_place: int) -> bool:
    return len(row) > link_place and row[id_place].strip().isdigit() and "/status/" in row[link_place]
