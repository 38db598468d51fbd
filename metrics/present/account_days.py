"""The "dashboard" reading on a handle's dashboard: the platform's own numbers beside ours, and the file of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from metrics.ingest.files.columns import DAY_METRICS
from metrics.present import figures
from metrics.present.columns import Cell
from metrics.query.account_days import Day, account_reading
from metrics.query.params import ReportQuery
from metrics.vocabulary.engagements import METRICS

# What a day's row shows; the file has all.
DAY_SHOWN = ("impressions", "engagements", "favorites", "retweets", "replies")


@dataclass(frozen=True, slots=True)
class Pair:
    """One metric as both count it; `more` is ours against theirs."""

    label: str
    definition: str
    theirs: int
    ours: int

    @property
    def more(self) -> str:
        """How much more, or less, we count."""
        return figures.signed(self.ours - self.theirs)

    @property
    def ratio(self) -> str:
        """The same as a share of the platform's number."""
        return figures.change(self.ours, self.theirs) if self.theirs else ""


@dataclass(frozen=True, slots=True)
class DayRow:
    """A day with its pairs, None where the platform did not tell the metric."""

    label: str
    pairs: tuple[Pair | None, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """What the card shows."""

    pairs: list[Pair]
    columns: list[str]
    days: list[DayRow]
    others: list[tuple[str, int]]
    since: str
    until: str
    missing: int
    exported_at: datetime


def compared(query: ReportQuery) -> Compared | None:
    """Both readings of the question's period; None where the platform's daily files tell nothing of it."""
    reading = account_reading(query)
    if reading is None:
        return None
    shown = [name for name in DAY_SHOWN if name in reading.metrics]
    first, last = reading.days[0].day, reading.days[-1].day
    return Compared(
        pairs=[_pair(name, reading.theirs(name), reading.ours(name)) for name in reading.metrics],
        columns=[METRICS[name].label for name in shown],
        days=[DayRow(_label(day.day), tuple(_pairs(day, shown))) for day in reversed(reading.days)],
        others=[(DAY_METRICS.get(name, name), reading.theirs(name)) for name in reading.others if reading.theirs(name)],
        since=_label(first),
        until=_label(last) if last != first else "",
        missing=(last - first).days + 1 - len(reading.days),
        exported_at=reading.exported_at,
    )


def account_day_rows(query: ReportQuery) -> Iterator[list[Cell]]:
    """The rows of account_days.csv: one for each day and metric that the platform told."""
    reading = account_reading(query)
    if reading is None:
        return
    names = [*reading.metrics, *reading.others]
    for day in reading.days:
        for name in (each for each in names if each in day.theirs):
            is_known = name in METRICS
            label = METRICS[name].label if is_known else DAY_METRICS.get(name, name)
            yield [day.day.isoformat(), name, label, day.theirs[name], day.ours(name) if is_known else None]


def _pair(name: str, theirs: int, ours: int) -> Pair:
    return Pair(METRICS[name].label, METRICS[name].definition, theirs, ours)


def _pairs(day: Day, names: list[str]) -> Iterator[Pair | None]:
    for name in names:
        yield _pair(name, day.theirs[name], day.ours(name)) if name in day.theirs else None


def _label(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b %Y}"
