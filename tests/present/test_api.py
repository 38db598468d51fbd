from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from channels import db
from django.test import Client

from accounts.credentials import issue_token
from accounts.models import Handle, Scope
from metrics.ingest.validation import Reason
from metrics.present import callers, reach_answers
from metrics.present.answers import ReportParams, SeriesParams, TweetsParams
from metrics.query.params import MAX_BUCKETS
from metrics.vocabulary.engagements import METRICS
from metrics.vocabulary.periods import MINUTE, floor
from tests.ingest.asking import ask as knock
from tests.ingest.asking import authorization
from tests.ledger import Event, a_tweet, record
from tests.query.strategies import NOW

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

    from accounts.models import User

pytestmark = pytest.mark.django_db
PATHS = ("/api/v1/handles/northwind/report", "/api/v1/handles/northwind/tweets")


@pytest.fixture(autouse=True)
def nothing_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with an empty cache of token checks."""
    monkeypatch.setattr(callers, "_credentials", callers.CredentialCache())


def ask(client: Client, secret: str, path: str, **given: str | int | list[str]) -> Response:
    return client.get(path, given, headers={"Authorization": f"Bearer {secret}"})


def test_it_lists_the_handles_that_the_token_covers(client: Client, read_token: str, acme: Handle) -> None:
    assert ask(client, read_token, "/api/v1/handles").json() == {
        "handles": [
            {
                "username": "northwind",
                "display_name": "Northwind Coffee",
                "platform": "x",
                "time_zone": "Europe/Copenhagen",
                "colour": "#0b6e69",
            }
        ]
    }


def test_it_lists_the_handles_of_whoever_is_signed_in(
    client: Client, bob: User, charlie: User, northwind: Handle, acme: Handle
) -> None:
    for person, names in ((bob, ["northwind"]), (charlie, ["acme"])):
        client.force_login(person)
        assert [each["username"] for each in client.get("/api/v1/handles").json()["handles"]] == names


@pytest.mark.parametrize("path", ["/api/v1/handles", *PATHS, "/api/v1/tweets/20/series"])
def test_it_answers_no_stranger(client: Client, northwind: Handle, ingest_token: str, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 401
    assert response.json()["error"] == "no_token"
    assert response["WWW-Authenticate"].startswith("Bearer")
    for header in ("Bearer", "Bearer it_00000000_x", "Basic abc", "Bearer \x80"):
        refused = client.get(path, headers={"Authorization": header})
        assert (refused.status_code, refused.json()["error"]) == (401, "bad_token")
    refused = ask(client, ingest_token, path)
    assert (refused.status_code, refused.json()["error"]) == (403, "wrong_scope")


def test_it_refuses_a_bad_token_even_from_somebody_signed_in(client: Client, alice: User, northwind: Handle) -> None:
    client.force_login(alice)
    assert ask(client, "it_revoked", PATHS[0]).status_code == 401


def test_it_answers_alike_for_a_foreign_and_an_unknown_handle(
    client: Client, charlie: User, northwind: Handle, acme: Handle
) -> None:
    tweet = a_tweet(northwind, NOW)
    secret = issue_token(acme.team, "acme", [Scope.READ], [acme])[1]
    for what in ("report", "tweets"):
        answers = [ask(client, secret, f"/api/v1/handles/{name}/{what}") for name in ("northwind", "nobody", "a%00b")]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
    answers = [ask(client, secret, f"/api/v1/tweets/{number}/series") for number in (tweet.tweet_id, 20, "9" * 19)]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    client.force_login(charlie)
    assert client.get(PATHS[0]).status_code == 404


def test_it_reports_a_period(client: Client, read_token: str, northwind: Handle) -> None:
    tweet = a_tweet(northwind, NOW - timedelta(days=1))
    events = [Event(tweet.tweet_id, NOW, "favorites", 7), Event(tweet.tweet_id, NOW, "favorites", 3, promoted=True)]
    events += [Event(tweet.tweet_id, NOW, "impressions", 100), Event(tweet.tweet_id, NOW, "unfavorites", 4)]
    events += [Event(tweet.tweet_id, NOW - timedelta(days=1), "favorites", 5)]
    record(northwind, events)
    answer = ask(client, read_token, PATHS[0], since="2026-04-08", until="2026-04-09", grain="hour").json()
    assert answer["handle"] == "northwind"
    assert answer["period"] == {"since": "2026-04-08T00:00:00+02:00", "until": "2026-04-09T00:00:00+02:00"}
    assert answer["comparison"]["since"] == "2026-04-07T00:00:00+02:00"
    assert set(answer["metrics"]) == set(METRICS)
    assert answer["metrics"]["favorites"] == {"value": 10, "previous": 5, "change": 1.0}
    assert answer["metrics"]["favorites_net"]["value"] == 6
    assert answer["engagement_rate"] == 0.1
    likes = next(row for row in answer["types"] if row["type"] == "favorites")
    assert likes == {
        "type": "favorites",
        "label": "Likes",
        "organic": 7,
        "promoted": 3,
        "gained": 10,
        "lost": 4,
        "net": 6,
    }
    assert len(answer["series"]["starts"]) == 24
    assert answer["series"]["metrics"]["favorites"][12] == 10
    assert answer["series"]["promoted"]["favorites"][12] == 3


def test_it_says_when_it_widened_a_period(client: Client, read_token: str) -> None:
    answer = ask(client, read_token, PATHS[0], since="2026-04-01T10:20Z", until="2026-04-03T10:40Z").json()
    assert answer["widened"] is True
    assert answer["period"]["since"] == "2026-04-01T12:00:00+02:00"


def test_it_pages_through_tweets(client: Client, read_token: str, northwind: Handle) -> None:
    tweets = [a_tweet(northwind, NOW - timedelta(hours=place), number=place) for place in range(5)]
    record(northwind, [Event(tweet.tweet_id, NOW, count=place + 1) for place, tweet in enumerate(tweets)])
    asked = {"since": "2026-04-08", "until": "2026-04-09", "sort": "engagements"}
    found, offset = [], 0
    while offset is not None:
        answer = ask(client, read_token, PATHS[1], limit=2, offset=offset, **asked).json()
        found += answer["tweets"]
        offset = answer["next_offset"]
    assert [each["id"] for each in found] == [str(tweet.tweet_id) for tweet in reversed(tweets)]
    assert [each["totals"]["engagements"] for each in found] == [5, 4, 3, 2, 1]
    upwards = ask(client, read_token, PATHS[1], order="asc", **asked).json()["tweets"]
    assert [each["id"] for each in upwards] == [str(tweet.tweet_id) for tweet in tweets]


def test_it_gives_a_tweets_series_by_minute(client: Client, read_token: str, northwind: Handle) -> None:
    created = floor(datetime.now(UTC), MINUTE) - timedelta(days=6)
    tweet = a_tweet(northwind, created)
    at = [0, 0, 3, 90, 5000]
    record(northwind, [Event(tweet.tweet_id, created + minute * MINUTE, "retweets") for minute in at])
    answer = ask(client, read_token, f"/api/v1/tweets/{tweet.tweet_id}/series", grain="minute").json()
    assert answer["tweet"]["id"] == str(tweet.tweet_id)
    starts = [datetime.fromisoformat(start) for start in answer["series"]["starts"]]
    assert len(starts) > MAX_BUCKETS
    seen = {
        (start - created) // MINUTE: step
        for start, step in zip(starts, answer["series"]["metrics"]["retweets"], strict=True)
        if step
    }
    assert seen == {0: 2, 3: 1, 90: 1, 5000: 1}
    assert answer["cumulative"]["retweets"][-1] == answer["lifetime"]["retweets"] == 5


def test_it_asks_for_the_handle_when_two_hold_the_tweet(client: Client, alice: User, northwind: Handle) -> None:
    other = Handle.objects.create(team=northwind.team, username="tea", display_name="Tea")
    first = a_tweet(northwind, NOW)
    other.tweets.create(tweet_id=first.tweet_id, created_at=NOW)
    client.force_login(alice)
    path = f"/api/v1/tweets/{first.tweet_id}/series"
    refused = client.get(path)
    assert (refused.status_code, refused.json()["field"]) == (422, "handle")
    assert client.get(path, {"handle": "@tea"}).json()["tweet"]["handle"] == "tea"


@pytest.mark.parametrize(
    ("path", "given", "field"),
    [
        (PATHS[0], {"range": "9d"}, "range"),
        (PATHS[0], {"range": ""}, "range"),
        (PATHS[1], {"sort": " "}, "sort"),
        (PATHS[0], {"compare": "x"}, "compare"),
        (PATHS[0], {"reading": "x"}, "reading"),
        (PATHS[0], {"grain": "x"}, "grain"),
        (PATHS[0], {"zone": "x"}, "zone"),
        (PATHS[0], {"since": "x"}, "since"),
        (PATHS[0], {"since": "2026-04-01", "until": "x"}, "until"),
        (PATHS[0], {"since": "2020-01-01", "grain": "quarter"}, "grain"),
        (PATHS[1], {"sort": "x"}, "sort"),
        (PATHS[1], {"order": "x"}, "order"),
        (PATHS[1], {"limit": "0"}, "limit"),
        (PATHS[1], {"limit": "101"}, "limit"),
        (PATHS[1], {"limit": "x"}, "limit"),
        (PATHS[1], {"offset": "-1"}, "offset"),
        (PATHS[1], {"offset": "9" * 30}, "offset"),
        ("/api/v1/tweets/x/series", {}, "tweet_id"),
        ("/api/v1/tweets/-1/series", {}, "tweet_id"),
        ("/api/v1/tweets/99999999999999999999/series", {}, "tweet_id"),
    ],
)
def test_it_names_the_parameter_at_fault(
    client: Client, read_token: str, path: str, given: dict[str, str], field: str
) -> None:
    response = ask(client, read_token, path, **given)
    assert response.status_code == 422
    problem = response.json()
    assert (problem["error"], problem["field"]) == ("bad_parameter", field)
    assert problem["detail"].startswith(f"{field}: ")


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_only_reads(client: Client, read_token: str, method: str) -> None:
    for path in ("/api/v1/handles", *PATHS):
        response = getattr(client, method)(path, headers={"Authorization": f"Bearer {read_token}"})
        assert response.status_code == 405


def schema(client: Client) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/api/openapi.json").json()
    return document


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["operationId"]: each for path in document["paths"].values() for each in path.values()}


def test_it_documents_the_api_the_ingest_door_and_the_protocols(client: Client) -> None:
    document = schema(client)
    assert set(document["paths"]) == {
        "/api/v1/handles",
        "/api/v1/handles/{username}/report",
        "/api/v1/handles/{username}/tweets",
        "/api/v1/tweets/{tweet_id}/series",
        "/api/v1/reach",
        "/api/v1/overlap",
        "/api/v1/growth",
        "/api/v1/handles/{username}/weeks",
        "/api/v1/events",
        "/api/v1/snapshots",
        "/api/v1/receipts/{receipt}",
        "/api/v1/tweets",
        "/webhooks/x/{connection}",
        "/stream/insightstrack/accounts/{team}/publishers/twitter/{label}.json",
        "/rules/insightstrack/accounts/{team}/publishers/twitter/{label}.json",
        "/insights/engagement/totals",
        "/insights/engagement/28hr",
        "/insights/engagement/historical",
        "/2/tweets/analytics",
    }
    for operation in operations(document).values():
        assert operation["summary"]
        assert operation["description"]
        if operation["operationId"] == "prove_webhook":
            continue  # X asks it without any credentials
        assert "401" in operation["responses"]
        assert "403" in operation["responses"] or operation["operationId"] == "read_analytics"
    reasons = document["components"]["schemas"]["Rejected"]["properties"]["reason"]
    assert reasons["enum"] == [str(reason) for reason in Reason]
    assert all(f"`{reason}`" in reasons["description"] for reason in Reason)


def test_it_documents_every_parameter(client: Client) -> None:
    found = operations(schema(client))
    for name, given in (
        ("read_report", ReportParams),
        ("list_tweets", TweetsParams),
        ("read_tweet_series", SeriesParams),
        ("read_reach", reach_answers.ReachParams),
        ("read_overlap", reach_answers.OverlapParams),
        ("read_growth", reach_answers.GrowthParams),
        ("read_weeks", reach_answers.WeeksParams),
    ):
        told = {each["name"]: each for each in found[name]["parameters"]}
        assert set(given.model_fields) <= set(told)
        assert all(each["description"] for each in told.values())


def test_it_refers_to_nothing_that_is_not_there(client: Client) -> None:
    document = schema(client)
    there = set(document["components"]["schemas"])

    def check(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                assert node["$ref"].removeprefix("#/components/schemas/") in there
            for each in node.values():
                check(each)
        elif isinstance(node, list):
            for each in node:
                check(each)

    check(document)
    assert {"TokenAuth", "SessionAuth"} <= set(document["components"]["securitySchemes"])


def answer_fits(document: dict[str, Any], operation: str, status: int, body: object) -> None:
    content = operations(document)[operation]["responses"][str(status)]["content"]["application/json"]["schema"]
    jsonschema_rs.validator_for({**content, "components": document["components"]}).validate(body)


def test_it_answers_as_its_schema_says(client: Client, read_token: str, northwind: Handle) -> None:
    tweet = a_tweet(northwind, datetime.now(UTC) - timedelta(hours=2))
    record(northwind, [Event(tweet.tweet_id, datetime.now(UTC) - timedelta(hours=1), count=3)])
    document = schema(client)
    paths = {
        "list_handles": "/api/v1/handles",
        "read_report": PATHS[0],
        "list_tweets": PATHS[1],
        "read_tweet_series": f"/api/v1/tweets/{tweet.tweet_id}/series",
    }
    for operation, path in paths.items():
        for secret in (read_token, "bad"):
            response = ask(client, secret, path)
            answer_fits(document, operation, response.status_code, response.json())
        if operation != "list_handles":
            for given in ({"range": "x"}, {"since": "2026-04-01", "compare": "none"}):
                response = ask(client, read_token, path, **given)
                answer_fits(document, operation, response.status_code, response.json())


def test_it_shows_the_schema_as_a_page(client: Client) -> None:
    page = client.get("/api/docs")
    assert page.status_code == 200
    assert b"ninja/swagger-ui" in page.content
    assert b'data-schema="/api/openapi.json"' in page.content
    assert b"<script>" not in page.content


@pytest.fixture
def one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels closes old connections around each query, and would close the test's transaction with them."""
    monkeypatch.setattr(db, "close_old_connections", lambda: None)


@pytest.mark.usefixtures("one_transaction")
@pytest.mark.parametrize(
    ("method", "path", "body", "operation", "status"),
    [
        ("POST", "/api/v1/events", '[{"id": "a", "tweet_id": "20", "type": "like"}]', "send_events", 422),
        ("POST", "/api/v1/events", "{", "send_events", 400),
        ("PATCH", "/api/v1/events", "[]", "send_events", 405),
        ("POST", "/api/v1/snapshots", '[{"tweet_id": "20", "counts": {"impressions": 5}}]', "send_snapshots", 422),
        ("POST", "/api/v1/snapshots", "{", "send_snapshots", 400),
        ("PUT", "/api/v1/tweets", '[{"id": "20", "text": "just setting up"}]', "put_tweets", 200),
        ("PUT", "/api/v1/tweets", '[{"id": "x"}]', "put_tweets", 422),
        ("GET", "/api/v1/receipts/none", "", "read_receipt", 404),
    ],
)
def test_it_describes_the_door_as_it_answers(
    client: Client, token: str, method: str, path: str, body: str, operation: str, status: int
) -> None:
    answer = knock(method, path, body.encode(), headers=(authorization(token),))
    assert answer.status == status
    answer_fits(schema(client), operation, status, answer.body)
