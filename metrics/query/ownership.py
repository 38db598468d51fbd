"""Whose a Tweet is: what a token may be told of the Tweets that somebody asks about.

A Tweet of another team is unavailable exactly like one that does not exist. A Tweet of the token's own team whose
handle the token does not cover is forbidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from metrics.models import Tweet
from metrics.vocabulary.events import MAX_TWEET_ID


@dataclass(frozen=True, slots=True)
class Tweets:
    """The Tweets asked for, in the order asked: by handle where they are covered, and the others."""

    covered: dict[int, int]
    """Tweet id → the id of its handle."""
    forbidden: dict[int, list[int]]
    """The id of a handle of the team → its Tweets."""
    unavailable: list[int]

    def by_handle(self) -> dict[int, list[int]]:
        """The covered Tweets of each handle."""
        return _grouped(self.covered.items())


def find(tweet_ids: Sequence[int], team_id: int, handle_ids: Iterable[int]) -> Tweets:
    """Sort the Tweets into those that a token with these handles of the team may read, and the others."""
    reach = set(handle_ids)
    asked = [number for number in tweet_ids if 0 < number <= MAX_TWEET_ID]
    known = Tweet.objects.filter(handle__team=team_id, tweet_id__in=asked)
    # Two handles may hold a Tweet when a sender mixed them up: one that is covered, and was told of it, comes first.
    rows = sorted(
        known.values_list("tweet_id", "handle_id", "is_stub"), key=lambda row: (row[1] not in reach, row[2], row[1])
    )
    owner: dict[int, int] = {}
    for tweet_id, handle_id, _ in rows:
        owner.setdefault(tweet_id, handle_id)
    there = [(number, owner[number]) for number in tweet_ids if number in owner]
    return Tweets(
        covered={number: handle_id for number, handle_id in there if handle_id in reach},
        forbidden=_grouped((number, handle_id) for number, handle_id in there if handle_id not in reach),
        unavailable=[number for number in tweet_ids if number not in owner],
    )


def _grouped(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for tweet_id, handle_id in pairs:
        groups.setdefault(handle_id, []).append(tweet_id)
    return groups
