"""A person's own page: name, sign-in, teams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache

from accounts.access import signed_in
from accounts.forms import ProfileForm

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@never_cache
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """Show and change the name; link to password, two-factor and sessions."""
    user = signed_in(request)
    form = ProfileForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("accounts:account")
    return render(
        request,
        "accounts/account.html",
        {
            "form": form,
            "has_two_factor": is_mfa_enabled(user),
            "memberships": user.memberships.select_related("team").order_by("team__name"),
        },
    )
