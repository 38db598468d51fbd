"""Who may post what, how much, how often, and what the door says when it cannot take it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from accounts.credentials import issue_token
from accounts.models import ApiToken, Handle, Scope
from tests.ingest.asking import EVENTS, RECEIPTS, SNAPSHOTS, TWEETS, ask, authorization, held, post
from tests.ingest.corpus import GOOD, WHOLE, good

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, "no_token"),
        (b"", "no_token"),
        (b"Bearer", "no_token"),
        (b"Bearer ", "no_token"),
        (b"Basic YWxpY2U6c2VjcmV0", "no_token"),
        (b"Token it_00000000_abc", "no_token"),
        (b"Bearer a b", "no_token"),
        (b"Bearer \xff\xfe", "no_token"),
        (b"Bearer \x00", "no_token"),
        (b"Bearer " + b"x" * 100_000, "no_token"),
        (b"Bearer unknown", "bad_token"),
        (b"Bearer it_00000000_" + b"A" * 43, "bad_token"),
        (b"Bearer '; DROP TABLE accounts_apitoken;--".replace(b" T", b"_T").replace(b" a", b"_a"), "no_token"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", EVENTS), ("POST", SNAPSHOTS), ("PUT", TWEETS), ("GET", RECEIPTS + "x")]
)
def test_it_asks_for_a_token(db: None, method: str, path: str, value: bytes | None, error: str) -> None:
    headers = () if value is None else ((b"authorization", value),)
    answer = ask(method, path, WHOLE, headers=headers)
    assert (answer.status, answer.error) == (401, error)
    assert answer.headers[b"www-authenticate"].startswith(b"Bearer")
    assert held() == 0


@pytest.mark.parametrize("change", [{"revoked_at": timedelta()}, {"expires_at": timedelta(seconds=-1)}])
def test_it_takes_nothing_for_a_token_that_is_over(ingest_token: str, change: dict[str, timedelta]) -> None:
    ApiToken.objects.update(**{name: timezone.now() + distance for name, distance in change.items()})
    assert (post(ingest_token, [good()]).status, held()) == (401, 0)


def test_it_takes_nothing_for_a_token_that_only_reads(read_token: str) -> None:
    answer = post(read_token, [good()])
    assert (answer.status, answer.error, held()) == (403, "wrong_scope", 0)


def test_it_takes_nothing_for_anothers_handle(acme: Handle, northwind: Handle) -> None:
    _, secret = issue_token(acme.team, "acme's", [Scope.INGEST], [acme])
    answer = post(secret, [good(handle="northwind"), good(handle="acme")])
    assert (answer.status, answer.rejected, held()) == (202, [(0, "handle", "unknown_handle")], 1)


def test_it_wants_the_handle_named_when_a_token_covers_two(northwind: Handle) -> None:
    second = Handle.objects.create(team=northwind.team, username="southwind", display_name="Southwind")
    _, secret = issue_token(northwind.team, "both", [Scope.INGEST], [northwind, second])
    answer = post(secret, [good(), good(handle="Northwind"), good(handle="@southwind")])
    assert (answer.status, answer.rejected, held()) == (202, [(0, "handle", "handle_required")], 2)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [(EVENTS, "POST"), (SNAPSHOTS, "POST"), (TWEETS, "PUT"), (RECEIPTS, "GET"), (RECEIPTS + "abc", "GET")],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_it_names_the_method_that_it_takes(token: str, path: str, allowed: str, method: str) -> None:
    answer = ask(method, path, headers=(authorization(token),))
    if method == allowed:
        assert answer.status in {400, 404}
    else:
        assert (answer.status, answer.headers[b"allow"]) == (405, allowed.encode())


def test_it_stops_reading_past_the_bound(ingest_token: str) -> None:
    answer = ask("POST", EVENTS, *[b" " * 1_000_000] * 6, headers=(authorization(ingest_token),))
    assert (answer.status, answer.error) == (413, "too_large")


def test_it_takes_nothing_of_a_body_that_ends_early(ingest_token: str) -> None:
    answer = ask("POST", EVENTS, WHOLE, headers=(authorization(ingest_token),), ends=False)
    assert (answer.status, answer.error, held()) == (400, "incomplete", 0)


def test_it_takes_a_body_in_small_pieces(ingest_token: str) -> None:
    pieces = [WHOLE[at : at + 7] for at in range(0, len(WHOLE), 7)]
    answer = ask("POST", EVENTS, *pieces, headers=(authorization(ingest_token),))
    assert (answer.status, held()) == (202, 1)


def test_it_slows_a_token_that_asks_too_often(ingest_token: str, settings: SettingsWrapper) -> None:
    settings.TOKEN_REQUESTS_PER_SECOND = 0
    answer = post(ingest_token, [good()])
    assert (answer.status, answer.error, answer.headers[b"retry-after"], held()) == (429, "too_many_requests", b"1", 0)


def test_it_says_that_nothing_was_taken_while_redis_is_away(ingest_token: str, settings: SettingsWrapper) -> None:
    settings.REDIS_URL = "unix:///nowhere/redis.sock"
    answer = post(ingest_token, [good(), good(id="")])
    assert (answer.status, answer.error, answer.headers[b"retry-after"]) == (503, "stream_away", b"2")


def test_it_takes_nothing_while_too_much_waits(ingest_token: str, settings: SettingsWrapper) -> None:
    settings.BACKLOG_LIMIT = 1
    assert post(ingest_token, [good(id="a"), good(id="b")]).status == 202
    answer = post(ingest_token, [good(id="c")])
    assert (answer.status, answer.error, answer.headers[b"retry-after"], held()) == (503, "backlog", b"2", 2)


def test_it_answers_many_requests_of_one_door(ingest_token: str) -> None:
    assert ask("POST", EVENTS, b"[" + GOOD + b"]", headers=(authorization(ingest_token),), times=50).status == 202
    assert held() == 50
