"""Adding a handle and changing how it is shown."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.models import Handle, User
from tests.accounts.conftest import browser

pytestmark = pytest.mark.django_db
FORM = {
    "username": "northwind_dk",
    "display_name": "Northwind Denmark",
    "platform": "x",
    "time_zone": "Europe/Copenhagen",
    "colour": "#123456",
}


def test_it_adds_a_handle_to_the_chosen_team(alice: User) -> None:
    answer = browser(alice).post(reverse("accounts:handle_create") + "?team=northwind", FORM)
    assert answer["Location"] == "/h/northwind_dk/"
    handle = Handle.objects.get()
    assert (handle.team.slug, handle.time_zone, handle.colour) == (
        "northwind",
        "Europe/Copenhagen",
        "#123456",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"username": "@northwind"},
        {"username": "north wind"},
        {"username": "a" * 65},
        {"username": "ACME"},
        {"time_zone": "Mars/Olympus"},
        {"colour": "red"},
        {"colour": "#12345;"},
        {"platform": "friendster"},
        {"display_name": ""},
    ],
)
def test_it_refuses_what_cannot_be(wrong: dict[str, str], alice: User, acme: Handle) -> None:
    answer = browser(alice).post(reverse("accounts:handle_create"), FORM | wrong)
    assert answer.status_code == 200
    assert "field__error" in answer.content.decode()
    assert Handle.objects.count() == 1


def test_it_can_change_a_handle_of_any_name(alice: User) -> None:
    assert browser(alice).post(reverse("accounts:handle_create"), FORM | {"username": "new"}).status_code == 302
    page = browser(alice).get(reverse("accounts:handle_edit", args=["new"])).content.decode()
    assert 'value="Northwind Denmark"' in page


def test_it_changes_the_looks_but_not_the_username(alice: User, northwind: Handle) -> None:
    address = reverse("accounts:handle_edit", args=["northwind"])
    assert browser(alice).get(address).status_code == 200
    assert browser(alice).post(address, FORM | {"time_zone": "Asia/Kathmandu"}).status_code == 302
    northwind.refresh_from_db()
    assert (northwind.username, northwind.display_name) == ("northwind", "Northwind Denmark")
    assert northwind.time_zone == "Asia/Kathmandu"


def test_it_finds_the_handle_whatever_its_case(alice: User, northwind: Handle) -> None:
    assert browser(alice).get("/settings/handles/NORTHWIND/").status_code == 200
