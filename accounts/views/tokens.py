"""The tokens page: made and revoked by editors and owners, listed for everybody in the team."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import EDITORS, require_role, signed_in, team_page
from accounts.credentials import issue_token
from accounts.forms import TokenForm
from accounts.models import ApiToken, Scope

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from accounts.models import Membership


@require_http_methods(["GET", "POST"])
@team_page
def tokens(request: HttpRequest, membership: Membership) -> HttpResponse:
    """List the team's tokens; make one and show its secret, on this answer only. `?oauth` ticks OAuth 1.0a."""
    if request.method == "GET":
        wanted = {"oauth": True, "scopes": [Scope.READ]} if "oauth" in request.GET else None
        return _tokens_page(request, membership, TokenForm(membership.team, initial=wanted))
    if not membership.can_edit:
        raise PermissionDenied("Editors and owners make tokens.")
    form = TokenForm(membership.team, request.POST)
    if not form.is_valid():
        return _tokens_page(request, membership, form)
    token, secret = issue_token(
        membership.team,
        form.cleaned_data["name"],
        form.cleaned_data["scopes"],
        form.cleaned_data["handles"],
        expires_at=form.expires_at,
        created_by=signed_in(request),
        oauth=form.cleaned_data["oauth"],
    )
    shown_once = {"token": token, "secret": secret, "oauth_keys": token.oauth.keys if hasattr(token, "oauth") else None}
    return _tokens_page(request, membership, TokenForm(membership.team), **shown_once)


@require_POST
@login_required
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Close a token now; one that is closed already keeps its instant."""
    user = signed_in(request)
    token = get_object_or_404(ApiToken.objects.select_related("team"), pk=pk, team__memberships__user=user)
    require_role(user, token.team, EDITORS)
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    messages.success(request, f"“{token.name}” is revoked; it stops working within five seconds.")
    return redirect(f"{reverse('accounts:tokens')}?{urlencode({'team': token.team.slug})}")


def _tokens_page(request: HttpRequest, membership: Membership, form: TokenForm, **shown_once: Any) -> HttpResponse:
    listed = membership.team.tokens.select_related("created_by", "oauth").prefetch_related("handles")
    now = timezone.now()
    return render(
        request,
        "accounts/tokens.html",
        {
            "membership": membership,
            "teams": signed_in(request).teams.order_by("name"),
            "tokens": [(token, token.is_live(now)) for token in listed],
            "has_handles": membership.team.handles.exists(),
            "form": form,
            **shown_once,
        },
    )
