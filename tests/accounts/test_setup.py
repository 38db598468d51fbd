"""The first visit to an empty installation."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.forms import SetupForm
from accounts.models import Handle, Role, User
from accounts.setup import AlreadySetUpError, found, is_empty_installation, setup_code
from tests.accounts.conftest import browser
from tests.cast import PASSWORD

pytestmark = pytest.mark.django_db
SETUP = "/settings/setup/"


def _form(**more: str) -> dict[str, str]:
    form = {
        "code": setup_code(),
        "email": "Alice@Northwind.example",
        "password1": PASSWORD,
        "password2": PASSWORD,
        "team_name": "Northwind Coffee",
        "username": "northwind",
        "display_name": "Northwind Coffee",
        "platform": "x",
        "time_zone": "Europe/Copenhagen",
        "colour": "#0b6e69",
    }
    return form | more


def test_it_makes_owner_team_and_handle_and_signs_in() -> None:
    client = browser()
    assert client.get("/", follow=True).redirect_chain[-1] == (SETUP, 302), "the first visit leads here"
    assert client.get(SETUP).status_code == 200
    assert client.post(SETUP, _form(code=setup_code().lower().replace("-", " "))).status_code == 302
    alice = User.objects.get()
    assert (alice.email, alice.is_superuser, alice.is_staff) == ("alice@northwind.example", True, True)
    assert alice.memberships.get().role == Role.OWNER
    assert alice.teams.get().slug == "northwind-coffee"
    assert Handle.objects.get(username="northwind").team == alice.teams.get()
    assert client.session["_auth_user_id"] == str(alice.pk)
    assert client.get("/admin/").status_code == 200


def test_it_works_once() -> None:
    assert browser().post(SETUP, _form()).status_code == 302
    assert browser().get(SETUP).status_code == 404
    assert browser().post(SETUP, _form(email="eve@example.com")).status_code == 404
    assert browser().get("/accounts/login/").status_code == 200
    assert User.objects.count() == 1


def test_it_lets_only_one_of_two_founders_in() -> None:
    first, second = SetupForm(_form()), SetupForm(_form(email="eve@example.com", username="eve"))
    assert first.is_valid()
    assert second.is_valid()
    found(first)
    with pytest.raises(AlreadySetUpError):
        found(second)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": ""},
        {"code": "AAAA-AAAA-AAAA-AAAA-AAAA-AAAA"},
        {"code": "☕"},
        {"email": "nobody"},
        {"password2": "different"},
        {"username": "@northwind"},
        {"team_name": ""},
    ],
)
def test_it_makes_nothing_when_anything_is_wrong(wrong: dict[str, str]) -> None:
    answer = browser().post(SETUP, _form(**wrong))
    assert answer.status_code == 200
    assert "field__error" in answer.content.decode()
    assert is_empty_installation()
    assert not Handle.objects.exists()


def test_it_prints_the_same_code_until_somebody_has_used_it(alice: User, settings) -> None:
    with pytest.raises(CommandError, match="set up"):
        call_command("setup_code", stdout=StringIO())
    User.objects.all().delete()
    printed = []
    for _ in range(2):
        out = StringIO()
        call_command("setup_code", stdout=out)
        printed.append(out.getvalue())
    assert printed[0] == printed[1] == setup_code() + "\n"
    settings.SECRET_KEY = "another installation"
    assert setup_code() + "\n" != printed[0]


def test_it_refuses_forged_posts() -> None:
    client = browser()
    client.handler.enforce_csrf_checks = True
    assert client.post(SETUP, _form()).status_code == 403
    assert is_empty_installation()
