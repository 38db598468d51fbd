"""From no data to a live chart: what an empty installation and an empty handle offer to whom."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.utils import timezone

from accounts.credentials import load_credential
from accounts.models import ApiToken, Handle, User
from metrics.models import HandleFeed
from tests.present.test_integrations import as_, text

pytestmark = pytest.mark.django_db
TOKEN = "/h/northwind/first-token/"


def test_an_empty_installation_offers_four_ways(alice: User, bob: User) -> None:
    page = text(as_(alice).get("/"))
    for way in (
        "Add a handle",
        "Connect its account",
        "Import its history",
        "Send events yourself",
        "look at the demo",
    ):
        assert way in page
    assert "Ask an owner of your team" in text(as_(bob).get("/"))


def test_an_empty_handle_leads_to_sources_files_and_the_command(alice: User, bob: User, northwind: Handle) -> None:
    page = text(as_(alice).get("/h/northwind/"))
    for way in ("/h/northwind/sources/#connect", "Import", "make run DEMO=1", "Bearer $TOKEN", TOKEN):
        assert way in page
    assert TOKEN not in text(as_(bob).get("/h/northwind/"))


def test_it_fills_a_new_token_into_the_command(alice: User, northwind: Handle) -> None:
    page = text(as_(alice).post(TOKEN))
    found = re.search(r"Bearer (it_\S+?)[\"\s]", page)
    assert found
    credential = load_credential(found[1])
    assert credential is not None
    assert (credential.scopes, credential.handles) == (frozenset({"ingest"}), {"northwind": northwind.pk})
    token = ApiToken.objects.get()
    assert (token.created_by, token.name) == (alice, "First event")
    assert token.expires_at is not None
    assert found[1] not in text(as_(alice).get("/h/northwind/"))


def test_only_editors_make_it(bob: User, charlie: User, northwind: Handle) -> None:
    assert as_(bob).post(TOKEN).status_code == 403
    assert as_(charlie).post(TOKEN).status_code == 404
    assert Client().post(TOKEN).headers["Location"].startswith("/accounts/login/")
    assert not ApiToken.objects.exists()


def test_it_leads_to_the_dashboard_once_an_event_is_counted(alice: User, charlie: User, northwind: Handle) -> None:
    here, client = "/h/northwind/begun/", as_(alice)
    assert client.get(here).status_code == 204
    HandleFeed.objects.create(handle=northwind, sequence=1, last_received_at=timezone.now())
    assert client.get(here).headers["HX-Redirect"] == "/h/northwind/"
    assert as_(charlie).get(here).status_code == 404
    assert Client().get(here).headers["HX-Refresh"] == "true"
