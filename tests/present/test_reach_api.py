"""People in the JSON API: whose, how many, how sure; and nothing to those who may not see it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from accounts.credentials import issue_token
from accounts.models import Handle, Scope, User
from metrics.models import Audience, PersonEpoch, ReportedReach, Tweet
from metrics.present import callers
from tests.aggregate.events import NOW, Event
from tests.crowds import SEEN, crowd, happen, tweet_of
from tests.present.test_api import answer_fits, ask, schema

pytestmark = pytest.mark.django_db
REACH, OVERLAP, GROWTH = "/api/v1/reach", "/api/v1/overlap", "/api/v1/growth"
WEEKS = "/api/v1/handles/northwind/weeks"


@pytest.fixture(autouse=True)
def nothing_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with an empty cache of token checks."""
    monkeypatch.setattr(callers, "_credentials", callers.CredentialCache())


@pytest.fixture
def tweets(northwind: Handle) -> list[Tweet]:
    """Two Tweets of the spring campaign and one of the tea campaign: people 1 to 4, 3 to 6, and 9."""
    happen(northwind, *crowd(0, range(1, 5), liked=[1]), *crowd(1, range(3, 7), unnamed=12), *crowd(2, [9]))
    return [tweet_of(northwind, 0, "spring"), tweet_of(northwind, 1, "spring", "tea"), tweet_of(northwind, 2, "tea")]


def exact(people: int) -> dict[str, Any]:
    return {"basis": "exact", "people": people, "low": people, "high": people}


def test_it_counts_each_person_of_any_set_once(client: Client, read_token: str, tweets: list[Tweet]) -> None:
    ids = [str(tweet.tweet_id) for tweet in tweets]
    answer = ask(client, read_token, REACH, tweet=ids[:2]).json()
    assert answer.pop("as_of")
    assert answer == {
        "seen": exact(6),
        "engaged": exact(1),
        "frequency": 1.333333,
        "coverage": 0.4,
        "period": None,
        "widened": False,
        "key_changes": [],
        "tweets": 2,
        "handles": 0,
        "impressions": 20,
        "named_impressions": 8,
        "engagements": 1,
    }
    for given, people, impressions in (
        ({"tag": "spring"}, 6, 20),
        ({"tag": ["spring", "tea"]}, 7, 21),
        ({"tag": "tea", "tweet": ids[0]}, 7, 21),
        ({"handle": "@northwind"}, 7, 21),
        ({"handle": "northwind", "tag": "spring", "tweet": ids[0]}, 7, 21),
    ):
        answer = ask(client, read_token, REACH, **given).json()
        assert (answer["seen"]["people"], answer["impressions"]) == (people, impressions)


def test_it_tells_the_period_that_it_counted(client: Client, read_token: str, tweets: list[Tweet]) -> None:
    tweet = str(tweets[0].tweet_id)
    since = NOW - timedelta(hours=2, minutes=NOW.minute - 7)
    answer = ask(client, read_token, REACH, tweet=tweet, since=since.isoformat()).json()
    assert answer["widened"] is True
    assert answer["period"]["since"] == since.replace(minute=0).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert answer["seen"] == exact(4)
    before = {"since": (NOW - timedelta(days=3)).isoformat(), "until": (NOW - timedelta(days=2)).isoformat()}
    assert ask(client, read_token, REACH, tweet=tweet, **before).json()["seen"] == exact(0)


def test_it_never_takes_silence_for_nobody(client: Client, read_token: str, northwind: Handle) -> None:
    happen(northwind, *crowd(0, [], unnamed=70), *crowd(1, [1, 2]), *crowd(2, [], unnamed=5))
    silent, heard, told = (str(tweet_of(northwind, number, "spring").tweet_id) for number in range(3))
    ReportedReach.objects.create(
        handle=northwind, tweet_id=told, audience=Audience.SEEN, source_id=1, people=4, as_of=timezone.now()
    )
    unknown = {"basis": "unreported", "people": None, "low": None, "high": None}
    assert ask(client, read_token, REACH, tweet=silent).json()["seen"] == unknown
    reported = {"basis": "reported", "people": 4, "low": 4, "high": 4}
    assert ask(client, read_token, REACH, tweet=told).json()["seen"] == reported
    compared = ask(client, read_token, OVERLAP, tweet=[silent, heard, told]).json()
    assert [one["reach"] for one in compared["sets"]] == [unknown, exact(2), reported]
    assert all(pair["shared"] == unknown | {"told": False} for pair in compared["pairs"])
    steps = ask(client, read_token, GROWTH, tag="spring").json()["steps"]
    assert [step["total"] for step in steps] == [unknown, exact(2), exact(2)]
    assert [step["new"]["told"] for step in steps] == [False, True, False]


def test_it_tells_who_is_shared(client: Client, read_token: str, tweets: list[Tweet]) -> None:
    ids = [str(tweet.tweet_id) for tweet in tweets]
    answer = ask(client, read_token, OVERLAP, tweet=ids).json()
    assert answer["sets"] == [
        {"name": name, "reach": exact(people)} for name, people in zip(ids, (4, 4, 1), strict=True)
    ]
    assert {tuple(pair["of"]): pair["shared"]["people"] for pair in answer["pairs"]} == {
        (ids[0], ids[1]): 2,
        (ids[0], ids[2]): 0,
        (ids[1], ids[2]): 0,
    }
    assert answer["combinations"][2] == {"of": ids[:2], "people": exact(2) | {"told": True}}
    assert answer["is_partial"] is False
    tagged = ask(client, read_token, OVERLAP, tag=["spring", "tea"]).json()
    assert tagged["pairs"] == [{"of": ["spring", "tea"], "shared": exact(4) | {"told": True}}]
    engaged = ask(client, read_token, OVERLAP, tag=["spring", "tea"], audience="engaged").json()
    assert [one["reach"]["people"] for one in engaged["sets"]] == [1, 0]


def test_it_tells_no_number_that_is_too_small(client: Client, read_token: str, northwind: Handle) -> None:
    large, small = range(1, 9_000), [1, 2, *range(20_000, 28_000)]
    happen(northwind, *(Event(person, 0, SEEN, 300, person=person * 2_654_435_761 % 2**61) for person in large))
    happen(northwind, *(Event(10**5 + p, 1, SEEN, 300, person=p * 2_654_435_761 % 2**61) for p in small))
    ids = [str(tweet_of(northwind, number).tweet_id) for number in range(2)]
    (pair,) = ask(client, read_token, OVERLAP, tweet=ids).json()["pairs"]
    shared = pair["shared"]
    assert (shared["told"], shared["people"], shared["basis"]) == (False, None, "estimated")
    assert shared["low"] <= 2 <= shared["high"]


def test_it_tells_what_each_tweet_added(client: Client, read_token: str, tweets: list[Tweet]) -> None:
    PersonEpoch.objects.create(number=1, fingerprint="newer", began_at=NOW)
    answer = ask(client, read_token, GROWTH, tag="spring").json()
    assert [step["id"] for step in answer["steps"]] == [str(tweet.tweet_id) for tweet in tweets[:2]]
    assert [(step["reach"], step["new"]["people"], step["total"]["people"]) for step in answer["steps"]] == [
        (exact(4), 4, 4),
        (exact(4), 2, 6),
    ]
    assert len(answer["key_changes"]) == 1


def test_it_tells_of_a_handles_weeks(client: Client, read_token: str, tweets: list[Tweet]) -> None:
    weeks = ask(client, read_token, WEEKS, number=2).json()["weeks"]
    assert len(weeks) == 2
    assert sum(week["reach"]["people"] for week in weeks) == 7
    assert {week["new"]["people"] for week in weeks} == {0, 7}


def test_it_tells_that_a_week_named_nobody(client: Client, read_token: str, northwind: Handle) -> None:
    happen(northwind, *crowd(0, [], unnamed=70))
    weeks = ask(client, read_token, WEEKS, number=2).json()["weeks"]
    assert {week["reach"]["basis"]: (week["new"] is None, week["returning"] is None) for week in weeks} == {
        "exact": (False, False),
        "unreported": (True, True),
    }


@pytest.mark.parametrize("path", [REACH, OVERLAP, GROWTH, WEEKS])
def test_it_answers_no_stranger(client: Client, northwind: Handle, ingest_token: str, path: str) -> None:
    assert client.get(path).status_code == 401
    refused = ask(client, ingest_token, path, tag="spring")
    assert (refused.status_code, refused.json()["error"]) == (403, "wrong_scope")


def test_it_answers_alike_for_what_is_foreign_and_what_is_not_there(
    client: Client, bob: User, charlie: User, acme: Handle, tweets: list[Tweet]
) -> None:
    secret = issue_token(acme.team, "acme", [Scope.READ], [acme])[1]
    mine = str(tweet_of(acme, 0, "acme").tweet_id)
    ids = [str(tweet.tweet_id) for tweet in tweets]
    foreign_and_unknown = [
        [(REACH, {"tweet": [mine, ids[1]]}), (REACH, {"tweet": [mine, "20"]}), (REACH, {"tweet": "9" * 19})],
        [(OVERLAP, {"tweet": [mine, ids[1]]}), (OVERLAP, {"tweet": [mine, "20"]})],
        [(REACH, {"tag": "spring"}), (REACH, {"tag": "none"}), (REACH, {"tag": "a\x00"})],
        [(OVERLAP, {"tag": ["acme", "spring"]}), (OVERLAP, {"tag": ["acme", "none"]})],
        [(GROWTH, {"tag": "spring"}), (GROWTH, {"tag": "none"})],
        [(REACH, {"handle": "northwind"}), (REACH, {"handle": "nobody"}), (REACH, {"handle": "a\x00"})],
        [(WEEKS, {}), ("/api/v1/handles/nobody/weeks", {})],
    ]
    for alike in foreign_and_unknown:
        answers = [ask(client, secret, path, **given) for path, given in alike]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
    client.force_login(charlie)
    assert client.get(REACH, {"tag": "spring"}).status_code == 404
    client.force_login(bob)
    assert client.get(REACH, {"tag": "spring"}).json()["seen"] == exact(6)


@pytest.mark.parametrize(
    ("path", "given", "field"),
    [
        (REACH, {}, "tweet"),
        (REACH, {"tweet": "x"}, "tweet"),
        (REACH, {"tweet": ""}, "tweet"),
        (REACH, {"tweet": [str(number) for number in range(501)]}, "tweet"),
        (REACH, {"tag": " "}, "tag"),
        (REACH, {"tag": [str(number) for number in range(13)]}, "tag"),
        (REACH, {"handle": ""}, "handle"),
        (REACH, {"tag": "spring", "since": "x"}, "since"),
        (REACH, {"tag": "spring", "since": ""}, "since"),
        (REACH, {"tag": "spring", "until": "2026-04-01"}, "since"),
        (REACH, {"tag": "spring", "since": "2026-04-01", "until": "2026-03-01"}, "until"),
        (REACH, {"tag": "spring", "zone": "x"}, "zone"),
        (OVERLAP, {}, "tweet"),
        (OVERLAP, {"tweet": "20"}, "tweet"),
        (OVERLAP, {"tweet": ["20", "20"]}, "tweet"),
        (OVERLAP, {"tweet": [str(number) for number in range(13)]}, "tweet"),
        (OVERLAP, {"tag": "spring"}, "tag"),
        (OVERLAP, {"tag": "spring", "tweet": "20"}, "tag"),
        (OVERLAP, {"tag": ["spring", "tea"], "audience": "x"}, "audience"),
        (GROWTH, {}, "tag"),
        (GROWTH, {"tag": ""}, "tag"),
        (WEEKS, {"number": "0"}, "number"),
        (WEEKS, {"number": "53"}, "number"),
    ],
)
def test_it_names_the_parameter_at_fault(
    client: Client, read_token: str, tweets: list[Tweet], path: str, given: dict[str, Any], field: str
) -> None:
    response = ask(client, read_token, path, **given)
    assert response.status_code == 422
    problem = response.json()
    assert (problem["error"], problem["field"]) == ("bad_parameter", field)
    assert problem["detail"].startswith(f"{field}: ")


def test_it_gives_the_reach_of_what_is_listed(
    client: Client, read_token: str, tweets: list[Tweet], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    report = ask(client, read_token, "/api/v1/handles/northwind/report", range="7d").json()["reach"]
    assert (report["seen"], report["engaged"]) == (exact(7), exact(1))
    assert report["period"]["since"]
    life = ask(client, read_token, "/api/v1/handles/northwind/report", range="7d", reading="tweets").json()["reach"]
    assert (life["seen"], life["period"]) == (exact(7), None)
    path = f"/api/v1/tweets/{tweets[1].tweet_id}/series"
    assert ask(client, read_token, path).json()["reach"]["coverage"] == 0.25
    asked = {"range": "7d", "sort": "created_at", "order": "asc"}
    ask(client, read_token, "/api/v1/handles/northwind/tweets", limit=1, **asked)
    with django_assert_max_num_queries(22) as queries:
        listed = ask(client, read_token, "/api/v1/handles/northwind/tweets", **asked).json()["tweets"]
    assert [each["reach"]["seen"] for each in listed] == [exact(4), exact(4), exact(1)]
    assert sum("reachsketch" in query["sql"] or "reportedreach" in query["sql"] for query in queries) <= 3


def test_it_answers_as_its_schema_says(client: Client, read_token: str, tweets: list[Tweet]) -> None:
    document = schema(client)
    asked = {
        "read_reach": (REACH, {"tag": "spring", "since": "2026-01-01"}),
        "read_overlap": (OVERLAP, {"tag": ["spring", "tea"]}),
        "read_growth": (GROWTH, {"tag": "spring"}),
        "read_weeks": (WEEKS, {}),
    }
    for operation, (path, given) in asked.items():
        for secret, status in ((read_token, 200), ("bad", 401)):
            response = ask(client, secret, path, **given)
            assert response.status_code == status
            answer_fits(document, operation, status, response.json())
