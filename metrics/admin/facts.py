"""Facts in Django admin: Tweets, what was refused or set aside, the writers, and the Operations page.

Facts are read, never edited. Events and rollups have composite keys, which admin cannot register: what they add up to
stands on the Tweet's page.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe
from redis.exceptions import RedisError

from metrics import telemetry
from metrics.aggregate import rollups
from metrics.ingest import rejections
from metrics.ingest.validation import Refusal
from metrics.models import DroppedDay, HandleFeed, Rejection, SetAsideEntry, StreamCursor, Tweet
from metrics.present import operations as readings
from metrics.query import series
from metrics.stream import Cargo
from metrics.vocabulary.engagements import METRICS, ORGANIC, PROMOTED, TYPES
from metrics.vocabulary.events import PACKED
from metrics.vocabulary.snapshots import SNAPSHOT_DTYPE

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from metrics.vocabulary.engagements import Counts


@require_safe
def operations(request: HttpRequest) -> HttpResponse:
    """`/admin/operations/`: the page, or only its figures when htmx asks for them again."""
    context: dict[str, Any] = {"now": readings.read()}
    if request.headers.get("HX-Request"):
        return render(request, "admin/operations_figures.html", context)
    return render(
        request, "admin/operations.html", admin.site.each_context(request) | {"title": "Operations"} | context
    )


class FactsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    """Rows that the writers make: to look at, not to add, change or delete."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only along with the handle or team to which the fact belongs, never on the fact's own pages."""
        page = request.resolver_match.url_name or "" if request.resolver_match else ""
        is_own = page.startswith(f"{self.opts.app_label}_{self.opts.model_name}_")
        return not is_own and super().has_delete_permission(request, obj)

    def may_act(self, request: HttpRequest) -> bool:
        """Whether this person may run the actions: the right to change such rows, which nobody can use otherwise."""
        return bool(request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}"))


class TweetList(ChangeList):
    """The list's page, with each Tweet's lifetime read for all of its rows together."""

    def get_results(self, request: HttpRequest) -> None:
        """Read the page, then one query a handle on it."""
        super().get_results(request)
        by_handle: dict[int, list[Any]] = defaultdict(list)
        for tweet in self.result_list:
            by_handle[tweet.handle_id].append(tweet)
        for handle_id, tweets in by_handle.items():
            lifetimes = series.tweet_lifetimes(handle_id, [tweet.tweet_id for tweet in tweets])
            for tweet in tweets:
                tweet.lifetime = lifetimes[tweet.tweet_id].sum(axis=0)


@admin.register(Tweet)
class TweetAdmin(FactsAdmin):
    """Tweets, found by id or text, with what they gathered."""

    list_display = ("tweet_id", "handle", "short_text", "created_at", "media", "impressions", "engagements")
    list_filter = ("media", "is_stub", "handle")
    list_select_related = ("handle",)
    search_fields = ("=tweet_id", "text")
    search_help_text = "A Tweet's id, or words of its text"
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    fields = ("tweet_id", "handle", "text", "created_at", "media", "link", "tags", "is_stub", "lifetime_totals")
    readonly_fields = ("lifetime_totals",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """The list that reads lifetimes."""
        return TweetList

    @admin.display(description="text")
    def short_text(self, tweet: Tweet) -> str:
        """The beginning."""
        return tweet.text[:80]

    @admin.display(description="impressions, lifetime")
    def impressions(self, tweet: Any) -> str:
        """Organic and promoted."""
        return _total(tweet.lifetime, "impressions")

    @admin.display(description="engagements, lifetime")
    def engagements(self, tweet: Any) -> str:
        """Organic and promoted."""
        return _total(tweet.lifetime, "engagements")

    @admin.display(description="lifetime totals")
    def lifetime_totals(self, tweet: Tweet) -> str:
        """A table of all types: organic, promoted, together."""
        counts = series.tweet_lifetimes(tweet.handle_id, [tweet.tweet_id])[tweet.tweet_id]
        rows = [
            (kind.label, int(counts[ORGANIC, code]), int(counts[PROMOTED, code]), int(counts[:, code].sum()))
            for code, kind in enumerate(TYPES)
        ]
        return render_to_string("admin/tweet_totals.html", {"rows": rows})


@admin.register(Rejection)
class RejectionAdmin(FactsAdmin):
    """What was refused, where and why; and another try."""

    list_display = ("rejected_at", "handle", "reason", "field", "index", "detail", "replayed_at")
    list_filter = ("reason", "handle", ("replayed_at", admin.EmptyFieldListFilter))
    list_select_related = ("handle",)
    search_fields = ("detail",)
    actions = ("replay",)

    has_replay_permission = FactsAdmin.may_act

    @admin.action(description="Replay", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Rejection]) -> None:
        """Send the chosen events through the same checks again, and say what is still refused."""
        sent = 0
        for rejection in queryset.select_related("handle"):
            try:
                rejections.replay(rejection)
                sent += 1
            except Refusal as refusal:
                told = f"Rejection {rejection.pk} is refused again ({refusal.reason}): {refusal.detail}"
                self.message_user(request, told, messages.ERROR)
            except RedisError:
                self.message_user(request, "Redis does not answer: the rest was not sent.", messages.ERROR)
                break
        if sent:
            self.message_user(request, f"{sent} sent again; what had been counted before is not counted twice.")


@admin.register(SetAsideEntry)
class SetAsideEntryAdmin(FactsAdmin):
    """Batches that could not be counted, kept whole; and another try."""

    list_display = ("entry", "shard", "events", "short_error", "set_aside_at", "applied_at")
    list_filter = (("applied_at", admin.EmptyFieldListFilter), "shard")
    list_per_page = 20  # each row brings its payload
    ordering = ("-set_aside_at",)
    fields = ("shard", "entry", "events", "error", "set_aside_at", "applied_at")
    readonly_fields = ("events",)
    actions = ("apply_again",)

    has_apply_permission = FactsAdmin.may_act

    @admin.display(description="events")
    def events(self, aside: SetAsideEntry) -> str:
        """How many events, or snapshots, the payload holds, as far as its length tells."""
        size = SNAPSHOT_DTYPE.itemsize if aside.cargo == Cargo.SNAPSHOTS else PACKED.size
        whole, rest = divmod(len(aside.payload), size)
        return f"{whole:,} and {rest} bytes" if rest else f"{whole:,}"

    @admin.display(description="error")
    def short_error(self, aside: SetAsideEntry) -> str:
        """The error's beginning."""
        return aside.error[:120]

    @admin.action(description="Apply again", permissions=["apply"])
    def apply_again(self, request: HttpRequest, queryset: QuerySet[SetAsideEntry]) -> None:
        """Count the chosen entries now; one that is still at fault stays, with its error."""
        for aside in queryset.filter(applied_at=None):
            try:
                fresh = sum(commit.fresh for commit in rollups.apply_again(aside))
            except rollups.POISON as error:
                aside.error = f"{type(error).__name__}: {error}"
                aside.save(update_fields=["error"])
                self.message_user(request, f"Entry {aside.entry} stays set aside: {aside.error}", messages.ERROR)
            else:
                self.message_user(request, f"Entry {aside.entry} is applied: {fresh:,} fresh events.")


@admin.register(StreamCursor)
class StreamCursorAdmin(FactsAdmin):
    """The consumers: how far each shard's writer has come, and what still waits."""

    list_display = ("shard", "applied_events", "applied_at", "last_entry", "backlog", "lag", "writer", "last_beat")
    fields = list_display
    readonly_fields = ("backlog", "lag", "writer", "last_beat")
    ordering = ("shard",)

    @admin.display(description="backlog, events")
    def backlog(self, cursor: StreamCursor) -> str:
        """Accepted events that wait."""
        now = _shard(cursor)
        return f"{now.backlog_events:,}" if now else "Redis does not answer"

    @admin.display(description="lag, seconds")
    def lag(self, cursor: StreamCursor) -> str:
        """How long the oldest of them has waited."""
        now = _shard(cursor)
        return f"{now.lag_seconds:.1f}" if now else "Redis does not answer"

    @admin.display(description="written by")
    def writer(self, cursor: StreamCursor) -> str:
        """Who holds the lease, as machine:pid."""
        now = _shard(cursor)
        return now.holder or "nobody" if now else "Redis does not answer"

    @admin.display(description="last beat")
    def last_beat(self, _cursor: StreamCursor) -> datetime | str:
        """When the timetable, which starts the writers, was last heard: the same for all shards."""
        try:
            return telemetry.last_beat_at() or "never heard"
        except RedisError:
            return "Redis does not answer"


@admin.register(HandleFeed)
class HandleFeedAdmin(FactsAdmin):
    """How far each handle's figures have come."""

    list_display = ("handle", "sequence", "last_event_at", "last_received_at")
    list_select_related = ("handle",)
    search_fields = ("handle__username",)


@admin.register(DroppedDay)
class DroppedDayAdmin(FactsAdmin):
    """Days whose events retention has dropped."""

    list_display = ("day", "dropped_at")
    ordering = ("-day",)


def _total(counts: Counts, metric: str) -> str:
    return f"{int(METRICS[metric].of(counts)):,}"


def _shard(cursor: StreamCursor) -> readings.Shard | None:
    try:
        return readings.shard(cursor.shard)
    except RedisError:
        return None
