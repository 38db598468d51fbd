"""What snapshots add to what is known: arithmetic on whole arrays of Tweets, without a database.

A snapshot says lifetime totals N as of t. The difference between N and our total as of t is what it adds, and belongs
to the time since its source's last word on the type. What is not plain growth:

- *stale*: the source has spoken of this type as of t or later. Nothing.
- *old*: another source has. Only raises a total, and only of a type without an undo.
- *a fall*: counts once it was seen twice in a row. Types with an undo get undos; others never fall (a correction).
- *a restart*: a type without an undo fell to half or less, twice: from then on the source counts on from our total.
- *a return*: a source that seemed to have restarted is back at what it had said before.
- organic, promoted and both: what BOTH said may be either until a source tells; then it moves, and nothing is added.

Arrays are int64. `n` is the number of snapshots at hand, all of different Tweets; 26 is that of the types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from metrics.vocabulary.engagements import CODE, N_TYPES, UNDO_OF
from metrics.vocabulary.snapshots import Finding, Oddity, Part

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
GAINS = np.array([CODE[name] for name in UNDO_OF])
UNDOS = np.array([CODE[name] for name in UNDO_OF.values()])
_HAS_UNDO = np.isin(np.arange(N_TYPES), GAINS)


@dataclass(slots=True)
class Words:
    """What sources said last: a row for each Tweet, source and part; every array is [rows, 26].

    `low_as_of` is 0 beside a `low` that has been noted as a correction, and waits for nothing any more.
    """

    counts: Ints
    as_of: Ints
    low: Ints
    low_as_of: Ints
    ahead: Ints


@dataclass(slots=True)
class Known:
    """What is known of the Tweets at hand.

    `totals` [tweets, 2, 26] are our lifetime sums, organic and promoted; `both` [tweets, 26] is what of the organic
    ones was inferred from BOTH; `newest` [tweets, 3, 26] tells as of when any source last spoke of each part, and
    `agreed` when it last did without saying less than we had.
    """

    totals: Ints
    both: Ints
    newest: Ints
    agreed: Ints
    words: Words


class Said(NamedTuple):
    """Snapshots of different Tweets: arrays [n], but `counts` [n, 26] and `after` [n, 2, 26].

    `tweet` and `word` are places in Known and in its Words; `after` are our sums of what occurred after `as_of`.
    """

    tweet: Ints
    word: Ints
    part: Ints
    as_of: Ints
    counts: Ints
    after: Ints


class Verdict(NamedTuple):
    """What the snapshots add: counts, since when (0: ever) and as which part; and what moves out of BOTH. [n, 26]."""

    added: Ints
    since: Ints
    part: Ints
    moved: Ints


@dataclass(slots=True)
class _Scale:
    """One weighing: every array is [n, 26]. `gap` is what is missing of the target, below zero for a fall."""

    fresh: Bools
    old: Bools
    part: Ints
    gap: Ints
    moved: Ints


def weigh(known: Known, said: Said, names: Naming) -> tuple[Verdict, list[Finding]]:
    """Decide what the snapshots add, and bring what is known up to date with it."""
    since = known.words.as_of[said.word]
    fresh = (said.counts >= 0) & (said.as_of[:, None] > since)
    returned = _return(known.words, said, fresh)
    scale = _compare(known, said, fresh)
    _move_from_both(known, said, scale)
    fall = _settle_falls(known, said, scale)
    added = np.maximum(scale.gap, 0)
    added[:, UNDOS] += fall.undone[:, GAINS]
    # What was inferred happened since the last word on the type that it undoes.
    since[:, UNDOS] = np.where(fall.undone[:, GAINS] > 0, since[:, GAINS], since[:, UNDOS])
    _remember(known, said, scale, fall)
    _add(known, said, scale, added)
    found = {Oddity.RETURN: returned, Oddity.RESTART: fall.restarted, Oddity.CORRECTION: fall.corrected}
    return Verdict(added, since, scale.part, scale.moved), list(_findings(names, said, found))


class Naming(NamedTuple):
    """Who said it, for findings: arrays [n]."""

    source: Ints
    tweet_id: Ints


def _findings(names: Naming, said: Said, found: dict[Oddity, Bools]) -> Iterator[Finding]:
    for oddity, where in found.items():
        for place, code in np.argwhere(where).tolist():
            source, tweet_id = int(names.source[place]), int(names.tweet_id[place])
            yield Finding(source, tweet_id, code, oddity, int(said.counts[place, code]))


def _return(words: Words, said: Said, fresh: Bools) -> Bools:
    """Take back a restart of a source that is at its former level again: a counter does not grow there in one step."""
    ahead = words.ahead[said.word]
    returned = fresh & (ahead > 0) & (said.counts >= ahead) & (2 * words.counts[said.word] <= ahead)
    words.ahead[said.word] = np.where(returned, 0, ahead)
    return returned


def _compare(known: Known, said: Said, fresh: Bools) -> _Scale:
    newest = known.newest[said.tweet]
    as_of = said.as_of[:, None]
    old = as_of < _of_pairs(_of_relevant(newest, said.part))
    target = said.counts + known.words.ahead[said.word]
    base = _base(known, said, old)
    gap = np.where(fresh, target - base, 0)
    # Of likes, replies, Retweets and quotes a source tells the net, undos that it has just told included.
    net = base[:, GAINS] - base[:, UNDOS] - np.maximum(gap[:, UNDOS], 0)
    gap[:, GAINS] = np.where(fresh[:, GAINS], target[:, GAINS] - net, 0)
    gap[old & (_HAS_UNDO | (gap < 0))] = 0
    part = np.broadcast_to(said.part[:, None], gap.shape).copy()
    # Late news of both, when one of the two is known as of later, can only be of the other.
    late = old & (part == Part.BOTH)
    part[late & (newest[:, Part.ORGANIC] > as_of)] = Part.PROMOTED
    part[late & (newest[:, Part.PROMOTED] > as_of)] = Part.ORGANIC
    return _Scale(fresh, old, part, gap, np.zeros_like(gap))


def _of_relevant(by_part: Ints, part: Ints) -> Ints:
    """The latest [n, 26] of those parts [n, 3, 26] that a part is compared with: BOTH sums the other two."""
    organic, promoted, both = by_part[:, 0], by_part[:, 1], by_part[:, 2]
    part = part[:, None]
    own = np.where(part == Part.PROMOTED, promoted, organic)
    own = np.where(part == Part.BOTH, np.maximum(organic, promoted), own)
    return np.maximum(own, both)


def _of_pairs(moments: Ints) -> Ints:
    """A type and its undo are known as of the later of the two: a net says something of both."""
    later = np.maximum(moments[:, GAINS], moments[:, UNDOS])
    moments[:, GAINS] = moments[:, UNDOS] = later
    return moments


def _base(known: Known, said: Said, old: Bools) -> Ints:
    """Our totals as of t, of the part in question; for old news the most that it may have now."""
    life, both = known.totals[said.tweet], known.both[said.tweet]
    then = np.where(old[:, None, :], life, life - said.after)
    part = said.part[:, None]
    # What BOTH had said is kept as organic, but may be of either part: old news must not count it again.
    single = np.where(part == Part.PROMOTED, then[:, 1] + np.where(old, both, 0), then[:, 0] - np.where(old, 0, both))
    return np.where(part == Part.BOTH, then.sum(axis=1), single)


def _move_from_both(known: Known, said: Said, scale: _Scale) -> None:
    """Let what BOTH had said fill the gap of a part, before anything is added."""
    is_open = (said.part[:, None] != Part.BOTH) & ~scale.old
    pool = np.where(is_open, known.both[said.tweet], 0)
    scale.moved = np.minimum(np.maximum(scale.gap, 0), pool)
    scale.gap -= scale.moved
    # An undo that BOTH implied may be what this part has too many.
    undone = np.minimum(np.maximum(-scale.gap[:, GAINS], 0), (pool - scale.moved)[:, UNDOS])
    scale.moved[:, UNDOS] += undone
    scale.gap[:, GAINS] += undone


class _Fall(NamedTuple):
    """What became of the types that fell, [n, 26]: undos by the type that they undo, and four kinds that exclude."""

    undone: Ints
    restarted: Bools
    corrected: Bools
    held: Bools
    waiting: Bools
    confirmed: Bools


def _settle_falls(known: Known, said: Said, scale: _Scale) -> _Fall:
    words, row = known.words, said.word
    low, low_as_of, before = words.low[row], words.low_as_of[row], words.counts[row]
    falls = scale.gap < 0
    # Whoever has meanwhile said what we had speaks against the fall.
    agreed = _of_relevant(known.agreed[said.tweet], said.part)
    confirmed = falls & (low >= 0) & (low_as_of > 0) & (agreed <= low_as_of)
    halved = confirmed & ~_HAS_UNDO & (2 * np.maximum(said.counts, low) <= before)
    restarted = falls & halved.any(axis=1, keepdims=True)
    words.ahead[row] -= np.where(restarted, scale.gap, 0)
    confirmed &= ~restarted
    undone = np.maximum(-scale.gap - np.maximum(low - said.counts, 0), 0)
    undone = np.where(confirmed & _HAS_UNDO, undone, 0)
    corrected = confirmed & ~_HAS_UNDO
    held = falls & ~restarted & ~_HAS_UNDO & (low >= 0) & (low_as_of == 0) & (said.counts >= low)
    waiting = falls & ~restarted & ~corrected & ~held & (undone < -scale.gap)
    return _Fall(undone, restarted, corrected, held, waiting, confirmed)


def _remember(known: Known, said: Said, scale: _Scale, fall: _Fall) -> None:
    words, row, as_of = known.words, said.word, said.as_of[:, None]
    is_low = fall.waiting | fall.corrected | fall.held
    calm = scale.fresh & ~scale.old & ~is_low
    low = np.where(calm, -1, words.low[row])
    words.low[row] = np.where(is_low, said.counts, low)
    low_as_of = np.where(calm | fall.corrected | fall.held, 0, words.low_as_of[row])
    words.low_as_of[row] = np.where(fall.waiting, as_of, low_as_of)
    # Until a fall is confirmed, what was said before it is what the next is measured against.
    believed = scale.fresh & ~(fall.waiting & ~fall.confirmed)
    words.counts[row] = np.where(believed, said.counts, words.counts[row])
    words.as_of[row] = np.where(scale.fresh, as_of, words.as_of[row])
    for moments, where in ((known.newest, scale.fresh), (known.agreed, calm)):
        mine = moments[said.tweet, said.part]
        moments[said.tweet, said.part] = np.where(where, np.maximum(mine, as_of), mine)


def _add(known: Known, said: Said, scale: _Scale, added: Ints) -> None:
    """Bring totals up to date."""
    promoted = np.where(scale.part == Part.PROMOTED, added, 0)
    is_promoted = (said.part == Part.PROMOTED)[:, None]
    moved_over = np.where(is_promoted, scale.moved, 0)
    known.totals[said.tweet, 0] += added - promoted - moved_over
    known.totals[said.tweet, 1] += promoted + moved_over
    known.both[said.tweet] += np.where(scale.part == Part.BOTH, added, 0) - scale.moved
