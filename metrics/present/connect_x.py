"""Connect with X: the page of a handle's account on X and of the address that X calls, for editors and owners."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import EDITORS, require_role, signed_in
from accounts.models import Handle, Platform
from metrics.ingest import sources, x_account
from metrics.ingest.connectors import x_webhook
from metrics.ingest.webhook_connections import consumer_secret
from metrics.ingest.webhooks import PREFIX
from metrics.models import Source, SourceState
from metrics.present import x_sign_in

MISSING: Final = "To connect X, an admin has to set X_CLIENT_ID and X_CLIENT_SECRET."
Context = dict[str, Any]


class WebhookForm(forms.Form):
    """The secret with which X signs what it sends; the installation's own is used where none is given."""

    consumer_secret = forms.CharField(
        max_length=200,
        required=False,
        help_text="The API key secret of the X app that calls the address. It is kept encrypted and never shown again.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )


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
@require_POST
def webhook_create(request: HttpRequest, username: str) -> HttpResponse:
    """Make the address that X calls, or keep another consumer secret for the one there is."""
    handle = _handle_for(request, username)
    form = WebhookForm(request.POST)
    if not form.is_valid():
        return render(request, "connect_x.html", {"handle": handle, **_standing(request, handle, form)}, status=400)
    source = _webhook_of(handle)
    if source is None:
        source = sources.known(handle, x_webhook.KIND, "X webhook")
        sources.note(source, f"Address made by {signed_in(request).email}.")
    if form.cleaned_data["consumer_secret"]:
        source.secrets = {"consumer_secret": form.cleaned_data["consumer_secret"]}
    source.created_by = signed_in(request)
    source.save(update_fields=["sealed", "created_by"])
    messages.success(request, "Register the address with X now: X checks it at once.")
    return redirect(reverse("connect_x", args=[handle.username]) + "#webhook")


@never_cache
@login_required
@require_POST
def webhook_remove(request: HttpRequest, username: str) -> HttpResponse:
    """Make the address useless."""
    handle = _handle_for(request, username)
    Source.objects.filter(handle=handle, kind=x_webhook.KIND).delete()
    messages.success(request, "The address no longer works. What came by it stays counted.")
    return redirect("connect_x", handle.username)


@never_cache
@login_required
@require_GET
def answered(request: HttpRequest) -> HttpResponse:
    """Where X sends people back to."""
    return x_sign_in.answered(request)


def _webhook_of(handle: Handle) -> Source | None:
    return Source.objects.filter(handle=handle, kind=x_webhook.KIND).first()


def _standing(request: HttpRequest, handle: Handle, form: WebhookForm | None = None) -> Context:
    """How the handle stands with X: its account, and the address that X calls."""
    webhook = _webhook_of(handle)
    address = f"{PREFIX}{webhook.public_id.hex}" if webhook else ""
    source = x_account.connection_of(handle)
    is_connected = source is not None and source.state != SourceState.DISCONNECTED
    return {
        "source": source,
        "is_connected": is_connected,
        "username_on_x": source.settings.get("username", handle.username) if source else handle.username,
        "missing": "" if x_account.is_configured() else MISSING,
        "webhook": webhook,
        "webhook_address": request.build_absolute_uri(address) if address else "",
        "has_secret": bool(consumer_secret(webhook) if webhook else settings.X_CONSUMER_SECRET),
        "form": form or WebhookForm(),
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
