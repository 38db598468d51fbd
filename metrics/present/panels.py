"""What the pages show besides charts: tiles, the breakdown by type, the funnel, the tables behind charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metrics.present import figures
from metrics.present.sparkline import Sparkline, sparkline
from metrics.vocabulary.engagements import (
    CODE,
    ENGAGEMENT_RATE_DEFINITION,
    FAMILY_LABELS,
    FUNNEL,
    METRICS,
    ORGANIC,
    PROMOTED,
    TYPES,
    UNDO_OF,
    Counts,
    EngagementType,
    Family,
    engagement_rate,
)

RATE = "engagement_rate"
TILES = ("impressions", "engagements", RATE, "favorites_net", "url_clicks", "video_views")
SERIES_COLUMNS = ("impressions", "engagements", "social", "clicks", "apps", "video_starts", "video_views")
FUNNEL_LABELS = dict(zip(FUNNEL, ("Starts", "3 s views", "25 %", "50 %", "75 %", "95 %", "100 %"), strict=True))


@dataclass(frozen=True, slots=True)
class Tile:
    """One headline figure, as text, with its change, its definition and its sparkline."""

    name: str
    label: str
    definition: str
    value: str
    change: str
    direction: str
    note: str
    spark: Sparkline


def tiles(totals: Counts, previous: Counts | None, series: Counts | None = None, is_running: bool = True) -> list[Tile]:
    """The six tiles of counts int64[2, 26]; sparklines from a series int64[n, 2, 26] where there is one."""
    both = totals.sum(axis=0)
    before = None if previous is None else previous.sum(axis=0)
    columns = np.zeros((0, 26), dtype=np.int64) if series is None else series.sum(axis=1)
    return [_tile(name, both, before, sparkline(column(name, columns), is_running)) for name in TILES]


def column(name: str, counts: Counts) -> list[float]:
    """One metric of each bucket: int64[n, 26] → n numbers; a rate is 0 where nothing was shown."""
    if name == RATE:
        return [engagement_rate(bucket) or 0.0 for bucket in counts]
    return [float(value) for value in METRICS[name].of(counts)]


def _tile(name: str, both: Counts, before: Counts | None, spark: Sparkline) -> Tile:
    if name == RATE:
        now, was = engagement_rate(both), None if before is None else engagement_rate(before)
        change = figures.points(now, was)
        return Tile(
            name,
            "Engagement rate",
            ENGAGEMENT_RATE_DEFINITION,
            figures.percent(now),
            change,
            figures.direction(change),
            "",
            spark,
        )
    metric = METRICS[name]
    value = int(metric.of(both))
    old = None if before is None else int(metric.of(before))
    lost = sum(int(both[CODE[undo]]) for undo in metric.minus)
    change = figures.change(value, old)
    return Tile(
        name,
        metric.label,
        metric.definition,
        figures.count(value),
        change,
        figures.direction(change),
        f"{figures.count(lost)} lost" if metric.minus else "",
        spark,
    )


@dataclass(frozen=True, slots=True)
class CardFigure:
    """One figure of a handle's card: today so far, its changes against other days, and its last hour."""

    name: str
    label: str
    definition: str
    value: str
    changes: tuple[tuple[str, str, str], ...]
    spark: Sparkline


def card_figure(name: str, today: Counts, others: Mapping[str, Counts], minutes: Counts) -> CardFigure:
    """A metric of today, int64[26], against other days, with its minutes, int64[n, 26]."""
    metric = METRICS[name]
    value = int(metric.of(today))
    changes = []
    for against, counts in others.items():
        old = int(metric.of(counts))
        change = figures.change(value, old)
        changes.append((against, change, figures.direction(change)))
    spark = sparkline(column(name, minutes))
    return CardFigure(name, metric.label, metric.definition, figures.count(value), tuple(changes), spark)


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One engagement type: what was gained by each way, what was taken back, and how the rest changed.

    `bar` is the organic and the promoted share of a bar that is full at the longest of its peers, in percent.
    """

    name: str
    label: str
    definition: str
    family: str
    organic: int
    promoted: int
    is_promotable: bool
    lost: int | None
    net: int
    change: str
    direction: str
    bar: tuple[float, float]

    @property
    def gained(self) -> int:
        """Organic and promoted together."""
        return self.organic + self.promoted


@dataclass(frozen=True, slots=True)
class TypeGroup:
    """The rows of one family; impressions are a group of their own."""

    name: str
    label: str
    rows: tuple[TypeRow, ...]


def breakdown(totals: Counts, previous: Counts | None) -> list[TypeGroup]:
    """Every type that is not an undo, by family, from int64[2, 26]."""
    groups: list[tuple[str, str, Family | None]] = [("impressions", "Impressions", None)]
    groups += [(family.value, FAMILY_LABELS[family], family) for family in Family]
    return [
        TypeGroup(
            name,
            label,
            tuple(
                _type_row(kind, totals, previous, longest(totals, kind))
                for kind in TYPES
                if kind.family is family and kind.undoes is None
            ),
        )
        for name, label, family in groups
    ]


def longest(totals: Counts, kind: EngagementType) -> int:
    """The count that fills a bar: the largest among the types that are compared with this one."""
    if kind.family in {None, Family.VIDEO}:
        peers = [CODE[other.name] for other in TYPES if other.family is kind.family]
    else:
        peers = [CODE[other.name] for other in TYPES if other.is_engagement]
    return max(1, int(totals.sum(axis=0)[peers].max()))


def _type_row(kind: EngagementType, totals: Counts, previous: Counts | None, full: int) -> TypeRow:
    code = CODE[kind.name]
    undo = UNDO_OF.get(kind.name)
    organic, promoted = int(totals[ORGANIC, code]), int(totals[PROMOTED, code])
    lost = int(totals[:, CODE[undo]].sum()) if undo else None
    net = organic + promoted - (lost or 0)
    change = figures.change(net, None if previous is None else _net(kind.name, previous))
    return TypeRow(
        kind.name,
        kind.label,
        kind.definition,
        kind.family.value if kind.family else "impressions",
        organic,
        promoted,
        kind.promotable,
        lost,
        net,
        change,
        figures.direction(change),
        (round(organic / full * 100, 2), round(promoted / full * 100, 2)),
    )


def _net(name: str, counts: Counts) -> int:
    both = counts.sum(axis=0)
    undo = UNDO_OF.get(name)
    return int(both[CODE[name]]) - (int(both[CODE[undo]]) if undo else 0)


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """How many videos came so far, and what share of those that started."""

    name: str
    label: str
    count: int
    share: float | None


def funnel(totals: Counts) -> list[FunnelStep]:
    """Starts, 3-second views, and each share viewed, from int64[2, 26]."""
    both = totals.sum(axis=0)
    starts = int(both[CODE[FUNNEL[0]]])
    return [
        FunnelStep(
            name,
            FUNNEL_LABELS[name],
            int(both[CODE[name]]),
            int(both[CODE[name]]) / starts if starts else None,
        )
        for name in FUNNEL
    ]


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One bucket of a chart, as its table shows it."""

    label: str
    values: tuple[int, ...]
    is_unfinished: bool


def series_rows(
    labels: Sequence[str], counts: Counts, columns: Sequence[str] = SERIES_COLUMNS, is_running: bool = False
) -> list[SeriesRow]:
    """The table behind a chart: int64[n, 2, 26] → a row for each bucket."""
    both = counts.sum(axis=1)
    values = np.stack([METRICS[name].of(both) for name in columns], axis=1)
    last = len(labels) - 1
    return [
        SeriesRow(label, tuple(int(value) for value in row), is_running and place == last)
        for place, (label, row) in enumerate(zip(labels, values, strict=True))
    ]


def peak(rows: Sequence[SeriesRow]) -> tuple[SeriesRow, SeriesRow] | None:
    """The bucket with most impressions and the one with most engagements, for a chart's text alternative."""
    if not rows or not any(any(row.values) for row in rows):
        return None
    return max(rows, key=lambda row: row.values[0]), max(rows, key=lambda row: row.values[1])
