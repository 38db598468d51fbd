"""Figures for plotly.js, their words and their sparklines."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from metrics.present import charts, clock, figures, panels
from metrics.present.sparkline import sparkline
from metrics.query.params import parse
from metrics.query.report import report
from metrics.vocabulary.engagements import CODE, METRICS
from metrics.vocabulary.periods import DisplayGrain, Period
from tests.ledger import Event, a_tweet, record

if TYPE_CHECKING:
    from accounts.models import Handle

NOW = datetime(2026, 4, 8, 14, 7, tzinfo=UTC)
COPENHAGEN = ZoneInfo("Europe/Copenhagen")


@pytest.mark.django_db
def test_it_stacks_families_that_add_up_to_engagements(northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW - timedelta(hours=5))
    kinds = ("impressions", "favorites", "url_clicks", "user_follows", "video_starts")
    record(
        northwind,
        [Event(tweet.tweet_id, NOW - timedelta(minutes=9 * place), kinds[place % 5], place + 1) for place in range(40)],
    )
    found = report(parse({"range": "24h"}, northwind, NOW))
    figure = charts.activity(found, [tweet])
    stacked = [trace for trace in figure["data"] if trace["type"] == "bar"]
    assert [trace["meta"]["metric"] for trace in stacked] == ["social", "clicks", "apps"]
    assert sum(sum(trace["y"]) for trace in stacked) == METRICS["engagements"].of(found.totals).sum()
    for trace in stacked:
        assert trace["marker"]["pattern"]["shape"][-2:] == ["", "/"]
        assert len(trace["x"]) == len(trace["width"]) == 96
    line = next(trace for trace in figure["data"] if trace["meta"] == {"metric": "impressions", "of": "current"})
    assert line["y"][-1] is None
    dotted = [trace for trace in figure["data"] if trace["meta"].get("of") == "previous"]
    assert [trace["line"]["dash"] for trace in dotted] == ["dot", "dot"]
    marks = figure["data"][-1]
    assert marks["customdata"] == [[str(tweet.tweet_id), "Fresh beans."]]
    assert figure["layout"]["xaxis"]["range"] == [
        found.query.period.since.timestamp() * 1000,
        found.query.period.until.timestamp() * 1000,
    ]


@pytest.mark.django_db
def test_it_takes_every_colour_from_the_theme(northwind: Handle) -> None:
    found = report(parse({"range": "28d"}, northwind, NOW))
    steps = panels.funnel(found.totals)
    for figure in (charts.activity(found, []), charts.video(found), charts.funnel(steps)):
        text = json.dumps(figure)
        assert "var(--" in text
        assert "#" not in text.replace("&#", "")
        assert "template" not in figure["layout"]


@pytest.mark.django_db
def test_it_draws_a_finished_period_without_hatching(northwind: Handle) -> None:
    found = report(parse({"since": "2026-04-01", "until": "2026-04-02"}, northwind, NOW))
    figure = charts.activity(found, [])
    assert not any(trace["meta"].get("of") == "way" for trace in figure["data"])
    for trace in figure["data"]:
        if trace["type"] == "bar":
            assert set(trace["marker"]["pattern"]["shape"]) == {""}


def test_it_adds_up_the_breakdown() -> None:
    counts = np.zeros((2, 26), dtype=np.int64)
    counts[0, CODE["favorites"]], counts[1, CODE["favorites"]], counts[0, CODE["unfavorites"]] = 90, 30, 20
    likes = panels.breakdown(counts, counts * 2)[1].rows[0]
    assert (likes.organic, likes.promoted, likes.gained, likes.lost, likes.net) == (90, 30, 120, 20, 100)
    assert (likes.change, likes.direction) == ("−50.0\u202f%", "loss")
    assert likes.bar == (75.0, 25.0)
    assert sum(len(group.rows) for group in panels.breakdown(counts, None)) == 22


def test_it_holds_the_funnel_against_its_starts() -> None:
    counts = np.zeros((2, 26), dtype=np.int64)
    assert [step.share for step in panels.funnel(counts)] == [None] * 7
    counts[0, CODE["video_starts"]], counts[0, CODE["video_views"]] = 200, 130
    steps = panels.funnel(counts)
    assert [charts.funnel_text(step) for step in steps[:3]] == [" 200", " 130   65\u202f%", " 0   0\u202f%"]


def test_it_labels_both_hours_of_a_night_with_twenty_five() -> None:
    edges = [datetime(2026, 10, 24, 23, tzinfo=UTC) + timedelta(hours=hour) for hour in range(4)]
    labels = clock.bucket_labels(edges, DisplayGrain.HOUR, COPENHAGEN)
    assert labels == ["Sun 25 Oct, 01:00–02:00", "Sun 25 Oct, 02:00–02:00", "Sun 25 Oct, 02:00–03:00"]


@pytest.mark.parametrize("length", [timedelta(minutes=30), timedelta(days=1), timedelta(days=7), timedelta(days=900)])
@pytest.mark.parametrize("zone", ["Europe/Copenhagen", "Asia/Kathmandu", "UTC"])
def test_it_ticks_at_round_local_times(length: timedelta, zone: str) -> None:
    period = Period(NOW - length, NOW)
    found = clock.ticks(period, ZoneInfo(zone))
    assert 2 <= len(found.at) <= clock.MOST_TICKS + 1
    assert all(instant in period for instant in found.at)
    if length >= timedelta(days=2):
        assert all(instant.astimezone(ZoneInfo(zone)).hour == 0 for instant in found.at)


def test_it_writes_numbers_with_true_signs_and_narrow_spaces() -> None:
    assert figures.count(1_284_902) == "1,284,902"
    assert figures.count(None) == "–"
    assert figures.signed(5) == "+5"
    assert figures.compact(1_284_902) == "1.28\u202fM"
    assert figures.compact(999_960) == "1.00\u202fM"
    assert figures.percent(0.0322) == "3.22\u202f%"
    assert figures.change(118.4, 100) == "+18.4\u202f%"
    assert figures.change(5, 0) == "new"
    assert figures.change(0, 0) == figures.change(3, None) == "–"
    assert figures.points(0.0320, 0.0347) == "−0.27\u202fpt"
    assert figures.points(0.03, 0.030000001) == "0.00\u202fpt"
    assert figures.direction(figures.change(100, 100)) == ""


def test_it_draws_the_running_bucket_as_a_dot() -> None:
    drawn = sparkline([2, 4, 1])
    assert drawn.line == "M3.0 16.0L60.0 3.0"
    assert drawn.way == "M60.0 3.0L117.0 22.5"
    assert drawn.dot == "M117.0 22.5h0.01"
    assert sparkline([2, 4, 1], is_running=False).way == ""
    assert sparkline([]).line == ""
