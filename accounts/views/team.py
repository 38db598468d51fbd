"""The team page: members and their roles, invitations, handles. Changes are for owners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts import teams
from accounts.access import OWNERS, require_role, signed_in, team_page
from accounts.forms import InvitationForm, RoleForm
from accounts.models import Invitation, Membership, Role

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from accounts.models import Team

LAST_OWNER = "A team needs an owner: make somebody else an owner first."


@require_GET
@team_page
def team(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Everybody in the team sees who else is, and its handles."""
    return _team_page(request, membership, InvitationForm())


@require_POST
@team_page
def invitation_create(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Make an invitation and show its link, on this answer only."""
    if membership.role not in OWNERS:
        raise PermissionDenied("Owners invite people.")
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _team_page(request, membership, form)
    invitation, secret = teams.invite(
        membership.team, form.cleaned_data["email"], form.cleaned_data["role"], signed_in(request)
    )
    link = request.build_absolute_uri(reverse("accounts:invite_accept", args=[secret]))
    return _team_page(request, membership, InvitationForm(), invitation=invitation, link=link)


@require_POST
@login_required
def invitation_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Make an open invitation useless."""
    user = signed_in(request)
    invitation = get_object_or_404(Invitation, pk=pk, team__memberships__user=user, accepted_at=None)
    require_role(user, invitation.team, OWNERS)
    invitation.delete()
    messages.success(request, f"The invitation for {invitation.email} no longer works.")
    return redirect(_address(invitation.team))


@require_POST
@login_required
def member_role(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a member another role."""
    member = _member_or_404(request, pk)
    require_role(signed_in(request), member.team, OWNERS)
    form = RoleForm(request.POST)
    if not form.is_valid():
        raise Http404("No such role.")
    try:
        teams.change_role(member, form.cleaned_data["role"])
    except teams.LastOwnerError:
        messages.error(request, LAST_OWNER)
    else:
        messages.success(request, f"{member.user.email} is now {Role(member.role).label.lower()}.")
    return redirect(_address(member.team))


@require_POST
@login_required
def member_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a member out of the team; anybody may take themselves out."""
    user, member = signed_in(request), _member_or_404(request, pk)
    if member.user_id != user.pk:
        require_role(user, member.team, OWNERS)
    try:
        teams.remove(member)
    except teams.LastOwnerError:
        messages.error(request, LAST_OWNER)
        return redirect(_address(member.team))
    messages.success(request, f"{member.user.email} is no longer in {member.team.name}.")
    return redirect("accounts:account" if member.user_id == user.pk else _address(member.team))


def _member_or_404(request: HttpRequest, pk: int) -> Membership:
    """A membership of one of the person's own teams."""
    fellows = Membership.objects.filter(team__memberships__user=signed_in(request))
    return get_object_or_404(fellows.select_related("user", "team"), pk=pk)


def _address(team: Team) -> str:
    return f"{reverse('accounts:team')}?{urlencode({'team': team.slug})}"


def _team_page(request: HttpRequest, membership: Membership, form: InvitationForm, **shown_once: Any) -> HttpResponse:
    team = membership.team
    open_invitations = team.invitations.filter(accepted_at=None, expires_at__gt=timezone.now())
    return render(
        request,
        "accounts/team.html",
        {
            "membership": membership,
            "is_owner": membership.role in OWNERS,
            "teams": signed_in(request).teams.order_by("name"),
            "members": team.memberships.select_related("user").order_by("user__email"),
            "roles": Role.choices,
            "handles": team.handles.all(),
            "invitations": open_invitations.order_by("-created_at"),
            "form": form,
            **shown_once,
        },
    )
