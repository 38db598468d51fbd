"""The pages: handles, a handle's dashboard, a Tweet, search; and `live.json`, which says the same as data.

Every page is complete HTML with all its figures; scripts then keep it current.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.access import EDITORS
from accounts.models import Handle, Role, User
from metrics.models import HandleFeed, Tweet
from metrics.present import account_days, audience, bands, charts, clock, panels, snapshot, sources
from metrics.query import campaigns, params, report, story
from metrics.query.params import Compare, ParamError, Range, Reading, ReportQuery
from metrics.query.report import TweetRow
from metrics.query.tweets import check_sort
from metrics.query.typical import AGES
from metrics.vocabulary.events import snowflake_at
from metrics.vocabulary.periods import DisplayGrain

Context = dict[str, Any]
TWEETS_SHOWN, MOVING_SHOWN, MARKS_SHOWN, FOUND_SHOWN = 25, 5, 300, 12
RANGES = (("30m", "30 min"), ("24h", "24 h"), ("28h", "28 h"), ("7d", "7 d"), ("28d", "28 d"))
SPANS = (("1h", "First hour"), ("24h", "First day"), ("7d", "First week"), ("life", "Whole life"))
COMPARISONS = (
    (Compare.PREVIOUS, "Previous period", "The same length, directly before"),
    (Compare.WEEKDAYS, "Same weekdays", "The same days of the week, whole weeks earlier"),
    (Compare.NONE, "No comparison", ""),
)
GRAIN_WORDS = {
    DisplayGrain.MINUTE: "by minute",
    DisplayGrain.QUARTER: "every 15 min",
    DisplayGrain.HOUR: "by hour",
    DisplayGrain.DAY: "by day",
}
SORTS = (
    ("rate", "Per min now"),
    ("impressions", "Impressions"),
    ("engagements", "Engagements"),
    ("engagement_rate", "Rate"),
    ("favorites_net", "Likes"),
    ("retweets_net", "Retweets"),
    ("url_clicks", "Link clicks"),
    ("video_views", "Video views"),
)
VELOCITY_COLUMNS = ("engagements", "social", "clicks", "apps")
DEFAULT_SORT = "rate"


@require_safe
@never_cache
@login_required
def handles(request: HttpRequest) -> HttpResponse:
    """A card for each visible handle."""
    user = cast("User", request.user)
    visible = list(Handle.objects.visible_to(user).select_related("team"))
    now = datetime.now(UTC)
    cards = report.handle_cards(visible, now)
    context = {
        "cards": [_card(card, now) for card in cards],
        "page": snapshot.cards_snapshot(cards, now),
        "vocabulary": snapshot.vocabulary(),
        "now": now,
        "can_edit": user.memberships.filter(role__in=[Role.OWNER, Role.EDITOR]).exists(),
    }
    return render(request, "handles.html", context)


@require_safe
@never_cache
def handles_live(request: HttpRequest) -> HttpResponse:
    """The page of handles as data."""
    if not request.user.is_authenticated:
        return _signed_out()
    now = datetime.now(UTC)
    cards = report.handle_cards(list(Handle.objects.visible_to(request.user)), now)
    return JsonResponse(snapshot.cards_snapshot(cards, now))


@require_safe
@never_cache
@login_required
def dashboard(request: HttpRequest, username: str) -> HttpResponse:
    """A handle's figures in a period; a parameter that cannot be used is named, and the default shown."""
    handle = Handle.objects.visible_or_404(request.user, username)
    now = datetime.now(UTC)
    error = None
    try:
        query, sort = params.parse(request.GET.dict(), handle, now), _sort(request.GET)
    except ParamError as refused:
        error, query, sort = refused, params.parse({}, handle, now), DEFAULT_SORT
    context = _dashboard_context(query, sort, request.GET.get("order") == "asc")
    context |= {"handle": handle, "error": error, "given": request.GET, "example_tweet": snowflake_at(now)}
    context |= {"troubled": sources.troubled(handle), "can_edit": _can_edit(request, handle)}
    context["tags_used"] = campaigns.tags_used(handle)
    with timezone.override(query.zone):
        return render(request, "dashboard.html", context, status=400 if error else 200)


@require_safe
@never_cache
def dashboard_live(request: HttpRequest, username: str) -> HttpResponse:
    """The dashboard as data, for the same parameters."""
    if not request.user.is_authenticated:
        return _signed_out()
    handle = Handle.objects.visible_or_404(request.user, username)
    try:
        query, sort = params.parse(request.GET.dict(), handle, datetime.now(UTC)), _sort(request.GET)
    except ParamError as refused:
        return JsonResponse({"field": refused.field, "detail": refused.detail}, status=400)
    found = report.report(query)
    rows, moving = _ranked(query, sort, request.GET.get("order") == "asc")
    return JsonResponse(snapshot.report_snapshot(found, rows, moving, bands.of_report(found)))


@require_safe
@never_cache
@login_required
def tweet(request: HttpRequest, username: str, tweet_id: int) -> HttpResponse:
    """One Tweet: how it grew, how fast it moves, and every type of engagement."""
    found = _visible_tweet(request, username, tweet_id)
    now = datetime.now(UTC)
    error = None
    try:
        query = story.parse_tweet(request.GET.dict(), found, now)
    except ParamError as refused:
        error, query = refused, story.parse_tweet({}, found, now)
    told = report.tweet_report(query)
    with timezone.override(query.zone):
        context = {"handle": found.handle, "error": error, **_tweet_context(told)}
        return render(request, "tweet.html", context, status=400 if error else 200)


@require_safe
@never_cache
def tweet_live(request: HttpRequest, username: str, tweet_id: int) -> HttpResponse:
    """A Tweet's page as data."""
    if not request.user.is_authenticated:
        return _signed_out()
    found = _visible_tweet(request, username, tweet_id)
    try:
        query = story.parse_tweet(request.GET.dict(), found, datetime.now(UTC))
    except ParamError as refused:
        return JsonResponse({"field": refused.field, "detail": refused.detail}, status=400)
    told = report.tweet_report(query)
    return JsonResponse(snapshot.tweet_snapshot(told, bands.of_tweet(told)))


@require_safe
@never_cache
@login_required
def search(request: HttpRequest) -> HttpResponse:
    """Handles and Tweets that match some words; only the list when htmx asks as somebody types."""
    text = request.GET.get("q", "").strip()[:200]
    visible = list(Handle.objects.visible_to(request.user))
    lowered = text.lower().removeprefix("@")
    context = {
        "search_text": text,
        "found_handles": [
            handle
            for handle in visible
            if lowered and (lowered in handle.username.lower() or lowered in handle.display_name.lower())
        ][:5],
        "found_tweets": report.search_tweets(visible, text, limit=FOUND_SHOWN) if text else [],
    }
    is_part = bool(getattr(request, "htmx", False))
    return render(request, "partials/found.html" if is_part else "search.html", context)


def _can_edit(request: HttpRequest, handle: Handle) -> bool:
    return cast("User", request.user).memberships.filter(team=handle.team_id, role__in=EDITORS).exists()


def _signed_out() -> JsonResponse:
    return JsonResponse({"detail": "Signed out: sign in again."}, status=401)


def _sort(given: Mapping[str, str]) -> str:
    return check_sort(given.get("sort") or DEFAULT_SORT)


def _ranked(query: ReportQuery, sort: str, ascending: bool) -> tuple[list[TweetRow], list[TweetRow]]:
    """The Tweets of the table, and those that move now."""
    rows = report.top_tweets(query, sort, TWEETS_SHOWN, descending=not ascending)
    is_same = sort == "rate" and not ascending and not query.tag
    moving = rows if is_same else report.top_tweets(replace(query, tag=""), "rate", MOVING_SHOWN)
    return rows, [row for row in moving[:MOVING_SHOWN] if row.rate_per_minute > 0]


def _dashboard_context(query: ReportQuery, sort: str, ascending: bool) -> Context:
    found = report.report(query)
    rows, moving = _ranked(query, sort, ascending)
    edges = [*found.series.starts, query.period.until]
    labels = clock.bucket_labels(edges, query.grain, query.zone)
    series_rows = panels.series_rows(labels, found.series.counts, is_running=query.is_running)
    steps = panels.funnel(found.totals)
    marks, marked = _published(query), bands.of_report(found)
    feed = HandleFeed.objects.filter(handle=query.handle).first()
    return {
        "query": query,
        "report": found,
        "people": audience.of_report(query),
        "has_history": feed is not None and feed.last_received_at is not None,
        "tiles": panels.tiles(found.totals, found.previous, found.series.counts, query.is_running),
        "compare_name": snapshot.comparison_name(query),
        "groups": panels.breakdown(found.totals, found.previous),
        "funnel": steps,
        "series_rows": series_rows,
        "peak": panels.peak(series_rows),
        "rows": rows,
        "moving": moving,
        "marks": marks,
        **_choices(query, sort, ascending),
        "page": snapshot.report_snapshot(found, rows, moving, marked),
        "bands": marked,
        "downs": marked.told(query.zone),
        "vocabulary": snapshot.vocabulary(),
        "compared": account_days.compared(query),
        "figures": {
            "activity": marked.behind(charts.activity(found, marks)),
            "video": charts.video(found),
            "funnel": charts.funnel(steps),
        },
    }


def _choices(query: ReportQuery, sort: str, ascending: bool) -> Context:
    """What the dashboard's reader can choose, and what is chosen."""
    return {
        "sort": sort,
        "ascending": ascending,
        "sorts": SORTS,
        "ranges": RANGES,
        "comparisons": COMPARISONS,
        "grains": GRAIN_WORDS,
        "grain_word": GRAIN_WORDS[query.grain],
        "by_life": query.reading is Reading.TWEETS,
        "is_custom": query.range is Range.CUSTOM,
    }


def _published(query: ReportQuery) -> list[Tweet]:
    within = Tweet.objects.filter(
        handle=query.handle, created_at__gte=query.period.since, created_at__lt=query.period.until
    )
    return list(within.order_by("-created_at")[:MARKS_SHOWN])


def _visible_tweet(request: HttpRequest, username: str, tweet_id: int) -> Tweet:
    handle = Handle.objects.visible_or_404(request.user, username)
    found = story.find_tweet(handle, tweet_id) if tweet_id < 2**63 else None
    if found is None:
        raise Http404("No such Tweet.")
    return found


def _tweet_context(told: report.TweetReport) -> Context:
    query = told.query
    steps, marked = panels.funnel(told.lifetime), bands.of_tweet(told)
    reached = audience.of_tweet(query)
    until = told.velocity.starts[-1] + DisplayGrain.MINUTE.length
    return {
        "query": query,
        "tweet": query.tweet,
        "report": told,
        "people": reached,
        "curve": audience.curve_of(query, reached),
        "tiles": panels.tiles(told.lifetime, None, told.velocity.counts),
        "groups": panels.breakdown(told.lifetime, None),
        "funnel": steps,
        **_tweet_tables(told, until),
        "last_hour": urlencode(
            {"since": told.velocity.starts[0].isoformat(), "until": until.isoformat(), "grain": "minute"}
        ),
        "ages": _ages(told),
        "spans": SPANS,
        "grain_word": GRAIN_WORDS[query.grain],
        "page": snapshot.tweet_snapshot(told, marked),
        "bands": marked,
        "downs": marked.told(query.zone),
        "vocabulary": snapshot.vocabulary(),
        "figures": {
            "clock": marked.behind(charts.growth_by_clock(told)),
            "age": charts.growth_by_age(told),
            "velocity": charts.velocity(told.velocity, until),
            "funnel": charts.funnel(steps),
        },
    }


def _tweet_tables(told: report.TweetReport, until: datetime) -> Context:
    """The tables behind a Tweet's charts; its last minutes end at `until`."""
    query = told.query
    labels = clock.bucket_labels([*told.clock.starts, query.period.until], query.grain, query.zone)
    minutes = clock.bucket_labels([*told.velocity.starts, until], DisplayGrain.MINUTE, query.zone)
    sums = told.before + told.clock.counts.cumsum(axis=0)
    is_running = query.now < query.period.until
    return {
        "growth_rows": panels.series_rows(labels, sums, is_running=is_running),
        "series_rows": panels.series_rows(labels, told.clock.counts, is_running=is_running),
        "velocity_rows": panels.series_rows(minutes, told.velocity.counts, VELOCITY_COLUMNS, is_running=True),
    }


def _ages(told: report.TweetReport) -> list[tuple[str, int | None, int | None, int]]:
    """For each age: its name, what this Tweet had gathered, the median, and of how many Tweets."""
    columns = (told.gathered.engagements.tolist(), told.typical.engagements.tolist(), told.typical.tweets)
    return [
        (clock.age_label(age), _known(own), _known(usual), tweets)
        for age, own, usual, tweets in zip(AGES, *columns, strict=True)
    ]


def _known(value: float) -> int | None:
    return None if math.isnan(value) else round(value)


def _card(card: report.HandleCard, now: datetime) -> Context:
    today = card.today.sum(axis=0)
    others = {"yesterday": card.yesterday.sum(axis=0), "last_week": card.last_week.sum(axis=0)}
    minutes = card.minutes.counts.sum(axis=1)
    return {
        "handle": card.handle,
        "weekday": f"{now.astimezone(card.handle.zone):%A}",
        "moving": card.moving,
        "last_received_at": card.last_received_at,
        "is_quiet": card.last_received_at is not None and now - card.last_received_at >= report.QUIET_AFTER,
        "figures": [panels.card_figure(name, today, others, minutes) for name in ("impressions", "engagements")],
    }
