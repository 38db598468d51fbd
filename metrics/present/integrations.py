"""The Integrations page of a team: its streams with their rules and readers, its keys, and requests to try.

Everybody in the team looks and tries; editors and owners change rules. All of it works without scripts.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh
from redis.exceptions import RedisError

from accounts.access import signed_in, team_page
from accounts.models import Handle, Membership, Team
from metrics.models import StreamRule
from metrics.present import engagement_api, readers, rules, samples
from metrics.present.readers import Reader
from metrics.query.engagement import Surface

FIRST_LABEL: Final = "prod"
MAX_REQUEST: Final = 100_000
Context = dict[str, Any]


class FollowForm(forms.Form):
    """A new rule: one of the team's handles that the stream does not follow yet."""

    handle = forms.ModelChoiceField(
        queryset=Handle.objects.none(),
        empty_label=None,
        error_messages={"invalid_choice": "Choose a handle of the team that this stream does not follow yet."},
    )
    tag = forms.CharField(max_length=rules.MAX_TAG, required=False, help_text="A note of yours about the rule.")

    def __init__(self, team: Team, label: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        followed = StreamRule.objects.filter(team=team, label=label).values("handle")
        handle = self.fields["handle"]
        assert isinstance(handle, forms.ModelChoiceField)  # noqa: S101  # tells the type checker
        handle.queryset = team.handles.exclude(pk__in=followed)


@dataclass(frozen=True, slots=True)
class Trial:
    """A request that was tried: what was asked, what came back, and how long it took."""

    surface: Surface
    asked: str
    status: HTTPStatus
    answer: str
    milliseconds: float


@require_safe
@team_page
def integrations(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The page of a team (`?team=`) and label (`?label=`), with a request about a handle (`?about=`, `?try=`)."""
    return _page(request, membership)


@require_safe
def connected(request: HttpRequest) -> HttpResponse:
    """Who reads the label's stream now: the part of the page that is asked for every two seconds."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()  # signed out meanwhile: the page itself then leads to the sign-in
    return _connected_part(request)


@team_page
def _connected_part(request: HttpRequest, membership: Membership) -> HttpResponse:
    return render(request, "partials/readers.html", _connected(membership.team, _label(request)))


@require_POST
@team_page
def follow(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Let the stream follow a handle; the page with its errors when the form is not right."""
    _require_editor(membership)
    label = _label(request)
    form = FollowForm(membership.team, label, request.POST)
    if not form.is_valid():
        return _page(request, membership, form=form)
    handle = form.cleaned_data["handle"]
    rules.follow(membership.team_id, label, handle, form.cleaned_data["tag"])
    messages.success(request, f"The stream “{label}” follows @{handle.username} from now on.")
    return redirect(_address(membership.team, label) + "#rules")


@require_POST
@team_page
def unfollow(request: HttpRequest, membership: Membership, pk: int) -> HttpResponse:
    """Remove a rule of the team's."""
    _require_editor(membership)
    rule = get_object_or_404(StreamRule.objects.select_related("handle"), pk=pk, team=membership.team)
    rules.unfollow(rule)
    messages.success(request, f"The stream “{rule.label}” no longer follows @{rule.handle.username}.")
    return redirect(_address(membership.team, rule.label) + "#rules")


@require_POST
@team_page
def try_request(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Answer an Engagement API request for the handles that the person sees; the answer alone for htmx."""
    trial = _tried(request, membership.team)
    if getattr(request, "htmx", False):
        return render(request, "partials/trial.html", {"trial": trial})
    return _page(request, membership, trial=trial)


def _tried(request: HttpRequest, team: Team) -> Trial:
    surface = _surface(request.POST.get("surface"))
    asked = request.POST.get("body", "")[:MAX_REQUEST]
    visible = Handle.objects.visible_to(signed_in(request)).filter(team=team)
    begun = time.perf_counter()
    try:
        status, body = engagement_api.respond(surface, asked.encode(), team.pk, visible.values_list("pk", flat=True))
    except engagement_api.RefusedError as refusal:
        status, body = refusal.status, {"errors": refusal.errors}
    took = (time.perf_counter() - begun) * 1000
    answer = samples.readable(msgspec.json.decode(msgspec.json.encode(body)))
    return Trial(surface, asked, status, answer, took)


def _page(
    request: HttpRequest, membership: Membership, *, form: FollowForm | None = None, trial: Trial | None = None
) -> HttpResponse:
    team, label = membership.team, _label(request)
    now = timezone.now()
    listed = team.tokens.select_related("oauth").prefetch_related("handles")
    context = {
        "membership": membership,
        "teams": signed_in(request).teams.order_by("name"),
        "label": label,
        "labels": _labels(team, label),
        "stream_url": _stream_url(request, team, label),
        "rules_url": request.build_absolute_uri(reverse("rules", args=[team.slug, label])),
        "rules": rules.followed(team.pk, label, team.handles.values_list("pk", flat=True)),
        "has_handles": team.handles.exists(),
        "form": form or FollowForm(team, label),
        "tokens": [token for token in listed if token.is_live(now)],
        **_connected(team, label),
        **_trial_context(request, team, trial),
    }
    return render(request, "integrations.html", context)


def _trial_context(request: HttpRequest, team: Team, trial: Trial | None) -> Context:
    """The request to try: the one that was tried, or a sample about the chosen handle."""
    handles = list(team.handles.all())
    about = next(
        (each for each in handles if each.username == request.GET.get("about")), handles[0] if handles else None
    )
    surface = trial.surface if trial else _surface(request.GET.get("try"))
    sample = samples.request_for(surface, about) if about else None
    return {
        "handles": handles,
        "about": about,
        "surface": surface,
        "surfaces": samples.TITLES.items(),
        "trial": trial,
        "sample": trial.asked if trial else sample,
        "engagement_url": request.build_absolute_uri("/insights/engagement"),
    }


def _connected(team: Team, label: str) -> Context:
    """The label's readers; `readers` is None while nobody can tell."""
    found: list[Reader] | None
    try:
        found = [reader for reader in readers.connected(team.pk) if reader.label == label]
    except RedisError:
        found = None
    return {"readers": found, "as_of": timezone.now()}


def _labels(team: Team, label: str) -> list[str]:
    """The labels that have rules, the usual one and the one that is shown."""
    known = set(StreamRule.objects.filter(team=team).values_list("label", flat=True).distinct())
    return sorted(known | {FIRST_LABEL, label}, key=lambda name: (name != FIRST_LABEL, name))


def _label(request: HttpRequest) -> str:
    """The label that the address names; Http404 when no stream can have it."""
    label = request.GET.get("label") or FIRST_LABEL
    if not re.fullmatch(rules.LABEL, label):
        raise Http404("No such stream.")
    return label


def _surface(name: str | None) -> Surface:
    try:
        return Surface(name or Surface.TOTALS)
    except ValueError:
        raise Http404("No such endpoint.") from None


def _stream_url(request: HttpRequest, team: Team, label: str) -> str:
    return request.build_absolute_uri(f"/stream/{rules.address(team.slug, label)}")


def _address(team: Team, label: str) -> str:
    return f"{reverse('integrations')}?{urlencode({'team': team.slug, 'label': label})}"


def _require_editor(membership: Membership) -> None:
    if not membership.can_edit:
        raise PermissionDenied("Editors and owners change what a stream follows.")
