"""Campaigns as pages and as a file: who sees them, what they say of people, and every state that they can be in."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from metrics.models import PersonEpoch, ReportedReach, Tweet
from metrics.present.columns import COLUMNS
from metrics.query.params import parse
from metrics.query.tweets import top_tweets
from metrics.vocabulary.periods import DAY, HOUR
from tests.aggregate.events import NOW, Event
from tests.crowds import SEEN, happen
from tests.present.test_pages import embedded
from tests.tagged import a_campaign

if TYPE_CHECKING:
    from accounts.models import Handle, User

pytestmark = pytest.mark.django_db
ODD_TAGS = ["spring sale", "春の/売り", "a?b#c%d&e", "x" * 64, "<b>bold</b>", "tweets.csv", "a\nb", "عرض"]


@pytest.fixture
def reader(client: Client, bob: User) -> Client:
    """Bob's browser: he only looks."""
    client.force_login(bob)
    return client


@pytest.fixture
def spring(northwind: Handle) -> list[Tweet]:
    """Three Tweets tagged “spring”: people 1 to 4, 3 to 6, and 9."""
    return a_campaign(northwind, "spring", {0: range(1, 5), 1: range(3, 7), 2: [9]})


def page(client: Client, tag: str = "spring", **given: Any) -> str:
    answer = client.get(reverse("campaign", args=[tag]), given)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def tile(html: str, name: str) -> str:
    part = html[html.index(f'data-tile="{name}"') :]
    found = re.search(r'class="tile__value[^"]*">([^<]*)<', part)
    assert found
    return found[1].strip()


def rows(client: Client, tag: str = "spring", **given: Any) -> list[dict[str, str]]:
    answer = client.get(reverse("export_campaign", args=[tag]), given)
    assert answer.status_code == 200
    text = b"".join(answer.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_it_shows_strangers_what_it_shows_for_nothing(client: Client, charlie: User, spring: list[Tweet]) -> None:
    client.force_login(charlie)
    assert "spring" not in client.get("/campaigns/?compare=spring&compare=x").content.decode()
    mine, unknown = page(client, "spring"), page(client, "autumn")
    assert "No Tweet of yours has this tag" in mine
    assert re.sub("spring", "autumn", re.sub(r'value="\w{64}"', "", mine)) == re.sub(r'value="\w{64}"', "", unknown)
    assert rows(client) == []


def test_it_asks_people_to_sign_in(client: Client, spring: list[Tweet]) -> None:
    for name, arguments in (("campaigns", []), ("campaign", ["spring"]), ("export_campaign", ["spring"])):
        answer = client.get(reverse(name, args=arguments))
        assert answer.headers["Location"].startswith("/accounts/login/")


def test_it_tells_how_many_people_a_campaign_reached(reader: Client, spring: list[Tweet]) -> None:
    html = page(reader)
    assert [tile(html, name) for name in ("reach", "engaged", "frequency", "impressions")] == ["7", "0", "1.29×", "9"]
    assert "3 Tweets" in html
    growth = embedded(html, "figures")["growth"]["data"][-1]
    assert growth["y"] == [4, 6, 7]
    assert [words[2:5] for words in growth["customdata"]] == [
        ["4", "exact", "4"],
        ["6", "exact", "2"],
        ["7", "exact", "1"],
    ]


def test_it_shows_who_is_shared(reader: Client, spring: list[Tweet]) -> None:
    html = page(reader)
    assert "Shared people" in html
    shaded = re.findall(r'heat__cell heat--(\d+)"><span class="num">(\d+)<', html)
    assert shaded == [("5", "2"), ("0", "0"), ("0", "0")]
    assert re.findall(r'bar__organic" width="([\d.]+)"', html) == ["100.00"] * 3 + ["50.00"]
    two = page(reader, tweet=[spring[0].tweet_id, spring[2].tweet_id])
    assert re.findall(r'heat__cell heat--(\d+)"><span class="num">(\d+)<', two) == [("0", "0")]
    assert two.count("data-pick checked") == 2
    alone = page(reader, tweet=[spring[0].tweet_id])
    assert "Shared people" not in alone


def test_it_compares_twelve_at_most(reader: Client, northwind: Handle) -> None:
    a_campaign(northwind, "many", {number: [number, 99] for number in range(14) if number != 9})
    html = page(reader, "many")
    assert html.count("data-pick checked") == 12
    assert html.count('class="heat__name"') == 12
    numbers = Tweet.objects.filter(tags=["many"]).values_list("tweet_id", flat=True)
    assert "At most 12 are compared" in page(reader, "many", tweet=list(numbers))


def test_it_says_as_much_as_it_knows_without_people(reader: Client, northwind: Handle) -> None:
    a_campaign(northwind, "quiet", {0: [0], 1: [0]})
    html = page(reader, "quiet")
    assert tile(html, "reach") == "not reported"
    assert (tile(html, "frequency"), tile(html, "coverage"), tile(html, "impressions")) == ("–", "0\u202f%", "2")
    assert "do not report who saw them" in html
    assert 'id="figures"' not in html
    assert "Shared people" not in html
    assert [row["reach_basis"] for row in rows(reader, "quiet")] == ["unreported", "unreported"]
    assert [row["reach"] for row in rows(reader, "quiet")] == ["", ""]


def test_it_gives_bounds_of_what_others_report(reader: Client, northwind: Handle) -> None:
    tweets = a_campaign(northwind, "told", {0: [0], 1: [0]})
    for tweet, people in zip(tweets, (300, 500), strict=True):
        ReportedReach.objects.create(
            handle=northwind, tweet_id=tweet.tweet_id, audience=SEEN, source_id=1, people=people, as_of=NOW
        )
    html = page(reader, "told")
    assert tile(html, "reach") == "500–800"
    assert "by the source" in html


def test_it_says_since_when_people_are_matched(reader: Client, northwind: Handle, spring: list[Tweet]) -> None:
    for number in (0, 1):
        PersonEpoch.objects.create(number=number, fingerprint=str(number), began_at=NOW - DAY * (1 - number))
    happen(northwind, Event(77, 0, SEEN, 60, person=1, epoch=1))
    html = page(reader)
    assert "A new key began on" in html
    assert "Only people matched with the newest key are compared" in html
    assert tile(html, "reach") == "7–8"


def test_it_tells_of_a_time(reader: Client, northwind: Handle) -> None:
    a_campaign(northwind, "long", {9: [1]}, seconds=20 * 86_400)
    a_campaign(northwind, "long", {0: [1, 2]})
    assert tile(page(reader, "long"), "impressions") == "3"
    week, month = page(reader, "long", range="7d"), page(reader, "long", range="28d")
    assert (tile(week, "impressions"), tile(month, "impressions")) == ("2", "3")
    assert "People are kept by hour for a week" in month
    assert "kept by hour for a week" not in re.sub("<details.*?</details>", "", week, flags=re.DOTALL)
    answer = reader.get(reverse("campaign", args=["long"]), {"range": "soon"})
    assert answer.status_code == 400
    assert "range:" in answer.content.decode()
    assert reader.get(reverse("export_campaign", args=["long"]), {"range": "soon"}).status_code == 400
    assert [row["impressions"] for row in rows(reader, "long", range="7d")] == ["0", "2"]


@pytest.mark.parametrize("tag", ODD_TAGS)
def test_it_takes_any_text_as_a_tag(reader: Client, northwind: Handle, tag: str) -> None:
    a_campaign(northwind, tag, {0: [1], 1: [1, 2]})
    for address in ("/campaigns/", reverse("dashboard", args=["northwind"]) + "?range=7d"):
        assert reverse("campaign", args=[tag]) in unescape(reader.get(address).content.decode())
    html = page(reader, tag)
    assert tile(html, "reach") == "2"
    assert "<b>bold" not in reader.get(reverse("campaign", args=[tag])).content.decode()
    assert len(rows(reader, tag)) == 2


def test_it_is_empty_for_what_cannot_be_a_tag(reader: Client, northwind: Handle) -> None:
    assert "No Tweet of yours" in page(reader, "a\x00b")
    assert "No Tweet has a tag yet" in reader.get("/campaigns/").content.decode()


def test_it_lists_campaigns_and_compares_them(
    client: Client, alice: User, northwind: Handle, spring: list[Tweet]
) -> None:
    a_campaign(northwind, "summer", {1: [3, 50], 3: [4, 51]})
    client.force_login(alice)
    listed = unescape(client.get("/campaigns/").content.decode())
    assert re.findall(r'/campaigns/(\w+)/">', listed) == ["summer", "spring"]
    assert "Shared people" not in listed
    html = unescape(client.get("/campaigns/?compare=spring&compare=summer").content.decode())
    assert re.findall(r'heat__cell heat--(\d+)"><span class="num">(\d+)<', html) == [("9", "5")]
    assert "at least two campaigns" in client.get("/campaigns/?compare=spring").content.decode()


def test_it_says_the_same_in_the_file(reader: Client, spring: list[Tweet]) -> None:
    answer = reader.get(reverse("export_campaign", args=["spring"]))
    assert 'filename="campaign_spring.csv"' in answer.headers["Content-Disposition"]
    found = rows(reader)
    assert list(found[0]) == list(COLUMNS["campaign"])
    assert [row["tweet_id"] for row in found] == [str(tweet.tweet_id) for tweet in spring]
    told = [[row[name] for name in ("reach", "new_people", "reach_so_far", "reach_basis")] for row in found]
    assert told == [["4", "4", "4", "exact"], ["4", "2", "6", "exact"], ["1", "1", "7", "exact"]]


def test_it_tells_of_five_hundred_tweets(reader: Client, northwind: Handle) -> None:
    a_campaign(northwind, "huge", {10 + number: [number, 1000] for number in range(520)})
    html = page(reader, "huge")
    assert "the newest 500 of 520 Tweets" in html
    assert tile(html, "reach") == "501"
    assert html.count("data-pick checked") == 12


# --- the dashboard, filtered --------------------------------------------------------------------------------


def test_it_filters_the_dashboards_tweets(reader: Client, northwind: Handle, spring: list[Tweet]) -> None:
    a_campaign(northwind, "summer", {3: [1]})
    address = reverse("dashboard", args=["northwind"])
    for given, number in (({}, 4), ({"tag": "summer"}, 1), ({"tag": "none"}, 0), ({"tag": "a\x00"}, 0)):
        html = reader.get(address, {"range": "7d", **given}).content.decode()
        assert html.count("<tr data-tweet=") == number
        shown = reader.get(reverse("live_snapshot", args=["northwind"]), {"range": "7d", **given}).json()["shown"]
        assert len(shown) == number
    assert "No Tweet tagged “none”" in reader.get(address, {"range": "7d", "tag": "none"}).content.decode()
    for reading in ("activity", "tweets"):
        query = parse({"range": "7d", "reading": reading, "tag": "spring"}, northwind, timezone.now())
        assert {row.tweet.pk for row in top_tweets(query)} == {tweet.pk for tweet in spring}


def test_it_filters_the_file_and_the_api(
    client: Client, alice: User, northwind: Handle, spring: list[Tweet], read_token: str
) -> None:
    a_campaign(northwind, "summer", {3: [1]})
    client.force_login(alice)
    answer = client.get(reverse("export_tweets", args=["northwind"]), {"range": "7d", "tag": "summer"})
    assert len(b"".join(answer.streaming_content).decode().splitlines()) == 2
    headers = {"Authorization": f"Bearer {read_token}"}
    told = Client(headers=headers).get("/api/v1/handles/northwind/tweets", {"range": "7d", "tag": "spring"}).json()
    assert [tweet["tags"] for tweet in told["tweets"]] == [["spring"]] * 3
    assert all(tweet["id"] in {str(one.tweet_id) for one in spring} for tweet in told["tweets"])


def test_it_offers_tagging_to_editors_only(
    client: Client, alice: User, bob: User, northwind: Handle, spring: list[Tweet]
) -> None:
    address = reverse("dashboard", args=["northwind"]) + "?range=7d"
    for user, offered in ((alice, True), (bob, False)):
        client.force_login(user)
        html = client.get(address).content.decode()
        assert ('id="tagging"' in html, 'name="tweet"' in html) == (offered, offered)


def test_it_has_nothing_to_tell_before_anything_is_seen(reader: Client, northwind: Handle) -> None:
    tweet_id = Event(0, 0, 0, 0).tweet_id
    Tweet.objects.create(handle=northwind, tweet_id=tweet_id, created_at=NOW - HOUR, tags=["fresh"])
    html = page(reader, "fresh")
    assert "not been shown to anybody" in html
    assert tile(html, "reach") == "0"
