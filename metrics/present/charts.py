"""Figures for plotly.js, built with plotly's Python classes.

Colours are names of CSS variables ("var(--social)"): the browser looks them up when it draws, so one figure
serves both themes. Every trace that holds a metric says so in `meta` (`metric`, and `of`: current, previous,
way): that is how `static/js/charts.js` knows what to patch. x is milliseconds since the epoch, mid-bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go

from metrics.models import Tweet
from metrics.present import clock, figures
from metrics.present.panels import FunnelStep
from metrics.query.params import ReportQuery
from metrics.query.report import Report, TweetReport
from metrics.query.series import Series
from metrics.query.typical import AGES
from metrics.vocabulary.engagements import FAMILY_LABELS, FUNNEL, METRICS, Counts, Family
from metrics.vocabulary.periods import Period

Figure = dict[str, Any]
STACKED = (Family.SOCIAL, Family.CLICKS, Family.APPS)
BAR_SHARE = 0.84  # of a bucket's width
_TEXT = {"family": "Inter, system-ui, sans-serif", "size": 12, "color": "var(--ink-3)"}
_HATCH = {"fillmode": "replace", "size": 5, "solidity": 0.35}


def activity(report: Report, tweets: Sequence[Tweet]) -> Figure:
    """Impressions above, engagements stacked by family below, the Tweets between, all on one time axis."""
    query = report.query
    edges = [*report.series.starts, query.period.until]
    before = report.previous_series
    traces = [
        *_impressions(edges, report.series.counts, query.is_running),
        *_stack(edges, report.series.counts, query.is_running),
    ]
    if before is not None:
        drawn = min(len(before.counts), len(edges) - 1)
        traces += [
            _dotted("impressions", "y2", edges, before.counts[:drawn], "var(--ink-3)"),
            _dotted("engagements", "y", edges, before.counts[:drawn], "var(--ink-2)"),
        ]
    traces.append(_published(tweets))
    layout = layout_of(
        xaxis=time_axis(query.period, clock.ticks(query.period, query.zone)),
        yaxis=count_axis([0, 0.56]),
        yaxis2=count_axis([0.68, 1.0]),
        yaxis3={"domain": [0.585, 0.64], "visible": False, "fixedrange": True, "range": [-1, 1]},
        barmode="stack",
    )
    return figure_of(traces, layout)


def video(report: Report) -> Figure:
    """Video starts, and in front of them the 3-second views."""
    query = report.query
    edges = [*report.series.starts, query.period.until]
    counts = report.series.counts
    traces = [
        _bars("video_starts", edges, counts, "var(--video-pale)", query.is_running),
        _bars("video_views", edges, counts, "var(--video)", query.is_running),
    ]
    if report.previous_series is not None:
        drawn = min(len(report.previous_series.counts), len(edges) - 1)
        traces.append(_dotted("video_views", "y", edges, report.previous_series.counts[:drawn], "var(--ink-2)"))
    layout = layout_of(
        xaxis=time_axis(query.period, clock.ticks(query.period, query.zone, most=6)),
        yaxis=count_axis([0, 1]),
        barmode="overlay",
    )
    return figure_of(traces, layout)


def funnel(steps: Sequence[FunnelStep]) -> Figure:
    """Horizontal bars with counts and the share of starts."""
    most = max((step.count for step in steps), default=0) or 1
    bars = go.Bar(
        orientation="h",
        x=[step.count for step in steps],
        y=[step.label for step in steps],
        text=[funnel_text(step) for step in steps],
        textposition="outside",
        textfont={"color": "var(--ink)"},
        cliponaxis=False,
        marker={"color": ["var(--video-pale)", *["var(--video)"] * (len(steps) - 1)]},
        hoverinfo="none",
        meta={"of": "funnel"},
    )
    layout = layout_of(
        xaxis={"range": [0, most * 1.45], "visible": False, "fixedrange": True},
        yaxis={
            "type": "category",
            "autorange": "reversed",
            "fixedrange": True,
            "showgrid": False,
            # Invisible ticks keep the labels off the bars.
            "ticks": "outside",
            "ticklen": 6,
            "tickcolor": "rgba(0,0,0,0)",
            "automargin": False,
            "tickfont": {**_TEXT, "color": "var(--ink-2)"},
        },
        margin={"l": 72, "r": 4, "t": 2, "b": 2},
        bargap=0.32,
    )
    return figure_of([bars], layout)


def funnel_text(step: FunnelStep) -> str:
    """ "30,871  64 %": the count and the share of starts."""
    is_start = step.name == FUNNEL[0]
    share = "" if step.share is None or is_start else f"   {figures.percent(step.share, 0)}"
    return f" {figures.count(step.count)}{share}"


def growth_by_clock(report: TweetReport) -> Figure:
    """A Tweet's cumulative impressions and engagements over the drawn part of its life."""
    query = report.query
    sums = (report.before + report.clock.counts.cumsum(axis=0)).sum(axis=1)
    edges = [*report.clock.starts, query.period.until]
    now = query.now.timestamp() * 1000
    x = [min(_ms(edge), now) for edge in edges[1:]]
    traces = [
        _curve(
            "impressions",
            "y2",
            x,
            METRICS["impressions"].of(sums).tolist(),
            "var(--impressions)",
            filled=True,
        ),
        _curve("engagements", "y", x, METRICS["engagements"].of(sums).tolist(), "var(--social)", filled=True),
    ]
    layout = layout_of(
        xaxis=time_axis(query.period, clock.ticks(query.period, query.zone, most=6)),
        yaxis=count_axis([0, 0.56]),
        yaxis2=count_axis([0.66, 1.0]),
    )
    return figure_of(traces, layout)


def growth_by_age(report: TweetReport) -> Figure:
    """What a Tweet had gathered at each age, against the median of the handle's latest Tweets."""
    ages = [age.total_seconds() / 60 for age in AGES]
    own = report.gathered.engagements
    usual = report.typical.engagements
    now = max(1.0, (report.as_of - report.query.tweet.created_at).total_seconds() / 60)
    reached = [(age, value) for age, value in zip(ages, own.tolist(), strict=True) if np.isfinite(value)]
    current = int(METRICS["engagements"].of(report.lifetime).sum())
    if now <= ages[-1]:
        reached.append((now, current))
    median = [(age, value) for age, value in zip(ages, usual.tolist(), strict=True) if np.isfinite(value)]
    traces = [
        go.Scatter(
            x=[age for age, _ in median],
            y=[value for _, value in median],
            mode="lines",
            line={"dash": "dot", "width": 1.6, "color": "var(--ink-3)"},
            hoverinfo="none",
            meta={"of": "median", "metric": "engagements"},
        ),
        go.Scatter(
            x=[age for age, _ in reached],
            y=[value for _, value in reached],
            mode="lines+markers",
            line={"width": 2, "color": "var(--social)"},
            marker={"size": 5},
            hoverinfo="none",
            meta={"of": "age", "metric": "engagements"},
        ),
    ]
    axis = {
        "type": "log",
        "range": [0, float(np.log10(ages[-1])) + 0.02],
        "tickmode": "array",
        "tickvals": [1, 5, 15, 60, 360, 1440, 4320, 10080],
        "ticktext": ["1 min", "5", "15", "1 h", "6 h", "1 d", "3 d", "7 d"],
    }
    return figure_of(traces, layout_of(xaxis={**plain_axis(), **axis}, yaxis=count_axis([0, 1])))


def velocity(series: Series, until: datetime) -> Figure:
    """Engagements of each of the last minutes, stacked by family."""
    edges = [*series.starts, until]
    labels = [figures.count(minutes) for minutes in (60, 45, 30, 15)]
    at = [edges[-1 - minutes] for minutes in (60, 45, 30, 15) if minutes < len(edges)]
    ticks = clock.Ticks((*at, edges[-1]), (*[f"−{label} min" for label in labels[-len(at) :]], "now"))
    layout = layout_of(xaxis=time_axis(Period(edges[0], until), ticks), yaxis=count_axis([0, 1]), barmode="stack")
    return figure_of(_stack(edges, series.counts, is_running=True), layout)


def _impressions(edges: Sequence[datetime], counts: Counts, is_running: bool) -> list[go.Scatter]:
    """The finished buckets as a filled line; the way to the unfinished one is dotted and ends in a ring."""
    values: list[int | None] = METRICS["impressions"].of(counts.sum(axis=1)).tolist()
    x = _middles(edges)
    finished = [*values[:-1], None] if is_running else values
    line = _curve("impressions", "y2", x, finished, "var(--impressions)", filled=True)
    if not is_running:
        return [line]
    hidden: list[int | None] = [None] * max(0, len(values) - 2)
    way = go.Scatter(
        x=x,
        y=[*hidden, *values[-2:]],
        yaxis="y2",
        mode="lines+markers",
        line={"width": 1.4, "dash": "dot", "color": "var(--impressions)"},
        marker={
            "size": [0] * (len(values) - 1) + [7],
            "color": "var(--surface)",
            "line": {"width": 1.6, "color": "var(--impressions)"},
        },
        hoverinfo="skip",
        cliponaxis=False,
        meta={"metric": "impressions", "of": "way"},
    )
    return [line, way]


def _curve(
    name: str, axis: str, x: Sequence[float], values: Sequence[int | None], color: str, filled: bool = False
) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(values),
        yaxis=axis,
        mode="lines",
        line={"width": 1.8, "color": color},
        fill="tozeroy" if filled else "none",
        fillcolor="var(--impressions-fill)" if name == "impressions" else "var(--social-fill)",
        hoverinfo="none",
        meta={"metric": name, "of": "current"},
    )


def _stack(edges: Sequence[datetime], counts: Counts, is_running: bool) -> list[go.Bar]:
    return [_bars(family.value, edges, counts, f"var(--{family.value})", is_running) for family in STACKED]


def _bars(name: str, edges: Sequence[datetime], counts: Counts, color: str, is_running: bool) -> go.Bar:
    buckets = len(edges) - 1
    return go.Bar(
        x=_middles(edges),
        y=METRICS[name].of(counts.sum(axis=1)).tolist(),
        width=[(_ms(end) - _ms(start)) * BAR_SHARE for start, end in pairwise(edges)],
        name=FAMILY_LABELS.get(name, METRICS[name].label),  # type: ignore[call-overload]  # a StrEnum is its text
        marker={
            "color": color,
            # A hair of surface between stacked parts keeps them apart without colour.
            "line": {"width": 1 if buckets <= 120 else 0, "color": "var(--surface)"},
            "pattern": {"shape": [*[""] * (buckets - 1), "/" if is_running else ""], **_HATCH},
        },
        hoverinfo="none",
        meta={"metric": name, "of": "current"},
    )


def _dotted(name: str, axis: str, edges: Sequence[datetime], counts: Counts, color: str) -> go.Scatter:
    return go.Scatter(
        x=_middles(edges)[: len(counts)],
        y=METRICS[name].of(counts.sum(axis=1)).tolist(),
        yaxis=axis,
        mode="lines",
        line={"width": 1.3, "dash": "dot", "color": color},
        hoverinfo="skip",
        meta={"metric": name, "of": "previous"},
    )


def _published(tweets: Sequence[Tweet]) -> go.Scatter:
    """A mark for each Tweet, in a strip of its own so that nothing covers anything."""
    return go.Scatter(
        x=[_ms(tweet.created_at) for tweet in tweets],
        y=[0] * len(tweets),
        yaxis="y3",
        mode="markers",
        marker={"symbol": "triangle-down", "size": 8, "color": "var(--accent)", "opacity": 0.9},
        customdata=[[str(tweet.tweet_id), str(tweet)] for tweet in tweets],
        hoverinfo="none",
        meta={"of": "tweets"},
    )


def plain_axis() -> Figure:
    """An axis with a hairline and nothing else."""
    return {
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
        "showline": True,
        "linecolor": "var(--line)",
        "ticks": "",
        "tickfont": _TEXT,
    }


def time_axis(period: Period, ticks: clock.Ticks) -> Figure:
    """An axis of a period, labelled at these ticks; x is milliseconds since the epoch."""
    marks = {
        "type": "date",
        "range": [_ms(period.since), _ms(period.until)],
        "tickmode": "array",
        "tickvals": [_ms(instant) for instant in ticks.at],
        "ticktext": list(ticks.text),
        "anchor": "y",
    }
    return {**plain_axis(), **marks}


def count_axis(domain: list[float]) -> Figure:
    """An axis of whole numbers from zero, in a part of the height."""
    return {
        "domain": domain,
        "fixedrange": True,
        "rangemode": "tozero",
        "nticks": 5,
        # 500, 2,000, 20k, 4M, 3B: a thousand million is a B to the people who read this, not a G.
        "exponentformat": "B",
        "separatethousands": True,
        "gridcolor": "var(--grid)",
        "zeroline": True,
        "zerolinecolor": "var(--line)",
        "ticks": "",
        "tickfont": _TEXT,
    }


def layout_of(**parts: Any) -> go.Layout:
    """What all charts have in common, and these parts."""
    given = {
        "margin": {"l": 40, "r": 12, "t": 6, "b": 24},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": _TEXT,
        "showlegend": False,
        "hovermode": "x",
        "bargap": 0,
        "dragmode": False,
    }
    return go.Layout(**{**given, **parts})


def figure_of(traces: Sequence[go.Scatter | go.Bar], layout: go.Layout) -> Figure:
    """The traces and the layout, as the browser takes them."""
    figure = go.Figure(data=list(traces), layout=layout).to_plotly_json()
    # The default template would be half the page; the browser's theme takes its place.
    figure["layout"].pop("template", None)
    return {"data": figure["data"], "layout": figure["layout"]}


def _middles(edges: Sequence[datetime]) -> list[float]:
    return [(_ms(start) + _ms(end)) / 2 for start, end in pairwise(edges)]


def _ms(instant: datetime) -> float:
    return instant.timestamp() * 1000


def describe(query: ReportQuery) -> str:
    """The chart's accessible name."""
    return f"Impressions and engagements of @{query.handle.username} by {query.grain.value}"
