"""How many people: exact where it can be, bounded where not, widened to what is kept, and never made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Handle
from metrics.aggregate import reach, rollups
from metrics.models import Audience, PersonEpoch, ReportedReach, StreamCursor
from metrics.query import audience, overlap
from metrics.query.audience import Basis, Member, Reached
from metrics.vocabulary.engagements import CODE
from metrics.vocabulary.periods import DAY, HOUR, Period, floor
from metrics.vocabulary.sketches import hours_since
from tests.aggregate.events import NOW, Event, entries

SEEN, LIKED = 0, CODE["favorites"]
pytestmark = pytest.mark.django_db


def happen(handle: Handle, *events: Event) -> None:
    StreamCursor.objects.get_or_create(shard=0)
    batch = entries(handle.pk, [list(events)])
    rollups.apply(0, batch)
    reach.keep(0, batch)


def of(handle: Handle, *tweets: int, period: Period | None = None) -> Reached:
    members = [Member(handle.pk, Event(0, tweet, 0, 0).tweet_id) for tweet in tweets] or [audience.whole(handle)]
    return audience.reached([members], audience.span(period, timezone.now()))[0]


def test_it_counts_each_person_once(northwind: Handle) -> None:
    happen(
        northwind,
        Event(1, 0, SEEN, 60, person=1),
        Event(2, 0, SEEN, 50, 3, person=1),
        Event(3, 1, SEEN, 40, person=1),
        Event(4, 1, SEEN, 30, person=2),
        Event(5, 1, LIKED, 20, person=2),
    )
    for found in (of(northwind), of(northwind, 0, 1)):
        assert (found.seen.people, found.engaged.people, found.seen.basis) == (2, 1, Basis.EXACT)
        assert (found.frequency, found.coverage) == (3.0, 1.0)
    assert [of(northwind, tweet).seen.people for tweet in (0, 1)] == [1, 2]


def test_it_tells_how_much_of_the_impressions_it_knows(northwind: Handle) -> None:
    happen(northwind, Event(1, 0, SEEN, 60, 30, person=1), Event(2, 0, SEEN, 60, 70))
    found = of(northwind, 0)
    assert (found.coverage, found.frequency, found.seen.people) == (0.3, 30.0, 1)


def test_it_never_takes_silence_for_nobody(northwind: Handle) -> None:
    happen(northwind, Event(1, 0, SEEN, 60, 70), Event(2, 0, LIKED, 60))
    found = of(northwind, 0)
    assert (found.seen, found.engaged) == (audience.UNREPORTED, audience.UNREPORTED)
    assert (found.coverage, found.frequency) == (0.0, None)
    nothing = of(northwind, 1)
    assert (nothing.seen.people, nothing.seen.basis, nothing.coverage) == (0, Basis.EXACT, None)


def test_it_tells_what_others_report(northwind: Handle) -> None:
    happen(northwind, Event(1, 0, SEEN, 60, 70), Event(2, 1, SEEN, 60, 50))
    for tweet, people in ((0, 40), (1, 30)):
        for source, as_of in ((7, NOW - HOUR), (8, NOW)):
            ReportedReach.objects.create(
                handle=northwind,
                tweet_id=Event(0, tweet, 0, 0).tweet_id,
                audience=Audience.SEEN,
                source_id=source,
                people=people - (source == 7),
                as_of=as_of,
            )
    one, both, more = of(northwind, 0).seen, of(northwind, 0, 1).seen, of(northwind, 0, 1, 2).seen
    assert (one.basis, one.people) == (Basis.REPORTED, 40)
    assert (both.basis, both.people, both.low, both.high) == (Basis.BOUNDS, None, 40, 70)
    assert (more.low, more.high) == (40, None)
    today = Period(NOW - HOUR, NOW)
    assert of(northwind, 0, period=today).seen.basis is Basis.UNREPORTED  # a report is of a whole life


def test_it_never_mixes_people_of_two_keys(northwind: Handle) -> None:
    for number in (0, 1):
        PersonEpoch.objects.create(number=number, fingerprint=str(number), began_at=NOW - DAY * (1 - number))
    happen(northwind, *(Event(n, 0, SEEN, 60, person=n) for n in (1, 2, 3)), Event(9, 0, SEEN, 9, person=1, epoch=1))
    found = of(northwind, 0)
    assert (found.seen.basis, found.seen.people, found.seen.low, found.seen.high) == (Basis.BOUNDS, None, 3, 4)
    assert found.epochs == (NOW,)
    compared = overlap.overlap(
        [[Member(northwind.pk, Event(0, n, 0, 0).tweet_id)] for n in (0, 1)], audience.span(None, NOW)
    )
    assert compared.is_partial
    assert compared.sets[0].people == 1


def test_it_widens_a_period_to_what_is_kept(northwind: Handle) -> None:
    now = timezone.now()
    hour = floor(now, HOUR) - 3 * HOUR
    inside = audience.span(Period(hour, hour + HOUR), now)
    assert not inside.is_widened
    cut = audience.span(Period(hour + timedelta(minutes=20), hour + timedelta(minutes=30)), now)
    assert (cut.is_widened, cut.period) == (True, Period(hour, hour + HOUR))
    old = hours_since(now) - 5 * DAY
    by_day = audience.span(Period(old + HOUR, old + 2 * HOUR), now)
    assert (by_day.is_widened, by_day.period) == (True, Period(old, old + DAY))
    running = audience.span(Period(hour, now + 3 * HOUR), now)
    assert not running.is_widened


_anything = st.builds(
    Event,
    key=st.integers(0, 10**6),
    tweet=st.sampled_from([0, 1, 9]),
    code=st.sampled_from([SEEN, LIKED]),
    seconds=st.integers(0, 20 * 86_400),
    person=st.integers(1, 5),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(_anything, min_size=1, max_size=25, unique_by=lambda event: event.key),
    st.integers(0, 400),
    st.integers(1, 400),
)
def test_it_holds_exactly_those_of_the_widened_period(
    northwind: Handle, events: list[Event], ago: int, length: int
) -> None:
    from django.db import transaction

    now = timezone.now()
    until = now - ago * HOUR
    asked = audience.span(Period(until - length * HOUR, until), now)
    assert asked.period is not None
    with transaction.atomic():
        happen(northwind, *events)
        members = [Member(northwind.pk, Event(0, tweet, 0, 0).tweet_id) for tweet in (0, 1, 9)]
        found, each = audience.reached([members, [audience.whole(northwind)]], asked)
        transaction.set_rollback(True)
    within = [event for event in events if datetime.fromtimestamp(event.occurred, UTC) in asked.period]
    seen, liked = ({event.person for event in within if event.code == code} for code in (SEEN, LIKED))
    assert found.seen.people == (len(seen) if seen or not liked else None)
    assert found.engaged.people == len(liked)
    assert found.impressions == found.named_impressions == sum(event.code == SEEN for event in within)
    assert each.seen == found.seen


def test_it_knows_nobody_who_saw_where_only_engagements_are_told(northwind: Handle) -> None:
    happen(northwind, Event(1, 0, LIKED, 60, person=7))
    found = of(northwind, 0)
    assert (found.seen, found.engaged.people, found.impressions) == (audience.UNREPORTED, 1, 0)
    (step,) = overlap.growth([[Member(northwind.pk, Event(1, 0, 0, 0).tweet_id)]], audience.span(None, NOW))
    assert (step.reach, step.new) == (audience.UNREPORTED, audience.UNREPORTED)
    *_, this_week = overlap.weeks(northwind, NOW, 1)
    assert this_week.reach == audience.UNREPORTED


# --- how audiences lie over each other ----------------------------------------------------------------------


def three(handle: Handle) -> list[list[Member]]:
    """Tweets 0 (people 1 to 4), 1 (people 3 to 6) and 2 (person 9)."""
    crowds = {0: range(1, 5), 1: range(3, 7), 2: (9,)}
    happen(handle, *(Event(100 * n + p, n, SEEN, 300 - n, person=p) for n, crowd in crowds.items() for p in crowd))
    return [[Member(handle.pk, Event(0, tweet, 0, 0).tweet_id)] for tweet in crowds]


def test_it_tells_who_is_shared(northwind: Handle) -> None:
    found = overlap.overlap(three(northwind), audience.span(None, NOW))
    assert [one.people for one in found.sets] == [4, 4, 1]
    assert {pair: one.people for pair, one in found.shared.items()} == {(0, 1): 2, (0, 2): 0, (1, 2): 0}
    assert [(set(sets), one.people) for sets, one in found.largest] == [({0}, 2), ({1}, 2), ({0, 1}, 2), ({2}, 1)]
    assert not found.is_partial


def test_it_tells_what_each_tweet_added(northwind: Handle) -> None:
    steps = overlap.growth(three(northwind), audience.span(None, NOW))
    assert [(step.reach.people, step.new.people, step.total.people) for step in steps] == [
        (4, 4, 4),
        (4, 2, 6),
        (1, 1, 7),
    ]


def test_it_draws_how_a_tweet_reached_people(northwind: Handle) -> None:
    happen(
        northwind,
        Event(1, 0, SEEN, 3 * 3600, person=1),
        Event(2, 0, SEEN, 2 * 3600, person=1),
        Event(3, 0, SEEN, 3600, person=2),
    )
    points = overlap.curve(Member(northwind.pk, Event(0, 0, 0, 0).tweet_id), NOW)
    assert [point.reach.people for point in points] == [1, 1, 2]
    assert [point.at for point in points] == sorted(point.at for point in points)


def test_it_tells_who_came_back(northwind: Handle) -> None:
    monday = floor(NOW, DAY) - timedelta(days=floor(NOW, DAY).weekday())
    last_week = int((NOW - (monday - 3 * DAY)).total_seconds())
    long_ago = int((NOW - (monday - 40 * DAY)).total_seconds())
    happen(
        northwind,
        Event(1, 9, SEEN, 0, person=1),
        Event(2, 9, SEEN, 0, person=2),
        Event(3, 9, SEEN, 0, person=3),
        Event(4, 9, SEEN, last_week, person=2),
        Event(5, 9, SEEN, long_ago, person=3),
    )
    *_, before, this = overlap.weeks(northwind, NOW, 2)
    assert (this.reach.people, this.new and this.new.people, this.returning and this.returning.people) == (3, 2, 1)
    assert before.reach.people == 1
