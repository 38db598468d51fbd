"""The Sources page of a handle: what feeds it, how each source is, and what people may do about it.

Everybody in the team looks; editors and owners connect, pause, resume, test, reconnect and remove. It works without
scripts; with them the figures are asked for again every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from accounts.access import EDITORS, require_role, signed_in
from accounts.models import ApiToken, Handle, Membership, Scope
from accounts.sealing import BrokenSealError
from metrics.ingest import connectors, sources
from metrics.ingest.connectors import Connector, Setting, SettingsError, SourceError
from metrics.models import Source, SourceDay, SourceNote, SourceState

TEST_SECONDS: Final = 15
LABELS: Final = {"api": "Counts sent to the API", "file": "Imported files"}
"""Sources that nobody connects: they come into being with what they first bring."""
NAMES: Final = {("file", "x"): "Exports of X", ("file", "insightstrack"): "Exports of InsightsTrack"}
"""What those are called that nobody has named."""
TONES: Final = {
    SourceState.LIVE: "up",
    SourceState.STARTING: "wait",
    SourceState.CATCHING_UP: "wait",
    SourceState.PAUSED: "rest",
    SourceState.LIMITED: "warn",
    SourceState.FAILING: "down",
    SourceState.DISCONNECTED: "down",
}
NAME: Final = Setting("name", "Name", "What you call it here.", is_required=False)
Context = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one source is, as the page tells it; `actions` are the buttons that make sense now."""

    source: Source
    connector: Connector | None
    name: str
    label: str
    tone: str
    sentence: str
    outlook: str
    silent_since: datetime | None
    today: SourceDay | None
    notes: list[SourceNote]
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an offer's form: its setting, what stands in it, and what is wrong with that."""

    setting: Setting
    value: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A kind of source that can be connected; `is_open` when its form was sent and refused."""

    connector: Connector
    fields: list[Field]
    is_open: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """A form that was sent and refused."""

    kind: str
    given: dict[str, str]
    wrong: SettingsError


@require_safe
@never_cache
@login_required
def page(request: HttpRequest, username: str) -> HttpResponse:
    """Every source of the handle, and what else can be connected."""
    return _page(request, Handle.objects.visible_or_404(request.user, username))


@require_safe
@never_cache
def figures(request: HttpRequest, username: str) -> HttpResponse:
    """The moving parts of every source: asked for every few seconds."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    handle = Handle.objects.visible_or_404(request.user, username)
    context = {"standings": standings(handle, timezone.now()), "oob": True}
    with timezone.override(handle.zone):
        return render(request, "partials/source_figures.html", context)


@require_safe
@never_cache
def trouble(request: HttpRequest, username: str) -> HttpResponse:
    """Beside the dashboard's badge: which sources are silent or down, if any."""
    if not request.user.is_authenticated:
        return HttpResponse()
    handle = Handle.objects.visible_or_404(request.user, username)
    return render(request, "partials/source_trouble.html", {"handle": handle, "troubled": troubled(handle)})


@require_POST
@never_cache
@login_required
def connect(request: HttpRequest, username: str, kind: str) -> HttpResponse:
    """Connect a source of this kind; the page with what is wrong when a setting cannot be used."""
    handle, _ = _as_editor(request, username)
    connector = connectors.registry().get(kind)
    if connector is None or connector.connect_url or handle.platform not in connector.platforms:
        raise Http404("No such kind of source.")
    given = {setting.name: request.POST.get(setting.name, "").strip() for setting in connector.settings}
    name = request.POST.get(NAME.name, "").strip()[:64] or connector.label[:64]
    source = Source(handle=handle, kind=kind, name=name, created_by=signed_in(request))
    try:
        _configure(source, connector, given)
    except SettingsError as wrong:
        return _page(request, handle, Tried(kind, {**given, NAME.name: name}, wrong))
    messages.success(request, f"{name} is connected; it starts within a few seconds.")
    return redirect("sources", handle.username)


@require_POST
@never_cache
@login_required
def act(request: HttpRequest, username: str, pk: int, action: str) -> HttpResponse:
    """Pause, resume, test, reconnect or remove a source."""
    handle, _ = _as_editor(request, username)
    source = get_object_or_404(Source.objects.select_related("handle"), pk=pk, handle=handle)
    if action not in ACTIONS or action not in standing(source, timezone.now()).actions:
        messages.error(request, f"{source.name} is {source.get_state_display()}: that is not possible now.")
    elif (page := _page_that_connects(source)) and action == "reconnect":
        return redirect(page, handle.username)
    else:
        ACTIONS[action](request, source)
    return redirect("sources", handle.username)


def _page_that_connects(source: Source) -> str | None:
    """The name of the page on which access is given again, where it has ended and has such a page."""
    connector = connectors.registry().get(source.kind)
    return connector.connect_url if connector and source.state == SourceState.DISCONNECTED else None


def standings(handle: Handle, now: datetime) -> list[Standing]:
    """Every source of the handle, in the order in which they were connected."""
    found = Source.objects.filter(handle=handle).select_related("handle").prefetch_related("notes")
    today = {day.source_id: day for day in SourceDay.objects.filter(source__handle=handle, day=now.date())}
    return [standing(source, now, today.get(source.pk)) for source in found]


def standing(source: Source, now: datetime, today: SourceDay | None = None) -> Standing:
    """How the source is now."""
    connector = connectors.registry().get(source.kind)
    state = SourceState(source.state)
    silent_since = silence(source, connector, now)
    return Standing(
        source=source,
        connector=connector,
        name=NAMES.get((source.kind, source.name), source.name),
        label=connector.label if connector else LABELS.get(source.kind, source.kind),
        tone="warn" if silent_since else TONES[state] if connector else "up",
        sentence=_sentence(source, state, silent_since) if connector else _brought(source),
        outlook=connector.outlook(source) if connector else "",
        silent_since=silent_since,
        today=today,
        notes=list(source.notes.all()[: sources.NOTES_KEPT]),
        actions=_actions(connector, state),
    )


def silence(source: Source, connector: Connector | None, now: datetime) -> datetime | None:
    """Since when a live source has said nothing although its kind always does; None when all is well."""
    if connector is None or connector.silent_after_seconds is None or source.state != SourceState.LIVE:
        return None
    heard = source.last_heard_at or source.state_since
    return heard if now - heard > timedelta(seconds=connector.silent_after_seconds) else None


def troubled(handle: Handle) -> list[Standing]:
    """The sources that ought to bring something and do not: silent, failing, rate-limited or disconnected."""
    return [one for one in standings(handle, timezone.now()) if one.connector and one.tone in {"warn", "down"}]


def _sentence(source: Source, state: SourceState, silent_since: datetime | None) -> str:
    """The state in words, with since when and why: "failing since 12:04 because the server refused the token."."""
    if silent_since:
        return f"silent since {_clock(silent_since, source)}"
    if state is SourceState.LIMITED and source.due_at:
        return f"rate-limited until {_clock(source.due_at, source)}"
    if state in {SourceState.LIVE, SourceState.STARTING}:
        return source.reason or state.label
    since = f"{state.label} since {_clock(source.state_since, source)}"
    return f"{since}: {source.reason}" if source.reason else since


def _brought(source: Source) -> str:
    heard = source.last_heard_at
    return f"last brought something {_clock(heard, source)}" if heard else "has not brought anything yet"


def _clock(instant: datetime, source: Source) -> str:
    local = instant.astimezone(source.handle.zone)
    is_today = local.date() == datetime.now(UTC).astimezone(source.handle.zone).date()
    return f"{local:%H:%M}" if is_today else f"{local.day} {local:%b, %H:%M}"


def _actions(connector: Connector | None, state: SourceState) -> tuple[str, ...]:
    if connector is None:
        return ("remove",)
    if not connector.is_run:
        return ("remove",)
    if state is SourceState.PAUSED:
        return "resume", "test", "remove"
    if state in {SourceState.FAILING, SourceState.LIMITED, SourceState.DISCONNECTED}:
        return "reconnect", "test", "pause", "remove"
    return "pause", "test", "remove"


def _pause(request: HttpRequest, source: Source) -> None:
    sources.enter(source, SourceState.PAUSED, f"by {signed_in(request).email}")
    messages.success(request, f"{source.name} is paused; charts mark the gap until it is resumed.")


def _start(request: HttpRequest, source: Source) -> None:
    sources.enter(source, SourceState.STARTING)
    messages.success(request, f"{source.name} starts within a few seconds.")


def _test(request: HttpRequest, source: Source) -> None:
    connector = connectors.registry()[source.kind]
    try:
        found = asyncio.run(asyncio.wait_for(connector.test(source), TEST_SECONDS))
    except SourceError as error:
        messages.error(request, f"{source.name}: {error.reason}")
    except TimeoutError:
        messages.error(request, f"{source.name}: no answer within {TEST_SECONDS} seconds.")
    except BrokenSealError:
        messages.error(request, f"{source.name}: sealed under another key; remove it and connect it again.")
    else:
        messages.success(request, f"{source.name}: {found}")


def _remove(request: HttpRequest, source: Source) -> None:
    if connector := connectors.registry().get(source.kind):
        connector.forget(source)
    source.delete()
    messages.success(request, f"{source.name} is removed. What it brought stays counted.")


ACTIONS: Final[dict[str, Callable[[HttpRequest, Source], None]]] = {
    "pause": _pause,
    "resume": _start,
    "reconnect": _start,
    "test": _test,
    "remove": _remove,
}


def _configure(source: Source, connector: Connector, given: dict[str, str]) -> None:
    """Store the source with what the form gave, secrets sealed; raises SettingsError."""
    if Source.objects.filter(handle=source.handle, kind=source.kind, name=source.name).exists():
        raise SettingsError("name", f"there is a source “{source.name}” already; give this one another name.")
    for setting in connector.settings:
        if setting.is_required and not given[setting.name] and not setting.default:
            raise SettingsError(setting.name, f"needed; {setting.help or 'fill it in'}")
    kept = connector.checked(source, given)
    secret = {setting.name for setting in connector.settings if setting.is_secret}
    source.settings = {name: value for name, value in kept.items() if name not in secret}
    source.secrets = {name: value for name, value in kept.items() if name in secret}
    source.save()
    sources.note(source, f"Connected by {source.created_by.email if source.created_by else 'an admin'}.")


def _as_editor(request: HttpRequest, username: str) -> tuple[Handle, Membership]:
    """The handle, for somebody who may change its sources; 404 for strangers, 403 for viewers."""
    user = signed_in(request)
    handle = Handle.objects.visible_or_404(user, username)
    return handle, require_role(user, handle.team, EDITORS)


def _page(request: HttpRequest, handle: Handle, tried: Tried | None = None) -> HttpResponse:
    now = timezone.now()
    membership = Membership.objects.get(user=signed_in(request), team=handle.team_id)
    context = {
        "handle": handle,
        "membership": membership,
        "standings": standings(handle, now),
        "senders": _senders(handle, now),
        "offers": _offers(handle, tried),
        "now": now,
    }
    with timezone.override(handle.zone):
        return render(request, "sources.html", context, status=400 if tried else 200)


def _offers(handle: Handle, tried: Tried | None) -> list[Offer]:
    """The kinds of source that suit the handle's platform."""
    suitable = [offer for offer in connectors.registry().values() if handle.platform in offer.platforms]
    return [Offer(offer, _fields(offer, tried), bool(tried and tried.kind == offer.kind)) for offer in suitable]


def _fields(offer: Connector, tried: Tried | None) -> list[Field]:
    settings = (*offer.settings, NAME)
    if tried is None or tried.kind != offer.kind:
        return [Field(setting, setting.default) for setting in settings]
    return [
        Field(
            setting,
            "" if setting.is_secret else tried.given.get(setting.name, ""),
            tried.wrong.detail if tried.wrong.field == setting.name else "",
        )
        for setting in settings
    ]


def _senders(handle: Handle, now: datetime) -> list[ApiToken]:
    """The live tokens that may send the handle's events."""
    listed = handle.tokens.filter(team=handle.team_id).order_by("-last_used_at")
    return [token for token in listed if Scope.INGEST in token.scopes and token.is_live(now)]


def address(handle: Handle) -> str:
    """The page's address."""
    return reverse("sources", args=[handle.username])
