from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from metrics.models import HandleFeed
from metrics.query.params import parse
from metrics.query.report import change, report, totals
from metrics.vocabulary.engagements import METRICS
from tests.ledger import Event, a_tweet, added_up, record
from tests.query.strategies import NOW, TWEETS

if TYPE_CHECKING:
    from accounts.models import Handle

pytestmark = pytest.mark.django_db


def test_it_adds_up_the_series_of_the_period(northwind: Handle) -> None:
    events = [
        Event(TWEETS[place % 5], NOW - timedelta(hours=3 * place), "url_clicks", place + 1) for place in range(80)
    ]
    record(northwind, events)
    for given in ({"range": "24h"}, {"range": "7d"}, {"range": "28d"}, {"range": "28d", "grain": "hour"}):
        query = parse(given, northwind, NOW)
        found = report(query)
        assert np.array_equal(found.totals, added_up(events, query.period))
        assert np.array_equal(found.totals, found.series.totals)
        assert np.array_equal(found.totals, totals(query))


def test_it_sets_today_so_far_against_as_much_of_the_day_before(northwind: Handle) -> None:
    today = NOW.replace(hour=6)
    events = [
        Event(TWEETS[1], today, count=30),
        Event(TWEETS[1], today - timedelta(days=1), count=20),
        # Later than now on the day before: drawn, but not held against today.
        Event(TWEETS[1], NOW + timedelta(hours=3) - timedelta(days=1), count=1000),
    ]
    record(northwind, events)
    found = report(parse({"since": "2026-04-08", "until": "2026-04-09", "grain": "hour"}, northwind, NOW))
    assert found.totals.sum() == 30
    assert found.previous is not None
    assert found.previous.sum() == 20
    assert found.previous_series is not None
    assert found.previous_series.totals.sum() == 1020
    assert found.change("favorites") == 0.5
    assert found.change("retweets") is None


def test_it_compares_with_nothing_on_request(northwind: Handle) -> None:
    found = report(parse({"compare": "none"}, northwind, NOW))
    assert (found.previous, found.previous_series, found.previous_engagement_rate) == (None, None, None)
    assert found.change("favorites") is None


def test_it_tells_both_readings_apart(northwind: Handle) -> None:
    old = a_tweet(northwind, NOW - timedelta(days=10))
    new = a_tweet(northwind, NOW - timedelta(days=2))
    record(
        northwind,
        [
            Event(old.tweet_id, NOW - timedelta(days=9), count=100),
            Event(old.tweet_id, NOW - timedelta(days=1), count=10),
            Event(new.tweet_id, NOW - timedelta(days=1), count=1),
        ],
    )
    activity = report(parse({"range": "7d"}, northwind, NOW))
    tweets = report(parse({"range": "7d", "reading": "tweets"}, northwind, NOW))
    assert activity.totals.sum() == 11
    assert tweets.totals.sum() == 1
    assert tweets.previous is not None
    assert tweets.previous.sum() == 110
    assert (activity.tweets_published, activity.previous_tweets_published) == (1, 1)


def test_it_tells_the_sequence_and_since_when_it_is_quiet(northwind: Handle) -> None:
    last = NOW - timedelta(minutes=7)
    HandleFeed.objects.create(handle=northwind, sequence=41, last_received_at=last)
    found = report(parse({}, northwind, NOW))
    assert (found.sequence, found.quiet_since) == (41, last)
    HandleFeed.objects.update(last_received_at=NOW - timedelta(seconds=5))
    assert report(parse({}, northwind, NOW)).quiet_since is None


def test_it_answers_for_a_handle_without_any_event(northwind: Handle) -> None:
    found = report(parse({}, northwind, NOW))
    assert (found.sequence, found.totals.sum(), found.quiet_since) == (0, 0, None)
    assert found.engagement_rate is None


def test_it_gives_engagements_per_impression(northwind: Handle) -> None:
    record(northwind, [Event(TWEETS[0], NOW, "impressions", 200), Event(TWEETS[0], NOW, "favorites", 3, True)])
    assert report(parse({}, northwind, NOW)).engagement_rate == 3 / 200


@pytest.mark.parametrize(
    ("value", "before", "expected"), [(3, 2, 0.5), (1, 2, -0.5), (5, 0, None), (0, 0, None), (-1, -2, 0.5)]
)
def test_it_tells_a_relative_change(value: int, before: int, expected: float | None) -> None:
    assert change(value, before) == expected


def test_it_knows_every_metric_of_the_comparison(northwind: Handle) -> None:
    found = report(parse({}, northwind, NOW))
    assert all(found.change(name) is None for name in METRICS)
