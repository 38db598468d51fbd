"""How audiences lie over each other, as a page shows it: a heat map of pairs, and the largest combinations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from metrics.present import figures
from metrics.query.audience import Basis, Member, Reach, Span
from metrics.query.overlap import MOST_SETS, Overlap, overlap

SHADES = 10


class Named(NamedTuple):
    """One of the sets that are compared: its name, the address of its page, and who is in it."""

    name: str
    address: str
    members: tuple[Member, ...]


def error(reach: Reach) -> str:
    """Half the interval against the number: "±3 %"; nothing where the number is exact or not told."""
    people, low, high = reach.people, reach.low, reach.high
    if reach.basis is not Basis.ESTIMATED or not reach.is_told or not people:
        return ""
    return f"±{figures.percent(((high or 0) - (low or 0)) / 2 / people, 0)}"


@dataclass(frozen=True, slots=True)
class Pair:
    """The people whom two sets share, their share of the smaller one, and how dark that is: 0 to SHADES.

    `one` and `other` are places among the sets, the first of which is 1.
    """

    one: int
    other: int
    shared: Reach
    share: float | None

    @property
    def shade(self) -> int:
        """No share, known or not, is not shaded."""
        return 0 if self.share is None else min(SHADES, ceil(self.share * SHADES))


@dataclass(frozen=True, slots=True)
class Row:
    """A set in the heat map: its place, its people, and what it shares with each set before it."""

    place: int
    named: Named
    own: Reach
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Combination:
    """People who are in exactly these sets: for each set whether it is one, and how long the bar is (0 to 100)."""

    among: tuple[bool, ...]
    people: Reach
    length: float

    @property
    def places(self) -> list[int]:
        """The places of the sets."""
        return [place for place, is_in in enumerate(self.among, start=1) if is_in]


@dataclass(frozen=True, slots=True)
class Picture:
    """An overlap, drawn. `is_partial`: people of an older key are left out."""

    rows: tuple[Row, ...]
    combinations: tuple[Combination, ...]
    is_partial: bool

    @property
    def pairs(self) -> list[Pair]:
        """All pairs, those that share the most first."""
        found = [pair for row in self.rows for pair in row.pairs]
        return sorted(found, key=lambda pair: -(pair.shared.people or 0) if pair.shared.is_told else 1)


def picture(sets: Sequence[Named], asked: Span) -> Picture | None:
    """The overlap of 2 to 12 sets (of more the first 12); None where there is nothing to compare."""
    some = sets[:MOST_SETS]
    if len(some) < 2:
        return None
    found = overlap([named.members for named in some], asked)
    if not any(reach.people for reach in found.sets):
        return None
    rows = [
        Row(place + 1, named, found.sets[place], tuple(_pair(found, before, place) for before in range(place)))
        for place, named in enumerate(some)
    ]
    return Picture(tuple(rows), _combinations(found), found.is_partial)


def _pair(found: Overlap, one: int, other: int) -> Pair:
    shared = found.shared[one, other]
    smaller = min(found.sets[one].people or 0, found.sets[other].people or 0)
    share = min(1.0, shared.people / smaller) if shared.is_told and shared.people is not None and smaller else None
    return Pair(one + 1, other + 1, shared, share)


def _combinations(found: Overlap) -> tuple[Combination, ...]:
    told = [(members, people) for members, people in found.largest if people.is_told and people.people]
    most = max((people.people or 0 for _, people in told), default=0) or 1
    places = range(len(found.sets))
    return tuple(
        Combination(tuple(place in members for place in places), people, 100 * (people.people or 0) / most)
        for members, people in told
    )
