"""The Sources page: what each of the cast sees and may do, and how a source's standing reads."""

from __future__ import annotations

from datetime import datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Handle, Membership, Role
from metrics.ingest import connectors, sources
from metrics.ingest.connectors import Connector, Setting, SettingsError, Shift, SourceError
from metrics.ingest.sources import Taken
from metrics.models import Outage, Source, SourceNote, SourceState
from tests.present.test_integrations import as_

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpResponse

    from accounts.models import User

pytestmark = pytest.mark.django_db
HERE = "/h/northwind/sources/"


class Telegraph(Connector):
    """A platform of this test: it takes an address and a key, and refuses addresses that are none."""

    kind, label, description = "telegraph", "Telegraph", "Dots and dashes."
    settings: ClassVar = (
        Setting("url", "Address", "Where it is."),
        Setting("key", "Key", is_secret=True),
        Setting("speed", "Speed", is_required=False, default="20"),
    )
    silent_after_seconds: ClassVar[int | None] = 30
    forgotten: ClassVar[list[str]] = []

    def checked(self, source: Source, given: dict[str, str]) -> dict[str, str]:
        if not given["url"].startswith("https://"):
            raise SettingsError("url", "must start with https://.")
        return super().checked(source, given)

    async def run(self, shift: Shift) -> datetime | None:
        return None

    async def test(self, source: Source) -> str:
        if source.settings["url"].endswith("/down"):
            raise SourceError("nobody is at the other end.")
        return f"answers at speed {source.settings['speed']}."

    def forget(self, source: Source) -> None:
        self.forgotten.append(source.name)


@pytest.fixture(autouse=True)
def telegraph() -> Iterator[None]:
    """Registered for this test alone."""
    connectors.registry.cache_clear()
    connectors.registry()["telegraph"] = Telegraph()
    Telegraph.forgotten.clear()
    yield
    connectors.registry.cache_clear()


@pytest.fixture
def source(northwind: Handle) -> Source:
    """A live telegraph of @northwind's."""
    made = Source(handle=northwind, kind="telegraph", name="Wire", settings={"url": "https://wire", "speed": "20"})
    made.save()
    sources.enter(made, SourceState.LIVE)
    sources.heard(made, Taken(events=1_234_567, ignored={"follow": 3}, newest_at=timezone.now()), lag_ms=1_500)
    return Source.objects.get()


def text(answer: HttpResponse) -> str:
    """What a page says, in one line."""
    return " ".join(unescape(answer.content.decode()).split())


def connect(client: Client, **given: str) -> Any:
    return client.post(f"{HERE}connect/telegraph/", {"url": "https://wire", "key": "secret-key", **given}, follow=True)


def test_it_shows_the_team_what_is_connected(alice: User, bob: User, source: Source) -> None:
    for user in (alice, bob):
        page = text(as_(user).get(HERE))
        for told in ("Wire", "Telegraph", "Live", "1,234,567", "1.5 s", "3 × follow"):
            assert told in page


def test_it_lets_viewers_look_only(bob: User, source: Source) -> None:
    client = as_(bob)
    page = text(client.get(HERE))
    for control in (">Pause", "Remove …", "Make a token", ">Connect<"):
        assert control not in page
    assert connect(client).status_code == 403
    assert client.post(f"{HERE}{source.pk}/pause/").status_code == 403
    assert Source.objects.get().state == SourceState.LIVE


def test_it_shows_strangers_and_visitors_nothing(charlie: User, acme: Handle, source: Source) -> None:
    stranger, visitor = as_(charlie), Client()
    for path in (HERE, f"{HERE}figures/", f"{HERE}trouble/"):
        assert stranger.get(path).status_code == 404
    for path in (f"{HERE}connect/telegraph/", f"{HERE}{source.pk}/remove/", f"/h/acme/sources/{source.pk}/remove/"):
        assert stranger.post(path).status_code == 404
        assert visitor.post(path).headers["Location"].startswith("/accounts/login/")
    assert visitor.get(HERE).headers["Location"].startswith("/accounts/login/")
    assert visitor.get(f"{HERE}figures/").headers["HX-Refresh"] == "true"
    assert not visitor.get(f"{HERE}trouble/").content
    assert Source.objects.exists()


def test_it_connects_a_source_and_seals_its_secrets(alice: User, northwind: Handle) -> None:
    page = text(connect(as_(alice), name="Wire"))
    made = Source.objects.get()
    assert "Wire is connected" in page
    assert (made.settings, made.secrets) == ({"url": "https://wire", "speed": "20"}, {"key": "secret-key"})
    assert "secret-key" not in made.sealed + page
    assert made.created_by == alice


@pytest.mark.parametrize(
    ("given", "field", "complaint"),
    [
        ({"url": "ftp://wire"}, "url", "must start with https://."),
        ({"url": ""}, "url", "needed"),
        ({"key": ""}, "key", "needed"),
        ({"name": "Wire"}, "name", "there is a source"),
    ],
)
def test_it_names_the_field_that_is_wrong(
    alice: User, source: Source, given: dict[str, str], field: str, complaint: str
) -> None:
    answer = connect(as_(alice), **{"name": "Second", **given})
    assert answer.status_code == 400
    page = text(answer)
    assert complaint.lower() in page.lower()
    assert f'name="{field}"' in page.split('aria-invalid="true"')[0].rpartition("<input")[2]
    assert "secret-key" not in page
    assert Source.objects.count() == 1


def test_it_has_no_form_for_an_unknown_kind(alice: User, northwind: Handle) -> None:
    assert as_(alice).post(f"{HERE}connect/pigeon/").status_code == 404


def test_editors_pause_and_resume(alice: User, bob: User, source: Source) -> None:
    Membership.objects.filter(user=bob).update(role=Role.EDITOR)
    client = as_(bob)
    client.post(f"{HERE}{source.pk}/pause/")
    paused = Source.objects.get()
    assert (paused.state, paused.reason) == (SourceState.PAUSED, "by bob@northwind.example")
    assert Outage.objects.get().until is None
    assert "Paused since" in text(client.get(HERE))
    client.post(f"{HERE}{source.pk}/resume/")
    assert Source.objects.get().state == SourceState.STARTING
    assert Outage.objects.get().until is not None


def test_it_says_when_a_button_comes_too_late(alice: User, source: Source) -> None:
    page = text(as_(alice).post(f"{HERE}{source.pk}/resume/", follow=True))
    assert "that is not possible now" in page
    assert Source.objects.get().state == SourceState.LIVE


def test_it_tests_a_connection(alice: User, source: Source) -> None:
    client = as_(alice)
    assert "Wire: answers at speed 20." in text(client.post(f"{HERE}{source.pk}/test/", follow=True))
    Source.objects.update(settings={"url": "https://wire/down"})
    assert "Wire: nobody is at the other end." in text(client.post(f"{HERE}{source.pk}/test/", follow=True))


def test_it_removes_a_source_and_withdraws_what_was_granted(alice: User, source: Source) -> None:
    page = text(as_(alice).post(f"{HERE}{source.pk}/remove/", follow=True))
    assert "What it brought stays counted" in page
    assert not Source.objects.exists()
    assert Telegraph.forgotten == ["Wire"]


def test_it_tells_each_state_in_words(alice: User, source: Source) -> None:
    client, now = as_(alice), timezone.now()
    sources.enter(source, SourceState.FAILING, "the other end refused the key.")
    assert "the other end refused the key." in text(client.get(HERE))
    assert "Reconnect" in text(client.get(HERE))
    sources.enter(source, SourceState.LIMITED, "15 calls in 15 minutes.", now + timedelta(minutes=5))
    assert "Rate-limited until" in text(client.get(HERE))
    sources.enter(source, SourceState.CATCHING_UP, "2 hours to go")
    assert ": 2 hours to go" in text(client.get(HERE))
    sources.enter(source, SourceState.DISCONNECTED, "access was withdrawn.")
    assert "access was withdrawn." in text(client.get(HERE))


def test_it_keeps_the_last_fifty_notes(alice: User, source: Source) -> None:
    for number in range(60):
        sources.note(source, f"note number {number}.")
    page = text(as_(alice).get(HERE))
    assert "note number 59." in page
    assert "note number 10." in page
    assert "note number 9." not in page
    assert SourceNote.objects.count() == 50


def test_the_dashboard_says_that_a_source_is_silent(alice: User, source: Source) -> None:
    client = as_(alice)
    assert not text(client.get(f"{HERE}trouble/"))
    Source.objects.update(last_heard_at=timezone.now() - timedelta(minutes=2))
    assert "Wire silent since" in text(client.get(f"{HERE}trouble/"))
    assert "Wire silent since" in text(client.get("/h/northwind/"))
    assert "Silent since" in text(client.get(HERE))
    sources.enter(source, SourceState.PAUSED)
    assert not text(client.get(f"{HERE}trouble/"))


def test_it_lists_who_may_send_events(alice: User, northwind: Handle, ingest_token: str, read_token: str) -> None:
    page = text(as_(alice).get(HERE))
    assert "1 token may send events of @northwind" in page
    assert ingest_token[:11] in page
    assert ingest_token not in page
    assert read_token[:11] not in page


def test_it_asks_again_for_the_moving_parts_only(alice: User, source: Source) -> None:
    part = text(as_(alice).get(f"{HERE}figures/"))
    assert f'id="source-{source.pk}-now" hx-swap-oob="true"' in part
    assert "<form" not in part
