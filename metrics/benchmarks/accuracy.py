"""How true the numbers of people are, on crowds whose size is known: does the 95 % interval hold, how far off are they.

Every run has people of its own. Sets overlap as audiences do: a few people come to nearly every Tweet, most to one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, reduce
from operator import and_, or_
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from metrics.benchmarks.measures import Meters
from metrics.vocabulary.sketches import Estimate, Sketch

RUNS: Final = 500
SIZES: Final = (100, 1_000, 10_000, 100_000, 1_000_000)
DRAWS, CROWD = 60_000, 200_000
"""Each set of a combination is so many visits by people of a crowd of this size."""
_OFTEN: Final = 1.2  # the exponent of Zipf's law

People = npt.NDArray[np.int64]


class Case(NamedTuple):
    """A kind of set: its name, how many sets it is made of, how they are combined, in sketches and in truth."""

    name: str
    sets: int
    of_sketches: Callable[[Sequence[Sketch]], Sketch]
    of_people: Callable[[Sequence[People]], People]


def _without_others(people: Sequence[People]) -> People:
    return np.setdiff1d(people[0], reduce(np.union1d, people[1:]))


CASES: Final = tuple(
    Case(f"{name} of {sets} sets", sets, of_sketches, of_people)
    for name, of_sketches, of_people, numbers in (
        ("union", lambda held: reduce(or_, held), lambda people: reduce(np.union1d, people), (2, 4, 12)),
        ("intersection", lambda held: reduce(and_, held), lambda people: reduce(np.intersect1d, people), (2, 4, 12)),
        ("difference", lambda held: held[0] - reduce(or_, held[1:]), _without_others, (2, 4, 12)),
    )
    for sets in numbers
)


def accuracy(
    meters: Meters, runs: int = RUNS, sizes: Sequence[int] = SIZES, cases: Sequence[Case] = CASES
) -> dict[str, Any]:
    """For each case: in which share of the runs the interval held the truth, and the relative error (1 σ)."""
    random = np.random.default_rng(20_261_126)
    found = {}
    with meters("Cases", "cases", float(len(sizes) + len(cases))) as meter:
        for size in sizes:
            found[f"{size:,} people"] = _summary([_crowd_of(random, size) for _ in range(runs)])
            meter.show(float(len(found)), len(found))
        for case in cases:
            found[case.name] = _summary([_combined(random, case) for _ in range(runs)])
            meter.show(float(len(found)), len(found))
    return {"cases": found, "runs": runs}


def _crowd_of(random: np.random.Generator, size: int) -> tuple[Estimate, int]:
    return Sketch.of(range(base := int(random.integers(2**62)), base + size)).estimate, size


def _combined(random: np.random.Generator, case: Case) -> tuple[Estimate, int]:
    base = int(random.integers(2**62))
    people = [np.unique(_visitors(random)) + base for _ in range(case.sets)]
    held = [Sketch.of(some.tolist()) for some in people]
    return case.of_sketches(held).estimate, len(case.of_people(people))


def _visitors(random: np.random.Generator) -> People:
    """Visits by Zipf's law: the n-th most faithful of the crowd comes n^-1.2 times as often as the first."""
    return np.asarray(np.searchsorted(_shares_up_to(), random.random(DRAWS)), dtype=np.int64)


@cache
def _shares_up_to() -> npt.NDArray[np.float64]:
    """The share of all visits that come from the n most faithful."""
    weights = np.arange(1, CROWD + 1) ** -_OFTEN
    return np.asarray(np.cumsum(weights / weights.sum()))


def _summary(told: Sequence[tuple[Estimate, int]]) -> dict[str, float]:
    held = [estimate.low <= truth <= estimate.high for estimate, truth in told]
    errors = [estimate.people / truth - 1 for estimate, truth in told if truth]
    return {
        "held": round(sum(held) / len(held), 4),
        "relative_error": round(math.sqrt(sum(error**2 for error in errors) / max(1, len(errors))), 4),
        "mean_people": round(sum(truth for _, truth in told) / len(told), 1),
    }
