"""People: the figures about them on a handle's dashboard and on a Tweet's page, and a handle's Audience page.

The figures keep themselves current: pages ask for them every few seconds, for a Tweet's curve less often.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRefresh

from accounts.models import Handle
from metrics.models import PersonEpoch, Tweet
from metrics.present import audience_charts, overlaps, people
from metrics.present.audience_charts import Drawn
from metrics.present.columns import Cell
from metrics.query import audience, overlap, params, report, story
from metrics.query.audience import Basis, Member, Reach, Reached, Span
from metrics.query.overlap import Point, Week
from metrics.query.params import ParamError, Reading, ReportQuery
from metrics.query.story import TweetQuery
from metrics.vocabulary.periods import DAY, HOUR, WEEK
from metrics.vocabulary.sketches import hours_since

WEEKS: Final = 12
LATEST: Final = {"range": "28d", "zone": "UTC"}
"""What the Audience page tells in figures: 28 days as people are kept, so that no day is cut."""
COMPARED: Final = 8
CANDIDATES: Final = 40
"""The Tweets of most reach are sought among those with most impressions."""


@dataclass(frozen=True, slots=True)
class Told:
    """A set's people as a page tells them."""

    reached: Reached
    zone: ZoneInfo

    @property
    def figures(self) -> list[people.Figure]:
        """Reach, frequency, engaged people, coverage."""
        return people.told(self.reached)

    @property
    def words(self) -> str:
        """What has to be known about them."""
        return " ".join(people.sentences(self.reached, self.zone))


def of_report(query: ReportQuery) -> Told:
    """The people of a dashboard: of all that happened in the period, or of the period's Tweets in their whole life."""
    if query.reading is Reading.TWEETS:
        asked = audience.span(None, query.now)
        return _told(_published(query), asked, query.zone)
    return _told([audience.whole(query.handle)], audience.span(query.period, query.now), query.zone)


def of_tweet(query: TweetQuery) -> Told:
    """The people whom a Tweet has reached in its life."""
    return _told([audience.member(query.tweet)], audience.span(None, query.now), query.zone)


@dataclass(frozen=True, slots=True)
class Curve:
    """A Tweet's people over time: the chart, the table behind it, and what has to be known of it."""

    drawn: Drawn | None
    points: list[Point]
    words: str
    why_not: str

    @property
    def data(self) -> dict[str, Any] | None:
        """What the browser draws."""
        return self.drawn._asdict() if self.drawn else None


def curve_of(query: TweetQuery, told: Told) -> Curve:
    """How the Tweet reached people, in the part of its life that is asked for."""
    found = overlap.curve(audience.member(query.tweet), query.now)
    is_young = audience.member(query.tweet).created_at >= hours_since(query.now)
    drawn = audience_charts.curve(found, query, told.reached.epochs, HOUR if is_young else DAY)
    points = [point for point in found if query.period.since <= point.at <= query.period.until]
    epochs = told.reached.epochs
    words = f"Known at the end of each {'hour' if is_young else 'day (UTC)'}."
    if epochs:
        words += f" {people.new_key(epochs, query.zone)} The line begins anew there."
    return Curve(drawn, points, words, "" if drawn else _why_not(found, told.reached))


def _why_not(found: Sequence[Point], reached: Reached) -> str:
    if found:
        return "People are kept by the hour: this part of its life is too short to draw."
    if reached.impressions:
        return "No source named the people who saw this Tweet, so there is nothing to draw."
    return (
        "Nobody is known to have seen this Tweet yet. The curve begins with the first impression that names a person."
    )


@require_safe
@never_cache
@login_required
def page(request: HttpRequest, username: str) -> HttpResponse:
    """Whom a handle reaches: each week, how often, who comes back, and whom its Tweets share."""
    handle = Handle.objects.visible_or_404(request.user, username)
    now = datetime.now(UTC)
    query = params.parse(LATEST, handle, now)
    weeks = overlap.weeks(handle, now, WEEKS)
    weekly, comers = audience_charts.weekly(weeks), audience_charts.comers(weeks)
    context = {
        "handle": handle,
        "people": of_report(query),
        "people_query": urlencode(LATEST),
        "weeks": weeks,
        "is_known": any(week.reach.people or week.reach.high for week in weeks),
        "is_shown": any(week.reach.basis is Basis.UNREPORTED for week in weeks),
        "new_key": _new_key(weeks, query.zone),
        "picture": overlaps.picture(_top(query), Span(None, None, now)),
        "figures": {"weekly": weekly.figure, "comers": comers.figure},
        "readings": {"weekly": weekly.readings, "comers": comers.readings},
    }
    return render(request, "audience.html", context)


@require_safe
@never_cache
def people_now(request: HttpRequest, username: str) -> HttpResponse:
    """The figures about people of a dashboard with these parameters: asked for every few seconds."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    handle = Handle.objects.visible_or_404(request.user, username)
    now = datetime.now(UTC)
    try:
        query = params.parse(request.GET.dict(), handle, now)
    except ParamError:
        query = params.parse({}, handle, now)  # which is what the page shows
    return render(request, "partials/people_now.html", {"people": of_report(query), "oob": True})


@require_safe
@never_cache
def tweet_people_now(request: HttpRequest, username: str, tweet_id: int) -> HttpResponse:
    """The figures about a Tweet's people: asked for every few seconds."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    query = _tweet_query(request, username, tweet_id)
    return render(request, "partials/people_now.html", {"people": of_tweet(query), "oob": True})


@require_safe
@never_cache
def tweet_reach_now(request: HttpRequest, username: str, tweet_id: int) -> HttpResponse:
    """A Tweet's people over time: asked for now and then, because it is more work than its figures."""
    if not request.user.is_authenticated:
        return HttpResponseClientRefresh()
    query = _tweet_query(request, username, tweet_id)
    curve = curve_of(query, of_tweet(query))
    return render(request, "partials/reach_told.html", {"curve": curve, "query": query, "oob": True})


def week_rows(handle: Handle, now: datetime) -> Iterator[list[Cell]]:
    """The rows of audience.csv."""
    for week in overlap.weeks(handle, now, WEEKS):
        since, until = week.period.since.isoformat(), week.period.until.isoformat()
        parts = (_cells(part) for part in (week.reach, week.new, week.returning))
        reach, new, returning = parts
        yield [since, until, int(week.period.until > now), *reach, week.reach.basis.value, *new, *returning]


def _cells(reach: Reach | None) -> list[Cell]:
    """The number and its bounds; no number where the interval is wider than it."""
    if reach is None:
        return [None, None, None]
    return [reach.people if reach.is_told else None, reach.low, reach.high]


def _new_key(weeks: Sequence[Week], zone: ZoneInfo) -> str:
    """That the weeks hold people of several keys, and since when."""
    if all(week.new is not None or week.reach.basis is Basis.UNREPORTED for week in weeks):
        return ""
    since = weeks[0].period.since - overlap.WEEKS_BEFORE * WEEK
    later = PersonEpoch.objects.order_by("number").values_list("began_at", flat=True)[1:]
    began = tuple(at for at in later if at >= since)
    return people.new_key(began, zone) if began else ""


def _top(query: ReportQuery) -> list[overlaps.Named]:
    """The Tweets published in the last 28 days that reached the most people, the most first."""
    query = replace(query, reading=Reading.TWEETS)
    tweets = [row.tweet for row in report.top_tweets(query, "impressions", CANDIDATES)]
    found = audience.reached([[audience.member(tweet)] for tweet in tweets], Span(None, None, query.now))
    known = [(one.seen.high or 0, tweet) for one, tweet in zip(found, tweets, strict=True) if _is_ours(one.seen)]
    most = sorted(known, key=lambda pair: -pair[0])[:COMPARED]
    return [overlaps.Named(str(tweet), _address(tweet), (audience.member(tweet),)) for _, tweet in most]


def _is_ours(reach: Reach) -> bool:
    """Whether its people are known one by one, and not only their number as somebody reports it."""
    return reach.basis not in {Basis.REPORTED, Basis.UNREPORTED} and bool(reach.high)


def _address(tweet: Tweet) -> str:
    return reverse("tweet", args=[tweet.handle.username, tweet.tweet_id])


def _told(members: list[Member], asked: audience.Span, zone: ZoneInfo) -> Told:
    return Told(audience.reached([members], asked)[0], zone)


def _published(query: ReportQuery) -> list[Member]:
    since, until = query.period.since, query.period.until
    within = Tweet.objects.filter(handle=query.handle, created_at__gte=since, created_at__lt=until)
    return [Member(query.handle.pk, tweet_id) for tweet_id in within.values_list("tweet_id", flat=True)]


def _tweet_query(request: HttpRequest, username: str, tweet_id: int) -> TweetQuery:
    handle = Handle.objects.visible_or_404(request.user, username)
    found = story.find_tweet(handle, tweet_id) if tweet_id < 2**63 else None
    if found is None:
        raise Http404("No such Tweet.")
    now = datetime.now(UTC)
    try:
        return story.parse_tweet(request.GET.dict(), found, now)
    except ParamError:
        return story.parse_tweet({}, found, now)  # which is what the page shows
