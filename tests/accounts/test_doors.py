"""Every settings page, as an owner, a viewer, a stranger and somebody who is not signed in."""

from __future__ import annotations

import re

import pytest
from django.http import HttpResponse
from django.urls import get_resolver, reverse

from accounts import teams
from accounts.models import ApiToken, Handle, Membership, Role, User
from tests.accounts.conftest import browser

pytestmark = pytest.mark.django_db
SIGN_IN = 302
# Below, each page's answers to alice, bob, charlie and somebody who is not signed in.


@pytest.fixture
def addresses(alice: User, bob: User, charlie: User, northwind: Handle, token: str) -> dict[str, str]:
    """The address of every page that belongs to alice's team."""
    team = alice.teams.get()
    invitation, secret = teams.invite(team, "dora@example.com", Role.VIEWER, alice)
    member = Membership.objects.get(user=bob).pk
    return {
        "account": reverse("accounts:account"),
        "team": reverse("accounts:team") + "?team=northwind",
        "invitation_create": reverse("accounts:invitation_create") + "?team=northwind",
        "invitation_withdraw": reverse("accounts:invitation_withdraw", args=[invitation.pk]),
        "member_role": reverse("accounts:member_role", args=[member]),
        "member_remove": reverse("accounts:member_remove", args=[Membership.objects.get(user=alice).pk]),
        "tokens": reverse("accounts:tokens") + "?team=northwind",
        "token_revoke": reverse("accounts:token_revoke", args=[ApiToken.objects.get().pk]),
        "handle_create": reverse("accounts:handle_create") + "?team=northwind",
        "handle_edit": reverse("accounts:handle_edit", args=["northwind"]),
        "invite_accept": reverse("accounts:invite_accept", args=[secret]),
        "setup": reverse("accounts:setup"),
    }


GET = {
    "account": (200, 200, 200, SIGN_IN),
    "team": (200, 200, 404, SIGN_IN),
    "invitation_create": (405, 405, 405, 405),
    "invitation_withdraw": (405, 405, 405, 405),
    "member_role": (405, 405, 405, 405),
    "member_remove": (405, 405, 405, 405),
    "tokens": (200, 200, 404, SIGN_IN),
    "token_revoke": (405, 405, 405, 405),
    "handle_create": (200, 403, 404, SIGN_IN),
    "handle_edit": (200, 403, 404, SIGN_IN),
    "invite_accept": (200, 200, 200, 200),
    "setup": (404, 404, 404, 404),
}
POST = {
    "account": (302, 302, 302, SIGN_IN),
    "team": (405, 405, 405, 405),
    "invitation_create": (200, 403, 404, SIGN_IN),
    "invitation_withdraw": (302, 403, 404, SIGN_IN),
    "member_role": (302, 403, 404, SIGN_IN),
    "member_remove": (302, 403, 404, SIGN_IN),
    "tokens": (200, 403, 404, SIGN_IN),
    "token_revoke": (302, 403, 404, SIGN_IN),
    "handle_create": (302, 403, 404, SIGN_IN),
    "handle_edit": (302, 403, 404, SIGN_IN),
    "setup": (404, 404, 404, 404),
}
FORM = {
    "email": "eve@example.com",
    "role": "viewer",
    "username": "northwind_dk",
    "display_name": "Northwind",
    "platform": "x",
    "time_zone": "UTC",
    "colour": "#123456",
}


def test_it_covers_every_page(addresses: dict[str, str]) -> None:
    names = {key for key in get_resolver("accounts.urls").reverse_dict if isinstance(key, str)}
    assert names == set(addresses) == set(GET)
    assert names - set(POST) == {"invite_accept"}, "posting to it has tests of its own"


@pytest.mark.parametrize("page", GET)
def test_it_lets_the_right_people_read(
    page: str, addresses: dict[str, str], alice: User, bob: User, charlie: User
) -> None:
    answers = [browser(who).get(addresses[page]) for who in (alice, bob, charlie, None)]
    assert tuple(answer.status_code for answer in answers) == GET[page]
    if answers[3].status_code == SIGN_IN:
        assert answers[3]["Location"].startswith(reverse("account_login") + "?next=/settings/")


@pytest.mark.parametrize("page", POST)
def test_it_lets_the_right_people_change(
    page: str, addresses: dict[str, str], alice: User, bob: User, charlie: User
) -> None:
    answers = [browser(who).post(addresses[page], FORM) for who in (None, charlie, bob, alice)]
    assert tuple(answer.status_code for answer in reversed(answers)) == POST[page]


@pytest.mark.parametrize("page", sorted(set(POST) - {"setup", "team"}))
def test_it_refuses_forged_posts(page: str, addresses: dict[str, str], alice: User) -> None:
    client = browser(alice)
    client.handler.enforce_csrf_checks = True
    assert client.post(addresses[page], FORM).status_code == 403


def _without_asking(answer: HttpResponse) -> str:
    """The page without what was asked for and without its forgery token."""
    return re.sub(r'value="\w{64}"|northwind|nowhere|nobody', "", answer.content.decode())


def test_it_answers_strangers_as_if_nothing_were_there(addresses: dict[str, str], charlie: User) -> None:
    client = browser(charlie)
    pairs = [
        (addresses["team"], reverse("accounts:team") + "?team=nowhere"),
        (addresses["team"], reverse("accounts:team") + "?team=%00"),
        (addresses["handle_edit"], reverse("accounts:handle_edit", args=["nobody"])),
    ]
    for forbidden, unknown in pairs:
        one, other = client.get(forbidden), client.get(unknown)
        assert one.status_code == other.status_code == 404
        assert _without_asking(one) == _without_asking(other)
    assert client.post(reverse("accounts:token_revoke", args=[999_999])).status_code == 404


@pytest.mark.parametrize("page", ["team", "tokens", "handle_create"])
def test_it_tells_people_without_a_team_what_to_do(page: str, db: None) -> None:
    dora = User.objects.create(email="dora@example.com")
    answer = browser(dora).get(reverse(f"accounts:{page}"))
    assert answer.status_code == 200
    assert "You are in no team yet" in answer.content.decode()


def test_it_shows_the_first_team_until_another_is_chosen(alice: User, charlie: User) -> None:
    Membership.objects.create(user=alice, team=charlie.teams.get(), role=Role.VIEWER)
    client = browser(alice)
    assert "charlie@acme.example" in client.get(reverse("accounts:team")).content.decode()
    chosen = client.get(reverse("accounts:team") + "?team=northwind").content.decode()
    assert "charlie@acme.example" not in chosen
    assert "?team=acme" in chosen
