"""Stretches of time that a chart marks behind its figures: when a source was down, what was counted before tracking.

A band is a bar over the whole height on an axis of its own, in a pattern that shows the figures through it.
`static/js/bands.js` moves them when the page is told of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import plotly.graph_objects as go
from django.utils.text import Truncator

from metrics.models import SourceState
from metrics.present import clock
from metrics.present.charts import Figure
from metrics.query.outages import outages
from metrics.query.tracking import before_tracking

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from metrics.query.outages import Down
    from metrics.query.report import Report, TweetReport
    from metrics.query.tracking import Span

AXIS: Final = "yaxis9"
DOWN: Final = {"shape": "/", "fgcolor": "var(--down)", "fgopacity": 0.5, "size": 9, "solidity": 0.12}
HISTORY: Final = {"shape": ".", "fgcolor": "var(--ink-3)", "fgopacity": 0.4, "size": 8, "solidity": 0.12}
MOST_TOLD: Final = 2
MOST_REASON: Final = 90
_WORDS: Final = {SourceState.PAUSED: "paused", SourceState.LIMITED: "rate-limited"}


@dataclass(frozen=True, slots=True)
class Told:
    """A down stretch in words: which source, when, and why."""

    name: str
    word: str
    span: str
    reason: str


@dataclass(frozen=True, slots=True)
class Bands:
    """What is marked within one period: outages of sources, and buckets that hold counts from before tracking."""

    downs: list[Down]
    history: list[Span]

    def behind(self, figure: Figure) -> Figure:
        """The figure with the bands behind it: outages hatched, history dotted."""
        traces = [_bars("history", self.history, HISTORY), _bars("down", self._down_spans, DOWN)]
        axis = {"domain": [0, 1], "range": [0, 1], "visible": False, "fixedrange": True}
        return {"data": [*traces, *figure["data"]], "layout": {**figure["layout"], AXIS: axis}}

    def as_data(self) -> dict[str, list[list[float]]]:
        """As the browser takes them: [[from, until], …] in milliseconds, by kind."""
        return {"history": _edges(self.history), "down": _edges(self._down_spans)}

    def told(self, zone: ZoneInfo) -> list[Told]:
        """The latest outages in words."""
        latest = sorted(self.downs, key=lambda down: down.until, reverse=True)[:MOST_TOLD]
        return [Told(down.name, _WORDS.get(down.state, "down"), _span(down, zone), _reason(down)) for down in latest]

    @property
    def _down_spans(self) -> list[Span]:
        return [(down.since, down.until) for down in self.downs]


def of_report(report: Report) -> Bands:
    """The bands of a handle's report."""
    query = report.query
    downs = outages(query.handle.pk, query.period, query.now)
    return Bands(downs, before_tracking(query.handle.pk, None, query.period, report.series.starts))


def of_tweet(report: TweetReport) -> Bands:
    """The bands of the drawn part of a Tweet's life."""
    query = report.query
    downs = outages(query.handle.pk, query.period, query.now)
    return Bands(downs, before_tracking(query.handle.pk, query.tweet.tweet_id, query.period, report.clock.starts))


def _edges(spans: Sequence[Span]) -> list[list[float]]:
    return [[since.timestamp() * 1000, until.timestamp() * 1000] for since, until in spans]


def _bars(of: str, spans: Sequence[Span], pattern: dict[str, Any]) -> dict[str, Any]:
    sides = _edges(spans)
    bars = go.Bar(
        x=[(since + until) / 2 for since, until in sides],
        width=[until - since for since, until in sides],
        y=[1] * len(sides),
        yaxis=AXIS.replace("axis", ""),
        marker={"color": "rgba(0,0,0,0)", "line": {"width": 0}, "pattern": {**pattern, "fillmode": "overlay"}},
        hoverinfo="none",
        meta={"of": of},
    )
    trace: dict[str, Any] = bars.to_plotly_json()
    return trace


def _reason(down: Down) -> str:
    """The reason as it stands in brackets."""
    return Truncator(down.reason.rstrip(".")).chars(MOST_REASON)


def _span(down: Down, zone: ZoneInfo) -> str:
    since = clock.moment(down.since, zone)
    return f"{since} – {clock.moment(down.until, zone)}" if down.is_over else f"since {since}"
