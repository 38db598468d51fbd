from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from django.db import transaction
from hypothesis import given

from metrics.query import tweets
from metrics.query.params import ParamError, parse
from metrics.query.tweets import rates_now, search_tweets, top_tweets
from metrics.vocabulary.engagements import METRICS
from tests.ledger import Event, a_tweet, added_up, record
from tests.query.strategies import EVENTS, NOW, TWEETS
from tests.query.test_series import UndoError, on_random_events

if TYPE_CHECKING:
    from accounts.models import Handle

pytestmark = pytest.mark.django_db


@given(EVENTS)
@on_random_events
def test_it_ranks_by_any_metric(northwind: Handle, events: list[Event]) -> None:
    with pytest.raises(UndoError), transaction.atomic():
        record(northwind, events)
        for given_range, sort in (
            ("28h", "engagements"),
            ("7d", "impressions"),
            ("28d", "favorites_net"),
            ("30m", "clicks"),
        ):
            query = parse({"range": given_range}, northwind, NOW)
            expected = {}
            for tweet_id in TWEETS:
                counts = added_up(events, query.period, tweet_id)
                if counts.any():
                    expected[tweet_id] = counts
            rows = top_tweets(query, sort, limit=100)
            assert {row.tweet.tweet_id for row in rows} == set(expected)
            for row in rows:
                assert np.array_equal(row.totals, expected[row.tweet.tweet_id])
            values = [int(METRICS[sort].of(row.totals).sum()) for row in rows]
            assert values == sorted(values, reverse=True)
        raise UndoError


def four_tweets(northwind: Handle) -> list[int]:
    numbers = [a_tweet(northwind, NOW - timedelta(days=days, hours=1), number=days).tweet_id for days in range(4)]
    record(
        northwind,
        [
            Event(numbers[0], NOW - timedelta(minutes=30), "impressions", 1000),
            Event(numbers[0], NOW - timedelta(minutes=30), "favorites", 10),
            Event(numbers[1], NOW - timedelta(minutes=2), "favorites", 5),
            Event(numbers[1], NOW - timedelta(minutes=2), "impressions", 10),
            Event(numbers[2], NOW - timedelta(minutes=20), "impressions", 400),
            Event(numbers[2], NOW - timedelta(minutes=20), "replies", 9),
            # Before the period of a day.
            Event(numbers[3], NOW - timedelta(days=2), "favorites", 500),
        ],
    )
    return numbers


@pytest.mark.parametrize(
    ("sort", "places"),
    [
        ("rate", [1, 0, 2]),
        ("engagements", [0, 2, 1]),
        ("impressions", [0, 2, 1]),
        ("engagement_rate", [1, 2, 0]),
        ("created_at", [0, 1, 2]),
        ("replies", [2, 0, 1]),
    ],
)
def test_it_orders_by(northwind: Handle, sort: str, places: list[int]) -> None:
    numbers = four_tweets(northwind)
    query = parse({"range": "24h"}, northwind, NOW)
    assert [row.tweet.tweet_id for row in top_tweets(query, sort)] == [numbers[place] for place in places]
    upwards = [row.tweet.tweet_id for row in top_tweets(query, sort, descending=False)]
    assert upwards == [numbers[place] for place in reversed(places)]


def test_it_gives_pages(northwind: Handle) -> None:
    four_tweets(northwind)
    query = parse({"range": "24h"}, northwind, NOW)
    whole = [row.tweet.tweet_id for row in top_tweets(query, "engagements")]
    pages = [top_tweets(query, "engagements", limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [row.tweet.tweet_id for page in pages for row in page] == whole


def test_it_reads_the_tweets_created_in_the_period(northwind: Handle) -> None:
    numbers = four_tweets(northwind)
    query = parse({"since": "2026-04-05", "until": "2026-04-07", "reading": "tweets"}, northwind, NOW)
    rows = top_tweets(query, "favorites")
    assert [row.tweet.tweet_id for row in rows] == [numbers[3], numbers[2]]
    assert [int(row.totals.sum()) for row in rows] == [500, 409]


def test_it_tells_engagements_a_minute_now(northwind: Handle) -> None:
    events = [Event(TWEETS[0], NOW - timedelta(minutes=minutes), "favorites", 10) for minutes in range(8)]
    record(northwind, [*events, Event(TWEETS[1], NOW, "impressions", 100)])
    assert rates_now(northwind.pk, NOW) == {TWEETS[0]: 10.0}
    assert rates_now(northwind.pk, NOW, [TWEETS[1]]) == {}
    rows = top_tweets(parse({"range": "30m"}, northwind, NOW), "rate")
    assert [(row.tweet.tweet_id, row.rate_per_minute) for row in rows] == [(TWEETS[0], 10.0), (TWEETS[1], 0.0)]


def test_it_refuses_an_unknown_order(northwind: Handle) -> None:
    with pytest.raises(ParamError, match=r"^sort: .*engagement_rate"):
        top_tweets(parse({}, northwind, NOW), "loudest")


def test_it_shows_nothing_of_another_handle(northwind: Handle, acme: Handle) -> None:
    four_tweets(northwind)
    assert top_tweets(parse({"range": "28d"}, acme, NOW)) == []


def test_it_finds_tweets_by_words_and_by_id(northwind: Handle, acme: Handle) -> None:
    first = a_tweet(northwind, NOW - timedelta(days=2), "Fresh beans from Kenya 100%")
    second = a_tweet(northwind, NOW - timedelta(days=1), "Beans again")
    a_tweet(acme, NOW, "Other beans")
    assert search_tweets([northwind], "BEANS") == [second, first]
    assert search_tweets([northwind], "kenya beans") == [first]
    assert search_tweets([northwind], "0%") == [first]
    assert search_tweets([northwind], str(second.tweet_id)) == [second]
    assert search_tweets([northwind], "beans", limit=1) == [second]
    for nothing in ("", "   ", "tea", "9" * 19, "9" * 40, "²", "a\x00b"):
        assert search_tweets([northwind], nothing) == []


def test_it_needs_no_more_queries_for_more_tweets(northwind: Handle, django_assert_max_num_queries: object) -> None:
    four_tweets(northwind)
    tweets.typical(northwind.pk, NOW)
    with django_assert_max_num_queries(16):  # type: ignore[operator]  # a pytest-django fixture
        top_tweets(parse({"range": "28d"}, northwind, NOW), limit=100)
