"""django-allauth's and django-axes' questions, answered for people who join by invitation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allauth.account.adapter import DefaultAccountAdapter, get_adapter
from django.core.exceptions import PermissionDenied
from django.urls import reverse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest


class InvitationOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth ships no types
    """Nobody signs up on their own: accounts come from an invitation link or from the first set-up."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "The address or the password is not correct. Check both and try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Always closed."""
        return False

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Back to the person's own page."""
        return reverse("accounts:account")

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Leave counting wrong passwords to django-axes; allauth still counts wrong codes."""


def attempted_email(request: HttpRequest, credentials: Mapping[str, Any] | None) -> str:
    """The address somebody tries to sign in with, written as users are stored; django-axes counts by it."""
    given = credentials or {}
    email = given.get("email") or given.get("login") or request.POST.get("login", "")
    return str(email).strip().lower()[:255]


def client_ip(request: HttpRequest) -> str | None:
    """Where the request comes from; X-Forwarded-For counts only behind TRUSTED_PROXY. None if unknown."""
    try:
        return str(get_adapter(request).get_client_ip(request))
    except PermissionDenied:
        return None
