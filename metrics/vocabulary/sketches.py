"""Sets of people, kept as theta sketches: counted with an error that is known, and merged over any Tweets and days.

A sketch keeps the K smallest hashes of everybody who was ever put in, and `theta`, the first hash that it does not
keep. So it depends on the set alone, never on order or repeats. Below K people it holds them all: the count is exact.

Hashing, the stored form and the bounds are Apache DataSketches'. Sets are combined here, on whole arrays of hashes:
writers and overlaps do it far too often for one call a hash. What comes out is, byte for byte, what DataSketches'
own operators give.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from datasketches import compact_theta_sketch, theta_union, update_theta_sketch

from metrics.vocabulary import periods

LG_K: Final = 12
K: Final = 2**LG_K
SEED: Final = 9001
"""With another K or seed, stored sketches can no longer be merged with new ones."""
DEVIATIONS: Final = 2
"""How many standard deviations the bounds are away: two hold in at least 95 of 100 cases."""

HOURS_KEPT: Final = timedelta(days=7)
"""How long sketches are kept by hour; by UTC day they are kept for ever."""

Hashes = npt.NDArray[np.uint64]
_EVERY: Final = 2**63 - 1  # above every hash
_NOBODY: Final = np.empty(0, dtype=np.uint64)
# The serial form, version 3: how many longs lead, version, family, flags, the seed's hash; then, where needed, the
# number of hashes, and theta.
_PREAMBLE: Final = struct.Struct("<BBBxxBH")
_NUMBER: Final = struct.Struct("<Ixxxx")
_THETA: Final = struct.Struct("<Q")
_ORDERED, _EMPTY = 0x1A, 0x1E
_SEED_HASH: Final = update_theta_sketch(LG_K, seed=SEED).get_seed_hash()


class Estimate(NamedTuple):
    """How many people a set holds: the likeliest number and its bounds, which are the same where it is exact."""

    people: float
    low: float
    high: float
    is_exact: bool

    @property
    def is_told(self) -> bool:
        """Whether the number says anything: its interval is no wider than itself."""
        return self.is_exact or self.high - self.low <= self.people


@dataclass(frozen=True, eq=False)  # without slots: the estimate is kept once made
class Sketch:
    """A set of people: hashes in ascending order, all of those of the set that are below `theta`."""

    hashes: Hashes
    theta: int = _EVERY

    @classmethod
    def of(cls, people: Iterable[int]) -> Sketch:
        """The sketch of these people, by their signed 64-bit keys."""
        sketch = update_theta_sketch(LG_K, seed=SEED)
        deque(map(sketch.update, people), maxlen=0)
        sketch.trim()
        return cls._read(sketch.compact())

    @classmethod
    def from_bytes(cls, stored: bytes) -> Sketch:
        """A stored sketch; raises ValueError for bytes that are none of ours."""
        try:
            return cls._read(compact_theta_sketch.deserialize(stored, SEED))
        except (RuntimeError, IndexError, ValueError) as error:
            raise ValueError(f"no sketch: {error}") from error

    @classmethod
    def _read(cls, compact: compact_theta_sketch) -> Sketch:
        number = compact.num_retained
        data = compact.serialize()
        return (
            cls(np.frombuffer(data, "<u8", offset=len(data) - 8 * number), compact.theta64)
            if number
            else cls(_NOBODY, compact.theta64)
        )

    def to_bytes(self) -> bytes:
        """The smallest lossless form."""
        return bytes(self._compact.serialize(compress=True))

    @property
    def is_exact(self) -> bool:
        """Whether it holds everybody."""
        return self.theta == _EVERY

    @property
    def is_empty(self) -> bool:
        """Whether it is known to hold nobody."""
        return self.is_exact and not len(self.hashes)

    @cached_property
    def estimate(self) -> Estimate:
        """How many people it holds."""
        sketch = self._compact
        low, high = sketch.get_lower_bound(DEVIATIONS), sketch.get_upper_bound(DEVIATIONS)
        return Estimate(sketch.get_estimate(), low, high, self.is_exact)

    @property
    def _compact(self) -> compact_theta_sketch:
        number, is_exact = len(self.hashes), self.is_exact
        longs = 3 if not is_exact else 1 if number <= 1 else 2
        parts = [_PREAMBLE.pack(longs, 3, 3, _EMPTY if self.is_empty else _ORDERED, _SEED_HASH)]
        parts += [_NUMBER.pack(number)] if longs > 1 else []
        parts += [] if is_exact else [_THETA.pack(self.theta)]
        return compact_theta_sketch.deserialize(b"".join((*parts, self.hashes.tobytes())), SEED)

    def __or__(self, other: Sketch) -> Sketch:
        """Everybody in either."""
        return _trimmed(np.concatenate((self.hashes, other.hashes)), min(self.theta, other.theta))

    def __and__(self, other: Sketch) -> Sketch:
        """Everybody in both."""
        if self.is_empty or other.is_empty:
            return NOBODY
        mine, theirs, theta = self._below(other)
        return Sketch(mine[_is_in(mine, theirs)], theta)

    def __sub__(self, other: Sketch) -> Sketch:
        """Everybody in this one and not in the other."""
        if self.is_empty:
            return NOBODY
        mine, theirs, theta = self._below(other)
        return Sketch(mine[~_is_in(mine, theirs)], theta)

    def _below(self, other: Sketch) -> tuple[Hashes, Hashes, int]:
        """The hashes of both up to where both are known."""
        theta = min(self.theta, other.theta)
        return up_to(self.hashes, theta), up_to(other.hashes, theta), theta


NOBODY: Final = Sketch(_NOBODY)


def hours_since(now: datetime) -> datetime:
    """From when on sketches are kept by hour: midnight (UTC), seven days ago."""
    return periods.floor(now, periods.DAY) - HOURS_KEPT


def union(stored: Iterable[bytes]) -> Sketch:
    """Everybody in any of many stored sketches."""
    merged = theta_union(LG_K, seed=SEED)
    for data in stored:
        merged.update(compact_theta_sketch.deserialize(data, SEED))
    return Sketch._read(merged.get_result())


def combinations(sketches: Sequence[Sketch], most: int) -> list[tuple[frozenset[int], Sketch]]:
    """Who is in exactly these of at most 63 sets and in none of the others: the largest such combinations."""
    theta = min(sketch.theta for sketch in sketches)
    held = [up_to(sketch.hashes, theta) for sketch in sketches]
    everybody, places = np.unique(np.concatenate(held), return_inverse=True)
    members = np.zeros(len(everybody), dtype=np.int64)
    first = 0
    for number, hashes in enumerate(held):
        members[places[first : first + len(hashes)]] |= 1 << number
        first += len(hashes)
    found, sizes = np.unique(members, return_counts=True)
    largest = found[np.lexsort((found, -sizes))[:most]].tolist()
    return [(_numbers(key), Sketch(everybody[members == key], theta)) for key in largest]


def _numbers(members: int) -> frozenset[int]:
    return frozenset(number for number in range(members.bit_length()) if members >> number & 1)


def up_to(hashes: Hashes, theta: int) -> Hashes:
    """Those of ascending hashes that are below theta."""
    return hashes[: np.searchsorted(hashes, np.uint64(theta))]


def _trimmed(hashes: Hashes, theta: int) -> Sketch:
    """The sketch of hashes in any order: repeats dropped, cut to K."""
    hashes = np.sort(hashes, kind="stable")  # runs in order, which this sort is quick to merge
    if len(hashes):
        hashes = up_to(hashes[np.concatenate(([True], hashes[1:] != hashes[:-1]))], theta)
    return Sketch(hashes[:K], int(hashes[K])) if len(hashes) > K else Sketch(hashes, theta)


def _is_in(some: Hashes, others: Hashes) -> npt.NDArray[np.bool_]:
    """Whether each is one of the others; both ascending."""
    if not len(others):
        return np.zeros(len(some), dtype=bool)
    place = np.searchsorted(others, some)
    return np.asarray(others[np.minimum(place, len(others) - 1)] == some)
