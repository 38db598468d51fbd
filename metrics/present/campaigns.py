"""Campaigns: the list of all tags, the page and the file of one, and the tagging of Tweets.

A campaign is the Tweets with a tag of all handles that somebody may see. A tag that nobody uses, or that only others
use, is an empty campaign: the two look alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from accounts.access import EDITORS, require_role, signed_in
from accounts.models import Handle
from metrics.ingest.tweets import TagError, add_tag, remove_tag
from metrics.models import Tweet
from metrics.present import campaign_charts, columns, exports, figures, overlaps, people
from metrics.present.columns import Cell
from metrics.present.overlaps import Named
from metrics.query import audience, campaigns
from metrics.query.audience import Reach, Reached, Span
from metrics.query.campaigns import Campaign, Part, Told
from metrics.query.overlap import MOST_SETS
from metrics.query.params import ParamError, choice
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import METRICS
from metrics.vocabulary.events import MAX_TWEET_ID
from metrics.vocabulary.periods import Period

Context = dict[str, Any]
A_PAGE = 25


class Stretch(StrEnum):
    """For which time a campaign's people are told."""

    EVER = "ever"
    DAYS_7 = "7d"
    DAYS_28 = "28d"


STRETCHES = ((Stretch.EVER, "Ever"), (Stretch.DAYS_7, "7 d"), (Stretch.DAYS_28, "28 d"))
_LENGTHS = {Stretch.DAYS_7: timedelta(days=7), Stretch.DAYS_28: timedelta(days=28)}


@require_safe
@never_cache
@login_required
def listing(request: HttpRequest) -> HttpResponse:
    """All campaigns, the newest first; those that `compare` names, beside each other."""
    time = _time(request.GET)
    found = campaigns.campaigns(Handle.objects.visible_to(signed_in(request)))
    page = Paginator(found, A_PAGE).get_page(request.GET.get("page"))
    told = audience.reached([campaign.members for campaign in page], time["span"]) if found else []
    wanted = list(dict.fromkeys(request.GET.getlist("compare")))
    compared = [campaign for campaign in found if campaign.tag in wanted]
    context = {
        **time,
        "page": page,
        "rows": list(zip(page, told, strict=True)),
        "compared": [campaign.tag for campaign in compared[:MOST_SETS]],
        "is_cut": len(compared) > MOST_SETS,
        "picture": overlaps.picture([_named(campaign) for campaign in compared], time["span"]),
        "zone": UTC,
    }
    return render(request, "campaigns.html", context, status=400 if time["error"] else 200)


@require_safe
@never_cache
@login_required
def campaign(request: HttpRequest, tag: str) -> HttpResponse:
    """One campaign: how many people it reached, which Tweet added whom, and how their audiences overlap."""
    time = _time(request.GET)
    handles = list(Handle.objects.visible_to(signed_in(request)))
    tweets = campaigns.tweets_of(handles, tag)
    zone = _zone(tweets)
    context: Context = {**time, "tag": tag, "tweets": tweets, "zone": zone}
    if tweets:
        told = campaigns.tell(tweets, time["span"])
        context |= _told(told, request.GET.getlist("tweet"), time["span"], zone)
        context["number"] = campaigns.number_of(handles, tag)
    with timezone.override(zone):
        return render(request, "campaign.html", context, status=400 if time["error"] else 200)


@require_safe
@never_cache
@login_required
def export_campaign(request: HttpRequest, tag: str) -> HttpResponseBase:
    """The campaign's Tweets as a file: what each reached and added, with bounds."""
    time = _time(request.GET)
    if time["error"]:
        return HttpResponse(f"{time['error']}\n", status=400, content_type="text/plain; charset=utf-8")
    tweets = campaigns.tweets_of(Handle.objects.visible_to(signed_in(request)), tag)
    told = campaigns.tell(tweets, time["span"])
    return exports.download(request, "campaign", f"campaign_{slugify(tag) or 'tag'}.csv", _file_rows(told))


@require_POST
@never_cache
@login_required
def tag_tweets(request: HttpRequest, username: str) -> HttpResponse:
    """Put a tag on the ticked Tweets of the dashboard, or take it off; then back to the same view of it."""
    handle = Handle.objects.visible_or_404(request.user, username)
    require_role(signed_in(request), handle.team, EDITORS)
    numbers = _numbers(request.POST.getlist("tweet"))
    text = request.POST.get("tag", "")
    try:
        if not numbers:
            raise TagError("Tick the Tweets first: nothing was changed.")
        messages.success(request, _done(handle, numbers, text, adding=request.POST.get("do") != "remove"))
    except TagError as refused:
        messages.error(request, str(refused))
    back = QueryDict(request.POST.get("back", "")).urlencode()
    return redirect(reverse("dashboard", args=[handle.username]) + (f"?{back}" if back else ""))


def _done(handle: Handle, numbers: Sequence[int], text: str, *, adding: bool) -> str:
    """Do it, and say so."""
    changed = (add_tag if adding else remove_tag)(handle, numbers, text)
    tag = text.strip().removeprefix("#").strip()
    plural = "" if changed == 1 else "s"
    if not changed:
        return f"Nothing to do: {'all' if adding else 'none'} of them had the tag “{tag}”."
    return f"{figures.count(changed)} Tweet{plural} {'now' if adding else 'no longer'} tagged “{tag}”."


def _numbers(given: Sequence[str]) -> list[int]:
    numbers = (int(text) for text in given if text.isdecimal() and len(text) <= len(str(MAX_TWEET_ID)))
    return [number for number in numbers if number <= MAX_TWEET_ID]


def _time(given: Mapping[str, str]) -> Context:
    """The time asked for: the choice, its span, and what was wrong with it, if anything."""
    now, error = datetime.now(UTC), None
    try:
        stretch = choice("range", given.get("range") or None, Stretch, Stretch.EVER)
    except ParamError as refused:
        error, stretch = refused, Stretch.EVER
    length = _LENGTHS.get(stretch)
    # From a full hour on: people are kept by hour.
    asked = None if length is None else Period(periods.floor(now, periods.HOUR) - length, now)
    return {
        "span": audience.span(asked, now),
        "stretch": stretch,
        "stretches": STRETCHES,
        "error": error,
        "now": now,
    }


def _zone(tweets: Sequence[Tweet]) -> ZoneInfo:
    """The time zone of the Tweets' handles, UTC where they differ."""
    zones = {tweet.handle.time_zone for tweet in tweets}
    return ZoneInfo(zones.pop() if len(zones) == 1 else "UTC")


def _named(found: Campaign) -> Named:
    return Named(found.tag, reverse("campaign", args=[found.tag]), found.members)


def _told(told: Told, chosen: Sequence[str], span: Span, zone: ZoneInfo) -> Context:
    """What the page says of a campaign that has Tweets."""
    wanted = set(_numbers(chosen))
    picked = [part for part in told.parts if part.tweet.tweet_id in wanted] or told.largest(MOST_SETS)
    has_people = bool(told.parts[-1].step.total.people)
    grows = has_people and len(told.parts) > 1
    return {
        "told": told,
        "tiles": _tiles(told.total),
        "sentences": people.sentences(told.total, zone),
        "has_people": has_people,
        "grows": grows,
        "picked": {part.tweet.pk for part in picked[:MOST_SETS]},
        "is_cut": len(picked) > MOST_SETS,
        "picture": overlaps.picture([_of_tweet(part) for part in picked], span),
        "figures": {"growth": campaign_charts.growth(told.parts, zone)} if grows else {},
        "handles": sorted({part.tweet.handle for part in told.parts}, key=lambda handle: handle.username),
    }


def _of_tweet(part: Part) -> Named:
    tweet = part.tweet
    address = reverse("tweet", args=[tweet.handle.username, tweet.tweet_id])
    return Named(str(tweet), address, (audience.member(tweet),))


def _tiles(total: Reached) -> list[people.Figure | Context]:
    """The headline figures: those about people, and what happened beside them."""
    shown, rate = total.impressions, campaigns.rate(total)
    return [
        *people.told(total),
        _tile("impressions", "Impressions", shown, ""),
        _tile(
            "engagements", "Engagements", total.engagements, f"{figures.percent(rate)} of impressions" if rate else ""
        ),
    ]


def _tile(name: str, label: str, value: int, note: str) -> Context:
    return {
        "name": name,
        "label": label,
        "definition": METRICS[name].definition,
        "value": figures.count(value),
        "note": note,
    }


def _file_rows(told: Told) -> Iterator[list[Cell]]:
    """The rows of a campaign's tweets.csv."""
    for part in told.parts:
        tweet, found, step = part.tweet, part.reached, part.step
        local = tweet.created_at.astimezone(tweet.handle.zone)
        yield [
            tweet.tweet_id,
            tweet.handle.username,
            local.isoformat(timespec="seconds"),
            tweet.text,
            found.impressions,
            found.engagements,
            None if part.rate is None else round(part.rate, 6),
            *columns.people(found),
            *(cell for reach in (step.new, step.total) for cell in _cells(reach)),
        ]


def _cells(reach: Reach) -> list[Cell]:
    return [reach.people, reach.low, reach.high, reach.basis.value]
