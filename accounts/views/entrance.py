"""Coming in: the sign-in page, invitations, and the first visit to an empty installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allauth.account.adapter import get_adapter
from allauth.account.views import LoginView, PasswordResetView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.db import transaction
from django.http import Http404
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts import teams
from accounts.access import signed_in
from accounts.forms import JoinForm, SetupForm
from accounts.models import User
from accounts.setup import AlreadySetUpError, found, is_empty_installation

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse, HttpResponseBase

    from accounts.models import Invitation


class SignInView(LoginView):  # type: ignore[misc]  # allauth ships no types
    """allauth's sign-in, which sends the first visitor to the set-up and knows of password reset by mail."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """The form; on an empty installation, where nobody could sign in, the way to the set-up."""
        if is_empty_installation():
            return redirect("accounts:setup")
        page: HttpResponseBase = super().get(request, *args, **kwargs)
        return page

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What the page may offer besides signing in."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        return context | {"can_reset": settings.CAN_MAIL}


class MailedResetView(PasswordResetView):  # type: ignore[misc]  # allauth ships no types
    """allauth's password reset, for installations that can send mail."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Not found where nothing could be mailed."""
        if not settings.CAN_MAIL:
            raise Http404("Password reset needs mail.")
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return response


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def invite_accept(request: HttpRequest, secret: str) -> HttpResponse:
    """Join a team: with the account that is signed in, or with a new one."""
    try:
        invitation = teams.open_invitation(secret)
        if request.user.is_authenticated:
            return _join_as_oneself(request, invitation, secret)
        if User.objects.filter(email__iexact=invitation.email).exists():
            messages.info(request, f"Sign in to join {invitation.team.name}.")
            return redirect_to_login(request.get_full_path())
        return _join_as_newcomer(request, invitation, secret)
    except teams.InvitationGoneError:
        return render(request, "accounts/invitation_gone.html", status=404)


def _join_as_oneself(request: HttpRequest, invitation: Invitation, secret: str) -> HttpResponse:
    if request.method == "POST":
        membership = teams.join(secret, signed_in(request))
        messages.success(request, f"You are in {membership.team.name}.")
        return redirect("handles")
    return render(request, "accounts/invitation.html", {"invitation": invitation})


def _join_as_newcomer(request: HttpRequest, invitation: Invitation, secret: str) -> HttpResponse:
    form = JoinForm(request.POST or None, instance=User(email=invitation.email))
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            # Held first: of two simultaneous posts of one link, the second finds it used up.
            teams.open_invitation(secret, lock=True)
            user = form.save()
            teams.join(secret, user)
        get_adapter(request).login(request, user)
        return redirect("handles")
    return render(request, "accounts/invitation.html", {"invitation": invitation, "form": form})


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def setup(request: HttpRequest) -> HttpResponse:
    """Make the owner of an empty installation; not found ever after."""
    if not is_empty_installation():
        raise Http404("Set up already.")
    form = SetupForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            owner = found(form)
        except AlreadySetUpError:
            raise Http404("Set up already.") from None
        get_adapter(request).login(request, owner)
        messages.success(request, "Welcome. Make a token to send the first events.")
        return redirect("handles")
    return render(request, "accounts/setup.html", {"form": form})
