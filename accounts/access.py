"""Who is asking, in which team, and whether their role suffices: the door of every settings page."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache

from accounts.models import Membership, Role, User

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from django.http import HttpRequest

    from accounts.models import Team

P = ParamSpec("P")
OWNERS = frozenset({Role.OWNER})
EDITORS = frozenset({Role.OWNER, Role.EDITOR})


def signed_in(request: HttpRequest) -> User:
    """The person behind the request; PermissionDenied when there is none."""
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user


def team_page(
    view: Callable[Concatenate[HttpRequest, Membership, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Hand the view the person's membership of the team that `?team=SLUG` names, or of their first team.

    A team that is not theirs is the same 404 as one that does not exist; people
    in no team get a page that says so.
    """

    @wraps(view)
    def answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        mine = Membership.objects.filter(user=signed_in(request)).select_related("team")
        slug = request.GET.get("team")
        # PostgreSQL holds no text with a NUL, and refuses to be asked for one.
        if slug and "\x00" in slug:
            raise Http404("No such team.")
        chosen = mine.filter(team__slug=slug) if slug else mine.order_by("team__name", "pk")
        membership = chosen.first()
        if membership is not None:
            return view(request, membership, *args, **kwargs)
        if slug:
            raise Http404("No such team.")
        return render(request, "accounts/no_team.html")

    return never_cache(login_required(answer))


def require_role(user: User, team: Team, roles: Container[str]) -> Membership:
    """The person's role in the team; Http404 for strangers, PermissionDenied when it does not suffice."""
    membership = Membership.objects.filter(user=user, team=team).first()
    if membership is None:
        raise Http404("No such team.")
    if membership.role not in roles:
        raise PermissionDenied("Your role in this team does not allow that.")
    return membership
