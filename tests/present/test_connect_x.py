"""Connect with X: the whole way against a local X, who may go it, what goes wrong on it, and what never happens."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.urls import NoReverseMatch, reverse

from accounts.models import Handle, Membership, Platform, Role, User
from metrics.ingest import x_account
from metrics.models import Source, SourceState
from tests import x_oauth
from tests.accounts.conftest import browser
from tests.x_oauth import X

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.django_db
TOKEN, ME, REVOKE = "/2/oauth2/token", "/2/users/me", "/2/oauth2/revoke"


@pytest.fixture
def x(settings: SettingsWrapper) -> Iterator[X]:
    """An X that the settings name."""
    with x_oauth.running() as x:
        settings.X_CLIENT_ID, settings.X_CLIENT_SECRET = x_oauth.CLIENT_ID, x_oauth.CLIENT_SECRET
        settings.X_API_URL, settings.X_AUTHORISE_URL = x.url, f"{x.url}/i/oauth2/authorize"
        settings.SOCIALACCOUNT_REQUESTS_TIMEOUT = 0.5
        yield x


def page(handle: Handle) -> str:
    """The page's address."""
    return reverse("connect_x", args=[handle.username])


def callback_after(client: Client, handle: Handle) -> str:
    """Begin, let the browser go to X, and tell where X sends it back to."""
    begun = client.post(page(handle))
    assert begun.status_code == 302, begun.content
    with httpx.Client() as abroad:
        return str(abroad.get(begun["Location"]).headers["Location"]).partition("testserver")[2]


def said(client: Client, handle: Handle) -> str:
    """The messages on the page, as text."""
    return " ".join(map(str, get_messages(client.get(page(handle)).wsgi_request)))


def connected(client: Client, handle: Handle) -> Source:
    """The source that a whole way makes."""
    assert client.get(callback_after(client, handle))["Location"] == page(handle)
    return Source.objects.get(handle=handle, kind=x_account.KIND)


def test_it_connects_the_account_and_marks_the_handle(x: X, alice: User, northwind: Handle) -> None:
    client = browser(alice)
    source = connected(client, northwind)
    assert source.settings == {"user_id": "2244994945", "username": "Northwind"}
    assert set(source.secrets) == {"access_token", "refresh_token", "expires_at", "scope"}
    assert set(source.secrets["scope"].split()) == x_oauth.SCOPES
    assert source.secrets["access_token"] == x.grants[0].access_token
    assert source.state == SourceState.STARTING
    northwind.refresh_from_db()
    assert northwind.authenticated_at is not None
    assert "authenticated" in client.get(reverse("dashboard", args=["northwind"])).content.decode()
    assert "authenticated" in client.get(reverse("accounts:handle_edit", args=["northwind"])).content.decode()


def test_it_keeps_no_token_in_the_open_and_no_social_account(x: X, alice: User, northwind: Handle) -> None:
    connected(browser(alice), northwind)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(s)::text FROM metrics_source s")
        stored = str(cursor.fetchall())
    assert x.grants[0].access_token not in stored
    assert x.grants[0].refresh_token not in stored
    assert not SocialAccount.objects.exists()
    assert not SocialToken.objects.exists()
    assert not SocialApp.objects.exists()


def test_it_refuses_another_account_and_names_both(x: X, alice: User, northwind: Handle) -> None:
    x.user = {"id": "20", "name": "Other", "username": "somebody_else"}
    client = browser(alice)
    client.get(callback_after(client, northwind))
    told = said(client, northwind)
    assert "@somebody_else" in told
    assert "@northwind" in told
    assert not Source.objects.exists()
    northwind.refresh_from_db()
    assert northwind.authenticated_at is None


def test_it_goes_back_unchanged_when_the_person_says_no(x: X, alice: User, northwind: Handle) -> None:
    x.allows = False
    client = browser(alice)
    assert client.get(callback_after(client, northwind))["Location"] == page(northwind)
    assert "did not allow" in said(client, northwind)
    assert not Source.objects.exists()


@pytest.mark.parametrize("path", [TOKEN, ME])
@pytest.mark.parametrize(
    "fault",
    [
        (400, {"error": "invalid_request"}),
        (401, {"error": "unauthorized_client"}),
        (500, b"<html>over capacity</html>"),
        (200, {}),
        (200, b"[]"),
        (200, {"data": {}}),
        1.0,
    ],
)
def test_it_says_so_when_x_does_not_complete_it(
    path: str, fault: tuple[int, Any] | float, x: X, alice: User, northwind: Handle
) -> None:
    client = browser(alice)
    address = callback_after(client, northwind)
    x.faults[path] = [fault]
    assert client.get(address)["Location"] == page(northwind)
    assert "X did not complete the connection" in said(client, northwind)
    assert not Source.objects.exists()
    # Nothing stands in the way of another try.
    connected(client, northwind)


def test_it_takes_no_grant_that_does_not_last(x: X, alice: User, northwind: Handle) -> None:
    client = browser(alice)
    address = callback_after(client, northwind)
    x.faults[TOKEN] = [(200, {"token_type": "bearer", "access_token": "a", "expires_in": 7200})]
    x.faults[ME] = [(200, {"data": x.user})]
    client.get(address)
    assert "offline.access" in said(client, northwind)
    assert not Source.objects.exists()


def test_it_takes_an_answer_once_and_in_the_browser_that_began(x: X, alice: User, northwind: Handle) -> None:
    client = browser(alice)
    address = callback_after(client, northwind)
    elsewhere = browser(alice)
    assert elsewhere.get(address)["Location"] == "/"
    assert not Source.objects.exists()
    assert client.get(address)["Location"] == page(northwind)
    Source.objects.all().delete()
    assert client.get(address)["Location"] == "/"
    assert not Source.objects.exists()


def test_it_asks_again_who_may_before_it_stores(x: X, alice: User, northwind: Handle) -> None:
    client = browser(alice)
    address = callback_after(client, northwind)
    Membership.objects.filter(user=alice).update(role=Role.VIEWER)
    assert client.get(address).status_code == 403
    address = callback_after_as_owner(client, alice, northwind)
    Membership.objects.filter(user=alice).delete()
    assert client.get(address).status_code == 404
    assert not Source.objects.exists()


def callback_after_as_owner(client: Client, person: User, handle: Handle) -> str:
    """The same, begun as an owner."""
    Membership.objects.filter(user=person).update(role=Role.OWNER)
    return callback_after(client, handle)


@pytest.mark.parametrize("name", ["connect_x", "disconnect_x"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_it_is_for_editors_of_the_team(
    name: str, method: str, x: X, alice: User, bob: User, charlie: User, northwind: Handle
) -> None:
    address = reverse(name, args=["northwind"])
    asks = {person: getattr(browser(person), method)(address) for person in (alice, bob, charlie, None)}
    if (name, method) == ("disconnect_x", "get"):
        assert {answer.status_code for answer in asks.values()} <= {302, 405}
    else:
        assert asks[alice].status_code == (200 if method == "get" else 302)
        assert (asks[bob].status_code, asks[charlie].status_code) == (403, 404)
    assert "/accounts/login/" in asks[None]["Location"]
    Membership.objects.filter(user=bob).update(role=Role.EDITOR)
    assert browser(bob).get(page(northwind)).status_code == 200


def test_it_opens_neither_sign_in_nor_sign_up(x: X, alice: User, northwind: Handle) -> None:
    address = callback_after(browser(alice), northwind)
    stranger = browser()
    assert "/accounts/login/" in stranger.get(address)["Location"]
    assert "_auth_user_id" not in stranger.session
    assert User.objects.count() == 1
    for name in ("twitter_oauth2_login", "socialaccount_signup", "socialaccount_connections"):
        with pytest.raises(NoReverseMatch):
            reverse(name)


def test_it_is_for_handles_of_x(x: X, alice: User, northwind: Handle) -> None:
    Handle.objects.update(platform=Platform.BLUESKY)
    assert browser(alice).get(page(northwind)).status_code == 404


def test_it_disconnects_here_and_at_x(x: X, alice: User, northwind: Handle) -> None:
    client = browser(alice)
    source = connected(client, northwind)
    client.post(reverse("disconnect_x", args=["northwind"]))
    assert "is disconnected from X" in said(client, northwind)
    source.refresh_from_db()
    northwind.refresh_from_db()
    assert (source.state, source.secrets, x.grants) == (SourceState.DISCONNECTED, {}, [])
    assert northwind.authenticated_at is None
    assert "alice@northwind.example" in source.notes.all()[0].text
    client.post(reverse("disconnect_x", args=["northwind"]))
    assert "is not connected" in said(client, northwind)
    assert connected(client, northwind).pk == source.pk


def test_it_is_where_a_disconnected_source_is_connected_again(x: X, alice: User, northwind: Handle) -> None:
    client = browser(alice)
    source = connected(client, northwind)
    x_account.withdrawn(source, "X has ended the access.")
    shown = client.get(page(northwind)).content.decode()
    assert "X has ended the access." in shown
    assert "Connect with X again" in shown
    assert client.post(reverse("source_act", args=["northwind", source.pk, "reconnect"]))["Location"] == page(northwind)


@pytest.mark.parametrize("fault", [(500, {}), (503, b"")])
def test_it_disconnects_here_when_x_is_away(fault: tuple[int, Any], x: X, alice: User, northwind: Handle) -> None:
    client = browser(alice)
    source = connected(client, northwind)
    x.faults[REVOKE] = [fault, fault]
    client.post(reverse("disconnect_x", args=["northwind"]))
    assert "X could not be told" in said(client, northwind)
    source.refresh_from_db()
    assert source.secrets == {}
    assert "could not be told" in source.notes.all()[0].text


def test_it_says_what_an_admin_has_to_set(alice: User, northwind: Handle) -> None:
    client = browser(alice)
    shown = client.get(page(northwind)).content.decode()
    assert "To connect X, an admin has to set X_CLIENT_ID and X_CLIENT_SECRET." in shown
    assert "http://testserver/accounts/x/callback/" in shown
    assert client.post(page(northwind))["Location"] == page(northwind)
    assert client.get("/accounts/x/callback/?code=1&state=2").status_code == 404


def test_it_logs_no_secret(x: X, alice: User, northwind: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    (console,) = (handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler)
    monkeypatch.setattr(console, "stream", log := io.StringIO())
    client = browser(alice)
    address = callback_after(client, northwind)
    code = re.findall(r"code=([^&]+)", address)[0]
    x.faults[TOKEN] = [(400, {"error": "invalid_request"})]
    client.get(address)
    secrets = [code, x_oauth.CLIENT_SECRET]
    connected(client, northwind)
    secrets += [x.grants[0].access_token, x.grants[0].refresh_token]
    assert not [secret for secret in secrets if secret in log.getvalue()]


@pytest.mark.parametrize("name", ["webhook_create", "webhook_remove"])
def test_it_lets_editors_change_the_webhook(
    name: str, alice: User, bob: User, charlie: User, northwind: Handle
) -> None:
    address = reverse(name, args=["northwind"])
    assert browser(bob).post(address).status_code == 403
    assert browser(charlie).post(address).status_code == 404
    assert "/accounts/login/" in browser().post(address)["Location"]
    assert browser(alice).get(address).status_code == 405
    assert not Source.objects.exists()
    assert browser(alice).post(address).status_code == 302


def test_it_shows_the_address_to_register_with_x(alice: User, northwind: Handle, settings: SettingsWrapper) -> None:
    settings.X_CONSUMER_SECRET = "the installation's"
    client = browser(alice)
    assert "Make the address" in client.get(page(northwind)).content.decode()
    client.post(reverse("webhook_create", args=["northwind"]))
    source = Source.objects.get(kind="x_webhook")
    shown = client.get(page(northwind)).content.decode()
    assert f"http://testserver/webhooks/x/{source.public_id.hex}" in shown
    assert "X cannot be believed yet" not in shown
    client.post(reverse("webhook_remove", args=["northwind"]))
    assert not Source.objects.exists()


def test_it_keeps_a_consumer_secret_sealed(alice: User, northwind: Handle) -> None:
    client = browser(alice)
    client.post(reverse("webhook_create", args=["northwind"]))
    assert "X cannot be believed yet" in client.get(page(northwind)).content.decode()
    client.post(reverse("webhook_create", args=["northwind"]), {"consumer_secret": "a very secret one"})
    source = Source.objects.get()
    assert source.secrets == {"consumer_secret": "a very secret one"}
    assert "a very secret one" not in source.sealed
    shown = client.get(page(northwind)).content.decode()
    assert "X cannot be believed yet" not in shown
    assert "a very secret one" not in shown
    # Pressing the button again keeps it.
    client.post(reverse("webhook_create", args=["northwind"]))
    assert Source.objects.get().secrets == {"consumer_secret": "a very secret one"}
    refused = client.post(reverse("webhook_create", args=["northwind"]), {"consumer_secret": "x" * 201})
    assert refused.status_code == 400
    assert "at most 200 characters" in refused.content.decode()
