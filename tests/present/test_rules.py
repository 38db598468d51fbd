"""The rules of a stream, line by line of their contract."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from accounts.credentials import issue_token
from accounts.models import Handle, User
from metrics.models import StreamRule
from metrics.present import rules

pytestmark = pytest.mark.django_db
PATH = "/rules/insightstrack/accounts/northwind/publishers/twitter/prod.json"
SENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def ask(token: str | None, body: Any = None, query: str = "", path: str = PATH) -> tuple[int, Any]:
    """The status and body of a GET, or of a POST where there is a body."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    client = Client(headers=headers)
    answer = client.get(path) if body is None else client.post(f"{path}{query}", body, content_type="application/json")
    told = answer.json() if answer["Content-Type"] == "application/json" else None
    if told is not None:
        assert SENT.fullmatch(told.pop("sent"))
    return answer.status_code, told


def one(value: str, tag: str | None = None) -> dict[str, Any]:
    return {"rules": [{"value": value, "tag": tag}]}


def test_it_adds_lists_and_removes(northwind: Handle, read_token: str) -> None:
    status, told = ask(read_token, one("northwind", "the shop"))
    rule = StreamRule.objects.get()
    assert (status, told) == (
        201,
        {
            "summary": {"created": 1, "not_created": 0},
            "detail": [{"rule": {"value": "northwind", "tag": "the shop", "id": rule.pk}, "created": True}],
        },
    )
    listed = {"value": "northwind", "tag": "the shop", "id": rule.pk}
    assert ask(read_token) == (200, {"rules": [listed]})
    assert ask(read_token, one("northwind"), "?_method=delete") == (
        200,
        {"summary": {"deleted": 1, "not_deleted": 0}, "detail": [{"rule": listed, "deleted": True}]},
    )
    assert ask(read_token) == (200, {"rules": []})


@pytest.mark.parametrize("value", ["northwind", "@northwind", "from:northwind", " NorthWind ", "from:@northwind"])
def test_it_knows_a_handle_in_every_spelling(value: str, northwind: Handle, read_token: str) -> None:
    assert ask(read_token, one(value))[0] == 201
    assert StreamRule.objects.get().handle == northwind


def test_it_keeps_one_rule_a_handle(northwind: Handle, read_token: str) -> None:
    ask(read_token, one("northwind"))
    status, told = ask(read_token, one("@northwind", "again"))
    assert (status, told["summary"]) == (201, {"created": 0, "not_created": 1})
    assert told["detail"][0]["message"] == "A rule with this value already exists"
    assert not StreamRule.objects.get().tag


def test_it_refuses_other_peoples_handles_like_unknown_ones(northwind: Handle, acme: Handle, read_token: str) -> None:
    body = {"rules": [{"value": "acme"}, {"value": "nobody"}, {"value": "northwind"}]}
    status, told = ask(read_token, body)
    assert (status, told["summary"]) == (201, {"created": 1, "not_created": 2})
    refused = [item | {"rule": None} for item in told["detail"][:2]]
    assert refused == [{"rule": None, "created": False, "message": "The token covers no handle of this name"}] * 2


def test_it_removes_by_id_what_the_token_covers(northwind: Handle, acme: Handle, read_token: str) -> None:
    mine, _ = rules.follow(northwind.team_id, "prod", northwind)
    theirs, _ = rules.follow(acme.team_id, "prod", acme)
    status, told = ask(read_token, {"rule_ids": [mine.pk, str(theirs.pk), 0]}, "?_method=delete")
    assert (status, told["summary"]) == (200, {"deleted": 1, "not_deleted": 2})
    assert list(StreamRule.objects.all()) == [theirs]


def test_it_keeps_labels_apart(northwind: Handle, read_token: str) -> None:
    ask(read_token, one("northwind"))
    assert ask(read_token, path=PATH.replace("prod", "test"))[1] == {"rules": []}


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"rules": []}', '{"rules": [{}]}', '{"rules": {"value": "x"}}', '{"rules": [{"value": 1}]}', "{"],
)
@pytest.mark.parametrize("query", ["", "?_method=delete"])
def test_it_refuses_a_batch_that_is_none(body: str, query: str, northwind: Handle, read_token: str) -> None:
    status, told = ask(read_token, body, query)
    assert status == 422
    assert "rules" in told["error"]["message"]


def test_it_refuses_a_batch_without_one_good_rule(northwind: Handle, read_token: str) -> None:
    assert ask(read_token, one("nobody"))[0] == 422
    assert ask(read_token, one("northwind", "x" * 256))[0] == 422


def test_it_takes_five_megabytes_at_most(northwind: Handle, read_token: str) -> None:
    assert ask(read_token, '{"rules": [], "more": "' + "x" * 5_000_000 + '"}')[0] == 413


def test_it_shows_a_team_mate_what_the_owner_made(northwind: Handle, read_token: str, bob: User) -> None:
    ask(read_token, one("northwind"))
    _, bobs = issue_token(northwind.team, "bob's", ["read"], [northwind], created_by=bob)
    assert ask(bobs) == ask(read_token)
    assert ask(bobs, one("northwind"), "?_method=delete")[1]["summary"] == {"deleted": 1, "not_deleted": 0}


def test_it_opens_for_the_teams_readers_only(
    northwind: Handle, acme: Handle, read_token: str, ingest_token: str
) -> None:
    strangers = issue_token(acme.team, "charlie's", ["read"], [acme])[1]
    nowhere = PATH.replace("northwind", "nobody")
    assert [ask(token)[0] for token in (read_token, None, "it_x", ingest_token)] == [200, 401, 401, 403]
    assert ask(strangers)[0] == ask(strangers, path=nowhere)[0] == 404
    assert ask(strangers, one("acme"))[0] == 404
    assert not StreamRule.objects.exists()


def test_it_knows_no_team_of_an_impossible_name(read_token: str) -> None:
    assert ask(read_token, path=PATH.replace("northwind", "north%00wind"))[0] == 404


def test_it_says_that_the_database_is_away(northwind: Handle, read_token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(rules, "load_credential", fail)
    assert ask(read_token) == (503, {"error": {"message": "The rules are away for a moment"}})
