"""X's exports with a row a day: the old daily Tweet activity file and today's account overview."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from metrics.ingest.files.batches import Batch, ToldDay
from metrics.ingest.files.cells import day_of, micros, whole
from metrics.ingest.files.columns import DAILY, DAY_TAIL, OVERVIEW, DayMetric, plain
from metrics.ingest.files.formats import Brings, Frame, Glimpse, Table
from metrics.ingest.files.problems import RowError, RowReason, problem_of
from metrics.ingest.files.tables import Row
from metrics.vocabulary.snapshots import UNSAID

_DAY_BEFORE = timedelta(days=1)


class XDays(Table):
    """A date, then numbers of the whole account."""

    brings = Brings.DAYS
    variants: ClassVar[tuple[tuple[DayMetric | None, ...], ...]]
    essential: ClassVar[str]

    def __init__(self, glimpse: Glimpse, metrics: dict[int, DayMetric]) -> None:
        super().__init__(glimpse)
        self._metrics = metrics

    @classmethod
    def of(cls, glimpse: Glimpse) -> XDays | None:
        """The format, where the file is one: by its names, else by the number of its columns."""
        header = [plain(name) for name in glimpse.header]
        known = {plain(metric.name): metric for metric in cls.variants[0] if metric}
        if header[0] == "date" and plain(cls.essential) in header:
            return cls(glimpse, {place: known[name] for place, name in enumerate(header) if name in known})
        for variant in cls.variants:
            if len(header) == len(variant) + 1 and _has_days(glimpse.rows):
                in_order = dict(enumerate(variant, 1))
                # A word may be the same in another language: it must only stand where it belongs.
                if all(known[name] is in_order.get(place) for place, name in enumerate(header) if name in known):
                    return cls(glimpse, {place: metric for place, metric in in_order.items() if metric})
        return None

    def read(self, rows: Sequence[Row], frame: Frame) -> Batch:
        """The rows' days."""
        batch = Batch(rows=len(rows))
        latest = (datetime.fromtimestamp(frame.now_us / 1e6, UTC) + _DAY_BEFORE).date()
        for line, cells in rows:
            try:
                told = self._day(line, self.fitted(cells))
                if told.day > latest:
                    raise RowError(self.header[0], RowReason.IN_THE_FUTURE, f"{self.header[0]}: lies in the future.")
            except RowError as error:
                batch.problems.append(problem_of(line, error))
            else:
                batch.days.append(told)
        return batch

    def _day(self, line: int, cells: list[str]) -> ToldDay:
        numbers = {metric.key: whole(self.header[place], cells[place]) for place, metric in self._metrics.items()}
        said = {key: number for key, number in numbers.items() if number != UNSAID}
        return ToldDay(line, day_of(self.header[0], cells[0]), said)

    def span(self, batch: Batch) -> tuple[int, int] | None:
        """From the first day to the last."""
        if not batch.days:
            return None
        starts = [micros(datetime(*told.day.timetuple()[:3], tzinfo=UTC)) for told in batch.days]
        return min(starts), max(starts)

    def columns(self) -> list[dict[str, Any]]:
        """Every column of the header."""
        told = [{"column": self.header[0], "to": None, "label": "", "part": "", "note": "the account's day"}]
        for place, name in enumerate(self.header[1:], 1):
            metric = self._metrics.get(place)
            note = "kept as the account's daily total, apart from Tweets" if metric else "not counted"
            column = {"column": name, "to": metric.key if metric else None, "label": metric.label if metric else ""}
            told.append({**column, "part": "", "note": note})
        return told

    def notes(self) -> list[str]:
        """Why these numbers are kept apart."""
        return [
            "These are totals of the whole account by day. They name no Tweet, so they are shown beside what "
            "InsightsTrack counts, never added to it."
        ]


class XDaily(XDays):
    """`daily_tweet_activity_metrics_….csv`."""

    name = "x_daily"
    label = "X: Tweet activity by day"
    variants = (DAILY, DAILY[: len(DAY_TAIL) + 1])
    essential = "Tweets published"


class XOverview(XDays):
    """`account_overview_analytics.csv`, the newest day first."""

    name = "x_overview"
    label = "X: account overview, by day"
    variants = (OVERVIEW,)
    essential = "Create Post"


def _has_days(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first rows look like a day and numbers."""
    for row in rows[:3]:
        try:
            day_of("", row[0])
            [whole("", cell) for cell in row[1:3]]
        except (RowError, IndexError):
            return False
    return bool(rows)
