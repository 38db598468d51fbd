"""Invitation links: for newcomers, for people who have an account, once, and for seven days."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from accounts import teams
from accounts.models import Invitation, Membership, Role, User
from tests.accounts.conftest import browser
from tests.cast import PASSWORD

pytestmark = pytest.mark.django_db
ACCOUNT = {"first_name": "Dora", "last_name": "Lind", "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture
def link(alice: User) -> str:
    """The address of an invitation for dora, an editor to be."""
    _, secret = teams.invite(alice.teams.get(), "Dora@Example.com", Role.EDITOR, alice)
    return reverse("accounts:invite_accept", args=[secret])


def test_it_shows_the_link_once_to_the_owner_who_makes_it(alice: User) -> None:
    client = browser(alice)
    answer = client.post(reverse("accounts:invitation_create"), {"email": "dora@example.com", "role": "viewer"})
    found = re.search(r"http://testserver(/settings/invitations/([\w-]{43})/)", answer.content.decode())
    assert found
    assert "no-store" in answer["Cache-Control"]
    assert found[2] not in client.get(reverse("accounts:team")).content.decode()
    with connection.cursor() as cursor:
        cursor.execute("SELECT i::text FROM accounts_invitation i")
        assert found[2] not in str(cursor.fetchall())
    assert browser().get(found[1]).status_code == 200


def test_it_makes_an_account_and_signs_in(link: str) -> None:
    client = browser()
    assert "dora@example.com" in client.get(link).content.decode()
    assert client.post(link, ACCOUNT).status_code == 302
    dora = User.objects.get(email="dora@example.com")
    assert client.session["_auth_user_id"] == str(dora.pk)
    assert (dora.memberships.get().role, dora.is_staff) == (Role.EDITOR, False)
    again = browser().post("/accounts/login/", {"login": "dora@example.com", "password": PASSWORD})
    assert again.status_code == 302


def test_it_cannot_choose_another_address_or_rights(link: str) -> None:
    browser().post(link, ACCOUNT | {"email": "eve@example.com", "is_staff": "on", "role": "owner"})
    dora = User.objects.exclude(email="alice@northwind.example").get()
    assert (dora.email, dora.is_staff, dora.memberships.get().role) == (
        "dora@example.com",
        False,
        Role.EDITOR,
    )


@pytest.mark.parametrize(
    "passwords", [("short", "short"), (PASSWORD, "different"), ("dora@example.com", "dora@example.com")]
)
def test_it_refuses_weak_passwords(link: str, passwords: tuple[str, str]) -> None:
    answer = browser().post(link, ACCOUNT | {"password1": passwords[0], "password2": passwords[1]})
    assert answer.status_code == 200
    assert "field__error" in answer.content.decode()
    assert User.objects.count() == 1


def test_it_adds_a_team_to_the_account_that_is_signed_in(link: str, charlie: User) -> None:
    client = browser(charlie)
    assert "was made for dora@example.com" in client.get(link).content.decode()
    assert not charlie.teams.filter(slug="northwind").exists(), "looking is not joining"
    assert client.post(link).status_code == 302
    assert charlie.memberships.get(team__slug="northwind").role == Role.EDITOR


def test_it_asks_people_with_an_account_to_sign_in_first(alice: User, charlie: User) -> None:
    _, secret = teams.invite(alice.teams.get(), charlie.email, Role.VIEWER, alice)
    link = reverse("accounts:invite_accept", args=[secret])
    for answer in (browser().get(link), browser().post(link, ACCOUNT)):
        assert answer["Location"] == f"/accounts/login/?next={link}"
    assert User.objects.filter(email__iexact=charlie.email).count() == 1


def test_it_works_once(link: str, charlie: User) -> None:
    browser().post(link, ACCOUNT)
    for who in (None, charlie):
        assert browser(who).get(link).status_code == 404
        assert browser(who).post(link, ACCOUNT).status_code == 404
    assert not charlie.teams.filter(slug="northwind").exists()


def test_it_stays_open_when_a_member_follows_it(link: str, bob: User) -> None:
    browser(bob).post(link)
    assert bob.memberships.get().role == Role.VIEWER
    assert browser().get(link).status_code == 200


def test_it_ends_after_seven_days(link: str) -> None:
    left = Invitation.objects.get().expires_at - timezone.now()
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    Invitation.objects.update(expires_at=timezone.now())
    assert browser().post(link, ACCOUNT).status_code == 404
    assert User.objects.count() == 1


def test_it_can_be_withdrawn(link: str, alice: User) -> None:
    pk = Invitation.objects.get().pk
    assert browser(alice).post(reverse("accounts:invitation_withdraw", args=[pk])).status_code == 302
    assert browser().get(link).status_code == 404


def test_it_answers_gone_and_unknown_links_alike(link: str) -> None:
    unknown = browser().get(reverse("accounts:invite_accept", args=["x" * 43]))
    Invitation.objects.update(expires_at=timezone.now())
    gone = browser().get(link)
    assert gone.status_code == unknown.status_code == 404
    assert gone.content == unknown.content


def test_it_lets_nobody_but_owners_invite(bob: User) -> None:
    Membership.objects.filter(user=bob).update(role=Role.EDITOR)
    answer = browser(bob).post(reverse("accounts:invitation_create"), {"email": "dora@example.com", "role": "owner"})
    assert answer.status_code == 403
    assert not Invitation.objects.exists()
