"""What pages say about people: reach with how sure it is, where it is not known, and who may look."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from html import unescape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from metrics.aggregate import reach, rollups
from metrics.models import Audience, PersonEpoch, ReportedReach, StreamCursor
from metrics.vocabulary.engagements import CODE
from metrics.vocabulary.periods import DAY, HOUR, floor
from tests.aggregate.events import NOW, Event, entries
from tests.ledger import a_tweet

if TYPE_CHECKING:
    from accounts.models import Handle, User
    from metrics.models import Tweet

SEEN, LIKED = 0, CODE["favorites"]
BOUNDS = ("", "_low", "_high")
pytestmark = pytest.mark.django_db


def happen(handle: Handle, *events: Event) -> None:
    """Let the events be counted, and their people kept."""
    StreamCursor.objects.get_or_create(shard=0)
    batch = entries(handle.pk, [list(events)])
    rollups.apply(0, batch)
    reach.keep(0, batch)


@pytest.fixture
def tweet(northwind: Handle) -> Tweet:
    """A Tweet of four days ago."""
    return a_tweet(northwind, NOW - 4 * DAY, "Winter roast")


@pytest.fixture
def known(northwind: Handle, tweet: Tweet) -> None:
    """Two people saw it, one of them three times, and one liked it; seven impressions name nobody."""
    happen(
        northwind,
        Event(1, 0, SEEN, 600, person=1),
        Event(2, 0, SEEN, 500, 2, person=1),
        Event(3, 0, SEEN, 400, person=2),
        Event(4, 0, SEEN, 300, 7),
        Event(5, 0, LIKED, 200, person=2),
    )


def as_(user: User) -> Client:
    """A browser signed in as this person."""
    client = Client()
    client.force_login(user)
    return client


def html(client: Client, name: str, *arguments: object, **asked: str) -> str:
    """A page, as text."""
    answer = client.get(reverse(name, args=arguments), asked)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def figure(page: str, name: str) -> tuple[str, str]:
    """A figure about people and what stands below it."""
    found = re.search(rf'data-people="{name}">([^<]*)</span><span class="people__note">([^<]*)<', page)
    assert found
    return found[1], found[2]


def words(page: str) -> str:
    """What the page says has to be known about them."""
    found = re.search(r'id="people-words"[^>]*>([^<]*)<', page)
    assert found
    return found[1]


def views(handle: Handle, tweet: Tweet) -> list[tuple[str, list[object]]]:
    """Everything that tells about people."""
    return [
        ("people_now", [handle.username]),
        ("tweet_people_now", [handle.username, tweet.tweet_id]),
        ("tweet_reach_now", [handle.username, tweet.tweet_id]),
        ("audience", [handle.username]),
        ("export_audience", [handle.username]),
    ]


def test_it_shows_people_to_the_team_alone(
    alice: User, bob: User, charlie: User, northwind: Handle, tweet: Tweet
) -> None:
    for name, arguments in views(northwind, tweet):
        address = reverse(name, args=arguments)
        for user, status in ((alice, 200), (bob, 200), (charlie, 404)):
            assert as_(user).get(address).status_code == status, (name, user)
        answer = Client().get(address)
        assert answer.status_code == 302 or answer.headers["HX-Refresh"] == "true", name
        assert not answer.content, name


def test_it_tells_people_on_every_page(bob: User, northwind: Handle, tweet: Tweet, known: None) -> None:
    client = as_(bob)
    own = (northwind.username, tweet.tweet_id)
    for page in (
        html(client, "dashboard", northwind.username, range="24h"),
        html(client, "people_now", northwind.username, range="24h"),
        html(client, "dashboard", northwind.username, range="7d", reading="tweets"),
        html(client, "tweet", *own),
        html(client, "tweet_people_now", *own),
    ):
        assert figure(page, "reach") == ("2", "exact")
        assert figure(page, "frequency") == ("2.00×", "impressions for each person")
        assert figure(page, "engaged") == ("1", "exact")
        assert figure(page, "coverage") == ("36.4\u202f%", "4 of 11 impressions name a person")
        assert "name nobody" in words(page)


def test_it_never_shows_silence_as_nobody(bob: User, northwind: Handle, tweet: Tweet) -> None:
    happen(northwind, Event(1, 0, SEEN, 60, 70), Event(2, 0, LIKED, 60))
    for page in (
        html(as_(bob), "dashboard", northwind.username),
        html(as_(bob), "tweet", northwind.username, tweet.tweet_id),
    ):
        assert figure(page, "reach") == figure(page, "engaged") == ("not reported", "by this source")
        assert figure(page, "frequency") == ("–", "not known: nobody is named")
        assert figure(page, "coverage") == ("0\u202f%", "0 of 70 impressions name a person")


def test_it_marks_what_others_report(bob: User, northwind: Handle, tweet: Tweet) -> None:
    happen(northwind, Event(1, 0, SEEN, 60, 70))
    ReportedReach.objects.create(
        handle=northwind, tweet_id=tweet.tweet_id, audience=Audience.SEEN, source_id=1, people=40, as_of=NOW
    )
    page = html(as_(bob), "tweet", northwind.username, tweet.tweet_id)
    assert figure(page, "reach") == ("40", "as the source reports it")
    assert figure(page, "frequency")[0] == "–"


def test_it_says_where_a_new_key_began(bob: User, northwind: Handle, tweet: Tweet) -> None:
    for number in (0, 1):
        PersonEpoch.objects.create(number=number, fingerprint=str(number), began_at=NOW - DAY * (1 - number))
    happen(northwind, *(Event(n, 0, SEEN, 60, person=n) for n in (1, 2, 3)), Event(9, 0, SEEN, 9, person=1, epoch=1))
    page = html(as_(bob), "tweet", northwind.username, tweet.tweet_id)
    assert figure(page, "reach") == ("3–4", "true bounds: these people cannot be matched")
    assert figure(page, "frequency") == ("–", "not known: only bounds of reach are")
    assert f"A new key began on {NOW.astimezone(northwind.zone).day} " in words(page)


def test_it_says_that_a_period_was_widened(bob: User, northwind: Handle, tweet: Tweet, known: None) -> None:
    old = f"{NOW - 20 * DAY:%Y-%m-%d}"
    page = html(as_(bob), "people_now", northwind.username, since=f"{old}T01:30", until=f"{old}T02:30")
    assert words(page).startswith("People are kept by hour for a week and by UTC day before: these figures are of")


def test_it_keeps_telling_people_beside_a_parameter_that_cannot_be_used(
    bob: User, northwind: Handle, tweet: Tweet, known: None
) -> None:
    for name, arguments in views(northwind, tweet)[:2]:
        assert figure(html(as_(bob), name, *arguments, range="soon"), "reach")[0] == "2"


def test_it_knows_no_people_of_an_unknown_tweet(bob: User, northwind: Handle) -> None:
    for number in (1, 2**63, 10**30):
        assert as_(bob).get(reverse("tweet_people_now", args=["northwind", number])).status_code == 404


# --- over time ----------------------------------------------------------------------------------------------


def told(page: str, name: str) -> Any:
    """The JSON that a page carries under this id."""
    found = re.search(rf'<script id="{name}" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_it_draws_how_a_tweet_reached_people(bob: User, northwind: Handle, tweet: Tweet) -> None:
    happen(northwind, *(Event(hours, 0, SEEN, hours * 3600, person=hours % 2 + 1) for hours in (1, 2, 3)))
    assert "Known at the end of each hour." in html(as_(bob), "tweet", northwind.username, tweet.tweet_id)
    for name in ("tweet", "tweet_reach_now"):
        curve = told(html(as_(bob), name, northwind.username, tweet.tweet_id), "reach-curve")
        (line,) = curve["figure"]["data"]  # exact: no band
        assert line["y"] == [0, 0, 1, 2, 2, 2]  # nobody came before the first hour, or after the third
        assert line["x"] == sorted(line["x"])
        assert [reading["rows"][0]["now"] for reading in curve["readings"]] == ["0", "0", "1", "2", "2", "2"]
        assert all(0 <= reading["share"] <= 1 for reading in curve["readings"])


def test_it_keeps_the_curve_level_where_nobody_came(bob: User, northwind: Handle, tweet: Tweet) -> None:
    happen(northwind, *(Event(hours, 0, SEEN, hours * 3600, person=hours) for hours in (9, 2)))
    curve = told(html(as_(bob), "tweet", northwind.username, tweet.tweet_id), "reach-curve")
    (line,) = curve["figure"]["data"]
    assert line["y"] == [0, 0, 1, 1, 2, 2]
    hours = [round((later - earlier) / 3_600_000) for earlier, later in pairwise(line["x"])]
    assert hours[1:-1] == [1, 6, 1]


def test_it_shades_what_is_estimated(bob: User, northwind: Handle, tweet: Tweet) -> None:
    happen(northwind, *(Event(n, 0, SEEN, 3600, person=n + 1) for n in range(6000)))
    page = html(as_(bob), "tweet", northwind.username, tweet.tweet_id)
    low, high, line = told(page, "reach-curve")["figure"]["data"]
    assert low["y"][-1] < line["y"][-1] < high["y"][-1]
    assert (low["y"][0], high["y"][0], high["fill"]) == (0, 0, "tonexty")
    assert figure(page, "reach")[1].endswith("(95\u202f%)")


def test_it_begins_the_curve_anew_with_a_new_key(bob: User, northwind: Handle, tweet: Tweet) -> None:
    for number in (0, 1):
        PersonEpoch.objects.create(number=number, fingerprint=str(number), began_at=NOW - DAY * (1 - number) - HOUR)
    happen(
        northwind,
        Event(1, 0, SEEN, 5 * 3600, person=1),
        Event(2, 0, SEEN, 4 * 3600, person=2),
        Event(3, 0, SEEN, 0, person=1, epoch=1),
    )
    page = html(as_(bob), "tweet", northwind.username, tweet.tweet_id)
    assert [line["y"] for line in told(page, "reach-curve")["figure"]["data"]] == [[0, 0, 1, 2], [1]]
    assert "The line begins anew there." in page


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ((), "Nobody is known to have seen this Tweet yet"),
        ((Event(1, 0, SEEN, 60, 70),), "No source named the people who saw this Tweet"),
    ],
)
def test_it_says_why_there_is_no_curve(
    bob: User, northwind: Handle, tweet: Tweet, seen: tuple[Event, ...], why: str
) -> None:
    if seen:
        happen(northwind, *seen)
    page = html(as_(bob), "tweet", northwind.username, tweet.tweet_id)
    assert why in page
    assert told(page, "reach-curve") is None


def test_it_draws_no_curve_of_less_than_an_hour(bob: User, northwind: Handle) -> None:
    young = a_tweet(northwind, NOW - 2 * DAY, "Young", 1)
    happen(northwind, Event(1, 0, SEEN, 60, person=1))
    page = html(as_(bob), "tweet", northwind.username, young.tweet_id, range="1h")
    assert told(page, "reach-curve") is None


# --- the Audience page --------------------------------------------------------------------------------------


def monday() -> datetime:
    """When this week began (UTC)."""
    today = floor(NOW, DAY)
    return today - today.weekday() * DAY


def ago(instant: datetime) -> int:
    """The same in seconds before now."""
    return int((NOW - instant).total_seconds())


@pytest.fixture
def weeks(northwind: Handle) -> None:
    """Two people of last week, of whom one came back this week beside a new one; both Tweets share one."""
    tweets = [a_tweet(northwind, NOW - 4 * DAY, text, number) for number, text in enumerate(("First", "Second"))]
    assert [tweet.tweet_id for tweet in tweets] == [Event(0, number, 0, 0).tweet_id for number in (0, 1)]
    happen(
        northwind,
        Event(1, 0, SEEN, ago(monday() - DAY), person=1),
        Event(2, 0, SEEN, ago(monday() - DAY), person=2),
        Event(3, 1, SEEN, 0, person=2),
        Event(4, 1, SEEN, 0, person=3),
    )


def test_it_tells_who_came_back(bob: User, northwind: Handle, weeks: None) -> None:
    page = html(as_(bob), "audience", northwind.username)
    assert figure(page, "reach") == ("3", "exact")
    figures = told(page, "figures")
    assert figures["weekly"]["data"][0]["y"][-2:] == [2, 2]
    returning, new = (bars["y"][-2:] for bars in figures["comers"]["data"])
    assert (returning, new) == ([0, 1], [2, 1])
    readings = told(page, "readings")["comers"]
    assert [row["now"] for row in readings[-1]["rows"]] == ["1", "1"]
    assert "still running" in readings[-1]["title"]
    assert f"{monday():%a} {monday().day} {monday():%b %Y}" in page


def test_it_tells_what_the_top_tweets_share(bob: User, northwind: Handle, weeks: None) -> None:
    page = html(as_(bob), "audience", northwind.username)
    heat = page[page.index("heat__table") :]
    assert "First" in heat
    assert "Second" in heat
    assert re.search(r'heat--5"><span class="num">1</span>', heat)  # one of two people


def test_it_gives_the_weeks_as_a_file(bob: User, northwind: Handle, weeks: None) -> None:
    answer = as_(bob).get(reverse("export_audience", args=["northwind"]))
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert len(rows) == 12
    assert rows[-1] == {
        "since": monday().isoformat(),
        "until": (monday() + 7 * DAY).isoformat(),
        "unfinished": "1",
        "basis": "exact",
        **{
            f"{name}{bound}": number
            for name, number in (("reach", "2"), ("new", "1"), ("returning", "1"))
            for bound in BOUNDS
        },
    }


def test_it_leaves_out_what_nobody_named(bob: User, northwind: Handle) -> None:
    happen(northwind, Event(1, 0, SEEN, 0, 70))
    client = as_(bob)
    assert "No source named anybody yet" in html(client, "audience", northwind.username)
    answer = client.get(reverse("export_audience", args=["northwind"]))
    last = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))[-1]
    assert (last["reach"], last["basis"], last["new"]) == ("", "unreported", "")


def test_it_says_what_will_be_here(bob: User, northwind: Handle) -> None:
    page = html(as_(bob), "audience", northwind.username)
    assert "Nobody was reached yet" in page
    assert figure(page, "reach") == ("0", "exact")


def test_it_says_where_weeks_cannot_be_compared(bob: User, northwind: Handle) -> None:
    for number in (0, 1):
        PersonEpoch.objects.create(number=number, fingerprint=str(number), began_at=monday() - DAY * 3 * (1 - number))
    last_week = ago(monday() - DAY)
    happen(
        northwind,
        Event(1, 9, SEEN, last_week, person=1),
        Event(2, 9, SEEN, 0, person=1, epoch=1),
        Event(3, 9, SEEN, 0, person=2),
    )
    page = html(as_(bob), "audience", northwind.username)
    began = (
        f"A new key began on {monday().day} {monday():%B %Y}, 00:00: people from before and after it cannot be matched."
    )
    assert f"{began} So nothing is said of the weeks around it." in page
    assert "cannot be told: a new key began" in page
    bars, intervals = told(page, "figures")["weekly"]["data"]
    assert (bars["y"][-1], intervals["x"], intervals["error_y"]["array"]) == (1, [11], [1])  # one or two people


def test_it_links_the_audience_page(bob: User, northwind: Handle, tweet: Tweet, known: None) -> None:
    assert reverse("audience", args=["northwind"]) in html(as_(bob), "dashboard", northwind.username)
