"""What people do with a Tweet, in bulk: a span of history as a few events with counts.

The finer the closer to the end of the span, as a dashboard reads it: minutes for the last hour, quarter-hours
for two days, then hours, then coarser. The same span always gives the same events, so sending it again is
harmless.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from metrics.demo.kernel import DAY, HOUR, WEEK, Floats
from metrics.demo.people import crowd
from metrics.vocabulary.engagements import CODE, TYPES, UNDO_OF

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from metrics.demo.plan import Story
    from metrics.vocabulary.engagements import Counts

MINUTES_FOR = 75 * 60.0
QUARTERS_FOR = 58 * HOUR
HOURS_FOR = 15 * DAY
DAYS_FOR = 58 * DAY
# Shares of the impressions after which people do this, before a handle's and a Tweet's own factors.
REACTIONS: Mapping[str, float] = {
    "favorites": 0.021,
    "replies": 0.0013,
    "quote_tweets": 0.0007,
    "detail_expands": 0.014,
    "permalink_clicks": 0.0012,
    "user_profile_clicks": 0.0045,
    "app_opens": 0.0001,
    "app_install_attempts": 0.00004,
    "email_tweet": 0.00008,
}
URL_CLICKS, HASHTAG_CLICKS, MEDIA_CLICKS = 0.012, 0.0016, 0.011
FOLLOWS_OF_PROFILES = 0.09
UNDONE: Mapping[str, float] = {"favorites": 0.03, "replies": 0.05, "retweets": 0.02, "quote_tweets": 0.03}
# The share of those who came as far as the step before; the first, of the impressions.
FUNNEL: Mapping[str, float] = {
    "video_starts": 0.62,
    "video_views": 0.48,
    "video_viewed_25": 0.62,
    "video_viewed_50": 0.66,
    "video_viewed_75": 0.72,
    "video_viewed_95": 0.78,
    "video_viewed_100": 0.86,
}
GIF_FUNNEL: Mapping[str, float] = {"video_starts": 0.9, "video_views": 0.7}
# Promoted engagements a minute while a campaign runs.
PROMOTED: Mapping[str, float] = {"favorites": 1.1, "replies": 0.12, "retweets": 0.22}


# Of what happened in the past, the people of these are told: those who saw and those who engaged.
NAMED = frozenset(kind.name for kind in TYPES if kind.is_engagement or kind.name == "impressions")


class Event(msgspec.Struct, omit_defaults=True):
    """One event of the ingest API, ready to be encoded."""

    id: str
    handle: str
    tweet_id: str
    type: str
    occurred_at: datetime
    promoted: bool = False
    user_id: str | None = None
    count: int = 1


def rates(story: Story) -> dict[str, float]:
    """The chance that an impression of this Tweet leads to each reaction but watching and Retweeting."""
    post, appetite = story.post, story.voice.appetite
    found = dict(REACTIONS)
    if post.link:
        found["url_clicks"] = URL_CLICKS
    if post.tags:
        found["hashtag_clicks"] = HASHTAG_CLICKS
    if post.media != "none":
        found["media_clicks"] = MEDIA_CLICKS
    return {kind: rate * appetite.get(kind, 1.0) * story.spice for kind, rate in found.items()}


def funnel(story: Story) -> Mapping[str, float]:
    """The video steps of this Tweet, in order; empty without video."""
    return {"video": FUNNEL, "gif": GIF_FUNNEL}.get(story.post.media, {})


def edges(story: Story, since: float, until: float, end: float) -> Floats:
    """The edges of the buckets of [since, until), aligned to the clock, as fine as the distance to `end`
    asks.
    """
    moment, until = max(since, story.created), min(until, story.created + WEEK)
    found = [moment]
    while moment < until:
        step = _step(end - moment, moment - story.created)
        moment = min(moment // step * step + step, until)
        found.append(moment)
    return np.array(found)


def _step(ago: float, age: float) -> float:
    """The width in seconds of a bucket that begins `ago` seconds before the end, at this age of its Tweet."""
    if ago <= MINUTES_FOR:
        return 60.0
    if ago <= QUARTERS_FOR:
        return 900.0
    if ago <= HOURS_FOR:
        return HOUR if age < 12 * HOUR else 6 * HOUR
    if age < 12 * HOUR:
        return 3 * HOUR
    return DAY if ago <= DAYS_FOR else 3 * DAY


def counts(story: Story, spans: Floats, rng: np.random.Generator) -> dict[tuple[str, bool], Counts]:
    """How often what happens between consecutive edges: by (type, promoted), int64[len(spans) - 1]."""
    shown = rng.poisson(story.shown(spans))
    found = {("impressions", False): shown}
    for kind, rate in rates(story).items():
        found[kind, False] = rng.binomial(shown, min(rate, 1.0))
    found["user_follows", False] = rng.binomial(found["user_profile_clicks", False], FOLLOWS_OF_PROFILES)
    found["retweets", False] = np.histogram(story.shared_at, spans)[0]
    left = shown
    for kind, share in funnel(story).items():
        left = found[kind, False] = rng.binomial(left, share)
    if story.campaign:
        overlap = np.minimum(spans[1:], story.campaign[1]) - np.maximum(spans[:-1], story.campaign[0])
        for kind, rate in PROMOTED.items():
            found[kind, True] = rng.poisson(rate * story.spice * np.maximum(overlap, 0) / 60)
    for (kind, promoted), gained in list(found.items()):
        if kind in UNDONE and (not promoted or kind != "retweets"):
            found[UNDO_OF[kind], promoted] = rng.binomial(gained, UNDONE[kind])
    return {what: numbers for what, numbers in found.items() if story.voice.tells(*what)}


def bulk(story: Story, seed: int, since: float, until: float, end: float) -> list[Event]:
    """The events of one Tweet in [since, until), in order of buckets; the same for the same arguments."""
    spans = edges(story, since, until, end)
    if len(spans) < 2:
        return []
    rng = np.random.default_rng([seed, story.tweet_id, int(since)])
    table = counts(story, spans, rng)
    starts, widths = spans[:-1], np.diff(spans)
    places = starts + widths * rng.uniform(0, 0.4, len(starts))
    events = []
    for (kind, promoted), numbers in table.items():
        # A step comes after the one before it and an undo after what it takes back, within every bucket.
        moments = places + widths * _order(kind)
        for bucket in np.flatnonzero(numbers).tolist():
            event = Event(
                id=f"{story.tweet_id}-{CODE[kind]}{'p' if promoted else ''}-{starts[bucket]:.3f}",
                handle=story.voice.username,
                tweet_id=str(story.tweet_id),
                type=kind,
                occurred_at=datetime.fromtimestamp(float(moments[bucket]), UTC),
                promoted=promoted,
                count=int(numbers[bucket]),
            )
            is_named = kind in NAMED and end - starts[bucket] < story.voice.named_for
            events += _named(event, story, seed) if is_named else [event]
    return events


def _named(event: Event, story: Story, seed: int) -> list[Event]:
    """The event as one for each person, and one for all those whom nobody names."""
    of = [seed, story.tweet_id, CODE[event.type], int(event.occurred_at.timestamp() * 1000), event.promoted]
    people, rest = crowd(story.voice, np.random.default_rng(of), event.count)
    found = [
        Event(f"{event.id}-{number}", event.handle, event.tweet_id, event.type, event.occurred_at, event.promoted, *who)
        for number, who in enumerate(people)
    ]
    if rest:
        event.count = rest
        found.append(event)
    return found


def _order(kind: str) -> float:
    """Where in a bucket a type's event lies, as a share of the bucket's width up to 0.6."""
    if kind in UNDO_OF.values():
        return 0.55
    steps = ("impressions", *FUNNEL)
    return 0.03 * steps.index(kind) if kind in steps else 0.1 + 0.01 * CODE[kind]


def history(
    stories: Sequence[Story], seed: int, since: float, until: float, size: int
) -> Iterator[tuple[list[Event], float]]:
    """The events of [since, until) in batches of at most `size`, the newest part first.

    With each batch comes the instant down to which everything is made.
    """
    for start, stop in parts(since, until):
        batch: list[Event] = []
        for story in reversed(stories):
            if story.alive(start, stop):
                batch += bulk(story, seed, start, stop, until)
            while len(batch) >= size:
                yield batch[:size], stop
                del batch[:size]
        if batch:
            yield batch, start


def parts(since: float, until: float) -> list[tuple[float, float]]:
    """[since, until) as consecutive parts, newest first, cut where the resolution changes or ten days end."""
    cuts = {until - MINUTES_FOR, until - QUARTERS_FOR, until - HOURS_FOR}
    cuts |= {until - HOURS_FOR - 10 * DAY * step for step in range(1, 40)}
    inside = sorted((cut // 900 * 900 for cut in cuts if since < cut // 900 * 900), reverse=True)
    bounds = [until, *inside, since]
    return list(zip(bounds[1:], bounds, strict=False))
