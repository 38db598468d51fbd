"""What pages say about people: reach with how sure it is, where it is not known, and who may look."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from metrics.aggregate import reach, rollups
from metrics.models import Audience, PersonEpoch, ReportedReach, StreamCursor
from metrics.vocabulary.engagements import CODE
from metrics.vocabulary.periods import DAY
from tests.aggregate.events import NOW, Event, entries
from tests.ledger import a_tweet

if TYPE_CHECKING:
    from accounts.models import Handle, User
    from metrics.models import Tweet

SEEN, LIKED = 0, CODE["favorites"]
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
        assert figure(page, "frequency") == ("–", "not known without reach")
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
