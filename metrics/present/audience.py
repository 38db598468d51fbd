"""People: the figures about them on a handle's dashboard and on a Tweet's page, kept current by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRefresh

from accounts.models import Handle
from metrics.models import Tweet
from metrics.present import people
from metrics.query import audience, params, story
from metrics.query.audience import Member, Reached
from metrics.query.params import ParamError, Reading, ReportQuery
from metrics.query.story import TweetQuery


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
