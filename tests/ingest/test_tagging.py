"""Tags that a team gives its Tweets: checked, many at once, kept when senders tell the Tweets again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from metrics.ingest import tweets
from metrics.ingest.tweets import MOST_TAGS, TagError, add_tag, checked_tag, remove_tag
from metrics.models import Tweet
from tests.ledger import a_tweet

if TYPE_CHECKING:
    from accounts.models import Handle, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def some(northwind: Handle) -> list[Tweet]:
    now = datetime.now(UTC)
    return [a_tweet(northwind, now - timedelta(hours=hour), f"Beans {hour}", hour) for hour in (1, 2, 3)]


def ids(some: list[Tweet]) -> list[int]:
    return [tweet.tweet_id for tweet in some]


def tags(tweet: Tweet) -> list[str]:
    tweet.refresh_from_db()
    return list(tweet.tags)


def test_it_tags_many_tweets_at_once(northwind: Handle, some: list[Tweet]) -> None:
    before = some[0].changed_at
    assert add_tag(northwind, ids(some[:2]), " #spring sale ") == 2
    assert [tags(tweet) for tweet in some] == [["spring sale"], ["spring sale"], []]
    assert some[0].changed_at > before
    assert add_tag(northwind, ids(some), "spring sale") == 1
    assert remove_tag(northwind, ids(some), "#spring sale") == 3
    assert [tags(tweet) for tweet in some] == [[], [], []]
    assert remove_tag(northwind, ids(some), "spring sale") == 0


def test_it_tags_nothing_of_others(northwind: Handle, acme: Handle, some: list[Tweet]) -> None:
    assert add_tag(acme, ids(some), "mine") == 0
    assert add_tag(northwind, [1, 2], "mine") == 0
    assert not Tweet.objects.exclude(tags=[]).exists()


@pytest.mark.parametrize("tag", ["x" * 64, "Frühling", "春の", "👩‍👩‍👧", "a/b c?d#e%f", "عرض الربيع", "=1+1"])
def test_it_takes_any_text_as_a_tag(northwind: Handle, some: list[Tweet], tag: str) -> None:
    add_tag(northwind, ids(some[:1]), tag)
    assert tags(some[0]) == [tag]


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        ("", "Name the tag"),
        (" # ", "Name the tag"),
        ("x" * 65, "at most 64"),
        ("a\x00b", "control character"),
        ("a\nb", "control character"),
        ("a\x1bb", "control character"),
        ("\ud800", "control character"),
        ("..", "between slashes"),
        ("a/../b", "between slashes"),
    ],
)
def test_it_says_why_a_tag_is_refused(tag: str, why: str) -> None:
    with pytest.raises(TagError, match=why):
        checked_tag(tag)


def test_it_keeps_to_twenty_tags(northwind: Handle, some: list[Tweet]) -> None:
    for number in range(MOST_TAGS):
        add_tag(northwind, ids(some[:1]), f"tag {number}")
    with pytest.raises(TagError, match=r"Beans 1.*20 tags already"):
        add_tag(northwind, ids(some), "one more")
    assert tags(some[1]) == []  # all of them, or none
    assert remove_tag(northwind, ids(some[:1]), "tag 3") == 1
    assert add_tag(northwind, ids(some), "one more") == 3


def test_it_keeps_what_the_team_did_when_the_tweet_is_told_again(northwind: Handle, some: list[Tweet]) -> None:
    def tell(*given: str) -> None:
        told = tweets.IncomingTweet(str(some[0].tweet_id), "Told again", tags=list(given))
        tweets.upsert([tweets.checked(told, {"northwind": northwind.pk})])

    tell("coffee", "beans")
    add_tag(northwind, ids(some), "spring")
    remove_tag(northwind, ids(some), "beans")
    tell("coffee", "beans", "new")
    assert (tags(some[0]), some[0].text) == (["coffee", "new", "spring"], "Told again")
    assert tags(some[1]) == ["spring"]
    remove_tag(northwind, ids(some), "spring")
    tell("coffee")
    assert tags(some[0]) == ["coffee"]


# --- from the dashboard ---------------------------------------------------------------------------------------


def post(client: Client, some: list[Tweet], **given: str) -> tuple[int, str]:
    body = {"tweet": ids(some), "tag": "spring", "back": "range=7d&sort=impressions", **given}
    answer = client.post(reverse("tag_tweets", args=["northwind"]), body)
    return answer.status_code, answer.headers.get("Location", "")


def test_it_tags_what_was_ticked(client: Client, alice: User, some: list[Tweet]) -> None:
    client.force_login(alice)
    assert post(client, some[:2]) == (302, "/h/northwind/?range=7d&sort=impressions")
    assert [tags(tweet) for tweet in some] == [["spring"], ["spring"], []]
    assert "2 Tweets now tagged “spring”." in client.get("/campaigns/").content.decode()
    post(client, some, do="remove")
    assert [tags(tweet) for tweet in some] == [[], [], []]


def test_it_says_what_was_wrong(client: Client, alice: User, some: list[Tweet]) -> None:
    client.force_login(alice)
    for ticked, given, why in (
        ([], {}, "Tick the Tweets first"),
        (some, {"tag": "x" * 65}, "at most 64 characters"),
        (some, {"do": "remove"}, "none of them had the tag"),
    ):
        assert post(client, ticked, **given)[0] == 302
        assert why in client.get("/campaigns/").content.decode()
    client.post(reverse("tag_tweets", args=["northwind"]), {"tweet": ["x", "9" * 19, "9" * 40], "tag": "a"})
    assert not Tweet.objects.exclude(tags=[]).exists()


def test_it_leads_back_only_to_the_dashboard(client: Client, alice: User, some: list[Tweet]) -> None:
    client.force_login(alice)
    assert post(client, some, back="//evil.example/?a")[1].startswith("/h/northwind/?")


def test_it_lets_only_editors_tag(client: Client, bob: User, charlie: User, some: list[Tweet]) -> None:
    for user, status in ((bob, 403), (charlie, 404)):
        client.force_login(user)
        assert post(client, some)[0] == status
    assert client.get(reverse("tag_tweets", args=["northwind"])).status_code == 405
    assert not Tweet.objects.exclude(tags=[]).exists()
