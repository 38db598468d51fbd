"""From "no data" to a live chart: the first token of a handle, filled into the command that sends a first event."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect, HttpResponseClientRefresh

from accounts.access import EDITORS, require_role, signed_in
from accounts.credentials import issue_token
from accounts.models import Handle, Scope
from metrics.models import HandleFeed
from metrics.vocabulary.events import snowflake_at

LIFETIME = timedelta(days=30)


@require_POST
@never_cache
@login_required
def first_token(request: HttpRequest, username: str) -> HttpResponse:
    """Make a token that may send the handle's events, and show it inside the command, on this answer only."""
    user = signed_in(request)
    handle = Handle.objects.visible_or_404(user, username)
    require_role(user, handle.team, EDITORS)
    now = datetime.now(UTC)
    _, secret = issue_token(handle.team, "First event", [Scope.INGEST], [handle], now + LIFETIME, user)
    context = {"handle": handle, "secret": secret, "example_tweet": snowflake_at(now), "can_edit": True}
    return render(request, "first_token.html", context)


@require_safe
@never_cache
def begun(request: HttpRequest, username: str) -> HttpResponse:
    """Leads htmx to the dashboard once the handle has its first figures; 204 until then."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    handle = Handle.objects.visible_or_404(request.user, username)
    has_figures = HandleFeed.objects.filter(handle=handle).exclude(last_received_at=None).exists()
    return (
        HttpResponseClientRedirect(reverse("dashboard", args=[handle.username]))
        if has_figures
        else HttpResponse(status=204)
    )
