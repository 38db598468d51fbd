"""What can be wrong with a file or with one of its rows, in one sentence each."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from metrics.ingest.validation import Refusal


class FileError(Exception):
    """The file as a whole cannot be used; the message is one sentence or two for people: what it is, what to do."""


class RowReason(StrEnum):
    """Why a row was not imported: the closed list of the report's `reason`, beside those of events."""

    NO_TWEET = "no_tweet"
    BAD_TWEET_ID = "bad_tweet_id"
    BAD_NUMBER = "bad_number"
    BAD_TIME = "bad_time"
    IN_THE_FUTURE = "in_the_future"
    BEFORE_THE_TWEET = "before_the_tweet"
    WRONG_COLUMNS = "wrong_columns"
    BROKEN_QUOTES = "broken_quotes"
    NOT_JSON = "not_json"
    DAY_CLOSED = "day_closed"


ROW_REASONS = {
    RowReason.NO_TWEET: "The row names no Tweet: its id is empty, its link ends in “undefined”. X writes such rows.",
    RowReason.BAD_TWEET_ID: "The Tweet id is no 64-bit number, often because a spreadsheet has rounded it.",
    RowReason.BAD_NUMBER: "A count is not a whole number from 0 up.",
    RowReason.BAD_TIME: "A date or time cannot be read.",
    RowReason.IN_THE_FUTURE: "The Tweet, the day or the count lies in the future.",
    RowReason.BEFORE_THE_TWEET: "The counts are said to be older than the Tweet: correct “counts as of”.",
    RowReason.WRONG_COLUMNS: "The row has fewer or more cells than the header.",
    RowReason.BROKEN_QUOTES: "A quotation mark inside a cell is not doubled.",
    RowReason.NOT_JSON: "The line is not valid JSON.",
    RowReason.DAY_CLOSED: "That day's events were dropped after `EVENT_DAYS`: nobody can tell what was counted.",
}


class Problem(NamedTuple):
    """A row that was not imported: its line (of a row over several lines, the first), where, why, what to do."""

    line: int
    field: str
    reason: str
    detail: str


class RowError(Exception):
    """Raised while a row is read; becomes a Problem with the row's line."""

    def __init__(self, field: str, reason: RowReason, detail: str) -> None:
        super().__init__(detail)
        self.field, self.reason, self.detail = field, reason, detail


def problem_of(line: int, error: RowError | Refusal) -> Problem:
    """The problem that an error means for the row in this line."""
    return Problem(line, error.field, str(error.reason), error.detail)
