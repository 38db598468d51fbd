from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.vocabulary import periods
from metrics.vocabulary.periods import DisplayGrain, Grain, Period, cover, cover_buckets, display_edges

ZONES = st.sampled_from(sorted(zoneinfo.available_timezones()))
ODD_ZONES = st.sampled_from(
    [
        "Australia/Lord_Howe",  # half an hour of summer time
        "Asia/Kathmandu",
        "Asia/Kolkata",
        "Pacific/Chatham",
        "America/St_Johns",  # changed its clocks at 00:01 until 2011
        "Pacific/Apia",  # had no 30 December 2011
        "America/Sao_Paulo",  # skipped midnight
        "America/Nuuk",
        "Asia/Gaza",
        "Africa/Casablanca",
        "Europe/Copenhagen",
        "UTC",
    ]
)
MINUTES = st.integers(0, 24 * 60 * 365 * 20).map(
    lambda minutes: datetime(2006, 3, 21, tzinfo=UTC) + timedelta(minutes=minutes)
)


def starting(length: st.SearchStrategy[timedelta]) -> st.SearchStrategy[Period]:
    return st.builds(lambda since, long: Period(since, since + long), MINUTES, length)


ANY_LENGTH = st.integers(1, 60 * 24 * 40).map(lambda minutes: timedelta(minutes=minutes))


@given(starting(ANY_LENGTH))
def test_it_tiles_a_period_exactly(period: Period) -> None:
    pieces = cover(period)
    assert pieces[0].since == period.since
    assert pieces[-1].until == period.until
    for before, after in pairwise(pieces):
        assert before.until == after.since
    for grain, since, until in pieces:
        assert since < until
        assert periods.floor(since, grain.length) == since
        assert periods.floor(until, grain.length) == until


@given(starting(ANY_LENGTH))
def test_it_takes_the_largest_bucket_at_every_place(period: Period) -> None:
    for grain, since, until in cover(period):
        if grain is Grain.DAY:
            continue
        larger = Grain(grain + 1).length
        start = periods.ceil(since, larger)
        assert start + larger > until, "a run holds no whole bucket of the next larger grain"


def test_it_reads_four_weeks_as_days_and_edges() -> None:
    period = Period(datetime(2026, 3, 1, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, 45, tzinfo=UTC))
    assert [(grain.name, (until - since) // grain.length) for grain, since, until in cover(period)] == [
        ("HOUR", 1),
        ("DAY", 27),
        ("HOUR", 22),
        ("QUARTER", 3),
    ]


def test_it_refuses_to_tile_seconds() -> None:
    since = datetime(2026, 3, 1, 0, 0, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="whole minutes"):
        cover(Period(since, since + timedelta(hours=1)))


@pytest.mark.parametrize("length", [timedelta(0), timedelta(hours=-1)])
def test_it_refuses_an_empty_period(length: timedelta) -> None:
    since = datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="until"):
        Period(since, since + length)


def test_it_refuses_an_instant_without_offset() -> None:
    with pytest.raises(ValueError, match="offset"):
        Period(datetime(2026, 3, 1), datetime(2026, 3, 2, tzinfo=UTC))  # noqa: DTZ001  # what is refused


def test_it_holds_its_start_and_not_its_end() -> None:
    period = Period(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    assert period.since in period
    assert period.until not in period


def _check_edges(period: Period, grain: DisplayGrain, zone: ZoneInfo) -> None:
    edges = display_edges(period, grain, zone)
    assert edges[0] == period.since
    assert edges[-1] == period.until
    assert all(before < after for before, after in pairwise(edges))
    for edge in edges[1:-1]:
        assert periods.bucket_start(edge, grain, zone) == edge
    for since, until in pairwise(edges):
        middle = since + (until - since) / 2
        assert periods.bucket_start(middle, grain, zone) <= since
        assert periods.bucket_end(middle, grain, zone) >= until


@given(starting(ANY_LENGTH), st.sampled_from(DisplayGrain), ZONES)
@settings(max_examples=300, deadline=None)
def test_it_cuts_a_period_into_buckets_in_any_zone(period: Period, grain: DisplayGrain, name: str) -> None:
    if grain is DisplayGrain.MINUTE:
        period = Period(period.since, min(period.until, period.since + timedelta(days=1)))
    _check_edges(period, grain, ZoneInfo(name))


@given(starting(ANY_LENGTH), st.sampled_from([DisplayGrain.HOUR, DisplayGrain.DAY]), ODD_ZONES)
@settings(max_examples=300, deadline=None)
def test_it_cuts_a_period_into_buckets_in_odd_zones(period: Period, grain: DisplayGrain, name: str) -> None:
    _check_edges(period, grain, ZoneInfo(name))


@given(MINUTES, st.sampled_from([DisplayGrain.HOUR, DisplayGrain.DAY]), ODD_ZONES)
@settings(max_examples=500, deadline=None)
def test_it_never_needs_minutes_for_a_whole_bucket(instant: datetime, grain: DisplayGrain, name: str) -> None:
    zone = ZoneInfo(name)
    start, end = periods.bucket_start(instant, grain, zone), periods.bucket_end(instant, grain, zone)
    assert start <= instant < end
    assert all(piece.grain >= Grain.QUARTER for piece in cover(Period(start, end)))


@given(MINUTES, ODD_ZONES)
@settings(max_examples=500, deadline=None)
def test_it_gives_a_day_the_instants_of_its_date(instant: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    start = periods.bucket_start(instant, DisplayGrain.DAY, zone)
    end = periods.bucket_end(instant, DisplayGrain.DAY, zone)
    day = instant.astimezone(zone).date()
    assert start.astimezone(zone).date() == day
    assert (end - timedelta(minutes=1)).astimezone(zone).date() in {day, day - timedelta(days=1)}
    assert timedelta(hours=22) <= end - start <= timedelta(hours=26)


@given(starting(ANY_LENGTH), st.sampled_from([DisplayGrain.HOUR, DisplayGrain.DAY]), ODD_ZONES)
@settings(max_examples=200, deadline=None)
def test_it_covers_buckets_without_crossing_an_edge(period: Period, grain: DisplayGrain, name: str) -> None:
    edges = display_edges(period, grain, ZoneInfo(name))
    pieces = cover_buckets(edges)
    assert pieces[0].since == edges[0]
    assert pieces[-1].until == edges[-1]
    inner = set(edges)
    for piece in pieces:
        crossed = [edge for edge in inner if piece.since < edge < piece.until]
        assert all(periods.floor(edge, piece.grain.length) == edge for edge in crossed)


def test_it_knows_the_short_and_the_long_day() -> None:
    zone = ZoneInfo("Europe/Copenhagen")
    period = Period(periods.day_start(date(2026, 3, 28), zone), periods.day_start(date(2026, 3, 31), zone))
    hours = [(b - a) / periods.HOUR for a, b in pairwise(display_edges(period, DisplayGrain.DAY, zone))]
    assert hours == [24, 23, 24]
    period = Period(periods.day_start(date(2026, 10, 24), zone), periods.day_start(date(2026, 10, 27), zone))
    hours = [(b - a) / periods.HOUR for a, b in pairwise(display_edges(period, DisplayGrain.DAY, zone))]
    assert hours == [24, 25, 24]
    assert len(display_edges(period, DisplayGrain.HOUR, zone)) == 24 + 25 + 24 + 1


def test_it_cuts_an_hour_where_lord_howe_changes_by_thirty_minutes() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    since = datetime(2026, 4, 5, 0, 0, tzinfo=zone)
    period = Period(since, since + timedelta(hours=5))
    starts = [edge.astimezone(zone).strftime("%H:%M") for edge in display_edges(period, DisplayGrain.HOUR, zone)]
    assert starts == ["00:00", "01:00", "01:30", "02:00", "03:00", "04:00", "05:00"]


def test_it_begins_a_day_where_the_clock_skips_midnight() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    start = periods.day_start(date(2018, 11, 4), zone)
    assert start.astimezone(zone).strftime("%d %H:%M") == "04 01:00"
    assert (start - periods.MINUTE).astimezone(zone).strftime("%d %H:%M") == "03 23:59"


def test_it_passes_over_a_day_that_never_was() -> None:
    zone = ZoneInfo("Pacific/Apia")
    period = Period(periods.day_start(date(2011, 12, 29), zone), periods.day_start(date(2012, 1, 1), zone))
    days = [edge.astimezone(zone).day for edge in display_edges(period, DisplayGrain.DAY, zone)]
    assert days == [29, 31, 1]


def test_it_shifts_by_the_clock() -> None:
    zone = ZoneInfo("Europe/Copenhagen")
    before = datetime(2026, 3, 28, 14, 30, tzinfo=zone)
    assert periods.shift_days(before, 7, zone).astimezone(zone).strftime("%d %H:%M") == "04 14:30"
    assert periods.shift_days(before, 7, zone) - before.astimezone(UTC) == timedelta(days=7, hours=-1)
