"""The platform's own dashboard beside ours: both numbers, why they differ, and nothing where no file told any."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from html import unescape
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from accounts.models import Handle
from metrics.models import AccountDay
from tests.ledger import Event, a_tweet, record

if TYPE_CHECKING:
    from accounts.models import User

pytestmark = pytest.mark.django_db
PERIOD = "?since=2026-03-02&until=2026-03-04"
AS_OF = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
CARD = "X’s dashboard beside InsightsTrack"


@pytest.fixture
def days(northwind: Handle) -> None:
    """Two days of X's file, and ours: an older Tweet, one of the first day, and what came later."""
    for day, counts in (
        (date(2026, 3, 2), {"impressions": 1_000, "engagements": 90, "promoted_impressions": 500, "bookmarks": 4}),
        (date(2026, 3, 3), {"impressions": 200, "engagements": 10, "favorites": 7, "bookmarks": 1}),
        (date(2026, 3, 9), {"impressions": 9_999}),
    ):
        AccountDay.objects.create(handle=northwind, day=day, counts=counts, exported_at=AS_OF)
    old = a_tweet(northwind, datetime(2026, 2, 1, 12, tzinfo=UTC), "Old")
    new = a_tweet(northwind, datetime(2026, 3, 2, 10, tzinfo=UTC), "New")
    at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    record(
        northwind,
        [
            Event(old.tweet_id, at, "impressions", 700),
            Event(new.tweet_id, at, "impressions", 600),
            # 23:30 UTC is the next day in Copenhagen.
            Event(new.tweet_id, datetime(2026, 3, 2, 23, 30, tzinfo=UTC), "impressions", 100),
            Event(new.tweet_id, datetime(2026, 3, 3, 12, tzinfo=UTC), "favorites", 6),
            Event(new.tweet_id, datetime(2026, 3, 20, 12, tzinfo=UTC), "impressions", 5_000),
        ],
    )


def as_(user: User) -> Client:
    """A browser signed in as this person."""
    client = Client()
    client.force_login(user)
    return client


def rows(client: Client, asked: str) -> list[list[str]]:
    """The file of both."""
    answer = client.get(f"/h/northwind/account_days.csv{asked}")
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.getvalue().decode())))[1:]


def page(client: Client, asked: str = PERIOD) -> str:
    """What the dashboard says, its spaces made plain."""
    return " ".join(unescape(client.get(f"/h/northwind/{asked}").content.decode()).split())


@pytest.mark.parametrize("viewer", ["alice", "bob"])
def test_it_shows_both_numbers_and_why_they_differ(viewer: str, alice: User, bob: User, days: None) -> None:
    told = page(as_({"alice": alice, "bob": bob}[viewer]))
    assert CARD in told
    assert "Mon 2 Mar 2026 – Tue 3 Mar 2026" in told
    beside = told.split(CARD, 1)[1]
    # X: 1,000 organic and 500 promoted and 200; ours: 1,400 on those two days.
    for number in ("1,700", "1,400", "−300", "bookmarks 5", "5 Mar 2026, 10:30"):
        assert number in beside, number
    assert "Why the two differ" in beside
    assert "the activity of these days, on Tweets of any age" in beside
    assert "9,999" not in beside


def test_it_compares_the_lifetime_of_the_days_tweets(alice: User, days: None) -> None:
    beside = page(as_(alice), f"{PERIOD}&reading=tweets").split(CARD, 1)[1]
    assert "5,700" in beside
    assert "the whole life of the Tweets published on these days" in beside


def test_it_compares_whole_days_that_the_period_touches(alice: User, days: None) -> None:
    assert rows(as_(alice), "?since=2026-03-03T08:00&until=2026-03-03T09:00") == [
        ["2026-03-03", "impressions", "Impressions", "200", "100"],
        ["2026-03-03", "engagements", "Engagements", "10", "6"],
        ["2026-03-03", "favorites", "Likes", "7", "6"],
        ["2026-03-03", "bookmarks", "Bookmarks", "1", ""],
    ]


def test_it_gives_both_as_csv(alice: User, days: None) -> None:
    told = {(row[0], row[1]): row[3:] for row in rows(as_(alice), PERIOD)}
    assert told[("2026-03-02", "impressions")] == ["1500", "1300"]
    assert told[("2026-03-03", "impressions")] == ["200", "100"]
    told = {(row[0], row[1]): row[3:] for row in rows(as_(alice), f"{PERIOD}&reading=tweets")}
    assert told[("2026-03-02", "impressions")] == ["1500", "5700"]
    assert told[("2026-03-03", "impressions")] == ["200", "0"]


def test_it_tells_days_that_no_file_has(alice: User, days: None) -> None:
    beside = page(as_(alice), "?since=2026-03-02&until=2026-03-10").split(CARD, 1)[1]
    assert "5 days in between are in no file" in beside


def test_it_shows_nothing_where_no_file_told_any(alice: User, northwind: Handle, days: None) -> None:
    assert CARD not in page(as_(alice), "?since=2026-02-01&until=2026-02-10")
    assert rows(as_(alice), "?since=2026-02-01&until=2026-02-10") == []


def test_it_shows_files_of_a_handle_that_has_no_events(alice: User, northwind: Handle) -> None:
    AccountDay.objects.create(handle=northwind, day=date(2026, 3, 2), counts={"impressions": 5}, exported_at=AS_OF)
    assert CARD in page(as_(alice))


def test_it_hides_them_from_strangers(charlie: User, northwind: Handle, days: None) -> None:
    assert as_(charlie).get(f"/h/northwind/account_days.csv{PERIOD}").status_code == 404
    assert "/accounts/login/" in Client().get(f"/h/northwind/account_days.csv{PERIOD}").headers["Location"]
