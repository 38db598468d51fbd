"""What the demo handles will publish and who will share it: a function of the seed alone.

Each Tweet's Retweets come from the fitted process, scaled to its handle. On top, every so often somebody with
a large audience discovers a recent Tweet: a *spark*, whose reactions make it take off. Impressions follow
every share with the same kernel, so the Retweets, the impressions and everything that people do after an
impression agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

import numpy as np

from metrics.demo import content, fitted
from metrics.demo.kernel import DAY, HOUR, WEEK, Floats, Life, Spread
from metrics.vocabulary import atproto
from metrics.vocabulary.events import snowflake_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from metrics.demo.content import Post, Voice

SPARKED_FOR = 2 * DAY
# A Tweet's story needs the Tweets two days before it, which compete for sparks, and ends after a week.
LOOKBACK = WEEK + SPARKED_FOR
MOST_RETWEETS = 1_500
PROMOTED_SHARE = 0.12
KERNEL = fitted.SHAPE.kernel
# Readiness by local hour (0 to 23), mean 1: quiet nights, a lunch peak and a long evening.
# fmt: off
HOURLY = np.array([
    0.55, 0.34, 0.22, 0.17, 0.17, 0.26, 0.5, 0.82, 1.05, 1.12, 1.12, 1.16,
    1.3, 1.28, 1.14, 1.1, 1.14, 1.22, 1.36, 1.56, 1.74, 1.72, 1.42, 0.92,
])
# fmt: on
HOURLY = HOURLY / HOURLY.mean()


@dataclass(frozen=True)
class Story:
    """One Tweet and what spreads it. Times are Unix seconds.

    shared_at: its Retweets in order, float64[n]; exposed_at, exposures: when an audience of how many
    impressions opens up (the author's own first), float64[m] each; campaign: when it is promoted, or None;
    spice: how much more than usual people do with it; uri: a Bluesky post's at:// URI.
    """

    voice: Voice
    tweet_id: int
    created: float
    post: Post
    shared_at: Floats
    exposed_at: Floats
    exposures: Floats
    campaign: tuple[float, float] | None
    spice: float
    uri: str = ""

    def shown(self, edges: Floats) -> Floats:
        """Expected impressions in each of the consecutive spans between `edges`: float64[len(edges) - 1]."""
        relevant = self.exposed_at < edges[-1]
        delays = edges[:, None] - self.exposed_at[relevant]
        reached = KERNEL.reached(delays) @ self.exposures[relevant]
        expected = np.diff(reached) * rhythm(self.voice, edges)
        return np.asarray(np.maximum(expected, 0), dtype=np.float64)

    def alive(self, since: float, until: float) -> bool:
        """Whether anything may happen to the Tweet in [since, until)."""
        return self.created < until and since < self.created + WEEK


def readiness(hours: Floats) -> Floats:
    """The readiness at local hours, which may run past 24."""
    return np.asarray(np.interp(hours, np.arange(24), HOURLY, period=24), dtype=np.float64)


def rhythm(voice: Voice, edges: Floats) -> Floats:
    """The mean readiness of the handle's people in each span between `edges` (Unix seconds)."""
    offset = voice.zone.utcoffset(datetime.fromtimestamp(float(edges[0]), voice.zone))
    assert offset is not None  # noqa: S101  a ZoneInfo always knows
    samples = edges[:-1, None] + np.diff(edges)[:, None] * np.array([0.125, 0.375, 0.625, 0.875])
    hours = (samples + offset.total_seconds()) / HOUR
    return np.asarray(readiness(hours).mean(axis=1), dtype=np.float64)


@dataclass
class _Draft:
    """A Tweet while its story is being written: sparks are (time, relative audience)."""

    created: float
    tweet_id: int
    rng: np.random.Generator
    post: Post
    uri: str = ""
    sparks: list[tuple[float, float]] = field(default_factory=list)


def stories(voice: Voice, seed: int, since: float, until: float) -> list[Story]:
    """The Tweets that the handle publishes in [since, until), oldest first, with all that will happen to
    them.

    Complete for Tweets published at least SPARKED_FOR before `until`: later ones lack the sparks still to
    come.
    """
    drafts = list(_drafts(voice, seed, since - SPARKED_FOR, until))
    _spark(voice, seed, drafts, since, until)
    return [_story(voice, draft) for draft in drafts if draft.created >= since]


def _drafts(voice: Voice, seed: int, since: float, until: float) -> Iterator[_Draft]:
    first = datetime.fromtimestamp(since, voice.zone).date()
    for day in range((datetime.fromtimestamp(until, voice.zone).date() - first).days + 1):
        yield from (d for d in _day(voice, seed, first + timedelta(days=day)) if since <= d.created < until)


def _day(voice: Voice, seed: int, on: date) -> list[_Draft]:
    """The posts of one local day, in order."""
    rng = np.random.default_rng([seed, *voice.username.encode(), on.toordinal()])
    mean = voice.tweets_a_day * (voice.weekend if on.weekday() >= 5 else 1.0)
    hours = rng.choice(voice.hours, size=max(1, rng.poisson(mean)))
    midnight = datetime.combine(on, time(), voice.zone).timestamp()
    moments = np.unique(np.round(midnight + (hours + rng.random(len(hours))) * HOUR, 3))
    drafts = []
    for moment in moments.tolist():
        own = np.random.default_rng([seed, int(moment * 1000)])
        at = datetime.fromtimestamp(moment, voice.zone)
        tweet_id, uri = _name(voice, at, own)
        post = content.write(voice, own)
        post = replace(post, tags=(*post.tags, *content.campaigns_of(voice, moment)))
        drafts.append(_Draft(moment, tweet_id, own, post, uri))
    return drafts


def _name(voice: Voice, at: datetime, rng: np.random.Generator) -> tuple[int, str]:
    """The id of a new post, and on Bluesky its URI, of which the id is made."""
    if not voice.did:
        return snowflake_at(at, int(rng.integers(1 << 22))), ""
    uri = atproto.uri(voice.did, atproto.POST, atproto.tid(int(at.timestamp() * 1e6), int(rng.integers(1024))))
    return atproto.post_id(uri), uri


def _spark(voice: Voice, seed: int, drafts: list[_Draft], since: float, until: float) -> None:
    """Give sparks to drafts, hour by hour: recent Tweets are likelier to be discovered."""
    created = np.array([draft.created for draft in drafts])
    for hour in range(int(since // HOUR), int(until // HOUR) + 1):
        rng = np.random.default_rng([seed, *voice.username.encode(), hour])
        level = rhythm(voice, np.array([hour * HOUR, (hour + 1) * HOUR]))[0]
        for moment in hour * HOUR + HOUR * rng.random(rng.poisson(voice.sparks * max(level, 0.6))):
            ages = moment - created
            weights = np.where((ages > 60) & (ages < SPARKED_FOR), np.exp(-ages / (8 * HOUR)), 0)
            pick, audience = rng.random(), 14 * np.exp(0.6 * rng.standard_normal())
            if weights.sum() > 0:
                drafts[int(np.searchsorted(weights.cumsum(), pick * weights.sum()))].sparks.append(
                    (float(moment), float(audience))
                )


def _story(voice: Voice, draft: _Draft) -> Story:
    rng, created = draft.rng, draft.created
    fitted_life = fitted.LIVES[rng.integers(len(fitted.LIVES))]
    life = Life(fitted_life.root * voice.root, fitted_life.ratio * voice.ratio, fitted_life.fades_after)
    spice = float(np.exp(0.35 * rng.standard_normal()))
    campaign = _campaign(rng, created)
    times, audiences = [np.array([created])], [np.array([max(life.root / life.ratio, 8.0)])]
    for moment, audience in [(created, life.root / life.ratio), *draft.sparks]:
        root = Life(audience * life.ratio, life.ratio, life.fades_after)
        # The spark itself is a Retweet; the author is not.
        itself = [] if moment == created else [0.0]
        burst = _spread(voice, moment).simulate(rng, root, created + WEEK - moment, limit=MOST_RETWEETS)
        times.append(moment + np.concatenate([itself, burst.ages[:MOST_RETWEETS]]))
        audiences.append(np.concatenate([[audience] * len(itself), burst.audiences[:MOST_RETWEETS]]))
    exposed_at, relative = np.concatenate(times), np.concatenate(audiences)
    return Story(
        voice=voice,
        tweet_id=draft.tweet_id,
        created=created,
        post=draft.post,
        shared_at=np.sort(exposed_at[1:]),
        exposed_at=exposed_at,
        exposures=np.minimum(relative, 40) * voice.reach,
        campaign=campaign,
        spice=spice,
        uri=draft.uri,
    )


def _campaign(rng: np.random.Generator, created: float) -> tuple[float, float] | None:
    """A few hours of promotion, some hours after publication, for some Tweets."""
    starts, lasts, promoted = created + rng.uniform(1, 30) * HOUR, rng.uniform(1, 8) * HOUR, rng.random()
    return (starts, starts + lasts) if promoted < PROMOTED_SHARE else None


def _spread(voice: Voice, start: float) -> Spread:
    begin = datetime.fromtimestamp(start, voice.zone)
    hour = begin.hour + begin.minute / 60

    def by_hour(ages: Floats) -> Floats:
        return readiness(hour + ages / HOUR)

    return Spread(KERNEL, fitted.AUDIENCE, by_hour, crest=float(HOURLY.max()))


def all_stories(voices: Iterable[Voice], seed: int, since: float, until: float) -> list[Story]:
    """The stories of several handles together, oldest first."""
    found = [story for voice in voices for story in stories(voice, seed, since, until)]
    return sorted(found, key=lambda story: story.created)
