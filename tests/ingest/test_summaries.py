"""Summaries as snapshots: whoever counts them ends with what was given and taken back, of each part or of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from metrics.ingest.summaries import Memory, Summary, snapshots_of, summary_of
from metrics.vocabulary.engagements import NAMES, TYPES, UNDO_OF
from metrics.vocabulary.snapshots import Part

if TYPE_CHECKING:
    from metrics.ingest.snapshots import IncomingSnapshot

NOW_US = 1_700_000_000_000_000
PROMOTABLE = {kind.name for kind in TYPES if kind.promotable}
number = st.integers(0, 1_000)
both_parts = st.fixed_dictionaries({name: st.tuples(number, number) for name in NAMES})


def given_and_taken_back(snapshot: IncomingSnapshot) -> dict[str, int]:
    """What a counter that starts from nothing makes of it: undos as told, gains so that the net comes out."""
    counts = {name: count for name, count in snapshot.counts.items() if count is not None}
    return counts | {gain: counts[gain] + counts.get(undo, 0) for gain, undo in UNDO_OF.items() if gain in counts}


@given(both_parts, st.booleans())
def test_it_says_what_was_given_and_what_was_taken_back(counts: dict[str, tuple[int, int]], is_ours: bool) -> None:
    """`is_ours`: whether the stream tells the parts of what can be promoted, as ours does."""
    said = {}
    for name, (organic, promoted) in counts.items():
        is_split = name in PROMOTABLE
        said[name, Part.BOTH] = organic + (promoted if is_split else 0)
        if is_split and is_ours:
            said |= {(name, Part.ORGANIC): organic, (name, Part.PROMOTED): promoted}
    told = snapshots_of(Summary(20, NOW_US, said), NOW_US)
    sums = dict.fromkeys(NAMES, 0)
    for snapshot in told:
        assert min(count for count in snapshot.counts.values() if count is not None) >= 0
        for name, count in given_and_taken_back(snapshot).items():
            sums[name] += count
    for name in NAMES:
        below_zero = name in UNDO_OF and said[name, Part.BOTH] < said[UNDO_OF[name], Part.BOTH]
        assert sums[name] == (0 if below_zero else said[name, Part.BOTH])
    if is_ours:
        by_part = {snapshot.promoted: given_and_taken_back(snapshot) for snapshot in told}
        for name in ("impressions", "video_views", *PROMOTABLE & by_part[False].keys()):
            assert by_part[False][name] == counts[name][0]
            assert name not in PROMOTABLE or by_part.get(True, {}).get(name, 0) == counts[name][1]
    else:
        assert [snapshot.promoted for snapshot in told] == [None]


@given(st.lists(st.tuples(st.integers(0, 3), number), min_size=1, max_size=12))
def test_it_dates_what_grows_later_and_drops_what_does_not(heard: list[tuple[int, int]]) -> None:
    memory, newest, last = Memory("northwind", "all"), (-1, -1), 0
    for second, count in heard:
        summary = Summary(20, NOW_US + second * 1_000_000, {("favorites", Part.BOTH): count})
        told = memory.dated(summary)
        is_news = second > newest[0] or (second == newest[0] and count > newest[1])
        assert (told is not None) == is_news
        if told:
            assert last < told.as_of_us
            assert summary.end_us <= told.as_of_us < summary.end_us + 1_000_000
            newest, last = (second, count), told.as_of_us


def test_it_takes_a_time_that_is_finer_than_a_second_as_it_is() -> None:
    told = {"impressions": {"total": {"count": 1}}}
    event = {"target": {"id_str": "20"}, "end_time": "2023-11-14T22:13:20.250Z", "metrics": told}
    summary = summary_of(event)
    assert summary is not None
    assert summary.end_us == NOW_US + 250_000


def test_it_keeps_older_news_of_a_type_that_the_newer_left_out() -> None:
    memory = Memory("northwind", "all")
    memory.dated(Summary(20, NOW_US, {("favorites", Part.BOTH): 1}))
    assert memory.dated(Summary(20, NOW_US - 5_000_000, {("replies", Part.BOTH): 1})) is not None


def test_it_reads_no_summary_without_target_time_or_counts() -> None:
    counted = {"impressions": {"total": {"count": 1}}}
    good = {"target": {"id_str": "20"}, "end_time": "2023-11-14T22:13:20Z", "metrics": counted}
    assert summary_of(good) is not None
    wrong = [
        {"target": {"id": 20}},
        {"end_time": "yesterday"},
        {"end_time": None},
        {"metrics": {"impressions": {"total": {"count": True}}, "engagements": {"metric_counts": {"replies": 7}}}},
        {"metrics": {"impressions": {"total": {"count": -1}}}},
        {"metrics": []},
    ]
    assert [summary_of(good | fault) for fault in wrong] == [None] * len(wrong)
    assert summary_of("x") is None
