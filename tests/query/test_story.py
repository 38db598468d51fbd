from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from metrics.query.params import ParamError
from metrics.query.story import Span, parse_tweet, tweet_report
from metrics.query.typical import AGES, gathered, typical
from metrics.vocabulary.engagements import METRICS
from metrics.vocabulary.periods import DisplayGrain
from tests.ledger import Event, a_tweet, record
from tests.query.strategies import NOW

if TYPE_CHECKING:
    from accounts.models import Handle

pytestmark = pytest.mark.django_db
AT = {age: place for place, age in enumerate(AGES)}
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("age", "grain"),
    [
        (timedelta(minutes=40), DisplayGrain.MINUTE),
        (timedelta(hours=20), DisplayGrain.QUARTER),
        (timedelta(days=5), DisplayGrain.HOUR),
        (timedelta(days=60), DisplayGrain.DAY),
    ],
)
def test_it_draws_a_whole_life_in_fitting_buckets(northwind: Handle, age: timedelta, grain: DisplayGrain) -> None:
    tweet = a_tweet(northwind, NOW - age)
    query = parse_tweet({}, tweet, NOW)
    assert (query.span, query.grain) == (Span.LIFE, grain)
    assert tweet.created_at in query.period
    assert NOW in query.period


def test_it_draws_the_first_hour(northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW - timedelta(days=5))
    query = parse_tweet({"range": "1h"}, tweet, NOW)
    assert query.grain is DisplayGrain.MINUTE
    assert HOUR <= query.period.length <= timedelta(minutes=67)


@pytest.mark.parametrize(
    ("given", "field"),
    [({"range": "30m"}, "range"), ({"grain": "week"}, "grain"), ({"zone": "Mars"}, "zone"), ({"since": "x"}, "since")],
)
def test_it_names_the_field_at_fault(northwind: Handle, given: dict[str, str], field: str) -> None:
    with pytest.raises(ParamError, match=f"^{field}: "):
        parse_tweet(given, a_tweet(northwind, NOW - HOUR), NOW)


def test_it_refuses_more_buckets_than_it_can_draw(northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW - timedelta(days=300))
    with pytest.raises(ParamError, match=r"^grain: .*coarser"):
        parse_tweet({"grain": "hour"}, tweet, NOW)


def test_it_tells_a_tweets_story(northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW - timedelta(days=3))
    record(
        northwind,
        [
            Event(tweet.tweet_id, tweet.created_at - MINUTE, "favorites", 1),
            Event(tweet.tweet_id, tweet.created_at + MINUTE, "favorites", 10),
            Event(tweet.tweet_id, NOW - timedelta(days=1), "retweets", 5),
            Event(tweet.tweet_id, NOW - 3 * MINUTE, "unfavorites", 2),
            Event(tweet.tweet_id, NOW - MINUTE, "replies", 20),
        ],
    )
    told = tweet_report(parse_tweet({}, tweet, NOW))
    assert told.lifetime.sum() == 38
    assert np.array_equal(told.before + told.clock.totals, told.lifetime)
    assert told.velocity.totals.sum() == 22
    assert told.rate_per_minute == 4.0
    assert {each.gained: (each.gained_count, each.lost_count, each.net) for each in told.corrections}["favorites"] == (
        11,
        2,
        9,
    )
    part = tweet_report(parse_tweet({"since": (NOW - timedelta(days=2)).isoformat()}, tweet, NOW))
    assert part.before.sum() == 11
    assert np.array_equal(part.before + part.clock.totals, part.lifetime)


def test_it_tells_what_a_tweet_had_gathered_at_each_age(northwind: Handle) -> None:
    created = NOW - timedelta(hours=30)
    tweet = a_tweet(northwind, created)
    ages = {MINUTE // 2: 1, 4 * MINUTE: 10, 50 * MINUTE: 100, 5 * HOUR: 1000, 26 * HOUR: 10_000}
    record(northwind, [Event(tweet.tweet_id, created + age, count=count) for age, count in ages.items()])
    at = gathered(northwind.pk, {tweet.tweet_id: created}, NOW)[tweet.tweet_id].engagements
    assert at[AT[MINUTE]] == 1
    assert at[AT[5 * MINUTE]] == 11
    assert at[AT[HOUR]] == 111
    assert at[AT[3 * HOUR]] == 111
    assert at[AT[6 * HOUR]] == 1111
    assert at[AT[timedelta(days=1)]] == 1111
    assert np.isnan(at[AT[timedelta(days=2)]])


def test_it_knows_first_minutes_only_while_they_are_kept(northwind: Handle) -> None:
    created = NOW - timedelta(days=100)
    tweet = a_tweet(northwind, created)
    record(northwind, [Event(tweet.tweet_id, created + MINUTE, count=7)])
    at = gathered(northwind.pk, {tweet.tweet_id: created}, NOW)[tweet.tweet_id].engagements
    assert np.isnan(at[AT[HOUR]])
    assert at[AT[2 * HOUR]] == 7


def test_it_takes_the_median_tweet_of_each_age(northwind: Handle) -> None:
    events = []
    for place, likes in enumerate((1, 2, 30, 40, 500)):
        tweet = a_tweet(northwind, NOW - timedelta(days=2 + place))
        events.append(Event(tweet.tweet_id, tweet.created_at + 20 * MINUTE, count=likes))
    young = a_tweet(northwind, NOW - HOUR)
    events.append(Event(young.tweet_id, young.created_at + 2 * MINUTE, count=60))
    record(northwind, events)
    usual = typical(northwind.pk, NOW)
    assert usual.engagements[AT[timedelta(minutes=10)]] == 0
    assert usual.engagements[AT[2 * HOUR]] == 30
    assert usual.tweets[AT[2 * HOUR]] == 5
    assert usual.tweets[AT[timedelta(days=7)]] == 0
    assert usual.times_usual(60, 3 * HOUR) == 2.0
    told = tweet_report(parse_tweet({}, young, NOW))
    assert told.typical.tweets == usual.tweets


def test_it_calls_nothing_usual_from_a_few_tweets(northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW - timedelta(days=2))
    record(northwind, [Event(tweet.tweet_id, NOW - HOUR, count=3)])
    usual = typical(northwind.pk, NOW)
    assert usual.times_usual(3, HOUR) is None
    assert METRICS["engagements"].of(tweet_report(parse_tweet({}, tweet, NOW)).lifetime).sum() == 3


def test_it_tells_the_story_of_a_tweet_without_events(northwind: Handle) -> None:
    told = tweet_report(parse_tweet({}, a_tweet(northwind, datetime.now(UTC)), datetime.now(UTC)))
    assert (told.lifetime.sum(), told.rate_per_minute, told.times_usual) == (0, 0.0, None)
