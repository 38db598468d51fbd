"""The figure of a campaign: everybody whom it had reached after each Tweet above, those of them that were new below.

Each point carries, as `customdata`, what the page says of it under the pointer.
"""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from metrics.present import charts, clock, people
from metrics.query.audience import Reach
from metrics.query.campaigns import Part

MOST_TICKS = 12
_STEPS = (1, 2, 5, 10, 20, 50, 100)


def growth(parts: Sequence[Part], zone: ZoneInfo) -> charts.Figure:
    """Bars of new people, and above them the line of everybody so far within its interval."""
    places = list(range(1, len(parts) + 1))
    totals = [part.step.total for part in parts]
    line = go.Scatter(
        x=places,
        y=[total.people for total in totals],
        yaxis="y2",
        mode="lines+markers" if len(parts) <= MOST_TICKS else "lines",
        line={"width": 2, "color": "var(--accent)"},
        marker={"size": 6, "color": "var(--accent)"},
        hoverinfo="none",
        customdata=[_words(part, zone) for part in parts],
        meta={"of": "total"},
    )
    panels = {"yaxis": charts.count_axis([0, 0.34]), "yaxis2": charts.count_axis([0.44, 1])}
    layout = charts.layout_of(xaxis=_places(len(parts)), **panels)
    return charts.figure_of([*_band(places, totals), _bars(places, parts), line], layout)


def _bars(places: Sequence[int], parts: Sequence[Part]) -> go.Bar:
    return go.Bar(
        x=list(places),
        y=[part.step.new.people if part.step.new.is_told else None for part in parts],
        # Of few Tweets, too, a bar is a bar and no wall.
        width=[min(0.65, 0.06 * len(parts)) if len(parts) <= MOST_TICKS else 0.9] * len(parts),
        marker={"color": "var(--social)"},
        hoverinfo="none",
        meta={"of": "new"},
    )


def _band(places: Sequence[int], totals: Sequence[Reach]) -> list[go.Scatter]:
    """The interval of everybody so far, between two lines that are not drawn."""
    plain = {
        "x": list(places),
        "yaxis": "y2",
        "mode": "lines",
        "line": {"width": 0, "color": "rgba(0,0,0,0)"},
        "hoverinfo": "skip",
    }
    low = go.Scatter(y=[total.low for total in totals], meta={"of": "low"}, **plain)
    high = go.Scatter(
        y=[total.high for total in totals], fill="tonexty", fillcolor="var(--accent-soft)", meta={"of": "high"}, **plain
    )
    return [low, high]


def _places(number: int) -> charts.Figure:
    step = next((step for step in _STEPS if number / step <= MOST_TICKS), _STEPS[-1])
    at = [1, *range(step, number + 1, step)] if step > 1 else list(range(1, number + 1))
    ticks = {"tickmode": "array", "tickvals": at, "ticktext": [f"{place:,}" for place in at]}
    return {**charts.plain_axis(), **ticks, "range": [0.5, number + 0.5], "anchor": "y"}


def _words(part: Part, zone: ZoneInfo) -> list[str]:
    step = part.step
    return [
        str(part.tweet)[:140],
        clock.moment(part.tweet.created_at, zone),
        people.number(step.total),
        people.interval(step.total),
        people.number(step.new),
        people.number(part.reached.seen),
    ]
