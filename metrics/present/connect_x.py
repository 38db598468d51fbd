"""Connect with X: the page of a handle's account on X and of the address that X calls, for editors and owners."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import EDITORS, require_role, signed_in
from accounts.models import Handle, Platform
from metrics.ingest import x_account
from metrics.models import SourceState
from metrics.present import x_sign_in

MISSING: Final = "To connect X, an admin has to set X_CLIENT_ID and X_CLIENT_SECRET."
Context = dict[str, Any]


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def connect_x(request: HttpRequest, username: str) -> HttpResponse:
    """How the handle stands with X; a POST leads to X, to allow the access there."""
    handle = _handle_for(request, username)
    if request.method == "POST":
        if not x_account.is_configured():
            messages.error(request, MISSING)
            return redirect("connect_x", handle.username)
        return x_sign_in.begin(request, handle, back=reverse("connect_x", args=[handle.username]))
    return render(request, "connect_x.html", {"handle": handle, **_standing(request, handle)})


@never_cache
@login_required
@require_POST
def disconnect_x(request: HttpRequest, username: str) -> HttpResponse:
    """End the access, here and at X."""
    handle = _handle_for(request, username)
    source = x_account.connection_of(handle)
    if source is None or source.state == SourceState.DISCONNECTED:
        messages.warning(request, f"@{handle.username} is not connected to X.")
    elif x_account.disconnect(source, by=signed_in(request).email):
        messages.success(request, f"@{handle.username} is disconnected from X. What it brought stays counted.")
    else:
        where = "remove the app there too, under Settings, Security, Apps and sessions"
        messages.warning(request, f"@{handle.username} is disconnected here, but X could not be told: {where}.")
    return redirect("connect_x", handle.username)


@never_cache
@login_required
@require_GET
def answered(request: HttpRequest) -> HttpResponse:
    """Where X sends people back to."""
    return x_sign_in.answered(request)


def _standing(request: HttpRequest, handle: Handle) -> Context:
    """How the handle's account on X is connected."""
    source = x_account.connection_of(handle)
    is_connected = source is not None and source.state != SourceState.DISCONNECTED
    return {
        "source": source,
        "is_connected": is_connected,
        "username_on_x": source.settings.get("username", handle.username) if source else handle.username,
        "missing": "" if x_account.is_configured() else MISSING,
        "callback": request.build_absolute_uri(reverse("twitter_oauth2_callback")),
    }


def _handle_for(request: HttpRequest, username: str) -> Handle:
    """The handle of X, for somebody who may change it; 404 for strangers, 403 for viewers."""
    user = signed_in(request)
    handle = Handle.objects.visible_or_404(user, username)
    require_role(user, handle.team, EDITORS)
    if handle.platform != Platform.X:
        raise Http404("Not a handle of X.")
    return handle
