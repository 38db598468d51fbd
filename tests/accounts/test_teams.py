"""Roles and leaving: owners decide, and a team keeps one."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.models import Membership, Role, User
from tests.accounts.conftest import browser

pytestmark = pytest.mark.django_db


def _address(name: str, user: User) -> str:
    return reverse(f"accounts:{name}", args=[Membership.objects.get(user=user).pk])


def test_it_gives_another_role(alice: User, bob: User) -> None:
    browser(alice).post(_address("member_role", bob), {"role": "editor"})
    assert bob.memberships.get().role == Role.EDITOR


def test_it_refuses_roles_that_do_not_exist(alice: User, bob: User) -> None:
    assert browser(alice).post(_address("member_role", bob), {"role": "god"}).status_code == 404
    assert bob.memberships.get().role == Role.VIEWER


@pytest.mark.parametrize("page", ["member_role", "member_remove"])
def test_it_keeps_the_last_owner(page: str, alice: User, bob: User) -> None:
    answer = browser(alice).post(_address(page, alice), {"role": "viewer"}, follow=True)
    assert "needs an owner" in answer.content.decode()
    assert alice.memberships.get().role == Role.OWNER


def test_it_lets_an_owner_go_when_there_is_another(alice: User, bob: User) -> None:
    browser(alice).post(_address("member_role", bob), {"role": "owner"})
    assert browser(alice).post(_address("member_remove", alice))["Location"] == reverse("accounts:account")
    assert not alice.teams.exists()


def test_it_takes_a_member_out_and_closes_the_handles_to_them(alice: User, bob: User, northwind) -> None:
    client = browser(bob)
    assert client.get(reverse("accounts:team") + "?team=northwind").status_code == 200
    browser(alice).post(_address("member_remove", bob))
    assert client.get(reverse("accounts:team") + "?team=northwind").status_code == 404


def test_it_lets_a_viewer_leave_but_not_remove(alice: User, bob: User) -> None:
    assert browser(bob).post(_address("member_remove", alice)).status_code == 403
    assert browser(bob).post(_address("member_remove", bob)).status_code == 302
    assert not bob.teams.exists()


def test_it_does_not_let_editors_change_roles(alice: User, bob: User) -> None:
    Membership.objects.filter(user=bob).update(role=Role.EDITOR)
    assert browser(bob).post(_address("member_role", bob), {"role": "owner"}).status_code == 403


def test_it_shows_viewers_no_controls(alice: User, bob: User, northwind) -> None:
    page = browser(bob).get(reverse("accounts:team")).content.decode()
    assert "alice@northwind.example" in page
    for control in ("Invite somebody", "Add a handle", "/role/", ">Edit<"):
        assert control not in page


def test_it_saves_ones_name(alice: User) -> None:
    browser(alice).post(reverse("accounts:account"), {"first_name": "Alicia", "last_name": "<b>"})
    alice.refresh_from_db()
    assert alice.first_name == "Alicia"
    assert "<b>" not in browser(alice).get(reverse("accounts:team")).content.decode().replace("&lt;b&gt;", "")
