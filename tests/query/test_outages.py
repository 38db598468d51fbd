"""When sources were down, and which buckets hold counts from before tracking."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Handle
from metrics.models import InferredCount, Outage, Source, SourceState
from metrics.query.outages import outages
from metrics.query.tracking import before_tracking
from metrics.vocabulary.engagements import N_TYPES
from metrics.vocabulary.periods import Period

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Period(NOON - 12 * HOUR, NOON + 12 * HOUR)
STARTS = [DAY.since + number * HOUR for number in range(24)]


@pytest.fixture
def source(northwind: Handle) -> Source:
    return Source.objects.create(handle=northwind, kind="jetstream", name="Bluesky")


def down(source: Source, since: datetime, until: datetime | None) -> None:
    Outage.objects.create(source=source, since=since, until=until, state=SourceState.FAILING, reason="no route.")


def test_it_cuts_outages_to_the_period(northwind: Handle, source: Source) -> None:
    down(source, DAY.since - 5 * HOUR, DAY.since - HOUR)  # before
    down(source, DAY.since - HOUR, DAY.since + HOUR)
    down(source, NOON, NOON + HOUR)
    down(source, DAY.until, DAY.until + HOUR)  # after
    found = outages(northwind.pk, DAY, DAY.until + 5 * HOUR)
    assert [(each.since, each.until) for each in found] == [
        (DAY.since, DAY.since + HOUR),
        (NOON, NOON + HOUR),
    ]
    assert (found[0].name, found[0].reason, found[0].is_over) == ("Bluesky", "no route.", True)


def test_an_outage_that_lasts_reaches_until_now(northwind: Handle, source: Source) -> None:
    down(source, NOON, None)
    (found,) = outages(northwind.pk, DAY, NOON + 2 * HOUR)
    assert (found.since, found.until, found.is_over) == (NOON, NOON + 2 * HOUR, False)


def test_it_tells_nothing_of_other_handles(acme: Handle, source: Source) -> None:
    down(source, NOON, None)
    assert outages(acme.pk, DAY, NOON + HOUR) == []


def history(handle: Handle, tweet_id: int, at: datetime, is_history: bool = True) -> None:
    InferredCount.objects.create(
        handle=handle,
        tweet_id=tweet_id,
        as_of=at + HOUR,
        source_id=1,
        part=0,
        promoted=False,
        occurred_at=at,
        counts=[1] * N_TYPES,
        is_history=is_history,
        received_at=at,
    )


def test_it_joins_neighbouring_buckets_of_history(northwind: Handle, acme: Handle) -> None:
    for minutes in (0, 59, 61, 300):
        history(northwind, 7, NOON + timedelta(minutes=minutes))
    history(northwind, 8, NOON - 3 * HOUR)
    history(northwind, 7, NOON + 8 * HOUR, is_history=False)
    history(northwind, 7, DAY.until)  # not within
    history(acme, 7, NOON + 9 * HOUR)
    assert before_tracking(northwind.pk, 7, DAY, STARTS) == [
        (NOON, NOON + 2 * HOUR),
        (NOON + 5 * HOUR, NOON + 6 * HOUR),
    ]
    assert before_tracking(northwind.pk, None, DAY, STARTS)[0] == (NOON - 3 * HOUR, NOON - 2 * HOUR)
    assert before_tracking(acme.pk, 8, DAY, STARTS) == []
