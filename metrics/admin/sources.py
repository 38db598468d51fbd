"""Sources in Django admin: all of them, with what they brought and how they have been; paused and started from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Sum
from django.utils import timezone

from metrics.admin.facts import FactsAdmin
from metrics.ingest import sources
from metrics.models import Outage, Source, SourceDay, SourceNote, SourceState

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest


class _Rows(admin.TabularInline):  # type: ignore[type-arg]  # generic in the stubs only
    """Rows that sources write: to look at."""

    extra = 0
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False


class _Notes(_Rows):
    model = SourceNote
    fields = readonly_fields = ("at", "text", "is_trouble")
    verbose_name_plural = "what happened"


class _Outages(_Rows):
    model = Outage
    fields = readonly_fields = ("since", "until", "state", "reason")


class _Days(_Rows):
    model = SourceDay
    fields = readonly_fields = ("day", "events", "snapshots", "tweets", "refused", "ignored")
    ordering = ("-day",)


@admin.register(Source)
class SourceAdmin(FactsAdmin):
    """Every source of every team; its secrets stay sealed."""

    list_display = (
        "name",
        "kind",
        "handle",
        "state",
        "state_since",
        "reason",
        "last_event_at",
        "events_today",
        "lag_ms",
    )
    list_filter = ("state", "kind", "handle__team")
    list_select_related = ("handle",)
    search_fields = ("name", "handle__username")
    exclude = ("sealed",)
    inlines = (_Notes, _Outages, _Days)
    actions = ("pause", "start")

    has_steer_permission = FactsAdmin.may_act

    @admin.display(description="events today")
    def events_today(self, source: Source) -> str:
        """Events of this UTC day."""
        today = source.days.filter(day=timezone.now().date()).aggregate(Sum("events"))["events__sum"]
        return f"{today or 0:,}"

    @admin.action(description="Pause", permissions=["steer"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        """Stop running the chosen sources until somebody starts them."""
        self._enter(request, queryset, SourceState.PAUSED, "by an administrator")

    @admin.action(description="Start", permissions=["steer"])
    def start(self, request: HttpRequest, queryset: QuerySet[Source]) -> None:
        """Run the chosen sources again, whatever stopped them."""
        self._enter(request, queryset, SourceState.STARTING, "")

    def _enter(self, request: HttpRequest, queryset: QuerySet[Source], state: SourceState, reason: str) -> None:
        for source in queryset:
            sources.enter(source, state, reason)
        self.message_user(request, f"{len(queryset)} now {state.label}.", messages.SUCCESS)
