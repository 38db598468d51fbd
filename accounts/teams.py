"""Joining, changing and leaving a team. A team always keeps an owner."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from accounts.credentials import digest_of
from accounts.models import Invitation, Membership, Role

if TYPE_CHECKING:
    from accounts.models import Team, User

INVITATION_LASTS = timedelta(days=7)


class LastOwnerError(Exception):
    """The change would leave a team without an owner."""


class InvitationGoneError(Exception):
    """The invitation is unknown, used up, withdrawn or too old; which of these, nobody is told."""


def invite(team: Team, email: str, role: str, invited_by: User) -> tuple[Invitation, str]:
    """A new invitation and the secret part of its link, which is shown once and never stored."""
    secret = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        team=team,
        email=email.lower(),
        role=role,
        digest=digest_of(secret),
        invited_by=invited_by,
        expires_at=timezone.now() + INVITATION_LASTS,
    )
    return invitation, secret


def open_invitation(secret: str, *, lock: bool = False) -> Invitation:
    """The invitation behind a link, if it can still be used; `lock` holds it until the transaction ends."""
    invitations = Invitation.objects.select_related("team")
    if lock:
        invitations = invitations.select_for_update(of=("self",))
    still_open = invitations.filter(accepted_at=None, expires_at__gt=timezone.now())
    invitation = still_open.filter(digest=digest_of(secret)).first()
    if invitation is None:
        raise InvitationGoneError
    return invitation


@transaction.atomic
def join(secret: str, user: User) -> Membership:
    """Make the user a member and use the invitation up; one who is a member already stays as they are."""
    invitation = open_invitation(secret, lock=True)
    membership, is_new = Membership.objects.get_or_create(
        user=user, team=invitation.team, defaults={"role": invitation.role}
    )
    if is_new:
        invitation.accepted_at = timezone.now()
        invitation.save(update_fields=["accepted_at"])
    return membership


@transaction.atomic
def change_role(member: Membership, role: str) -> None:
    """Give a member another role; LastOwnerError when no owner would be left."""
    if role != Role.OWNER:
        _keep_an_owner(member)
    member.role = role
    member.save(update_fields=["role"])


@transaction.atomic
def remove(member: Membership) -> None:
    """End a membership; LastOwnerError when no owner would be left."""
    _keep_an_owner(member)
    member.delete()


def _keep_an_owner(member: Membership) -> None:
    """Hold the team's owners until the transaction ends, so that two cannot leave at the same time."""
    owners = Membership.objects.select_for_update().filter(team=member.team_id, role=Role.OWNER)
    if {owner.pk for owner in owners} == {member.pk}:
        raise LastOwnerError
