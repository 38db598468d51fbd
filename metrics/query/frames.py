"""The current totals of a few buckets: the state that a live frame carries."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.db import connection

from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.periods import EPOCH, Grain

Vectors = list[list[int]]
"""[organic, promoted], each of 26 numbers, or empty where all are zero."""
_SPAN = {Grain.MINUTE: 60, Grain.QUARTER: 900, Grain.HOUR: 3600, Grain.DAY: 86_400}


@dataclass(slots=True)
class TweetState:
    """A Tweet's lifetime totals and some of its minutes (by Unix seconds)."""

    lifetime: Vectors = field(default_factory=lambda: [[], []])
    minutes: dict[int, Vectors] = field(default_factory=dict)


@dataclass(slots=True)
class HandleState:
    """A handle's changed buckets by grain and start (Unix seconds), with its sequence at that moment."""

    sequence: int = 0
    buckets: dict[Grain, dict[int, Vectors]] = field(default_factory=lambda: {grain: {} for grain in Grain})
    tweets: dict[int, TweetState] = field(default_factory=dict)


def handle_state(handle_id: int, minutes: Collection[int], tweets: dict[int, Collection[int]]) -> HandleState:
    """The totals of the buckets that hold these minutes (Unix seconds), and of these Tweets.

    One statement, so the sequence and all totals are of one moment.
    """
    state = HandleState()
    starts = [(grain, minute // span * span) for grain, span in _SPAN.items() for minute in minutes]
    pairs = sorted({*starts, (Grain.LIFETIME, 0)})
    tweet_pairs = [(tweet_id, Grain.MINUTE, minute) for tweet_id, of in tweets.items() for minute in of]
    tweet_pairs += [(tweet_id, Grain.LIFETIME, 0) for tweet_id in tweets]
    with connection.cursor() as cursor:
        cursor.execute(_statement(), _parameters(handle_id, pairs, tweet_pairs))
        for tweet_id, grain, start, promoted, sequence, *counts in cursor.fetchall():
            state.sequence = sequence
            if start is not None:
                _place(state, tweet_id, Grain(grain), int(start.timestamp()))[promoted] = counts
    return state


def _place(state: HandleState, tweet_id: int | None, grain: Grain, start: int) -> Vectors:
    if tweet_id is None:
        return state.buckets[grain].setdefault(start, [[], []])
    tweet = state.tweets.setdefault(tweet_id, TweetState())
    return tweet.lifetime if grain is Grain.LIFETIME else tweet.minutes.setdefault(start, [[], []])


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC) if seconds else EPOCH


def _parameters(
    handle_id: int, pairs: list[tuple[Grain, int]], tweet_pairs: list[tuple[int, Grain, int]]
) -> dict[str, Any]:
    return {
        "handle": handle_id,
        "grains": [int(grain) for grain, _ in pairs],
        "starts": [_instant(start) for _, start in pairs],
        "tweets": [tweet_id for tweet_id, _, _ in tweet_pairs],
        "tweet_grains": [int(grain) for _, grain, _ in tweet_pairs],
        "tweet_starts": [_instant(start) for _, _, start in tweet_pairs],
    }


@cache
def _statement() -> str:
    template = Path(__file__).with_name("frames.sql").read_text()
    return template.replace("{counts}", ", ".join(f"r.{name}" for name in NAMES))
