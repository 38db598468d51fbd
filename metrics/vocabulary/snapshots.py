"""Snapshots: "Tweet T has N of each of these types as of time t, says source S", as they travel through the stream."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from metrics.vocabulary.engagements import N_TYPES

UNSAID = -1
"""In a snapshot's counts: the source said nothing of this type. Nothing is not zero."""
MAX_TOTAL = 10**15


class Part(IntEnum):
    """Which engagements a snapshot counts: organic, promoted, or both together."""

    ORGANIC = 0
    PROMOTED = 1
    BOTH = 2


class Oddity(StrEnum):
    """What a source may say that is not plain growth, and is worth a note."""

    CORRECTION = "correction"
    RESTART = "restart"
    RETURN = "return"


class Finding(NamedTuple):
    """That a source said something odd of one type of a Tweet: `said` is the number that it gave."""

    source: int
    tweet_id: int
    type: int
    oddity: Oddity
    said: int


# Little-endian, no padding, ready for numpy. `as_of` is in Unix microseconds; `source` is the key of its row.
SNAPSHOT_DTYPE = np.dtype(
    [
        ("handle_id", "<i8"),
        ("tweet_id", "<i8"),
        ("source", "<i8"),
        ("as_of", "<i8"),
        ("part", "u1"),
        ("counts", "<i8", (N_TYPES,)),
    ]
)
Snapshots = npt.NDArray[np.void]


def unpack(payload: bytes) -> Snapshots:
    """The snapshots of a stream entry as an array of SNAPSHOT_DTYPE.

    Raises ValueError when the payload is not a whole number of snapshots, or holds one that cannot be.
    """
    found = np.frombuffer(payload, dtype=SNAPSHOT_DTYPE)
    if found.size == 0 or found["part"].max() > Part.BOTH:
        raise ValueError("the entry holds no snapshots, or an unknown part")
    if found["counts"].min() < UNSAID or found["counts"].max() > MAX_TOTAL:
        raise ValueError("a snapshot's count is out of range")
    return found
