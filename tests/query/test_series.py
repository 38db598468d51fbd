from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics.query import series
from metrics.vocabulary.periods import MINUTE, DisplayGrain, Period, floor
from tests.ledger import Event, a_tweet, added_up, record
from tests.query.strategies import EVENTS, NOW, TWEETS, ZONES

if TYPE_CHECKING:
    from accounts.models import Handle

pytestmark = pytest.mark.django_db
UTC_ZONE = ZoneInfo("UTC")
PERIODS = st.builds(
    lambda start, length: Period(
        floor(NOW, MINUTE) - timedelta(minutes=start), floor(NOW, MINUTE) - timedelta(minutes=start - length)
    ),
    st.integers(0, 60 * 24 * 30),
    st.integers(1, 60 * 24 * 8),
)
on_random_events = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class UndoError(Exception):
    """Raised to take back what one example wrote."""


def check(northwind: Handle, events: list[Event], period: Period, grain: DisplayGrain, zone: ZoneInfo) -> None:
    with pytest.raises(UndoError), transaction.atomic():
        record(northwind, events)
        read = series.handle_series(northwind.pk, period, grain, zone)
        ends = [*read.starts[1:], period.until]
        for counts, since, until in zip(read.counts, read.starts, ends, strict=True):
            assert np.array_equal(counts, added_up(events, Period(since, until)))
        assert np.array_equal(read.totals, series.handle_totals(northwind.pk, period))
        by_tweet = series.tweet_series(northwind.pk, TWEETS, period, grain, zone)
        assert np.array_equal(sum(each.counts for each in by_tweet.values()), read.counts)
        totals = series.tweet_totals(northwind.pk, TWEETS, period)
        for tweet_id in TWEETS:
            assert np.array_equal(totals[tweet_id], added_up(events, period, tweet_id))
            assert by_tweet[tweet_id].starts == read.starts
        raise UndoError


@given(EVENTS, PERIODS, st.sampled_from(DisplayGrain), ZONES)
@on_random_events
def test_it_adds_up_to_the_events(
    northwind: Handle, events: list[Event], period: Period, grain: DisplayGrain, zone: str
) -> None:
    check(northwind, events, period, grain, ZoneInfo(zone))


def test_it_gives_lifetimes(northwind: Handle) -> None:
    events = [Event(TWEETS[0], NOW, "retweets", 3), Event(TWEETS[1], NOW, "favorites", 2, promoted=True)]
    record(northwind, events)
    whole = Period(NOW - timedelta(days=1), NOW + timedelta(days=1))
    lifetimes = series.tweet_lifetimes(northwind.pk, TWEETS)
    assert list(lifetimes) == TWEETS
    for tweet_id in TWEETS:
        assert np.array_equal(lifetimes[tweet_id], added_up(events, whole, tweet_id))


def test_it_reads_the_tweets_of_a_period_over_their_life(northwind: Handle) -> None:
    old = a_tweet(northwind, NOW - timedelta(days=3))
    new = a_tweet(northwind, NOW - timedelta(hours=2))
    record(northwind, [Event(old.tweet_id, NOW, count=5), Event(new.tweet_id, NOW, count=7)])
    period = Period(NOW - timedelta(hours=4), NOW)
    read = series.cohort_series(northwind.pk, period, DisplayGrain.HOUR, UTC_ZONE)
    assert read.totals.sum() == 7
    assert read.counts.sum(axis=(1, 2)).tolist() == [0, 0, 7, 0, 0]
    assert series.cohort_totals(northwind.pk, period).sum() == 7


def test_it_shows_nothing_of_another_handle(northwind: Handle, acme: Handle) -> None:
    record(northwind, [Event(TWEETS[0], NOW)])
    period = Period(floor(NOW, MINUTE) - timedelta(hours=1), floor(NOW, MINUTE) + MINUTE)
    assert series.handle_totals(acme.pk, period).sum() == 0
    assert series.tweet_totals(acme.pk, TWEETS, period)[TWEETS[0]].sum() == 0
    assert series.tweet_lifetimes(acme.pk, TWEETS)[TWEETS[0]].sum() == 0


@pytest.mark.django_db(transaction=True)
def test_it_reads_one_moment() -> None:
    with series.snapshot(), connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("repeatable read",)
        with series.snapshot():
            cursor.execute("SHOW transaction_read_only")
            assert cursor.fetchone() == ("on",)
