"""Numbers of people as pages write them."""

from __future__ import annotations

import pytest

from metrics.present import people
from metrics.query.audience import UNREPORTED, Basis, Reach


@pytest.mark.parametrize(
    ("reach", "number", "interval"),
    [
        (Reach(Basis.EXACT, 1_204, 1_204, 1_204), "1,204", "exact"),
        (Reach(Basis.ESTIMATED, 41_380, 40_100, 42_700), "41,380", "40,100–42,700 (95\u202f%)"),
        (Reach(Basis.ESTIMATED, 90, 10, 240), "too small to tell", "at most 240"),
        (Reach(Basis.REPORTED, 500, 500, 500), "500", "as the source reports it"),
        (Reach(Basis.BOUNDS, None, 3_000, 4_000), "3,000–4,000", "true bounds: these people cannot be matched"),
        (Reach(Basis.BOUNDS, None, 3_000, None), "at least 3,000", "true bounds: these people cannot be matched"),
        (UNREPORTED, "not reported by this source", ""),
    ],
)
def test_it_says_as_much_as_is_known(reach: Reach, number: str, interval: str) -> None:
    assert (people.number(reach), people.interval(reach)) == (number, interval)
