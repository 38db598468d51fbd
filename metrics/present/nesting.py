"""Counts as nested JSON objects of strings, one level for each item of a `group_by`.

25 Tweets × 17 types × 28 days by hour are 286,000 numbers. So nothing is built for each of them: the innermost objects
are templates, one for each run of numbers; most runs are all zeros, whose text is made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby

import numpy as np
import numpy.typing as npt

from metrics.query.engagement import Answer, Dimension
from metrics.vocabulary.engagements import Counts

Tree = dict[str, "Tree | str"]
# A template with so many `%d`.
Run = tuple[str, int]
Places = npt.NDArray[np.int64]
_TIMES = (Dimension.DAY, Dimension.HOUR)


def nested(answer: Answer, levels: Sequence[Dimension]) -> bytes:
    """The JSON object of one grouping; what is not grouped by is added up. `{}` when no Tweet may be told."""
    if not answer.tweet_ids:
        return b"{}"
    levels = _with_days(levels)
    counts, starts = _summed(answer, levels)
    runs, places = _Shape(answer, counts, starts).below(levels, np.arange(len(starts)))
    return _filled(runs, counts.ravel()[places]).encode()


def _filled(runs: list[Run], counts: Counts) -> str:
    """The runs' templates, one after the other, with their counts in them."""
    sizes = np.fromiter((size for _, size in runs), dtype=np.int64, count=len(runs))
    firsts = np.cumsum(sizes) - sizes
    empty = np.add.reduceat(counts != 0, firsts, dtype=np.int64) == 0
    zeros: dict[str, str] = {}
    parts = []
    for (template, size), first, is_empty in zip(runs, firsts.tolist(), empty.tolist(), strict=True):
        if not is_empty:
            parts.append(template % tuple(counts[first : first + size].tolist()))
        elif template in zeros:
            parts.append(zeros[template])
        else:
            parts.append(zeros.setdefault(template, template.replace("%d", "0")))
    return "".join(parts)


def _with_days(levels: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """Hours alone stand below their date all the same."""
    if Dimension.DAY in levels or Dimension.HOUR not in levels:
        return tuple(levels)
    place = levels.index(Dimension.HOUR)
    return (*levels[:place], Dimension.DAY, *levels[place:])


def _summed(answer: Answer, levels: Sequence[Dimension]) -> tuple[Counts, tuple[datetime, ...]]:
    """The counts without the axes that are not grouped by (their length is then 1), and the starts of the buckets."""
    counts, starts = answer.counts, answer.starts
    if Dimension.TWEET not in levels:
        counts = counts.sum(axis=0, keepdims=True)
    if Dimension.TYPE not in levels:
        counts = counts.sum(axis=1, keepdims=True)
    if Dimension.HOUR in levels:
        return counts, starts
    if Dimension.DAY not in levels:
        return counts.sum(axis=2, keepdims=True), starts[:1]
    firsts = [next(places) for _, places in groupby(range(len(starts)), lambda place: starts[place].date())]
    return np.add.reduceat(counts, firsts, axis=2), tuple(starts[place] for place in firsts)


class _Shape:
    """The keys of the three axes, and how far apart their numbers lie in the flat array."""

    def __init__(self, answer: Answer, counts: Counts, starts: Sequence[datetime]) -> None:
        self._keys = {Dimension.TWEET: list(map(str, answer.tweet_ids)), Dimension.TYPE: answer.question.types}
        self._steps = {Dimension.TWEET: counts[0].size, Dimension.TYPE: counts[0, 0].size}
        self._dates = [f"{start:%Y-%m-%d}" for start in starts]
        self._hours = [f"{start:%H}" for start in starts]

    def below(self, levels: tuple[Dimension, ...], buckets: Places) -> tuple[list[Run], Places]:
        """The runs of the object of these levels, and where the count for each `%d` lies in the flat array."""
        first, rest = levels[0], levels[1:]
        if first in _TIMES:
            parts = list(self._times(first, buckets))
            if not rest:
                return [_run([key for key, _ in parts])], np.concatenate([some for _, some in parts])
            told = [(key, *self.below(rest, some)) for key, some in parts]
            return _object((key, runs) for key, runs, _ in told), np.concatenate([places for *_, places in told])
        keys = self._keys[first]
        offsets = np.arange(len(keys)) * self._steps[first]
        if not rest:
            return [_run(keys)], (offsets[:, np.newaxis] + buckets).ravel()
        runs, below = self.below(rest, buckets)
        return _object((key, runs) for key in keys), (offsets[:, np.newaxis] + below).ravel()

    def _times(self, level: Dimension, buckets: Places) -> Iterator[tuple[str, Places]]:
        """The buckets of each date, or of each hour of the day."""
        names = self._dates if level is Dimension.DAY else self._hours
        by_name: dict[str, list[int]] = {}
        for place in buckets.tolist():
            by_name.setdefault(names[place], []).append(place)
        for name, places in by_name.items():
            yield name, np.asarray(places)


def _run(keys: Sequence[str]) -> Run:
    """The object of the last level."""
    return "{" + ",".join(f'"{key}":"%d"' for key in keys) + "}", len(keys)


def _object(members: Iterable[tuple[str, list[Run]]]) -> list[Run]:
    """The object that has these objects as its members."""
    runs: list[Run] = []
    for key, ((template, size), *others) in members:
        runs.append((f'{"," if runs else "{"}"{key}":{template}', size))
        runs += others
    template, size = runs[-1]
    return [*runs[:-1], (template + "}", size)]


def nested_supported(answer: Answer, levels: Sequence[Dimension]) -> Tree:
    """The same of lifetimes, as text by key, without those counts that are not supported."""
    sums: dict[tuple[str, ...], int] = {}
    counts, supported = answer.counts[:, :, 0].tolist(), answer.supported.tolist()
    for row, tweet_id in enumerate(answer.tweet_ids):
        for column, name in enumerate(answer.question.types):
            if supported[row][column]:
                key = tuple(str(tweet_id) if level is Dimension.TWEET else name for level in levels)
                sums[key] = sums.get(key, 0) + counts[row][column]
    tree: Tree = {}
    for key, count in sums.items():
        _put(tree, key, str(count))
    return tree


def _put(tree: Tree, key: tuple[str, ...], leaf: str) -> None:
    for name in key[:-1]:
        below = tree.setdefault(name, {})
        assert isinstance(below, dict)  # noqa: S101  all keys are of one length
        tree = below
    tree[key[-1]] = leaf
