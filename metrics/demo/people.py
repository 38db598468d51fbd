"""Who looks at the demo's Tweets: a few come to nearly every Tweet, many to some, most of the rest only once.

A handle's fans and followers are its own; passers-by are the same for all handles, so that campaigns of several handles
share people. Nobody is real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from metrics.demo.content import Voice

# What share of the views they make, and how many they are: a part of the handle's crowd.
FANS, FANS_SHARE = 0.12, 0.35
FOLLOWERS, FOLLOWERS_SHARE = 0.8, 0.45
PASSERS_BY, MOST_PASSERS_BY = 40, 300_000
# Within a group the first are the keenest.
KEENNESS = 1.5


def somebody(voice: Voice, rng: np.random.Generator) -> str | None:
    """One viewer; None where the handle's source does not say who it was."""
    if voice.coverage < 1 and rng.random() >= voice.coverage:
        return None
    return name(voice, *_placed(voice, rng.random(), rng.random()))


def crowd(voice: Voice, rng: np.random.Generator, views: int) -> tuple[list[tuple[str, int]], int]:
    """Who makes so many views, and how often each; and how many views nobody is named for."""
    named = int(rng.binomial(views, voice.coverage)) if voice.coverage < 1 else views
    groups, places = rng.random(named), rng.random(named) ** KEENNESS
    group = np.searchsorted([FANS_SHARE, FANS_SHARE + FOLLOWERS_SHARE], groups, side="right")
    numbers = (places * np.array(_sizes(voice))[group]).astype(np.int64)
    seen, times = np.unique(group.astype(np.int64) << 32 | numbers, return_counts=True)
    people: npt.NDArray[np.int64] = np.stack([seen >> 32, seen & 0xFFFFFFFF, times], axis=1)
    return [(name(voice, which, number), often) for which, number, often in people.tolist()], views - named


def name(voice: Voice, group: int, number: int) -> str:
    """What the source calls a person."""
    return f"passer-by-{number}" if group == 2 else f"{voice.username}-{'fan' if group == 0 else 'follower'}-{number}"


def _placed(voice: Voice, group: float, place: float) -> tuple[int, int]:
    which = 0 if group < FANS_SHARE else 1 if group < FANS_SHARE + FOLLOWERS_SHARE else 2
    return which, int(_sizes(voice)[which] * place**KEENNESS)


def _sizes(voice: Voice) -> tuple[int, int, int]:
    return (
        max(1, round(FANS * voice.crowd)),
        max(1, round(FOLLOWERS * voice.crowd)),
        min(PASSERS_BY * voice.crowd, MOST_PASSERS_BY),
    )
