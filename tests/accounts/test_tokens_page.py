"""The tokens page and `create_token`: a secret is seen once."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from accounts.credentials import load_credential
from accounts.models import ApiToken, Handle, Membership, OAuthCredentials, Role, User
from tests.accounts.conftest import browser

pytestmark = pytest.mark.django_db
SECRET = re.compile(r"it_[0-9a-f]{8}_[\w-]{43}")


def _form(*handles: Handle, **more: object) -> dict[str, object]:
    form = {"name": "CRM", "scopes": ["ingest"], "handles": [h.pk for h in handles], "expires": "30"}
    return form | more


def test_it_shows_a_new_secret_once_and_never_caches_it(alice: User, northwind: Handle) -> None:
    client = browser(alice)
    answer = client.post(reverse("accounts:tokens"), _form(northwind))
    secrets = set(SECRET.findall(answer.content.decode()))
    assert len(secrets) == 1
    assert "no-store" in answer["Cache-Control"]
    credential = load_credential(secrets.pop())
    assert credential is not None
    assert credential.handles == {"northwind": northwind.pk}
    later = client.get(reverse("accounts:tokens")).content.decode()
    assert not SECRET.search(later)
    assert ApiToken.objects.get().digest not in later
    assert ApiToken.objects.get().prefix in later


def test_it_shows_oauth_credentials_once_with_the_clients_file(alice: User, northwind: Handle) -> None:
    client = browser(alice)
    form = _form(northwind, scopes=["read"], oauth="on")
    answer = client.post(reverse("accounts:tokens"), form, headers={"host": "localhost:8765"}).content.decode()
    keys = OAuthCredentials.objects.get().keys
    assert all(f">{value}<" in answer for value in keys.values())
    file = re.search(r"<pre[^>]* id=\"oauth-file\"[^>]*>(.*?)</pre>", answer, re.DOTALL)
    assert file is not None
    assert yaml.safe_load(file[1]) == {
        "engagement": {
            "url": "http://localhost:8765/insights/engagement",
            "consumer_key": keys["consumer_key"],
            "consumer_secret": keys["consumer_secret"],
            "token": keys["access_token"],
            "token_secret": keys["access_token_secret"],
        }
    }
    later = client.get(reverse("accounts:tokens")).content.decode()
    assert "OAuth 1.0a</span>" in later
    assert not [value for value in keys.values() if value in later]


def test_it_makes_oauth_credentials_only_when_asked_and_only_to_read(alice: User, northwind: Handle) -> None:
    client = browser(alice)
    refused = client.post(reverse("accounts:tokens"), _form(northwind, scopes=["ingest"], oauth="on"))
    assert "field__error" in refused.content.decode()
    assert not ApiToken.objects.exists()
    client.post(reverse("accounts:tokens"), _form(northwind))
    assert not OAuthCredentials.objects.exists()
    ticked = client.get(reverse("accounts:tokens") + "?oauth").content.decode()
    assert re.search(r'name="oauth"[^>]* checked', ticked)
    assert re.search(r'value="read"[^>]* checked', ticked)


def test_it_records_who_made_it_and_when_it_ends(alice: User, northwind: Handle) -> None:
    browser(alice).post(reverse("accounts:tokens"), _form(northwind))
    token = ApiToken.objects.get()
    assert token.created_by == alice
    assert token.expires_at is not None
    assert abs(token.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    browser(alice).post(reverse("accounts:tokens"), _form(northwind, expires="never"))
    assert ApiToken.objects.filter(expires_at=None).count() == 1


def test_it_covers_no_handle_of_another_team(alice: User, northwind: Handle, acme: Handle) -> None:
    for form in (_form(acme), _form(northwind, acme), _form(), _form(northwind, scopes=["root"])):
        answer = browser(alice).post(reverse("accounts:tokens"), form)
        assert "field__error" in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_it_revokes(alice: User, token: str) -> None:
    stored = ApiToken.objects.get()
    client = browser(alice)
    client.post(reverse("accounts:token_revoke", args=[stored.pk]))
    assert load_credential(token) is None
    first = ApiToken.objects.get().revoked_at
    client.post(reverse("accounts:token_revoke", args=[stored.pk]))
    assert ApiToken.objects.get().revoked_at == first
    assert "Revoked" in client.get(reverse("accounts:tokens")).content.decode()


def test_it_lets_editors_make_and_viewers_look(bob: User, northwind: Handle, token: str) -> None:
    page = browser(bob).get(reverse("accounts:tokens")).content.decode()
    assert ApiToken.objects.get().prefix in page
    assert "Revoke" not in page
    Membership.objects.filter(user=bob).update(role=Role.EDITOR)
    assert SECRET.search(browser(bob).post(reverse("accounts:tokens"), _form(northwind)).content.decode())


def test_it_prints_the_secret_alone(northwind: Handle) -> None:
    out, err = StringIO(), StringIO()
    arguments = ["--handle", "@NorthWind", "--scope", "ingest", "--scope", "read"]
    call_command("create_token", *arguments, stdout=out, stderr=err)
    assert SECRET.fullmatch(out.getvalue().removesuffix("\n"))
    assert err.getvalue() == ""
    credential = load_credential(out.getvalue().strip())
    assert credential is not None
    assert credential.scopes == {"ingest", "read"}


def test_it_prints_a_token_that_ends(northwind: Handle) -> None:
    arguments = ["--handle", "northwind", "--scope", "read", "--name", "CRM", "--expires-days", "7"]
    call_command("create_token", *arguments, stdout=StringIO())
    token = ApiToken.objects.get()
    assert token.name == "CRM"
    assert token.expires_at is not None
    assert timezone.now() + timedelta(days=6) < token.expires_at < timezone.now() + timedelta(days=8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--handle", "nobody"], "there is no handle “nobody”"),
        (["--handle", "northwind", "--handle", "acme"], "one team"),
        (["--handle", "northwind", "--expires-days", "0"], "whole number of days"),
    ],
)
def test_it_says_in_one_line_what_is_wrong(arguments: list[str], message: str, northwind: Handle, acme: Handle) -> None:
    out = StringIO()
    with pytest.raises(CommandError, match=message) as refusal:
        call_command("create_token", *arguments, "--scope", "read", stdout=out)
    assert "\n" not in str(refusal.value)
    assert refusal.value.returncode == 1
    assert out.getvalue() == ""
    assert not ApiToken.objects.exists()
