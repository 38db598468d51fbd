from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Handle
from metrics.models import HandleFeed
from metrics.query.cards import handle_cards
from tests.ledger import Event, a_tweet, record
from tests.query.strategies import NOW

if TYPE_CHECKING:
    from accounts.models import User

pytestmark = pytest.mark.django_db


def test_it_tells_today_against_other_days_at_the_same_time(northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW - timedelta(days=20))
    day = timedelta(days=1)
    events = [Event(tweet.tweet_id, NOW - days * day, count=10 + days) for days in (0, 1, 2, 7, 8)]
    # Later than now on other days, and yesterday evening in Copenhagen.
    events += [Event(tweet.tweet_id, NOW - days * day + timedelta(minutes=2), count=1000) for days in (1, 7)]
    events += [Event(tweet.tweet_id, NOW.replace(hour=21, minute=59) - day, count=5000)]
    events += [Event(tweet.tweet_id, NOW.replace(hour=22, minute=0) - day, count=100)]
    record(northwind, events)
    (card,) = handle_cards([northwind], NOW)
    assert (card.today.sum(), card.yesterday.sum(), card.last_week.sum()) == (110, 11, 17)


def test_it_draws_the_last_hour(northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW - timedelta(days=1))
    record(northwind, [Event(tweet.tweet_id, NOW - timedelta(minutes=ago), count=ago + 1) for ago in (0, 5, 59, 60)])
    (card,) = handle_cards([northwind], NOW)
    assert len(card.minutes.starts) == 60
    drawn = card.minutes.counts.sum(axis=(1, 2))
    assert {place: int(drawn[place]) for place in drawn.nonzero()[0]} == {0: 60, 54: 6, 59: 1}


def test_it_names_the_tweet_that_moves_fastest(northwind: Handle, acme: Handle) -> None:
    slow, fast = (a_tweet(northwind, NOW - timedelta(hours=hours)) for hours in (3, 2))
    minute = timedelta(minutes=1)
    record(northwind, [Event(slow.tweet_id, NOW - minute, count=4), Event(fast.tweet_id, NOW - minute, count=5)])
    HandleFeed.objects.create(handle=northwind, sequence=9, last_received_at=NOW)
    mine, other = handle_cards([northwind, acme], NOW)
    assert mine.moving is not None
    assert (mine.moving.tweet, mine.moving.rate_per_minute) == (fast, 1.0)
    assert (mine.sequence, mine.last_received_at) == (9, NOW)
    assert (other.moving, other.sequence, other.last_received_at, other.today.sum()) == (None, 0, None, 0)


def test_it_needs_no_more_queries_for_more_handles(northwind: Handle, alice: User) -> None:
    def queries(handles: list[Handle]) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert len(handle_cards(handles, NOW)) == len(handles)
        return len(captured)

    zones = ("Asia/Kathmandu", "America/New_York", "UTC", "Australia/Lord_Howe")
    more = [
        Handle.objects.create(team=alice.teams.get(), username=f"shop{place}", display_name="Shop", time_zone=zone)
        for place, zone in enumerate(zones)
    ]
    assert queries([northwind, *more]) <= queries([northwind]) + 1


def test_it_makes_no_card_for_nobody() -> None:
    assert handle_cards([], NOW) == []
