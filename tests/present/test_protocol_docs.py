"""The vendor's protocols answer as the OpenAPI schema says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from metrics.present import summaries
from metrics.query.audience import Basis, Reach
from metrics.query.following import People, State
from metrics.vocabulary.engagements import NAMES
from tests.ledger import a_tweet
from tests.present.test_api import operations, schema

if TYPE_CHECKING:
    from django.http import HttpResponse
    from django.test import Client

    from accounts.models import Handle
    from metrics.models import Tweet

pytestmark = pytest.mark.django_db
RULES = "/rules/insightstrack/accounts/northwind/publishers/twitter/prod.json"
GROUPINGS = {"all": {"group_by": ["tweet.id", "engagement.type"]}}


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    """The whole schema."""
    return schema(client)


@pytest.fixture
def tweet(northwind: Handle) -> Tweet:
    """A Tweet of @northwind's, two hours old."""
    return a_tweet(northwind, datetime.now(UTC) - timedelta(hours=2), "Winter roast")


def fits(document: dict[str, Any], operation: str, answer: HttpResponse) -> int:
    """Hold an answer against the schema; returns its status."""
    told = operations(document)[operation]["responses"][str(answer.status_code)]["content"]
    wanted = told[answer["Content-Type"].partition(";")[0]]["schema"]
    validator = jsonschema_rs.validator_for({**wanted, "components": document["components"]})
    validator.validate(json.loads(answer.content))
    return answer.status_code


def test_it_counts_engagements_as_documented(
    client: Client, document: dict[str, Any], read_token: str, tweet: Tweet
) -> None:
    body = {"tweet_ids": [str(tweet.tweet_id), "20"], "engagement_types": ["favorites"], "groupings": GROUPINGS}
    for surface in ("totals", "28hr", "historical"):
        for sent, secret, status in ((body, read_token, 200), ({}, read_token, 400), (body, "bad", 401)):
            answer = client.post(
                f"/insights/engagement/{surface}",
                json.dumps(sent),
                "application/json",
                headers={"Authorization": f"Bearer {secret}"},
            )
            assert fits(document, f"count_engagements_{surface}", answer) == status


def test_it_tells_analytics_as_documented(
    client: Client, document: dict[str, Any], read_token: str, tweet: Tweet
) -> None:
    now = datetime.now(UTC)
    asked = {
        "ids": f"{tweet.tweet_id},20",
        "start_time": f"{now - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        "end_time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
    }
    for given, secret, status in ((asked, read_token, 200), ({"ids": "x"}, read_token, 400), (asked, "bad", 401)):
        answer = client.get("/2/tweets/analytics", given, headers={"Authorization": f"Bearer {secret}"})
        assert fits(document, "read_analytics", answer) == status


def test_it_keeps_rules_as_documented(
    client: Client, document: dict[str, Any], read_token: str, northwind: Handle
) -> None:
    def ask(body: object, query: str = "", secret: str = read_token) -> HttpResponse:
        headers = {"Authorization": f"Bearer {secret}"}
        return client.post(RULES + query, json.dumps(body), "application/json", headers=headers)

    mine, nobodys = {"rules": [{"value": "northwind"}]}, {"rules": [{"value": "nobody", "tag": "a"}]}
    assert fits(document, "change_rules", ask(mine)) == 201
    assert fits(document, "change_rules", ask(nobodys)) == 422
    assert fits(document, "change_rules", ask([])) == 422
    assert fits(document, "change_rules", ask(mine, secret="bad")) == 401
    listed = client.get(RULES, headers={"Authorization": f"Bearer {read_token}"})
    assert fits(document, "list_rules", listed) == 200
    assert fits(document, "change_rules", ask(mine, "?_method=delete")) == 200


def test_it_streams_messages_as_documented(document: dict[str, Any], tweet: Tweet) -> None:
    now, people = datetime.now(UTC), People(Reach(Basis.ESTIMATED, 70, 65, 75), Reach(Basis.EXACT, 2, 2, 2))
    parts = {
        "Summary": summaries.summary(State(tweet.tweet_id, list(range(26)), [1] * 26, now, 1, people), now),
        "StreamedTweet": summaries.tweet(tweet, tweet.handle),
        "Revocation": summaries.revocation(tweet.handle_id, "7", now),
    }
    for name, line in parts.items():
        wanted = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema_rs.validator_for(wanted).validate(json.loads(line))
    told = document["components"]["schemas"]["Summary"]["properties"]["summary_event"]["properties"]["metrics"]
    counts = told["properties"]["engagements"]["properties"]["metric_counts"]["properties"]
    sent = json.loads(parts["Summary"])["summary_event"]["metrics"]["engagements"]["metric_counts"]
    assert set(counts) == set(sent) == {*NAMES, "detail_clicks"} - {"impressions"}
    assert {name: set(each["properties"]) for name, each in counts.items()} == {
        name: set(each) for name, each in sent.items()
    }
