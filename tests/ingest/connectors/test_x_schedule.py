"""Whose turn it is: never more calls than allowed, everybody's turn comes, the young before the old."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.ingest.connectors.x_polling import limits
from metrics.ingest.connectors.x_polling.limits import WINDOW, Allowance
from metrics.ingest.connectors.x_polling.schedule import PACES, SLOWEST, TWEETS_A_CALL, Schedule, Turn, every
from metrics.vocabulary.events import snowflake_at

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PLENTY = Allowance(900, 900, NOW + WINDOW)


def turn(age: timedelta, waited: timedelta | None = None, place: int = 0, group: str = "own") -> Turn:
    """A Tweet of this age, asked about so long ago (None: never, and found just now)."""
    created_at = NOW - age
    asked_at = None if waited is None else max(created_at, NOW - waited)
    return Turn(snowflake_at(created_at, place), created_at, asked_at or NOW, asked_at, group)


def seconds(longest: timedelta) -> st.SearchStrategy[timedelta]:
    return st.integers(0, int(longest.total_seconds())).map(lambda number: timedelta(seconds=number))


ages = st.one_of(seconds(HOUR), seconds(DAY), seconds(10 * DAY), seconds(400 * DAY))
turns = st.lists(
    st.builds(
        turn, ages, st.one_of(st.none(), seconds(30 * DAY)), st.integers(0, 999), st.sampled_from(["own", "public"])
    ),
    max_size=250,
    unique_by=lambda one: one.tweet_id,
)
allowances = st.builds(
    lambda limit, share, left: Allowance(limit, int(limit * share), NOW + left),
    st.integers(1, 900),
    st.floats(0, 1),
    st.integers(1, 900).map(lambda left: timedelta(seconds=left)),
)


class Xs:
    """X's side of the limit: windows of a quarter of an hour, one after the other."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.calls = Counter[int]()

    def allowance(self, now: datetime) -> Allowance:
        window = (now - NOW) // WINDOW
        return Allowance(self.limit, self.limit - self.calls[window], NOW + (window + 1) * WINDOW)

    def call(self, now: datetime) -> None:
        self.calls[(now - NOW) // WINDOW] += 1


def played(
    found: list[Turn], limit: int, length: timedelta, is_to_the_end: bool = False
) -> tuple[Xs, dict[int, timedelta]]:
    """What happens over this time: the calls by window, and the longest wait of each Tweet for a turn that came.

    `is_to_the_end`: or for one that had not come yet.
    """
    x, now, waits = Xs(limit), NOW, defaultdict[int, timedelta](timedelta)
    rows = {one.tweet_id: one for one in found}
    while now < NOW + length:
        schedule = Schedule(list(rows.values()), x.allowance(now), now)
        if call := schedule.next_call():
            x.call(now)
            for one in call:
                waits[one.tweet_id] = max(waits[one.tweet_id], now - (one.asked_at or one.known_at))
                rows[one.tweet_id] = replace(one, asked_at=now)
            continue
        now = max(schedule.next_at() or NOW + length, now + timedelta(seconds=1))
    for one in rows.values():
        if not one.asked_at or is_to_the_end:
            waits[one.tweet_id] = max(waits[one.tweet_id], NOW + length - (one.asked_at or one.known_at))
    return x, waits


def test_it_asks_more_rarely_with_age() -> None:
    paces = [Schedule([], PLENTY, NOW).pace(turn(age + MINUTE, timedelta())) for age, _ in PACES]
    assert paces == sorted(paces) == [*(pace for _, pace in PACES[1:]), SLOWEST]
    assert Schedule([], PLENTY, NOW).pace(turn(MINUTE, timedelta())) == MINUTE
    assert Schedule([], PLENTY, NOW).pace(turn(40 * DAY, timedelta())) == DAY
    assert Schedule([], PLENTY, NOW).pace(turn(400 * DAY, timedelta())) == 7 * DAY


@given(turns, allowances)
@settings(max_examples=150, deadline=None)
def test_it_picks_only_whose_turn_it_is_and_of_one_kind(found: list[Turn], allowance: Allowance) -> None:
    schedule = Schedule(found, allowance, NOW)
    call = schedule.next_call()
    assert len({one.tweet_id for one in call}) == len(call) <= TWEETS_A_CALL
    assert len({one.group for one in call}) <= 1
    assert not call or allowance.remaining > 0
    for one in call:
        assert one.asked_at is None or NOW - one.asked_at >= 0.8 * schedule.pace(one)


@given(turns, allowances)
@settings(max_examples=150, deadline=None)
def test_it_never_lets_a_younger_tweet_wait_longer_than_an_older_one(found: list[Turn], allowance: Allowance) -> None:
    schedule = Schedule(found, allowance, NOW)
    call = schedule.next_call()
    picked = {one.tweet_id for one in call}
    left = [one for one in found if one.tweet_id not in picked and call and one.group == call[0].group]
    for older in call:
        for younger in left:
            if younger.created_at > older.created_at and younger.asked_at and older.asked_at:
                assert younger.asked_at >= older.asked_at


@given(turns, st.integers(1, 900))
@settings(max_examples=150, deadline=None)
def test_it_asks_about_whoever_has_waited_longest_for_its_pace(found: list[Turn], limit: int) -> None:
    schedule = Schedule(found, Allowance(limit, limit, NOW + WINDOW), NOW)
    due = [one for one in found if not one.asked_at or schedule.urgency(one) >= schedule.stretch]
    if call := schedule.next_call():
        assert max(map(schedule.urgency, due)) == schedule.urgency(call[0])
    else:
        assert not due
        due_at = schedule.next_at()
        assert (due_at is None) == (not found)
        assert due_at is None or due_at > NOW


@given(
    st.lists(st.builds(turn, seconds(6 * DAY), st.none(), st.integers(0, 999)), min_size=1, max_size=150, unique=True),
    st.integers(1, 20),
)
@settings(max_examples=15, deadline=None)
def test_it_gives_everybody_their_turn_within_what_is_allowed(found: list[Turn], limit: int) -> None:
    longest = 12 * HOUR
    x, waits = played(found, limit, longest, is_to_the_end=True)
    assert max(x.calls.values()) <= limit
    later = Schedule(found, Allowance(limit, limit, NOW + WINDOW), NOW)
    stretch = later.stretch
    for one in found:
        # Paces grow with age meanwhile; what was found together may have to wait for a window of its own.
        pace = replace(later, now=NOW + longest).pace(replace(one, asked_at=NOW))
        assert waits[one.tweet_id] <= 2 * stretch * pace + 2 * WINDOW


def test_it_keeps_young_tweets_going_while_it_works_through_old_ones() -> None:
    young = turn(timedelta(), timedelta(), 1)
    old = [turn(200 * DAY, None, place, "public") for place in range(3_200)]
    x, waits = played([young, *old], 15, 3 * HOUR)
    assert waits[young.tweet_id] < 10 * MINUTE
    assert max(waits[one.tweet_id] for one in old) < 2 * HOUR
    assert max(x.calls.values()) <= 15


def test_it_works_with_a_single_call_in_a_window() -> None:
    found = [turn(MINUTE, timedelta(), 1), turn(2 * DAY, HOUR, 2), turn(50 * DAY, DAY, 3, "public")]
    x, waits = played(found, 1, DAY)
    assert set(x.calls.values()) <= {0, 1}
    assert sum(x.calls.values()) >= 90
    assert waits[found[0].tweet_id] <= waits[found[1].tweet_id]


def test_it_says_what_the_schedule_is() -> None:
    found = [
        *(turn(10 * MINUTE, timedelta(), place) for place in range(12)),
        *(turn(2 * DAY, timedelta(), place) for place in range(40)),
        *(turn(400 * DAY, timedelta(), place) for place in range(1_152)),
    ]
    assert Schedule(found, PLENTY, NOW).sentence() == "1,204 Tweets: 12 every minute, 40 every hour, 1,152 every week."
    slow = Schedule(found, Allowance(5, 5, NOW + WINDOW), NOW)
    assert slow.sentence() == (
        "1,204 Tweets: 12 every 3 minutes, 40 every 3 hours, 1,152 every 3 weeks. "
        "This is slower than usual because X allows 5 calls in 15 minutes."
    )
    assert Schedule(found[:1], PLENTY, NOW).sentence() == "1 Tweet: 1 every minute."
    assert Schedule([], PLENTY, NOW).sentence() == "0 Tweets."


@pytest.mark.parametrize(
    ("pace", "words"),
    [
        (MINUTE, "every minute"),
        (5 * MINUTE, "every 5 minutes"),
        (92 * MINUTE, "every 92 minutes"),
        (HOUR, "every hour"),
        (25 * HOUR, "every day"),
        (7 * DAY, "every week"),
        (timedelta(seconds=20), "every minute"),
    ],
)
def test_it_says_how_often(pace: timedelta, words: str) -> None:
    assert every(pace) == words


def test_it_keeps_half_of_a_window_for_later() -> None:
    assert PLENTY.free_at(NOW) == NOW
    half_spent = Allowance(10, 4, NOW + WINDOW)
    assert NOW < half_spent.free_at(NOW) == NOW + 3 * MINUTE
    assert Allowance(10, 0, NOW + WINDOW).free_at(NOW) == NOW + WINDOW
    assert Allowance(10, 0, NOW).free_at(NOW) == NOW
    assert Allowance(10, 0, NOW).at(NOW).remaining == 10


def test_it_reads_limits_by_xs_clock() -> None:
    """X's clock is an hour behind: its reset in ten minutes is one in ten minutes by ours."""
    theirs = NOW - HOUR
    headers = {
        "date": f"{theirs:%a, %d %b %Y %H:%M:%S GMT}",
        "x-rate-limit-limit": "75",
        "x-rate-limit-remaining": "74",
        "x-rate-limit-reset": str(int(theirs.timestamp()) + 600),
    }
    assert limits.told(headers, NOW, limits.first(NOW)) == Allowance(75, 74, NOW + 10 * MINUTE)
    assert limits.over_at(headers, NOW) == NOW + 10 * MINUTE


def test_it_knows_longer_windows() -> None:
    headers = {"x-rate-limit-limit": "96", "x-rate-limit-remaining": "96"}
    day = headers | {"x-rate-limit-reset": str(int(NOW.timestamp()) + 86_400)}
    told = limits.told(day, NOW, limits.first(NOW))
    later = limits.told(day, NOW + 20 * HOUR, told)
    assert (told.window, later.window) == (DAY, DAY)
    found = [turn(10 * MINUTE, timedelta())]
    assert "96 calls in 24 hours" in Schedule(found, told, NOW).sentence()
    assert Schedule(found, told, NOW).stretch == 15


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "9" * 30, "٣"])
def test_it_passes_over_limits_that_are_none(text: str) -> None:
    before = limits.first(NOW)
    names = ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset", "date")
    assert limits.told(dict.fromkeys(names, text), NOW, before) == before
    assert limits.over_at(dict.fromkeys(names, text), NOW) == NOW + WINDOW
