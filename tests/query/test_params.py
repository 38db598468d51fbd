from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import Handle
from metrics.query.params import Compare, ParamError, Range, Reading, parse
from metrics.vocabulary import periods
from metrics.vocabulary.periods import DisplayGrain, Period
from tests.query.strategies import NOW, ZONES

if TYPE_CHECKING:
    from metrics.query.params import ReportQuery

COPENHAGEN = ZoneInfo("Europe/Copenhagen")


def ask(now: datetime = NOW, home: str = "Europe/Copenhagen", **given: str) -> ReportQuery:
    return parse(given, Handle(username="northwind", time_zone=home), now)


def local(query: ReportQuery) -> tuple[str, str]:
    shown = [each.astimezone(query.zone) for each in (query.period.since, query.period.until)]
    return shown[0].strftime("%m-%d %H:%M"), shown[1].strftime("%m-%d %H:%M")


@pytest.mark.parametrize(
    ("chosen", "grain", "since", "until"),
    [
        ("30m", DisplayGrain.MINUTE, "04-08 11:38", "04-08 12:08"),
        ("24h", DisplayGrain.QUARTER, "04-07 12:15", "04-08 12:15"),
        ("28h", DisplayGrain.QUARTER, "04-07 08:15", "04-08 12:15"),
        ("7d", DisplayGrain.HOUR, "04-01 13:00", "04-08 13:00"),
        ("28d", DisplayGrain.DAY, "03-12 00:00", "04-09 00:00"),
    ],
)
def test_it_ends_a_rolling_range_with_the_running_bucket(
    chosen: str, grain: DisplayGrain, since: str, until: str
) -> None:
    query = ask(range=chosen)
    assert (query.grain, *local(query)) == (grain, since, until)
    assert query.is_running
    assert not query.widened


def test_it_shows_28_hours_when_nothing_is_asked() -> None:
    query = ask()
    assert query.range is Range.HOURS_28
    assert query.zone == COPENHAGEN
    assert query.reading is Reading.ACTIVITY
    assert query.comparison is not None
    assert query.comparison.kind is Compare.PREVIOUS


def test_it_counts_an_empty_parameter_as_absent() -> None:
    assert ask(range="", since=" ", zone="", reading="").period == ask().period


def test_it_gives_28_days_by_hour_on_request() -> None:
    query = ask(range="28d", grain="hour")
    assert query.period.length == timedelta(days=28)
    assert local(query)[1] == "04-08 13:00"


def test_it_reads_custom_dates_in_the_zone() -> None:
    query = ask(since="2026-03-28", until="2026-03-31")
    assert query.range is Range.CUSTOM
    assert local(query) == ("03-28 00:00", "03-31 00:00")
    assert query.period.length == timedelta(hours=71)
    assert not query.widened


def test_it_reads_custom_times_with_and_without_offset() -> None:
    assert ask(since="2026-04-08T10:00", until="2026-04-08T11:00").period == Period(
        datetime(2026, 4, 8, 8, tzinfo=UTC), datetime(2026, 4, 8, 9, tzinfo=UTC)
    )
    query = ask(since="2026-04-08T10:00Z", zone="Asia/Kathmandu")
    assert query.period.since == datetime(2026, 4, 8, 10, tzinfo=UTC)


def test_it_widens_a_custom_period_to_whole_buckets() -> None:
    query = ask(since="2026-04-01T10:20", until="2026-04-03T10:40")
    assert query.grain is DisplayGrain.HOUR
    assert local(query) == ("04-01 10:00", "04-03 11:00")
    assert query.widened
    assert query.requested.since == datetime(2026, 4, 1, 8, 20, tzinfo=UTC)


def test_it_keeps_the_minutes_of_a_short_recent_period() -> None:
    query = ask(since="2026-04-08T10:07", until="2026-04-08T11:13")
    assert query.grain is DisplayGrain.MINUTE
    assert not query.widened


def test_it_falls_back_to_quarters_where_minutes_are_gone() -> None:
    query = ask(since="2026-01-08T10:07", until="2026-01-08T11:13", grain="minute")
    assert query.grain is DisplayGrain.QUARTER
    assert local(query) == ("01-08 10:00", "01-08 11:15")
    assert query.widened


@pytest.mark.parametrize(
    ("field", "given", "says"),
    [
        ("range", {"range": "90d"}, "30m, 24h, 28h, 7d, 28d, custom"),
        ("compare", {"compare": "last year"}, "previous, weekdays, none"),
        ("reading", {"reading": "both"}, "activity, tweets"),
        ("grain", {"grain": "week"}, "minute, quarter, hour, day"),
        ("grain", {"range": "30m", "grain": "day"}, "minute"),
        ("grain", {"since": "2020-01-01", "grain": "hour"}, "coarser"),
        ("zone", {"zone": "Mars/Olympus"}, "Europe/Copenhagen"),
        ("zone", {"zone": "../../etc/passwd"}, "Europe/Copenhagen"),
        ("zone", {"zone": "\x00"}, "Europe/Copenhagen"),
        ("since", {"range": "custom"}, "needs its start"),
        ("since", {"until": "2026-04-01"}, "needs its start"),
        ("since", {"since": "yesterday"}, "2026-03-01T14:00"),
        ("since", {"since": "2005-01-01"}, "2006-03-21"),
        ("since", {"since": "2026-04-09"}, "future"),
        ("since", {"since": "0001-01-01T00:00+14:00"}, "ISO"),
        ("until", {"since": "2026-04-02", "until": "2026-04-02"}, "after since"),
        ("until", {"since": "2026-04-02", "until": "2026-04-01"}, "after since"),
        ("until", {"since": "2026-04-02", "until": "9999-12-31T23:59:59"}, "year"),
        ("until", {"since": "2026-04-02", "until": "9999-12-31T23:59:59-14:00"}, "ISO"),
        ("until", {"since": "2026-04-02", "until": "2026-13-01"}, "ISO"),
    ],
)
def test_it_names_the_field_at_fault_and_what_to_give(field: str, given: dict[str, str], says: str) -> None:
    with pytest.raises(ParamError, match=f"^{field}: ") as caught:
        ask(**given)
    assert caught.value.field == field
    assert says in caught.value.detail


def test_it_compares_with_the_same_length_before() -> None:
    comparison = ask(range="24h").comparison
    assert comparison is not None
    assert comparison.period == Period(
        NOW.replace(hour=10, minute=15, second=0) - timedelta(days=2),
        NOW.replace(hour=10, minute=15, second=0) - timedelta(days=1),
    )


def test_it_compares_days_with_days_over_a_change_of_the_clock() -> None:
    comparison = ask(since="2026-03-27", until="2026-04-03", grain="day").comparison
    assert comparison is not None
    starts = comparison.period.since.astimezone(COPENHAGEN), comparison.period.until.astimezone(COPENHAGEN)
    assert [start.strftime("%m-%d %H:%M") for start in starts] == ["03-20 00:00", "03-27 00:00"]


@pytest.mark.parametrize(("chosen", "weeks"), [("30m", 1), ("24h", 1), ("28h", 1), ("7d", 1), ("28d", 4)])
def test_it_compares_weekdays_by_the_fewest_whole_weeks(chosen: str, weeks: int) -> None:
    query = ask(range=chosen, compare="weekdays")
    assert query.comparison is not None
    for mine, other in (
        (query.period.since, query.comparison.period.since),
        (query.period.until, query.comparison.period.until),
    ):
        clock = mine.astimezone(COPENHAGEN).replace(tzinfo=None)
        assert other.astimezone(COPENHAGEN).replace(tzinfo=None) == clock - timedelta(weeks=weeks)


def test_it_sets_a_running_period_against_as_much_of_the_other() -> None:
    query = ask(since="2026-04-08", until="2026-04-09", grain="hour", compare="weekdays")
    assert query.comparison is not None
    elapsed = query.comparison.elapsed
    assert elapsed.since == query.comparison.period.since
    assert elapsed.until.astimezone(COPENHAGEN).strftime("%m-%d %H:%M") == "04-01 12:08"


def test_it_sets_a_finished_period_against_all_of_the_other() -> None:
    query = ask(since="2026-04-06", until="2026-04-07")
    assert query.comparison is not None
    assert query.comparison.elapsed == query.comparison.period
    assert not query.is_running


def test_it_compares_with_nothing_on_request() -> None:
    assert ask(compare="none").comparison is None


MOMENTS = st.integers(0, 366 * 86_400).map(lambda second: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second))


@given(MOMENTS, ZONES, st.sampled_from([each for each in Range if each is not Range.CUSTOM]), st.sampled_from(Compare))
@settings(max_examples=300, deadline=None)
def test_it_makes_whole_buckets_at_any_moment_in_any_zone(
    now: datetime, zone: str, chosen: Range, compare: Compare
) -> None:
    query = ask(now, zone, range=chosen, compare=compare)
    assert now in query.period
    for edge in (query.period.since, query.period.until):
        assert periods.bucket_start(edge, query.grain, query.zone) == edge
    if query.comparison is None:
        assert compare is Compare.NONE
        return
    whole, elapsed = query.comparison.period, query.comparison.elapsed
    assert whole.since == elapsed.since < elapsed.until <= whole.until
    assert whole.until <= query.period.since + timedelta(hours=1)
    assert periods.cover(elapsed)
