"""Accounts in Django admin: everything listed, no secret shown."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.urls import reverse

from accounts import teams
from accounts.credentials import issue_token, load_credential
from accounts.models import ApiToken, Handle, Invitation, Role, User
from tests.accounts.conftest import browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(db: None) -> User:
    """A superuser of no team."""
    return User.objects.create_superuser("root@example.com", "a phrase for the admin")


@pytest.mark.parametrize("model", ["user", "team", "membership", "handle", "apitoken", "invitation"])
def test_it_lists_and_shows(model: str, root: User, alice: User, northwind: Handle, token: str) -> None:
    teams.invite(northwind.team, "dora@example.com", Role.VIEWER, alice)
    client = browser(root)
    assert client.get(reverse(f"admin:accounts_{model}_changelist") + "?q=n").status_code == 200
    registered = next(m for m in admin.site._registry if m._meta.model_name == model)
    row = registered._default_manager.first()
    assert row is not None
    page = client.get(reverse(f"admin:accounts_{model}_change", args=[row.pk])).content.decode()
    for digest in (*ApiToken.objects.values_list("digest"), *Invitation.objects.values_list("digest")):
        assert digest[0] not in page


def test_it_tells_which_tokens_sign_and_never_with_what(root: User, northwind: Handle) -> None:
    token, _ = issue_token(northwind.team, "Old scripts", ["read"], [northwind], oauth=True)
    issue_token(northwind.team, "CRM", ["read"], [northwind])
    listed = browser(root).get(reverse("admin:accounts_apitoken_changelist")).content.decode()
    assert listed.count('alt="True"') == listed.count('alt="False"') == 1
    chosen = browser(root).get(reverse("admin:accounts_apitoken_changelist") + "?oauth__isempty=0").content.decode()
    assert "Old scripts" in chosen
    assert "CRM" not in chosen
    page = browser(root).get(reverse("admin:accounts_apitoken_change", args=[token.pk])).content.decode()
    stored = [token.oauth.consumer_secret, token.oauth.access_secret]
    assert not [text for text in (*token.oauth.keys.values(), *stored) if text in page + listed]


def test_it_makes_tokens_and_invitations_nowhere_here(root: User) -> None:
    for model in ("apitoken", "invitation"):
        assert browser(root).get(reverse(f"admin:accounts_{model}_add")).status_code == 403


def test_it_revokes_the_chosen_tokens(root: User, token: str) -> None:
    form = {"action": "revoke", "_selected_action": [ApiToken.objects.get().pk]}
    answer = browser(root).post(reverse("admin:accounts_apitoken_changelist"), form, follow=True)
    assert "1 revoked" in answer.content.decode()
    assert load_credential(token) is None


def test_it_adds_users_by_address_in_lower_case(root: User) -> None:
    form = {
        "email": "Dora@Example.com",
        "usable_password": "true",
        "password1": "a long and private phrase",
        "password2": "a long and private phrase",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    answer = browser(root).post(reverse("admin:accounts_user_add"), form)
    assert answer.status_code == 302
    assert User.objects.filter(email="dora@example.com").exists()
    assert "already exists" in browser(root).post(reverse("admin:accounts_user_add"), form).content.decode()
