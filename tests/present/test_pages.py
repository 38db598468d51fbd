"""The pages as HTML: the gate, the figures, the states, and `live.json`, which says the same."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from metrics.models import HandleFeed
from metrics.present import figures
from metrics.query.params import parse
from metrics.query.report import report
from metrics.vocabulary.engagements import METRICS, NAMES
from tests.ledger import Event, a_tweet, record

if TYPE_CHECKING:
    from accounts.models import Handle, User
    from metrics.models import Tweet

pytestmark = pytest.mark.django_db
CURL = "/api/v1/events"


@pytest.fixture
def tweet(northwind: Handle) -> Tweet:
    """A Tweet with a day of likes, clicks and views, the last a minute ago."""
    now = datetime.now(UTC)
    made = a_tweet(northwind, now - timedelta(hours=20), "Winter <roast> & more")
    kinds = ("impressions", "favorites", "url_clicks", "video_starts", "video_views", "unfavorites")
    record(
        northwind,
        [
            Event(made.tweet_id, now - timedelta(minutes=1 + 37 * place), kinds[place % 6], 1000 // (place + 1))
            for place in range(30)
        ]
        + [Event(made.tweet_id, now - timedelta(minutes=5), "favorites", 11, promoted=True)],
    )
    HandleFeed.objects.create(handle=northwind, sequence=7, last_event_at=now, last_received_at=now)
    return made


@pytest.fixture
def reader(client: Client, bob: User) -> Client:
    """Bob's browser: he only looks."""
    client.force_login(bob)
    return client


def embedded(html: str, name: str) -> Any:
    """The JSON that a page carries under this id."""
    found = re.search(rf'<script id="{name}" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def addresses(handle: Handle, tweet: Tweet) -> list[str]:
    """Every page and every piece of data about a handle."""
    names = [("dashboard", [handle.username]), ("live_snapshot", [handle.username])]
    names += [(name, [handle.username, tweet.tweet_id]) for name in ("tweet", "tweet_snapshot")]
    return [reverse(name, args=arguments) for name, arguments in names]


def test_it_shows_strangers_what_it_shows_for_nothing(
    client: Client, charlie: User, northwind: Handle, tweet: Tweet
) -> None:
    client.force_login(charlie)
    for address in addresses(northwind, tweet):
        answer = client.get(address)
        unknown = client.get(address.replace("northwind", "nobody"))
        assert answer.status_code == unknown.status_code == 404
        assert plain(answer.content) == plain(unknown.content).replace("nobody", "northwind")
    for address in ("/", "/search/?q=roast"):
        assert "/h/northwind/" not in client.get(address).content.decode()


def plain(page: bytes) -> str:
    """A page without the form token, which is masked anew each time."""
    return re.sub(r'(csrfmiddlewaretoken" value=)"\w+"', r"\1", page.decode())


def test_it_asks_people_to_sign_in_and_scripts_too(client: Client, northwind: Handle, tweet: Tweet) -> None:
    for address in addresses(northwind, tweet):
        answer = client.get(address)
        if address.endswith(".json"):
            assert answer.status_code == 401
        else:
            assert answer.headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("given", [{}, {"range": "30m"}, {"range": "7d", "compare": "weekdays"}, {"reading": "tweets"}])
def test_it_writes_the_reports_figures(reader: Client, northwind: Handle, tweet: Tweet, given: dict[str, str]) -> None:
    html = reader.get(reverse("dashboard", args=["northwind"]), given).content.decode()
    found = report(parse(given, northwind, datetime.now(UTC)))
    for name in ("impressions", "engagements", "favorites_net", "url_clicks", "video_views"):
        value = figures.count(int(METRICS[name].of(found.totals).sum()))
        tile = html[html.index(f'data-tile="{name}"') :]
        assert re.search(r"data-value>([^<]*)<", tile)[1] == value
    page = embedded(html, "page-data")
    assert page["sequence"] == 7
    assert len(page["counts"]) == len(page["labels"]) == len(page["edges"]) - 1
    shown = [sum(vector[NAMES.index("impressions")] for vector in bucket if vector) for bucket in page["counts"]]
    assert sum(shown) == int(METRICS["impressions"].of(found.totals).sum())


def test_it_says_the_same_as_data(reader: Client, northwind: Handle, tweet: Tweet) -> None:
    for name, arguments in (("dashboard", ["northwind"]), ("tweet", ["northwind", tweet.tweet_id])):
        page = embedded(reader.get(reverse(name, args=arguments)).content.decode(), "page-data")
        twin = {"dashboard": "live_snapshot", "tweet": "tweet_snapshot"}[name]
        data = reader.get(reverse(twin, args=arguments)).json()
        assert data.keys() == page.keys()
        for key in ("sequence", "handle", "counts", "edges", "labels"):
            assert data[key] == page[key]


def test_it_keeps_ids_whole(reader: Client, northwind: Handle, tweet: Tweet) -> None:
    data = reader.get(reverse("live_snapshot", args=["northwind"])).json()
    assert [row["id"] for row in data["tweets"]] == [str(tweet.tweet_id)] == data["shown"]


def test_it_names_the_parameter_that_cannot_be_used(reader: Client, northwind: Handle, tweet: Tweet) -> None:
    for given, field in (({"range": "soon"}, "range"), ({"zone": "Mars"}, "zone"), ({"sort": "luck"}, "sort")):
        answer = reader.get(reverse("dashboard", args=["northwind"]), given)
        assert answer.status_code == 400
        assert f'notice__title">{field}:' in answer.content.decode()
        data = reader.get(reverse("live_snapshot", args=["northwind"]), given)
        assert (data.status_code, data.json()["field"]) == (400, field)
    answer = reader.get(reverse("tweet", args=["northwind", tweet.tweet_id]), {"range": "soon"})
    assert answer.status_code == 400


def test_it_shows_how_to_send_the_first_event(reader: Client, northwind: Handle) -> None:
    html = reader.get(reverse("dashboard", args=["northwind"])).content.decode()
    assert "Nothing has been counted for @northwind yet" in html
    assert CURL in html
    assert "See how to send the first one" in reader.get("/").content.decode()


def test_it_says_what_to_do_without_handles(reader: Client, alice: User) -> None:
    assert "Ask an owner" in reader.get("/").content.decode()
    reader.force_login(alice)
    assert "Add a handle" in reader.get("/").content.decode()


def test_it_tells_a_tweets_story(reader: Client, northwind: Handle, tweet: Tweet) -> None:
    html = reader.get(reverse("tweet", args=["northwind", tweet.tweet_id])).content.decode()
    assert "Winter &lt;roast&gt; &amp; more" in html
    row = html[html.index('data-gained="favorites"') :]
    given, taken, net = (re.search(rf'data-cell="{cell}">([^<]*)<', row)[1] for cell in ("given", "taken", "net"))
    lifetime = embedded(html, "page-data")["lifetime"]
    places = NAMES.index("favorites"), NAMES.index("unfavorites")
    likes, unlikes = (sum(vector[place] for vector in lifetime if vector) for place in places)
    assert (given, taken, net) == (figures.count(likes), figures.count(-unlikes), figures.count(likes - unlikes))
    for span in ("1h", "24h", "7d"):
        answer = reader.get(reverse("tweet", args=["northwind", tweet.tweet_id]), {"range": span})
        assert answer.status_code == 200


def test_it_knows_no_tweet_beyond_64_bits(reader: Client, northwind: Handle) -> None:
    for number in (1, 2**63, 10**30):
        assert reader.get(reverse("tweet", args=["northwind", number])).status_code == 404


def test_it_finds_handles_and_tweets(reader: Client, northwind: Handle, tweet: Tweet) -> None:
    for text in ("roast", str(tweet.tweet_id), "@northw"):
        assert "/h/northwind/" in reader.get("/search/", {"q": text}).content.decode()
    part = reader.get("/search/", {"q": "zebra"}, headers={"HX-Request": "true"}).content.decode()
    assert "Nothing matches" in part
    assert "<html" not in part


def test_it_offers_files_that_answer(reader: Client, northwind: Handle, tweet: Tweet) -> None:
    for page in (path for path in addresses(northwind, tweet) if not path.endswith(".json")):
        html = reader.get(page, {"range": "24h"}).content.decode()
        files = {unescape(link) for link in re.findall(r'href="([^"]+\.csv[^"]*)"', html)}
        assert len(files) >= 2
        for file in files:
            answer = reader.get(file)
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")


def test_it_carries_nothing_that_the_policy_forbids(reader: Client, northwind: Handle, tweet: Tweet) -> None:
    pages = ["/", "/search/", *[path for path in addresses(northwind, tweet) if not path.endswith(".json")]]
    for page in pages:
        html = reader.get(page).content.decode()
        for script in re.findall(r"<script[^>]*>", html):
            assert "src=" in script or 'type="application/json"' in script
        assert not re.search(r"\son\w+=|\sstyle=|<style", html)
