"""Tweets as their publisher describes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from accounts.credentials import issue_token
from accounts.models import Handle, Scope
from metrics.models import Media, Tweet
from metrics.vocabulary.events import tweet_created_at
from tests.ingest.asking import TWEETS, Answer, ask, authorization
from tests.ingest.corpus import GZIP, NDJSON, NOT_ITEMS, NOT_JSON, TWEET


def put(secret: str, tweets: Any, *more: tuple[bytes, bytes]) -> Answer:
    body = tweets if isinstance(tweets, bytes) else msgspec.json.encode(tweets)
    return ask("PUT", TWEETS, body, headers=(authorization(secret), *more))


def test_it_stores_and_renews(ingest_token: str, northwind: Handle) -> None:
    Tweet.objects.create(handle=northwind, tweet_id=TWEET, created_at=tweet_created_at(int(TWEET)), is_stub=True)
    described = {"id": TWEET, "text": "Fresh beans.", "media": "video", "link": "https://a.example/b", "tags": ["c"]}
    answer = put(ingest_token, {"tweets": [described, described | {"id": "20", "created_at": "2006-03-21T20:50:14Z"}]})
    assert (answer.status, answer.body) == (200, {"accepted": 2, "rejected": []})
    stub = Tweet.objects.get(tweet_id=TWEET)
    assert (stub.text, stub.media, stub.link, stub.tags, stub.is_stub) == (
        "Fresh beans.",
        Media.VIDEO,
        "https://a.example/b",
        ["c"],
        False,
    )
    assert stub.created_at == tweet_created_at(int(TWEET))
    assert Tweet.objects.get(tweet_id=20).created_at == datetime(2006, 3, 21, 20, 50, 14, tzinfo=UTC)
    assert put(ingest_token, [{"id": TWEET, "text": "a"}, {"id": int(TWEET), "text": "b"}]).body["accepted"] == 2
    assert Tweet.objects.get(tweet_id=TWEET).text == "b"


def test_it_leaves_anothers_tweet_alone(ingest_token: str, acme: Handle) -> None:
    put(ingest_token, [{"id": TWEET, "text": "alice's"}])
    _, secret = issue_token(acme.team, "charlie's", [Scope.INGEST], [acme])
    assert put(secret, [{"id": TWEET, "text": "charlie's"}]).status == 200
    assert put(secret, [{"id": TWEET, "text": "charlie's", "handle": "northwind"}]).status == 422
    texts = Tweet.objects.filter(tweet_id=TWEET).values_list("handle__username", "text")
    assert dict(texts) == {"northwind": "alice's", "acme": "charlie's"}


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"id": None}, "id", "wrong_type"),
        ({"id": "x"}, "id", "bad_tweet_id"),
        ({"id": 2**63}, "id", "bad_tweet_id"),
        ({"id": -1}, "id", "bad_tweet_id"),
        ({"text": None}, "text", "wrong_type"),
        ({"text": "x" * 25_001}, "text", "bad_length"),
        ({"media": "hologram"}, "media", "bad_value"),
        ({"media": 5}, "media", "wrong_type"),
        ({"link": "javascript:alert(1)"}, "link", "bad_value"),
        ({"link": "x" * 2_001}, "link", "bad_length"),
        ({"tags": "a"}, "tags", "wrong_type"),
        ({"tags": ["x" * 101]}, "tags", "bad_length"),
        ({"tags": ["x"] * 51}, "tags", "bad_length"),
        ({"tags": [None]}, "tags", "wrong_type"),
        ({"created_at": "yesterday"}, "created_at", "bad_time"),
        ({"created_at": "2026-01-01T00:00:00"}, "created_at", "bad_time"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "created_at", "too_early"),
        ({"created_at": "9999-12-31T23:59:59-14:00"}, "created_at", "in_the_future"),
        ({"id": str(2**63 - 1)}, "created_at", "in_the_future"),
        ({"handle": "acme"}, "handle", "unknown_handle"),
    ],
)
def test_it_refuses(ingest_token: str, change: dict[str, Any], field: str, reason: str) -> None:
    answer = put(ingest_token, [{"id": "20"}, {"id": TWEET} | change])
    assert (answer.status, answer.rejected) == (200, [(1, field, reason)])
    assert put(ingest_token, [{"id": TWEET} | change]).status == 422
    assert Tweet.objects.count() == 1


def test_it_stores_text_that_the_database_could_not(ingest_token: str) -> None:
    odd = {"id": TWEET, "text": "a\x00b 🦜 <b>", "tags": ["\x00"], "link": "https://a.example/\x00"}
    assert put(ingest_token, [odd]).status == 200
    tweet = Tweet.objects.get()
    assert (tweet.text, tweet.tags, tweet.link) == ("a�b 🦜 <b>", ["�"], "https://a.example/")


# A Tweet has no type; what stands in unknown fields is never decoded.
@pytest.mark.parametrize("name", [*(name for name in NOT_JSON if name != "invalid UTF-8 in a type"), *NOT_ITEMS])
def test_it_refuses_bodies_that_are_none(ingest_token: str, name: str) -> None:
    answer = put(ingest_token, NOT_JSON.get(name) or NOT_ITEMS.get(name, b""))
    assert (answer.status, answer.error) == (400, "not_json" if name in NOT_JSON else "not_items")


def test_it_takes_lines_and_refuses_what_is_too_large(ingest_token: str) -> None:
    assert put(ingest_token, b'{"id": 20}\n{"id": 21}\n', NDJSON).body["accepted"] == 2
    assert put(ingest_token, b"{}\n" * 10_001, NDJSON).status == 413
    assert put(ingest_token, b"plain", GZIP).error == "not_gzip"
    assert put(ingest_token, []).status == 200
