"""The platform's own dashboard beside ours: what its daily files say of the whole account, and what was counted here.

The two are never added up. Only days that a file has told are compared, each as a whole day in the question's zone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np

from metrics.models import AccountDay
from metrics.query import series
from metrics.query.params import Reading, ReportQuery
from metrics.query.series import Series
from metrics.vocabulary.engagements import METRICS, Counts
from metrics.vocabulary.periods import DisplayGrain, Period, day_start

PROMOTED = "promoted_"
# Only these mean the same in both; what else a file tells has no counterpart here.
COMPARED = ("impressions", "engagements", *(name for name in METRICS if name not in {"impressions", "engagements"}))


@dataclass(frozen=True, slots=True)
class Day:
    """One day: metric → the platform's number, promoted part included, and counts int64[26] of ours."""

    day: date
    theirs: dict[str, int]
    counts: Counts

    def ours(self, metric: str) -> int:
        """Our number of a metric that both know."""
        return int(METRICS[metric].of(self.counts))


@dataclass(frozen=True, slots=True)
class AccountReading:
    """The days of a period that the platform's files have told, in order; `exported_at` is of the newest file."""

    days: tuple[Day, ...]
    exported_at: datetime

    @property
    def metrics(self) -> list[str]:
        """The metrics that can be compared, the headlines first."""
        told = {name for day in self.days for name in day.theirs}
        return [name for name in COMPARED if name in told]

    @property
    def others(self) -> list[str]:
        """What only the platform counts."""
        return list(dict.fromkeys(name for day in self.days for name in day.theirs if name not in METRICS))

    def theirs(self, metric: str) -> int:
        """The platform's sum over its days."""
        return sum(day.theirs.get(metric, 0) for day in self.days)

    def ours(self, metric: str) -> int:
        """Our sum over the days for which the platform told the metric."""
        return sum(day.ours(metric) for day in self.days if metric in day.theirs)


def account_reading(query: ReportQuery) -> AccountReading | None:
    """The days that the question's period touches, in its reading; None where no file told any."""
    first = query.period.since.astimezone(query.zone).date()
    last = (query.period.until - timedelta(microseconds=1)).astimezone(query.zone).date()
    told = list(AccountDay.objects.filter(handle=query.handle, day__gte=first, day__lte=last).order_by("day"))
    if not told:
        return None
    counts = _counts(query, told[0].day, told[-1].day)
    days = tuple(Day(row.day, _with_promoted(row.counts), counts(row.day)) for row in told)
    return AccountReading(days, max(row.exported_at for row in told))


def _with_promoted(counts: dict[str, int]) -> dict[str, int]:
    """The platform tells promotion apart; a total here is both."""
    plain = {name: number for name, number in counts.items() if not name.startswith(PROMOTED)}
    return {name: number + counts.get(PROMOTED + name, 0) for name, number in plain.items()}


def _counts(query: ReportQuery, first: date, last: date) -> Callable[[date], Counts]:
    """Our counts int64[26] of each day from first to last."""
    period = Period(day_start(first, query.zone), day_start(last + timedelta(days=1), query.zone))
    read = series.cohort_series if query.reading is Reading.TWEETS else series.handle_series
    found: Series = read(query.handle.pk, period, DisplayGrain.DAY, query.zone)
    by_day = {
        start.astimezone(query.zone).date(): np.asarray(counts.sum(axis=0), dtype=np.int64)
        for start, counts in zip(found.starts, found.counts, strict=True)
    }
    return by_day.__getitem__
