"""What some rows of a file bring, ready to be stored: Tweets, counts of Tweets, events, or days of the account."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from metrics.ingest.files.problems import Problem, RowReason
from metrics.vocabulary.engagements import N_TYPES, Counts
from metrics.vocabulary.events import CLOCK_TOLERANCE, FIRST_SNOWFLAKE, FIRST_TWEET_AT, TWITTER_EPOCH_MS

Ints = npt.NDArray[np.int64]
_TOLERANCE_US = round(CLOCK_TOLERANCE.total_seconds() * 1e6)


class ToldTweet(msgspec.Struct, gc=False):
    """What a row says of its Tweet itself; None where the file says nothing. `created_us` is in Unix microseconds."""

    line: int
    tweet_id: int
    created_us: int
    text: str
    link: str
    media: str | None = None
    tags: list[str] | None = None


class ToldDay(NamedTuple):
    """One day of the account: the platform's metric → its number."""

    line: int
    day: date
    counts: dict[str, int]


class ToldEvent(NamedTuple):
    """An event that was found good: its line, its packed record, its instant (Unix µs) and its key."""

    line: int
    packed: bytes
    occurred_us: int
    key: bytes


@dataclass(slots=True)
class Counted:
    """Snapshots in columns, n of them: several may come from one line; `counts` is int64[n, 26] with UNSAID."""

    lines: Ints
    tweet_ids: Ints
    as_of_us: Ints
    parts: Ints
    counts: Counts

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, mask: npt.NDArray[np.bool_]) -> Counted:
        """Only some of them."""
        return Counted(self.lines[mask], self.tweet_ids[mask], self.as_of_us[mask], self.parts[mask], self.counts[mask])


def no_counts() -> Counted:
    """No snapshots at all."""
    none = np.zeros(0, dtype=np.int64)
    return Counted(none, none, none, none, np.zeros((0, N_TYPES), dtype=np.int64))


def joined(parts: list[Counted]) -> Counted:
    """Several runs of snapshots as one, in the order of their lines; within a line in the order given."""
    if not parts:
        return no_counts()
    columns = ("lines", "tweet_ids", "as_of_us", "parts", "counts")
    together = Counted(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))
    return together.where(np.argsort(together.lines, kind="stable"))  # type: ignore[arg-type]  # places serve too


@dataclass(slots=True)
class Batch:
    """Some rows, read: `rows` counts all of them, `problems` tells those that were not imported."""

    rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    tweets: list[ToldTweet] = field(default_factory=list)
    counted: Counted = field(default_factory=no_counts)
    days: list[ToldDay] = field(default_factory=list)
    events: list[ToldEvent] = field(default_factory=list)
    apart: dict[str, int] = field(default_factory=dict)
    """Column that no type stands for → its sum."""


def created_us(tweet_ids: Ints) -> Ints:
    """When the Tweets were created by their ids, in Unix microseconds; the first Tweet's day for the earliest ids."""
    snowflakes = ((tweet_ids >> 22) + TWITTER_EPOCH_MS) * 1000
    return np.where(tweet_ids < FIRST_SNOWFLAKE, round(FIRST_TWEET_AT.timestamp()) * 1_000_000, snowflakes)


def refuse_times(batch: Batch, now_us: int) -> None:
    """Take out the rows whose counts cannot be of their time: older than their Tweet, or in the future."""
    counted = batch.counted
    born = created_us(counted.tweet_ids)
    early = counted.as_of_us < born - _TOLERANCE_US
    late = (counted.as_of_us > now_us + _TOLERANCE_US) | (born > now_us + _TOLERANCE_US)
    refused: dict[int, Problem] = {}
    for line in counted.lines[early & ~late].tolist():
        detail = "counts as of: before the Tweet itself. Say when the file was exported."
        refused[line] = Problem(line, "exported_at", RowReason.BEFORE_THE_TWEET, detail)
    for line in counted.lines[late].tolist():
        detail = "The Tweet, or the time of its counts, lies more than 5 minutes in the future."
        refused[line] = Problem(line, "Tweet id", RowReason.IN_THE_FUTURE, detail)
    if refused:
        batch.problems.extend(refused.values())
        batch.counted = counted.where(~np.isin(counted.lines, list(refused)))
        batch.tweets = [tweet for tweet in batch.tweets if tweet.line not in refused]
