"""Adding a handle and changing how it is shown, for editors and owners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.access import EDITORS, require_role, signed_in, team_page
from accounts.forms import HandleForm
from accounts.models import Handle

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from accounts.models import Membership


@require_http_methods(["GET", "POST"])
@team_page
def handle_create(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Add a handle to the team."""
    if not membership.can_edit:
        raise PermissionDenied("Editors and owners add handles.")
    form = HandleForm(request.POST or None, instance=Handle(team=membership.team))
    if request.method == "POST" and form.is_valid():
        handle = form.save()
        messages.success(request, f"@{handle.username} is ready. Make a token to send its events.")
        return redirect("dashboard", handle.username)
    teams = signed_in(request).teams.order_by("name")
    return render(request, "accounts/handle_form.html", {"form": form, "membership": membership, "teams": teams})


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def handle_edit(request: HttpRequest, username: str) -> HttpResponse:
    """Change a handle's name, zone and colour."""
    user = signed_in(request)
    handle = Handle.objects.visible_or_404(user, username)
    membership = require_role(user, handle.team, EDITORS)
    # The form writes into its instance even when it refuses; the page's own `handle` stays as stored.
    form = HandleForm(request.POST or None, instance=Handle.objects.get(pk=handle.pk))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("dashboard", handle.username)
    return render(request, "accounts/handle_form.html", {"form": form, "membership": membership, "handle": handle})
