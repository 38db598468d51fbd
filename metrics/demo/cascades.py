"""Real Retweet cascades from text files.

Line 1 is `<number of Retweets> <time of the Tweet in days>`; each later line `<seconds since the Tweet>
<followers>`. The first of those is the author at second 0, who is not a Retweet: the file's truth is its
number of later lines, which equals the number that line 1 states.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = re.compile(r"RT(\d+)\.txt")

Seconds = npt.NDArray[np.float64]


class CascadeError(ValueError):
    """A file that is not a cascade; the message names the file and the line."""


@dataclass(frozen=True)
class Cascade:
    """One Tweet and its Retweets in order: ages in seconds and followers, both float64[n]; n may be 0."""

    number: int
    posted_day: float
    author_followers: float
    ages: Seconds
    followers: npt.NDArray[np.float64]

    def reached(self, hours: float) -> float:
        """The share of the Retweets that had come when the Tweet was this old."""
        return float((self.ages <= hours * 3600).mean())


def read_cascade(path: Path) -> Cascade:
    """The cascade of one file. Raises CascadeError where the file breaks its format or its stated number."""
    name = FILE_NAME.fullmatch(path.name)
    if name is None:
        raise CascadeError(f"{path.name}: not named RT<number>.txt")
    rows = _rows(path)
    if len(rows) < 2 or rows[1][0] != 0:
        raise CascadeError(f"{path.name}: line 2 must be the author, at 0 seconds")
    stated, retweets = rows[0][0], np.array(rows[2:], dtype=np.float64).reshape(-1, 2)
    if stated != len(retweets):
        raise CascadeError(f"{path.name}: line 1 states {stated:.0f} Retweets, {len(retweets)} follow")
    ages = retweets[:, 0]
    if len(ages) and (ages[0] < 0 or (np.diff(ages) < 0).any()):
        raise CascadeError(f"{path.name}: Retweets must be in order of time")
    return Cascade(int(name[1]), rows[0][1], rows[1][1], ages, retweets[:, 1])


def read_cascades(directory: Path) -> list[Cascade]:
    """Every `RT<number>.txt` of a directory, by number. Raises CascadeError, also when there is none."""
    paths = [path for path in directory.iterdir() if FILE_NAME.fullmatch(path.name)] if directory.is_dir() else []
    if not paths:
        raise CascadeError(f"{directory}: no RT<number>.txt files here")
    return sorted(map(read_cascade, paths), key=lambda cascade: cascade.number)


def _rows(path: Path) -> list[tuple[float, float]]:
    rows = []
    for number, line in enumerate(path.read_text("ascii", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            first, second = map(float, line.split())
        except ValueError:
            raise CascadeError(f"{path.name}: line {number} is not two numbers") from None
        rows.append((first, second))
    return rows
