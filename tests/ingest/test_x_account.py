"""The tokens of an account on X: renewed in time and once, given up when X says that access is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Handle, User
from metrics.ingest import x_account
from metrics.ingest.connectors import DisconnectedError, LimitedError, SourceError
from metrics.ingest.x_account import Account, Tokens
from metrics.models import Source, SourceState
from tests import x_oauth
from tests.x_oauth import Grant, X

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.django_db
TOKEN = "/2/oauth2/token"


@pytest.fixture
def x(settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch) -> Iterator[X]:
    """An X that the settings name; its silence is believed after a moment."""
    monkeypatch.setattr(x_account, "TIMEOUT_SECONDS", 0.5)
    with x_oauth.running() as x:
        settings.X_CLIENT_ID, settings.X_CLIENT_SECRET = x_oauth.CLIENT_ID, x_oauth.CLIENT_SECRET
        settings.X_API_URL = x.url
        yield x


@pytest.fixture
def source(x: X, alice: User, northwind: Handle) -> Source:
    """@northwind's connection, fresh."""
    return connected(x, alice, northwind)


def connected(x: X, person: User, handle: Handle) -> Source:
    """A new connection of the handle."""
    grant = Grant(x.user, " ".join(x_account.SCOPES))
    x.grants.append(grant)
    told = grant.renew()
    tokens = Tokens(told["access_token"], told["refresh_token"], int(time.time()) + told["expires_in"], told["scope"])
    return x_account.connect(handle, Account("2244994945", "Northwind"), tokens, person)


def age(source: Source) -> None:
    """Let its access token be about to end."""
    source.secrets = {**source.secrets, "expires_at": int(time.time()) + x_account.EARLY_SECONDS - 1}
    source.save()


def is_authenticated(handle: Handle) -> bool:
    """Whether the handle has its mark now."""
    return Handle.objects.get(pk=handle.pk).authenticated_at is not None


def test_it_hands_out_a_token_that_lives(x: X, source: Source) -> None:
    assert x_account.access_token(source) == x.grants[0].access_token
    assert x.requests[TOKEN] == 0


def test_it_renews_a_token_before_it_ends(x: X, source: Source) -> None:
    old = source.secrets
    age(source)
    token = x_account.access_token(source)
    kept = Source.objects.get(pk=source.pk).secrets
    assert token == kept["access_token"] == x.grants[0].access_token != old["access_token"]
    assert kept["refresh_token"] == x.grants[0].refresh_token != old["refresh_token"]
    assert kept["expires_at"] > time.time() + 7_000
    assert x_account.access_token(source) == token
    assert x.requests[TOKEN] == 1


def test_it_renews_a_token_that_x_refused(x: X, source: Source) -> None:
    refused = x_account.access_token(source)
    renewed = x_account.access_token(source, refused=refused)
    assert renewed == x.grants[0].access_token != refused
    # Somebody else was refused with the same token, a little later.
    assert x_account.access_token(source, refused=refused) == renewed
    assert x.requests[TOKEN] == 1


@pytest.mark.django_db(transaction=True)
def test_it_renews_once_when_several_ask_at_once(x: X, source: Source) -> None:
    age(source)
    got: list[str] = []

    def ask() -> None:
        try:
            got.append(x_account.access_token(source))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [x.grants[0].access_token] * 6
    assert x.requests[TOKEN] == 1


@pytest.mark.parametrize(
    "fault",
    [
        (400, {"error": "invalid_grant"}),
        (400, {"error": "invalid_request", "error_description": "Value passed for the token was invalid."}),
        (401, {"title": "Unauthorized"}),
        (403, b""),
    ],
)
def test_it_disconnects_when_x_has_ended_the_access(
    fault: tuple[int, Any], x: X, source: Source, northwind: Handle
) -> None:
    age(source)
    x.faults[TOKEN] = [fault]
    with pytest.raises(DisconnectedError, match="connect again"):
        x_account.access_token(source)
    source.refresh_from_db()
    assert (source.state, source.secrets) == (SourceState.DISCONNECTED, {})
    assert not is_authenticated(northwind)
    with pytest.raises(DisconnectedError, match="not connected"):
        x_account.access_token(source)


def test_it_disconnects_after_the_person_has_removed_the_app(x: X, source: Source, northwind: Handle) -> None:
    x.withdraw()
    with pytest.raises(DisconnectedError):
        x_account.access_token(source, refused=x_account.access_token(source))
    assert not is_authenticated(northwind)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ((500, b"<html>"), "with 500"),
        ((401, {"error": "unauthorized_client"}), "X_CLIENT_ID"),
        ((401, {"error": "invalid_client"}), "X_CLIENT_ID"),
        ((200, b"not JSON"), "something else"),
        ((200, {"access_token": "a"}), "something else"),
        ((200, []), "something else"),
        ((302, b""), "with 302"),
        (1.0, "did not answer"),
        (0.0, "could not be reached"),
    ],
)
def test_it_keeps_the_tokens_while_x_is_away(
    fault: tuple[int, Any] | float, reason: str, x: X, source: Source, northwind: Handle
) -> None:
    age(source)
    kept = source.secrets
    x.faults[TOKEN] = [fault]
    with pytest.raises(SourceError, match=reason) as raised:
        x_account.access_token(source)
    assert type(raised.value) is SourceError
    source.refresh_from_db()
    assert (source.state, source.secrets) == (SourceState.STARTING, kept)
    assert is_authenticated(northwind)
    assert x_account.access_token(source)


@pytest.mark.parametrize(("headers", "seconds"), [({}, 900), ({"x-rate-limit-reset": "soon"}, 900)])
def test_it_obeys_the_limit(headers: dict[str, str], seconds: int, x: X, source: Source) -> None:
    age(source)
    x.faults[TOKEN] = [(429, {}, headers)]
    with pytest.raises(LimitedError) as raised:
        x_account.access_token(source)
    assert abs(raised.value.until - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(seconds=5)


def test_it_waits_until_the_instant_that_x_names(x: X, source: Source) -> None:
    age(source)
    until = int(time.time()) + 100
    x.faults[TOKEN] = [(429, {}, {"x-rate-limit-reset": str(until)})]
    with pytest.raises(LimitedError) as raised:
        x_account.access_token(source)
    assert raised.value.until == datetime.fromtimestamp(until, UTC)


def test_it_says_that_nobody_has_set_it_up(source: Source, settings: SettingsWrapper) -> None:
    age(source)
    settings.X_CLIENT_ID = ""
    with pytest.raises(SourceError, match="an admin has to"):
        x_account.access_token(source)


def test_it_keeps_what_it_cannot_open(source: Source, settings: SettingsWrapper, northwind: Handle) -> None:
    settings.SECRET_KEY = "another secret key"
    with pytest.raises(SourceError, match="SEALING_KEY"):
        x_account.access_token(source)
    settings.SECRET_KEY = "a secret key for tests"
    assert x_account.access_token(source)
    assert is_authenticated(northwind)


def test_it_connects_again_after_x_has_ended_the_access(x: X, source: Source, alice: User, northwind: Handle) -> None:
    x_account.withdrawn(source, "X says that the access was revoked.")
    assert not is_authenticated(northwind)
    before = timezone.now()
    again = connected(x, alice, northwind)
    assert again.pk == source.pk
    assert again.state == SourceState.STARTING
    assert again.outages.get().until is not None
    authenticated_at = Handle.objects.get(pk=northwind.pk).authenticated_at
    assert authenticated_at is not None
    assert authenticated_at >= before
