"""The Import page: what each of the cast sees and may do, decisions, the report, and the news of progress."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.test import Client
from django.utils import timezone

from accounts.models import Handle, Membership, Role
from metrics.models import FileImport, ImportPiece, ImportProblem, ImportState
from metrics.present import hub, import_news, live

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from django.http import HttpResponse

    from accounts.models import User

pytestmark = pytest.mark.django_db
HERE = "/h/northwind/import/"
BODY = b"Tweet id,likes\n1,2\n"
STAMP = datetime(2026, 2, 6, 17, 30, tzinfo=UTC)


def as_(user: User) -> Client:
    """A browser signed in as this person."""
    client = Client()
    client.force_login(user)
    return client


def text(answer: HttpResponse) -> str:
    """What a page says."""
    return unescape(answer.content.decode())


def an_import(handle: Handle, user: User | None, state: ImportState = ImportState.READY, **more: Any) -> FileImport:
    """An import in this state."""
    given = {"filename": "export.csv", "size": 100, "received": 100, "modified_at": STAMP} | more
    return FileImport.objects.create(handle=handle, created_by=user, state=state, **given)


# --- who may what ---------------------------------------------------------------------------------------------------


def test_it_shows_the_team_what_is_imported(alice: User, bob: User, northwind: Handle) -> None:
    an_import(northwind, alice, ImportState.RUNNING, filename="running.csv", rows=2_000, read=500, started_at=STAMP)
    an_import(northwind, alice, ImportState.DONE, filename="before.csv", imported=12_345, refused=3)
    for user, may in ((alice, True), (bob, False)):
        page = text(as_(user).get(HERE))
        for told in ("running.csv", "500 of 2,000 rows", "before.csv", "12,345", "alice@northwind.example"):
            assert told in page, told
        for control in ("Choose files", "Cancel", "csrfmiddlewaretoken"):
            assert (control in page.split("</header>", 1)[1]) is may, control
        assert ("Editors and owners of Northwind import files" in page) is not may


@pytest.mark.parametrize("path", ["", "live.json", "{pk}/", "{pk}/card/", "{pk}/refused.csv"])
def test_it_hides_everything_from_strangers(
    alice: User, bob: User, charlie: User, northwind: Handle, acme: Handle, path: str
) -> None:
    address = HERE + path.format(pk=an_import(northwind, alice, ImportState.DONE).pk)
    assert [as_(user).get(address).status_code for user in (alice, bob)] == [200, 200]
    assert as_(charlie).get(address).status_code == 404
    # Not by the way of their own handle either.
    if "{pk}" in path:
        assert as_(charlie).get(address.replace("northwind", "acme")).status_code == 404
    answer = Client().get(address)
    assert (
        answer.status_code == 401 or "HX-Refresh" in answer.headers or "/accounts/login/" in answer.headers["Location"]
    )


@pytest.mark.parametrize("action", ["start", "cancel"])
def test_it_lets_only_owners_and_editors_act(
    alice: User, bob: User, charlie: User, northwind: Handle, action: str
) -> None:
    state = ImportState.RUNNING if action == "cancel" else ImportState.READY
    file = an_import(northwind, alice, state)
    address = f"{HERE}{file.pk}/{action}/"
    assert as_(bob).post(address).status_code == 403
    assert as_(charlie).post(address).status_code == 404
    assert "/accounts/login/" in Client().post(address).headers["Location"]
    file.refresh_from_db()
    assert (file.state, file.is_cancel_asked) == (state, False)
    Membership.objects.filter(user=bob).update(role=Role.EDITOR)
    as_(bob).post(address, {"exported_at": "2026-02-06T18:30:00"})
    file.refresh_from_db()
    assert (file.state, file.is_cancel_asked) != (state, False)


def test_it_escapes_names_on_the_page(alice: User, northwind: Handle) -> None:
    an_import(northwind, alice, ImportState.RUNNING, filename="<img src=x onerror=alert(1)>.csv")
    page = as_(alice).get(HERE).content.decode()
    assert "<img" not in page
    assert "&lt;img src=x" in page


# --- decisions ------------------------------------------------------------------------------------------------------


def test_it_starts_with_the_moment_in_the_handles_zone(alice: User, northwind: Handle) -> None:
    file = an_import(northwind, alice)
    client = as_(alice)
    assert 'value="2026-02-06T18:30:00"' in text(client.get(f"{HERE}{file.pk}/card/"))  # the file's own, in Copenhagen
    page = client.post(f"{HERE}{file.pk}/start/", {"exported_at": "2026-02-05T09:00"}, headers={"HX-Request": "true"})
    assert 'data-state="running"' in text(page)
    file.refresh_from_db()
    assert file.exported_at == datetime(2026, 2, 5, 8, 0, tzinfo=UTC)
    assert file.started_at is not None
    assert client.post(f"{HERE}{file.pk}/start/", {"exported_at": "2026-02-05T09:00"}).status_code == 302
    assert "it cannot be started" in text(client.get(HERE))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "Counts as of: give a day and a time"),
        ("yesterday", "Counts as of: give a day and a time"),
        ("2999-01-01T00:00", "lies in the future"),
        ("1999-01-01T00:00", "before the first Tweet"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_it_says_what_is_wrong_with_the_moment(
    alice: User, northwind: Handle, given: str, told: str, headers: dict[str, str]
) -> None:
    file = an_import(northwind, alice)
    answer = as_(alice).post(f"{HERE}{file.pk}/start/", {"exported_at": given}, headers=headers)
    assert answer.status_code == 400
    assert told in text(answer)
    file.refresh_from_db()
    assert file.state == ImportState.READY


@pytest.mark.parametrize("state", ["uploading", "reading", "ready"])
def test_it_discards_before_anything_is_written(alice: User, northwind: Handle, state: str) -> None:
    file = an_import(northwind, alice, ImportState(state))
    ImportPiece.objects.create(file=file, offset=0, data=BODY)
    assert as_(alice).post(f"{HERE}{file.pk}/cancel/").status_code == 302
    file.refresh_from_db()
    assert file.state == ImportState.CANCELLED
    assert not ImportPiece.objects.exists()


def test_it_cancels_only_what_runs(alice: User, northwind: Handle) -> None:
    client = as_(alice)
    file = an_import(northwind, alice, ImportState.RUNNING, seen_at=timezone.now())  # a worker is at it
    assert "Stopping" in text(client.post(f"{HERE}{file.pk}/cancel/", headers={"HX-Request": "true"}))
    file.refresh_from_db()
    assert file.is_cancel_asked
    done = an_import(northwind, alice, ImportState.DONE)
    page = text(client.post(f"{HERE}{done.pk}/cancel/", follow=True))
    assert "“export.csv” is imported: there is nothing to cancel." in page
    done.refresh_from_db()
    assert (done.state, done.is_cancel_asked) == (ImportState.DONE, False)


# --- the report -----------------------------------------------------------------------------------------------------


def test_it_gives_the_refused_rows_as_csv(alice: User, northwind: Handle) -> None:
    file = an_import(northwind, alice, ImportState.DONE, refused=2)
    for line, detail in ((9, "=HYPERLINK(1)"), (2, "likes: “x” is no number.")):
        ImportProblem.objects.create(file=file, line=line, field="likes", reason="bad_number", detail=detail)
    answer = as_(alice).get(f"{HERE}{file.pk}/refused.csv")
    assert f"northwind_import_{file.pk}_refused.csv" in answer["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(answer.getvalue().decode())))
    assert rows == [
        ["line", "column", "reason", "detail"],
        ["2", "likes", "bad_number", "likes: “x” is no number."],
        ["9", "likes", "bad_number", "'=HYPERLINK(1)"],
    ]


def test_it_reports_what_became_of_a_file(alice: User, northwind: Handle) -> None:
    now = timezone.now()
    file = an_import(
        northwind,
        alice,
        ImportState.DONE,
        read=1_500,
        imported=1_200,
        unchanged=298,
        refused=2,
        rows=1_500,
        started_at=now - timedelta(seconds=65),
        ended_at=now,
        exported_at=STAMP,
    )
    ImportProblem.objects.create(file=file, line=1_203, field="likes", reason="bad_number", detail="No number.")
    page = text(as_(alice).get(f"{HERE}{file.pk}/"))
    for told in ("1,200", "298", "1,203", "No number.", "1,500 rows in 1 min 5 s", "6 Feb 2026, 18:30"):
        assert told in page, told
    failed = an_import(northwind, alice, ImportState.FAILED, error="This is a PDF, not CSV.")
    page = text(as_(alice).get(f"{HERE}{failed.pk}/"))
    assert "This is a PDF, not CSV." in page
    assert "Nothing was imported." in page


def test_it_pages_former_imports(alice: User, northwind: Handle) -> None:
    for number in range(27):
        an_import(northwind, alice, ImportState.DONE, filename=f"number-{number}.csv")
    first, second = (text(as_(alice).get(f"{HERE}?page={page}")) for page in ("1", "2"))
    assert "number-26.csv" in first
    assert "number-1.csv" not in first
    assert "number-1.csv" in second
    assert "27 files" in first


# --- the news -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "more", "share", "words"),
    [
        ("uploading", {"received": 25}, 0.25, "25\xa0bytes of 100\xa0bytes are here"),
        ("reading", {}, None, "Looking at the file. Nothing is imported yet."),
        ("ready", {}, None, ""),
        ("running", {"rows": 1_000}, 0.0, "Waiting for a worker …"),
        ("running", {"rows": 4_000, "read": 1_000}, 0.25, "1,000 of 4,000 rows · 100 a second · 30 s left"),
        ("running", {"read": 1_000}, None, "1,000 rows · 100 a second"),
        ("running", {"rows": 10, "read": 10, "is_cancel_asked": True}, 1.0, "Stopping after the rows in hand …"),
        ("done", {}, None, ""),
    ],
)
def test_it_says_how_an_import_stands(
    alice: User, northwind: Handle, state: str, more: dict[str, Any], share: float | None, words: str
) -> None:
    file = an_import(northwind, alice, ImportState(state), started_at=STAMP, **more)
    told = import_news.told(file, STAMP + timedelta(seconds=10))
    assert (told["share"], told["words"]) == (share, words)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59, "59 s"), (125, "2 min 5 s"), (3_600, "1 h"), (4_320, "1 h 12 min")]
)
def test_it_says_how_long(seconds: float, words: str) -> None:
    assert import_news.duration(seconds) == words


@pytest.fixture
async def own_hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """A hub of this test's event loop."""
    own = hub.Hub()
    monkeypatch.setattr(hub, "_hub", own)
    yield
    await own.aclose()
    await get_channel_layer().flush()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("viewer", ["alice", "bob"])
async def test_it_tells_open_pages_over_the_live_socket(
    own_hub: None, viewer: str, alice: User, bob: User, northwind: Handle
) -> None:
    socket = WebsocketCommunicator(live.LiveSocket.as_asgi(), "/ws/live/?handle=northwind")
    socket.scope["user"] = {"alice": alice, "bob": bob}[viewer]
    await socket.connect()
    assert json.loads(await socket.receive_from(5))["kind"] == "hello"
    file = await sync_to_async(an_import)(northwind, alice, ImportState.RUNNING, rows=100, read=10)
    await sync_to_async(import_news.announce)(file)
    file.state = ImportState.DONE
    await sync_to_async(import_news.announce)(file)
    told = [json.loads(await socket.receive_from(5)) for _ in range(2)]
    assert [(one["kind"], one["handle"]) for one in told] == [("import", "northwind")] * 2
    assert told[0]["import"] == {
        "id": file.pk,
        "state": "running",
        "received": 100,
        "share": 0.1,
        "words": "10 of 100 rows",
    }
    assert told[1]["import"]["state"] == "done"
    await socket.disconnect()


def test_it_answers_a_page_that_asks(alice: User, northwind: Handle) -> None:
    running = an_import(northwind, alice, ImportState.RUNNING)
    ended = an_import(northwind, alice, ImportState.DONE, ended_at=timezone.now())
    an_import(northwind, alice, ImportState.DONE, ended_at=timezone.now() - timedelta(hours=2))
    told = as_(alice).get(f"{HERE}live.json").json()
    assert {one["id"]: one["state"] for one in told["imports"]} == {running.pk: "running", ended.pk: "done"}
