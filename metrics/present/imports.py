"""The Import page of a handle: files in, a look before anything is written, progress, and the report.

Owners and editors import; viewers see the same without the buttons; everybody else gets the 404 of an unknown handle.
`live.json` and the cards say the same as the page, so that a page without its socket can ask.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRefresh

from accounts.access import EDITORS, require_role, signed_in
from accounts.models import Handle, Membership
from metrics.ingest.files import engine
from metrics.ingest.files.formats import Brings
from metrics.models import FileImport, ImportState
from metrics.present import import_news
from metrics.present.import_news import ACTIVE
from metrics.query.params import Reading

A_PAGE, PROBLEMS_SHOWN = 25, 100
CLOCKS_DIFFER = timedelta(minutes=5)
FIRST_YEAR = 2006
Context = dict[str, Any]


class AsOfForm(forms.Form):
    """As of when a file's counts are, in the handle's zone."""

    exported_at = forms.DateTimeField(
        error_messages={
            "required": "Counts as of: give a day and a time, such as the moment of the export.",
            "invalid": "Counts as of: give a day and a time, such as 2026-02-06 18:30.",
        },
    )

    def clean_exported_at(self) -> datetime:
        """Neither in the future nor before there were Tweets."""
        given: datetime = self.cleaned_data["exported_at"]
        if given > timezone.now() + CLOCKS_DIFFER:
            raise forms.ValidationError("Counts as of: this lies in the future; give the moment of the export.")
        if given.year < FIRST_YEAR:
            raise forms.ValidationError(
                "Counts as of: this lies before the first Tweet; give the moment of the export."
            )
        return given


@require_safe
@never_cache
@login_required
def page(request: HttpRequest, username: str) -> HttpResponse:
    """What is being imported, what was imported, and the place for new files."""
    handle = Handle.objects.visible_or_404(request.user, username)
    imports = FileImport.objects.filter(handle=handle).select_related("created_by", "handle")
    former = Paginator(imports.exclude(state__in=ACTIVE), A_PAGE).get_page(request.GET.get("page"))
    context = {
        **_viewer(request, handle),
        "cards": [_card(file) for file in imports.filter(state__in=ACTIVE)],
        "former": former,
    }
    with timezone.override(handle.zone):
        return render(request, "imports.html", context)


@require_safe
@never_cache
@login_required
def one(request: HttpRequest, username: str, pk: int) -> HttpResponse:
    """One import: how it stands, or its report."""
    handle, file = _visible(request, username, pk)
    with timezone.override(handle.zone):
        return render(request, "import.html", {**_viewer(request, handle), "card": _card(file)})


@require_safe
@never_cache
def card(request: HttpRequest, username: str, pk: int) -> HttpResponse:
    """The part of the pages about one import."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()  # signed out meanwhile: the page itself then leads to the sign-in
    handle, file = _visible(request, username, pk)
    return _answer(request, handle, file)


@require_safe
@never_cache
def live(request: HttpRequest, username: str) -> HttpResponse:
    """How the imports stand that are not over, and those that ended in the last hour, as data."""
    if not request.user.is_authenticated:
        return JsonResponse({"detail": "Signed out: sign in again."}, status=401)
    handle = Handle.objects.visible_or_404(request.user, username)
    now = timezone.now()
    found = FileImport.objects.filter(handle=handle).select_related("handle")
    recent = found.filter(state__in=ACTIVE) | found.filter(ended_at__gte=now - timedelta(hours=1))
    return JsonResponse({"handle": handle.username, "imports": [import_news.told(file, now) for file in recent]})


@require_POST
@never_cache
@login_required
def start(request: HttpRequest, username: str, pk: int) -> HttpResponse:
    """Import a file that was looked at; `exported_at` says as of when its counts are."""
    handle, file = _editable(request, username, pk)
    with timezone.override(handle.zone):
        form = AsOfForm(request.POST)
        if not form.is_valid():
            return _answer(request, handle, file, form)
    is_ready = file.state == ImportState.READY
    engine.start(file, form.cleaned_data["exported_at"])
    return _told(request, handle, file, is_ready, "it cannot be started")


@require_POST
@never_cache
@login_required
def cancel(request: HttpRequest, username: str, pk: int) -> HttpResponse:
    """Drop a file of which nothing has been imported, or stop an import that runs: what it has imported stays."""
    handle, file = _editable(request, username, pk)
    is_active = file.state in ACTIVE
    engine.cancel(file)
    return _told(request, handle, file, is_active, "there is nothing to cancel")


def _visible(request: HttpRequest, username: str, pk: int) -> tuple[Handle, FileImport]:
    """The handle and its import; the same 404 whether it is unknown or another handle's."""
    handle = Handle.objects.visible_or_404(request.user, username)
    found = FileImport.objects.select_related("handle", "created_by")
    return handle, get_object_or_404(found, pk=min(pk, 2**63 - 1), handle=handle)


def _editable(request: HttpRequest, username: str, pk: int) -> tuple[Handle, FileImport]:
    """The same for somebody who may import; PermissionDenied for viewers."""
    handle, file = _visible(request, username, pk)
    require_role(signed_in(request), handle.team, EDITORS)
    return handle, file


def _viewer(request: HttpRequest, handle: Handle) -> Context:
    return {"handle": handle, "membership": Membership.objects.get(user=signed_in(request), team=handle.team_id)}


def _told(request: HttpRequest, handle: Handle, file: FileImport, done: bool, otherwise: str) -> HttpResponse:
    """Tell the open pages, and answer with how the import stands now."""
    if done:
        import_news.announce(file)
    elif not getattr(request, "htmx", False):
        messages.error(request, f"“{file.filename}” is {file.get_state_display()}: {otherwise}.")
    return _answer(request, handle, file)


def _answer(request: HttpRequest, handle: Handle, file: FileImport, form: AsOfForm | None = None) -> HttpResponse:
    """The card alone for htmx and the page's own script, otherwise the way back to the page."""
    is_part = request.method == "GET" or bool(getattr(request, "htmx", False))
    if not is_part and form is None:
        return redirect("file_import", handle.username)
    context = {**_viewer(request, handle), "card": _card(file, form), "is_part": is_part}
    with timezone.override(handle.zone):
        template = "partials/import_card.html" if is_part else "import.html"
        return render(request, template, context, status=400 if form else 200)


def _card(file: FileImport, form: AsOfForm | None = None) -> Context:
    """What a card shows of an import."""
    is_over = file.state not in ACTIVE
    return {
        "file": file,
        "now": import_news.told(file),
        "form": form,
        "as_of": file.exported_at or file.modified_at or file.created_at,
        "problems": list(file.problems.all()[:PROBLEMS_SHOWN]) if is_over else [],
        "kept": file.problems.count() if is_over and file.refused > PROBLEMS_SHOWN else file.refused,
        "seconds": _seconds(file),
        "is_over": is_over,
        "period": _period(file),
        "figures": _figures(file),
    }


def _span(file: FileImport) -> tuple[datetime, datetime] | None:
    """The first and the last instant of the file's rows, in the handle's zone."""
    period = file.preview.get("period")
    if not period:
        return None
    zone = file.handle.zone
    return datetime.fromisoformat(period["since"]).astimezone(zone), datetime.fromisoformat(period["until"]).astimezone(
        zone
    )


def _period(file: FileImport) -> str:
    span = _span(file)
    if span is None:
        return ""
    first, last = (_day(instant) for instant in span)
    return first if first == last else f"{first} – {last}"


def _figures(file: FileImport) -> str:
    """The dashboard's parameters that show what the file brought: its days, or the Tweets of its days."""
    span = _span(file)
    if span is None:
        return ""
    asked = {"since": f"{span[0]:%Y-%m-%d}", "until": f"{span[1] + timedelta(days=1):%Y-%m-%d}"}
    if file.preview.get("brings") == Brings.TWEETS:
        asked["reading"] = Reading.TWEETS.value
    return f"?{urlencode(asked)}"


def _day(local: datetime) -> str:
    return f"{local.day} {local:%b %Y}"


def _seconds(file: FileImport) -> str:
    if not (file.started_at and file.ended_at):
        return ""
    return import_news.duration((file.ended_at - file.started_at).total_seconds())
