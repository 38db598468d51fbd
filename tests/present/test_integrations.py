"""The Integrations page: what each of the cast sees and may change, and requests that run in the page."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from redis import Redis

from accounts.credentials import issue_token
from accounts.models import Handle, Membership, Role
from metrics.models import StreamRule
from metrics.present import rules, samples
from metrics.present.readers import Reader, Registry
from metrics.query.engagement import Surface
from tests.ledger import Event, a_tweet, record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpResponse

    from accounts.models import User
    from metrics.models import Tweet

pytestmark = pytest.mark.django_db
HERE = "/settings/integrations/"
OURS, LABEL = "?team=northwind", "&label=warehouse"
STREAM = "http://testserver/stream/insightstrack/accounts/northwind/publishers/twitter/prod.json"


def as_(user: User) -> Client:
    """A browser signed in as this person."""
    client = Client()
    client.force_login(user)
    return client


def text(answer: HttpResponse) -> str:
    """What a page says."""
    return unescape(answer.content.decode())


@pytest.fixture
def tweet(northwind: Handle) -> Tweet:
    """A Tweet of @northwind's with seven likes."""
    made = a_tweet(northwind, datetime.now(UTC) - timedelta(hours=2), "Winter roast")
    record(northwind, [Event(made.tweet_id, datetime.now(UTC) - timedelta(hours=1), "favorites", 7)])
    return made


@pytest.fixture
def connect(northwind: Handle) -> Iterator[Any]:
    """Lets somebody read a stream of team Northwind."""

    def note(token_name: str, label: str = "prod", **more: Any) -> None:
        now = datetime.now(UTC)
        reader = Reader(token_name, 1, token_name, northwind.team_id, label, "10.1.2.3", now, now, **more)

        async def renew() -> None:
            registry = Registry()
            await registry.renew([reader])
            await registry.aclose()

        asyncio.run(renew())

    yield note
    Redis.from_url(settings.REDIS_URL).delete(*(f"readers:team:{northwind.team_id}{end}" for end in ("", ":entries")))


def test_it_shows_a_team_its_stream(alice: User, bob: User, northwind: Handle, tweet: Tweet) -> None:
    rules.follow(northwind.team_id, "prod", northwind, "main brand")
    for user in (alice, bob):
        answer = as_(user).get(HERE)
        page = text(answer)
        assert f">{STREAM}<" in page
        assert f'"{STREAM}?backfillMinutes=5"' in page
        assert "main brand" in page
        assert "http://testserver/rules/insightstrack/accounts/northwind/publishers/twitter/prod.json" in page
        assert "http://testserver/insights/engagement/totals" in page
        assert "/api/docs" in page
        assert "no-store" in answer["Cache-Control"]


def test_it_shows_strangers_and_visitors_nothing(charlie: User, northwind: Handle, acme: Handle) -> None:
    rule, _ = rules.follow(northwind.team_id, "prod", northwind, "")
    gets = [HERE, f"{HERE}readers/"]
    posts = [f"{HERE}rules/", f"{HERE}rules/{rule.pk}/remove/", f"{HERE}try/"]
    theirs, stranger, visitor = "?team=acme", as_(charlie), Client()
    for path in gets:
        assert stranger.get(path + OURS).status_code == 404
        assert stranger.get(path + "?team=unknown").status_code == 404
        assert "northwind" not in text(stranger.get(path + theirs)).lower()
    for path in posts:
        assert stranger.post(path + OURS, {"handle": northwind.pk}).status_code == 404
        assert visitor.post(path + OURS).headers["Location"].startswith("/accounts/login/")
    assert visitor.get(HERE).headers["Location"].startswith("/accounts/login/")
    assert visitor.get(f"{HERE}readers/").headers["HX-Refresh"] == "true"
    # Not by the way of their own team either.
    assert stranger.post(f"{HERE}rules/{rule.pk}/remove/{theirs}").status_code == 404
    assert "field__error" in text(stranger.post(f"{HERE}rules/{theirs}", {"handle": northwind.pk}))
    assert list(StreamRule.objects.all()) == [rule]


def test_it_adds_and_removes_rules(alice: User, bob: User, northwind: Handle) -> None:
    Membership.objects.filter(user=bob).update(role=Role.EDITOR)
    for user in (alice, bob):
        client = as_(user)
        page = text(client.post(f"{HERE}rules/{OURS}{LABEL}", {"handle": northwind.pk, "tag": "for BI"}, follow=True))
        rule = StreamRule.objects.get()
        assert (rule.team_id, rule.label, rule.handle, rule.tag) == (
            northwind.team_id,
            "warehouse",
            northwind,
            "for BI",
        )
        assert "follows @northwind from now on" in page
        assert "It follows every handle of the team." in page
        assert "accounts/northwind/publishers/twitter/warehouse.json" in page
        assert "field__error" in text(client.post(f"{HERE}rules/{OURS}{LABEL}", {"handle": northwind.pk}))
        page = text(client.post(f"{HERE}rules/{rule.pk}/remove/{OURS}", follow=True))
        assert "no longer follows @northwind" in page
        assert not StreamRule.objects.exists()


@pytest.mark.parametrize("tag", ["x" * 256, "a\x00b"])
def test_it_says_what_is_wrong_with_a_rule(alice: User, northwind: Handle, tag: str) -> None:
    assert "field__error" in text(as_(alice).post(f"{HERE}rules/{OURS}", {"handle": northwind.pk, "tag": tag}))
    assert not StreamRule.objects.exists()


def test_it_lets_viewers_look_only(bob: User, northwind: Handle, token: str) -> None:
    rule, _ = rules.follow(northwind.team_id, "prod", northwind, "")
    client = as_(bob)
    page = text(client.get(HERE))
    assert "@northwind" in page
    for control in ("Remove", ">Follow<", "Make a token", "New label"):
        assert control not in page
    assert client.post(f"{HERE}rules/{OURS}", {"handle": northwind.pk}).status_code == 403
    assert client.post(f"{HERE}rules/{rule.pk}/remove/{OURS}").status_code == 403
    assert StreamRule.objects.exists()


@pytest.mark.parametrize("label", ["a/b", "x" * 61, "é", "a b", "\x00"])
def test_it_has_no_page_for_what_is_no_label(alice: User, northwind: Handle, label: str) -> None:
    assert as_(alice).get(HERE, {"label": label}).status_code == 404
    assert as_(alice).get(f"{HERE}readers/", {"label": label}).status_code == 404
    assert as_(alice).get(HERE, {"try": label}).status_code == 404


def test_it_keeps_labels_apart(alice: User, northwind: Handle) -> None:
    rules.follow(northwind.team_id, "warehouse", northwind, "for BI")
    first, other = text(as_(alice).get(HERE)), text(as_(alice).get(HERE + OURS + LABEL))
    assert "follows no handle yet" in first
    assert ">warehouse</a>" in first
    assert "for BI" in other
    assert "for BI" not in first


def test_it_shows_who_is_connected(alice: User, northwind: Handle, connect: Any) -> None:
    client = as_(alice)
    assert "Nobody reads this stream now" in text(client.get(f"{HERE}readers/{OURS}"))
    connect("Warehouse loader", bytes_sent=46_000_000, summaries=51_203, lag_ms=12)
    connect("Slow script", lag_ms=4200, waiting_bytes=2_000_000)
    connect("Elsewhere", label="warehouse")
    for path in (f"{HERE}readers/{OURS}", HERE):
        page = text(client.get(path))
        for told in ("Warehouse loader", "10.1.2.3", "43.9\xa0MB", "51,203", "12 ms", "4.2 s", "2 connected"):
            assert told in page, told
        assert "Elsewhere" not in page
    assert 'hx-trigger="every 2s"' in text(client.get(HERE))
    assert "Elsewhere" in text(client.get(f"{HERE}readers/{OURS}{LABEL}"))


def test_it_lists_the_keys_that_open(alice: User, northwind: Handle) -> None:
    token, secret = issue_token(northwind.team, "Old scripts", ["read"], [northwind], oauth=True)
    gone, _ = issue_token(northwind.team, "Gone", ["read"], [northwind])
    gone.revoked_at = datetime.now(UTC)
    gone.save()
    page = text(as_(alice).get(HERE))
    assert "Old scripts" in page
    assert "OAuth 1.0a" in page
    assert "Gone" not in page
    for kept in (secret, *token.oauth.keys.values()):
        assert kept not in page
    for path in ("?team=northwind#new-token", "?team=northwind&oauth#new-token"):
        assert f"{reverse('accounts:tokens')}{path}" in page


@pytest.mark.parametrize("surface", list(Surface))
@pytest.mark.parametrize("scripts", [True, False])
def test_it_answers_its_samples(
    alice: User, bob: User, northwind: Handle, tweet: Tweet, surface: Surface, scripts: bool
) -> None:
    headers = {"HX-Request": "true"} if scripts else {}
    for user in (alice, bob):
        page = text(as_(user).get(f"{HERE}{OURS}&try={surface}"))
        shown = re.search(r'<textarea[^>]* name="body"[^>]*>(.*?)</textarea>', page, re.DOTALL)
        assert shown
        asked = {"surface": surface, "body": shown[1]}
        answer = text(as_(user).post(f"{HERE}try/{OURS}", asked, headers=headers))
        assert ("<html" in answer) is not scripts
        assert "200 OK" in answer
        found = re.search(r'<pre class="code code--answer"[^>]*>(.*?)</pre>', answer, re.DOTALL)
        assert found
        told = json.loads(found[1])
        assert '"7"' in json.dumps(told)
        assert set(told) >= set(json.loads(shown[1])["groupings"])


def test_it_answers_only_for_handles_that_the_person_sees(
    alice: User, charlie: User, tweet: Tweet, acme: Handle
) -> None:
    body = {"tweet_ids": [str(tweet.tweet_id)], "engagement_types": ["favorites"], "groupings": {"a": {}}}
    body["groupings"] = {"a": {"group_by": ["tweet.id", "engagement.type"]}}
    asked = {"surface": "totals", "body": json.dumps(body)}
    assert '"favorites": "7"' in text(as_(alice).post(f"{HERE}try/{OURS}", asked))
    refused = text(as_(charlie).post(f"{HERE}try/?team=acme", asked, headers={"HX-Request": "true"}))
    unknown = text(
        as_(charlie).post(
            f"{HERE}try/?team=acme",
            asked | {"body": json.dumps(body | {"tweet_ids": ["20"]})},
            headers={"HX-Request": "true"},
        )
    )
    plain = re.compile(r"\d+ ms|\d{2,}")
    assert "1 Tweet ID(s) are unavailable" in refused
    assert plain.sub("", refused) == plain.sub("", unknown)


@pytest.mark.parametrize("body", ["", "{", "[]", "\ud800", '{"tweet_ids": []}', "\x00", "[" * 100_000])
def test_it_tells_what_is_wrong_with_a_request(alice: User, northwind: Handle, body: str) -> None:
    asked = {"surface": "28hr", "body": body.encode("utf-8", "replace").decode()}
    answer = as_(alice).post(f"{HERE}try/{OURS}", asked, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "400 Bad Request" in text(answer)
    assert as_(alice).post(f"{HERE}try/{OURS}", {"surface": "x", "body": "{}"}).status_code == 404


def test_it_says_what_is_missing(charlie: User, alice: User, northwind: Handle) -> None:
    page = text(as_(charlie).get(HERE))
    for told in ("The team has no handle yet", "Add a handle", "No key opens anything yet"):
        assert told in page
    page = text(as_(alice).get(HERE))
    for told in ("follows no handle yet", "Nobody reads this stream", "No Tweet of @northwind is known yet"):
        assert told in page


def test_it_says_when_nobody_can_tell_who_reads(alice: User, northwind: Handle, settings: Any) -> None:
    from metrics import stream

    stream.client.cache_clear()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    try:
        page = text(as_(alice).get(f"{HERE}readers/{OURS}"))
    finally:
        stream.client.cache_clear()
    assert "Nobody can tell right now" in page


def test_it_is_one_step_from_every_page(alice: User, northwind: Handle) -> None:
    page = text(as_(alice).get("/settings/"))
    assert page.count(f'href="{HERE}"') >= 3  # navigation, menu, help


def test_it_lays_requests_out_for_people() -> None:
    assert samples.readable({"a": ["1", "é"], "b": {}, "c": {"d": ["x" * 60]}}) == (
        '{\n  "a": ["1", "é"],\n  "b": {},\n  "c": {\n    "d": [\n      "' + "x" * 60 + '"\n    ]\n  }\n}'
    )
