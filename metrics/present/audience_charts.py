"""Figures about people: how a Tweet reached them, whom a handle reached each week, who of them was new.

Each figure comes with its readings: for each of its points, what is said under the pointer, and where that is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from metrics.present import charts, clock, people
from metrics.query.audience import Basis, Reach
from metrics.query.overlap import Point, Week
from metrics.query.story import TweetQuery
from metrics.vocabulary.periods import EPOCH, Period, floor

BAR_SHARE, BARS_TICKED = 0.72, 6
_HATCH = {"fillmode": "replace", "size": 5, "solidity": 0.35}
MOMENT = timedelta(microseconds=1)
Reading = dict[str, Any]


class Drawn(NamedTuple):
    """A figure and its readings."""

    figure: charts.Figure
    readings: list[Reading]


def curve(points: Sequence[Point], query: TweetQuery, epochs: Sequence[datetime], kept: timedelta) -> Drawn | None:
    """How many people a Tweet had reached by then, in a band where that is estimated; None without two points.

    People are kept in buckets as long as `kept`. With a new key counting begins anew: so does the line.
    """
    begun = Point(query.tweet.created_at, Reach(Basis.EXACT, 0, 0, 0))
    shown = [begun, *(point for point in points if point.at <= query.period.until)]
    if len(shown) < 2:
        return None
    parts = [_level(part, kept) for part in _parts(shown, epochs)]
    end = min(query.now, query.period.until)
    if len(shown) > len(points) and shown[-1].at < end:
        parts[-1].append(Point(end, shown[-1].reach))  # nobody came since
    traces = [trace for part in parts for trace in _line(part)]
    axis = charts.time_axis(query.period, clock.ticks(query.period, query.zone, most=6))
    figure = charts.figure_of(traces, charts.layout_of(xaxis=axis, yaxis=charts.count_axis([0, 1])))
    drawn = [point for part in parts for point in part if point.at >= query.period.since]
    return Drawn(figure, [_point(point, query.period, query.zone) for point in drawn])


def weekly(weeks: Sequence[Week]) -> Drawn:
    """Whom a handle reached each week, as bars with their intervals; the running week is hatched.

    Where only bounds are known the bar is as high as the lower one.
    """
    bars = go.Bar(
        x=list(range(len(weeks))),
        y=[_height(week.reach) for week in weeks],
        width=BAR_SHARE,
        marker=_filling("var(--accent)", len(weeks)),
        hoverinfo="none",
        meta={"of": "reach"},
    )
    rows = [[_row("Reach", "people", week.reach)] for week in weeks]
    return Drawn(charts.figure_of([bars, _intervals(weeks)], _by_week(weeks)), _weekly_readings(weeks, rows))


def comers(weeks: Sequence[Week]) -> Drawn:
    """Of the people of each week, who was among those of the four weeks before, and who was not."""
    parts = (
        ("returning", "var(--social)", [week.returning for week in weeks]),
        ("new", "var(--clicks)", [week.new for week in weeks]),
    )
    bars = [
        go.Bar(
            x=list(range(len(weeks))),
            y=[reach.people if reach and reach.is_told else None for reach in reaches],
            width=BAR_SHARE,
            marker=_filling(color, len(weeks)),
            hoverinfo="none",
            meta={"of": name},
        )
        for name, color, reaches in parts
    ]
    rows = [[_row("New", "clicks", week.new), _row("Returning", "social", week.returning)] for week in weeks]
    return Drawn(charts.figure_of(bars, _by_week(weeks, barmode="stack")), _weekly_readings(weeks, rows))


def week_label(week: Week) -> str:
    """ "Mon 23 Nov": the day on which it begins."""
    return clock.day_label(week.period.since)


def _level(points: Sequence[Point], kept: timedelta) -> list[Point]:
    """The points, with one more where a time without anybody ends: until then the line stays level."""
    found = [points[0]]
    for before, point in pairwise(points):
        began = floor(point.at - MOMENT, kept)
        if before.at < began:
            found.append(Point(began, before.reach))
        found.append(point)
    return found


def _parts(points: Sequence[Point], epochs: Sequence[datetime]) -> list[list[Point]]:
    """The points before each new key, and those after the last."""
    edges = [EPOCH, *epochs, points[-1].at]
    parts = [
        [point for point in points if since <= point.at < until or point.at == until == edges[-1]]
        for since, until in pairwise(edges)
    ]
    return [part for part in parts if part]


def _line(points: Sequence[Point]) -> list[go.Scatter]:
    x = [point.at.timestamp() * 1000 for point in points]
    hidden: dict[str, Any] = {
        "x": x,
        "mode": "lines",
        "hoverinfo": "skip",
        "line": {"width": 0, "color": "rgba(0,0,0,0)"},
    }
    band = [
        go.Scatter(y=[point.reach.low for point in points], meta={"of": "low"}, **hidden),
        go.Scatter(
            y=[point.reach.high for point in points],
            fill="tonexty",
            fillcolor="var(--accent-soft)",
            meta={"of": "high"},
            **hidden,
        ),
    ]
    line = go.Scatter(
        x=x,
        y=[point.reach.people for point in points],
        mode="lines" if len(points) > 1 else "markers",
        line={"width": 1.8, "color": "var(--accent)"},
        marker={"size": 5, "color": "var(--accent)"},
        hoverinfo="none",
        meta={"of": "reach"},
    )
    is_estimated = any(point.reach.basis is Basis.ESTIMATED for point in points)
    return [*band, line] if is_estimated else [line]


def _point(point: Point, period: Period, zone: ZoneInfo) -> Reading:
    return {
        "share": (point.at - period.since) / period.length,
        "title": clock.moment(point.at, zone),
        "rows": [_row("People so far", "people", point.reach)],
        "notes": _notes(point.reach),
    }


def _weekly_readings(weeks: Sequence[Week], rows: Sequence[list[Reading]]) -> list[Reading]:
    return [
        {
            "share": (place + 0.5) / len(weeks),
            "title": f"Week of {week_label(week)}" + (" · still running" if place == len(weeks) - 1 else ""),
            "rows": rows[place],
            "notes": _notes(week.reach) if len(rows[place]) == 1 else [],
        }
        for place, week in enumerate(weeks)
    ]


def _row(label: str, swatch: str, reach: Reach | None) -> Reading:
    return {"label": label, "swatch": swatch, "now": people.number(reach) if reach else "cannot be told"}


def _notes(reach: Reach) -> list[str]:
    said = people.interval(reach)
    return [said] if said else []


def _height(reach: Reach) -> int | None:
    return reach.low if reach.basis is Basis.BOUNDS else reach.people if reach.is_told else None


def _intervals(weeks: Sequence[Week]) -> go.Scatter:
    """The error bars: only where there is an interval, for plotly draws one of no length as a dash."""
    uncertain = [place for place, week in enumerate(weeks) if week.reach.basis in {Basis.ESTIMATED, Basis.BOUNDS}]
    known = [(place, weeks[place].reach, _height(weeks[place].reach) or 0) for place in uncertain]
    return go.Scatter(
        x=[place for place, _, _ in known],
        y=[height for _, _, height in known],
        mode="markers",
        marker={"size": 1, "color": "var(--ink)"},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [(reach.high or height) - height for _, reach, height in known],
            "arrayminus": [height - (reach.low or 0) for _, reach, height in known],
            "color": "var(--ink)",
            "thickness": 1.4,
            "width": 4,
        },
        hoverinfo="none",
        meta={"of": "interval"},
    )


def _filling(color: str, number: int) -> dict[str, Any]:
    return {
        "color": color,
        "line": {"width": 1, "color": "var(--surface)"},
        "pattern": {"shape": [*[""] * (number - 1), "/"], **_HATCH},
    }


def _by_week(weeks: Sequence[Week], **parts: Any) -> go.Layout:
    step = max(1, -(-len(weeks) // BARS_TICKED))
    # Counted from the end, so that the running week is named.
    at = list(range(len(weeks) - 1, -1, -step))[::-1]
    text = [f"{weeks[place].period.since:%-d %b}" for place in at]
    axis = {"tickmode": "array", "tickvals": at, "ticktext": text, "range": [-0.5, len(weeks) - 0.5]}
    return charts.layout_of(xaxis={**charts.plain_axis(), **axis}, yaxis=charts.count_axis([0, 1]), **parts)
