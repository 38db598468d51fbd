"""People in the JSON API: the reach of any set, how audiences overlap, what each Tweet added, who came back.

Answers hold numbers and their bounds, never anything that stands for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from django.http import Http404, HttpRequest
from ninja import Path, Query, Router

from accounts.models import Handle
from metrics.models import Audience, PersonEpoch, Tweet
from metrics.present import answers, reach_answers
from metrics.present.callers import handle_of, readable
from metrics.present.reach_answers import told_people, told_reach, told_shared
from metrics.query import audience, campaigns, overlap, params
from metrics.query.audience import Member, Span
from metrics.query.params import ParamError
from metrics.vocabulary.events import MAX_TWEET_ID

router = Router(tags=["People"])
_REFUSALS = {401: answers.Problem, 403: answers.Problem, 404: answers.Problem, 422: answers.Problem}
_AUDIENCES = {"seen": Audience.SEEN, "engaged": Audience.ENGAGED}
_UTC = ZoneInfo("UTC")


@router.get(
    "/reach",
    response={200: reach_answers.SetReachOut, **_REFUSALS},
    summary="How many people a set reached",
    operation_id="read_reach",
)
def read_reach(request: HttpRequest, given: Query[reach_answers.ReachParams]) -> dict[str, Any]:
    """People of any Tweets, tags and whole handles together, each counted once. A Tweet counts for each of your
    handles that holds it."""
    asked = _span(given)
    handles = [handle_of(request, name) for name in _checked("handle", given.handle, reach_answers.MOST_HANDLES)]
    numbers = _numbers(given.tweet, reach_answers.MOST_TWEETS)
    tags = _checked("tag", given.tag, reach_answers.MOST_TAGS)
    if not (handles or numbers or tags):
        raise ParamError("tweet", "name at least one Tweet, tag or handle.")
    tweets = {tweet.pk: tweet for some in _of_each(request, numbers, tags) for tweet in some}
    whole = {handle.pk for handle in handles}
    # What a whole handle holds already would be counted twice.
    members = [audience.member(tweet) for tweet in tweets.values() if tweet.handle_id not in whole]
    found = audience.reached([[*members, *{audience.whole(handle) for handle in handles}]], asked)[0]
    return told_people(found) | {
        "tweets": len(tweets),
        "handles": len(whole),
        "impressions": found.impressions,
        "named_impressions": found.named_impressions,
        "engagements": found.engagements,
        "as_of": asked.now,
    }


@router.get(
    "/overlap",
    response={200: reach_answers.OverlapOut, **_REFUSALS},
    summary="People shared by Tweets or campaigns",
    operation_id="read_overlap",
)
def read_overlap(request: HttpRequest, given: Query[reach_answers.OverlapParams]) -> dict[str, Any]:
    """People of two to twelve Tweets or tags: how many each pair shares, and the largest combinations."""
    asked, which = _span(given), _audience(given)
    numbers = _numbers(given.tweet, overlap.MOST_SETS)
    tags = _checked("tag", given.tag, overlap.MOST_SETS)
    if numbers and tags:
        raise ParamError("tag", "give Tweets or tags, not both.")
    names = [str(number) for number in numbers] or tags
    if len(names) < 2:
        raise ParamError("tag" if tags else "tweet", f"give 2 to {overlap.MOST_SETS} different ones.")
    found = overlap.overlap(_members(_of_each(request, numbers, tags)), asked, which)
    return _compared(asked, which) | {
        "sets": [{"name": name, "reach": told_reach(reach)} for name, reach in zip(names, found.sets, strict=True)],
        "pairs": [
            {"of": [names[place] for place in pair], "shared": told_shared(reach)}
            for pair, reach in found.shared.items()
        ],
        "combinations": [
            {"of": [names[place] for place in sorted(places)], "people": told_shared(reach)}
            for places, reach in found.largest
        ],
        "is_partial": found.is_partial,
    }


@router.get(
    "/growth",
    response={200: reach_answers.GrowthOut, **_REFUSALS},
    summary="What each Tweet of a campaign added",
    operation_id="read_growth",
)
def read_growth(request: HttpRequest, given: Query[reach_answers.GrowthParams]) -> dict[str, Any]:
    """The Tweets with a tag in the order in which they were sent: whom each reached that those before had not."""
    asked, which = _span(given), _audience(given)
    (tweets,) = _of_each(request, [], _checked("tag", [given.tag], 1))
    steps = overlap.growth(_members([tweet] for tweet in tweets), asked, which)
    return _compared(asked, which) | {
        "tag": given.tag,
        "steps": [_step(tweets[step.place], step) for step in steps],
        "key_changes": _key_changes(tweets[0].created_at),
    }


@router.get(
    "/handles/{username}/weeks",
    response={200: reach_answers.WeeksOut, **_REFUSALS},
    summary="A handle's people by week",
    operation_id="read_weeks",
)
def read_weeks(
    request: HttpRequest,
    username: Annotated[str, Path(description="The handle, without the @.", examples=["northwind"])],
    given: Query[reach_answers.WeeksParams],
) -> dict[str, Any]:
    """Whom a handle reached each week, and which of them it had reached in the four weeks before."""
    handle, now = handle_of(request, username), datetime.now(UTC)
    return {
        "handle": handle.username,
        "weeks": [_week(week) for week in overlap.weeks(handle, now, given.number)],
        "as_of": now,
    }


def _span(given: reach_answers.PeopleParams) -> Span:
    now = datetime.now(UTC)
    texts = {name: text for name in ("since", "until", "zone") if (text := getattr(given, name)) is not None}
    for name, text in texts.items():
        if not text.strip():
            raise ParamError(name, "is empty; give a value, or leave it out.")
    zone = params.zone_named(texts["zone"]) if "zone" in texts else _UTC
    is_ever = not {"since", "until"} & texts.keys()
    return audience.span(None if is_ever else params.custom_period(texts, zone, now), now)


def _audience(given: reach_answers.AudienceParams) -> Audience:
    name = given.audience or "seen"
    if name not in _AUDIENCES:
        raise ParamError("audience", f"“{name[:40]}” is not known; use seen or engaged.")
    return _AUDIENCES[name]


def _checked(field: str, values: Iterable[str], most: int) -> list[str]:
    """The values, each once; raises ParamError for an empty one, and for too many."""
    found = list(dict.fromkeys(values))
    if len(found) > most:
        raise ParamError(field, f"give at most {most}.")
    if not all(value.strip() for value in found):
        raise ParamError(field, "is empty; give a value, or leave it out.")
    return found


def _numbers(texts: Iterable[str], most: int) -> list[int]:
    found = _checked("tweet", texts, most)
    for text in found:
        if not (text.isascii() and text.isdecimal() and len(text) <= 19):
            raise ParamError("tweet", f"“{text[:40]}” is no Tweet's id; those are numbers.")
    return list(dict.fromkeys(min(int(text), MAX_TWEET_ID) for text in found))


def _of_each(request: HttpRequest, numbers: Sequence[int], tags: Sequence[str]) -> list[list[Tweet]]:
    """The Tweets of each id and of each tag, among those that the caller may see; raises Http404."""
    handles = list(readable(request))
    return [*_of_numbers(handles, numbers), *(_of_tag(handles, tag) for tag in tags)]


def _of_numbers(handles: Sequence[Handle], numbers: Sequence[int]) -> list[list[Tweet]]:
    held: dict[int, list[Tweet]] = {number: [] for number in numbers}
    for tweet in Tweet.objects.filter(handle__in=handles, tweet_id__in=numbers) if numbers else ():
        held[tweet.tweet_id].append(tweet)
    if not all(held.values()):
        raise Http404("No such Tweet.")
    return list(held.values())


def _of_tag(handles: Sequence[Handle], tag: str) -> list[Tweet]:
    # PostgreSQL holds no text with a NUL, and psycopg refuses to ask for one.
    tweets = [] if "\x00" in tag else campaigns.tweets_of(handles, tag)
    if not tweets:
        raise Http404("No such tag.")
    return tweets


def _members(sets: Iterable[Iterable[Tweet]]) -> list[list[Member]]:
    return [[audience.member(tweet) for tweet in tweets] for tweets in sets]


def _compared(asked: Span, which: Audience) -> dict[str, Any]:
    return {
        "audience": which.name.lower(),
        "period": asked.period and {"since": asked.period.since, "until": asked.period.until},
        "widened": asked.is_widened,
        "as_of": asked.now,
    }


def _step(tweet: Tweet, step: overlap.Step) -> dict[str, Any]:
    return {
        "id": str(tweet.tweet_id),
        "handle": tweet.handle.username,
        "created_at": tweet.created_at,
        "reach": told_reach(step.reach),
        "new": told_shared(step.new),
        "total": told_reach(step.total),
    }


def _key_changes(since: datetime) -> list[datetime]:
    """When another key than the first began, of those since then."""
    later = PersonEpoch.objects.filter(began_at__gt=since, number__gt=0).order_by("number")
    return list(later.values_list("began_at", flat=True))


def _week(week: overlap.Week) -> dict[str, Any]:
    return {
        "since": week.period.since,
        "until": week.period.until,
        "reach": told_reach(week.reach),
        "new": week.new and told_shared(week.new),
        "returning": week.returning and told_shared(week.returning),
    }
