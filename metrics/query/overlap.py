"""How audiences lie over each other: who is shared, what each Tweet added, how reach grew, who came back.

Only people of one epoch (key) can be matched. Where a set holds people of several, the newest epoch is told. Of a set
in which nobody was named, though something happened, nothing is known: it shares an unreported number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from typing import Final, NamedTuple

from accounts.models import Handle
from metrics.models import Audience, HandleRollup
from metrics.query.audience import UNREPORTED, Member, People, Reach, Span, fetch, people, reach_of, reached, whole
from metrics.vocabulary import periods, sketches
from metrics.vocabulary.periods import EPOCH, Grain, Period, Piece
from metrics.vocabulary.sketches import NOBODY, Sketch, hours_since

MOST_SETS: Final = 12
WEEKS_BEFORE: Final = 4
MOST_COMBINATIONS: Final = 15


@dataclass(frozen=True, slots=True)
class Overlap:
    """People of 2 to 12 sets: of each, shared by each pair, and in exactly which sets the most people are.

    `is_partial`: some of the people were hashed with an older key and are left out.
    """

    sets: tuple[Reach, ...]
    shared: Mapping[tuple[int, int], Reach]
    largest: tuple[tuple[frozenset[int], Reach], ...]
    is_partial: bool


class Step(NamedTuple):
    """What one set added to all before it: its people, those of them that are new, and everybody so far."""

    place: int
    reach: Reach
    new: Reach
    total: Reach


class Point(NamedTuple):
    """How many people a Tweet had reached by then."""

    at: datetime
    reach: Reach


class Week(NamedTuple):
    """A handle's week (UTC, from Monday): its people, and which of them were among those of the four weeks before.

    Where nobody can be matched, because the key changed between or nobody was named, `new` and `returning` are None.
    """

    period: Period
    reach: Reach
    new: Reach | None
    returning: Reach | None


def overlap(sets: Sequence[Sequence[Member]], asked: Span, audience: Audience = Audience.SEEN) -> Overlap:
    """Compare the sets."""
    held, is_partial = _of_newest_epoch(people(sets, asked, audience))
    known = _known(held, sets, asked, audience)
    pairs = combinations(range(len(held)), 2)
    can_match = list(map(_can_match, held, known))
    shared = {
        (one, other): Reach.of((held[one] & held[other]).estimate)
        if can_match[one] and can_match[other]
        else UNREPORTED
        for one, other in pairs
    }
    largest = sketches.combinations(held, MOST_COMBINATIONS)
    return Overlap(
        tuple(known),
        shared,
        tuple((members, Reach.of(sketch.estimate)) for members, sketch in largest),
        is_partial,
    )


def growth(sets: Sequence[Sequence[Member]], asked: Span, audience: Audience = Audience.SEEN) -> list[Step]:
    """What each set added to those before it, in the order given."""
    held, _ = _of_newest_epoch(people(sets, asked, audience))
    known = _known(held, sets, asked, audience)
    total, steps, is_known = NOBODY, [], False
    for place, (sketch, reach) in enumerate(zip(held, known, strict=True)):
        new, total = sketch - total, total | sketch
        can_match = _can_match(sketch, reach)
        is_known = is_known or can_match
        added = Reach.of(new.estimate) if can_match else UNREPORTED
        steps.append(Step(place, reach, added, Reach.of(total.estimate) if is_known else UNREPORTED))
    return steps


def _known(held: Sequence[Sketch], sets: Sequence[Sequence[Member]], asked: Span, audience: Audience) -> list[Reach]:
    """The people of each set; of those where nobody was found, what is known instead."""
    known = [Reach.of(sketch.estimate) for sketch in held]
    empty = [place for place, sketch in enumerate(held) if sketch.is_empty]
    found = reached([sets[place] for place in empty], asked) if empty else []
    for place, each in zip(empty, found, strict=True):
        known[place] = each.seen if audience is Audience.SEEN else each.engaged
    return known


def _can_match(sketch: Sketch, reach: Reach) -> bool:
    """Whether the people of a set are held, or there were none: neither reported alone nor of an older key."""
    return not sketch.is_empty or reach.people == 0


def curve(tweet: Member, now: datetime, audience: Audience = Audience.SEEN) -> list[Point]:
    """A Tweet's people so far at the end of each hour, or of each UTC day where it is older than a week."""
    is_young = tweet.created_at >= hours_since(now)
    grain = Grain.HOUR if is_young else Grain.DAY
    since = periods.floor(tweet.created_at - periods.HOUR, grain.length)
    asked = Span(None, Period(since, periods.ceil(now + periods.HOUR, grain.length)), now)
    found = _by_start([tweet], asked, audience, grain)
    total: People = {}
    points = []
    for start in sorted(found):
        total = _joined(total, found[start])
        (newest,), _ = _of_newest_epoch([total])
        points.append(Point(min(start + grain.length, now), Reach.of(newest.estimate)))
    return points


def weeks(handle: Handle, now: datetime, number: int = 12) -> list[Week]:
    """The handle's last weeks, oldest first, the running one included."""
    this = periods.floor(now, periods.DAY)
    this -= timedelta(days=this.weekday())
    first = this - (number + WEEKS_BEFORE - 1) * periods.WEEK
    asked = Span(None, Period(first, this + periods.WEEK), now)
    by_week: dict[int, People] = defaultdict(dict)
    for start, held in _by_start([whole(handle)], asked, Audience.SEEN, Grain.DAY).items():
        place = (start - first) // periods.WEEK
        by_week[place] = _joined(by_week[place], held)
    unnamed = _happened_in(handle, first) - by_week.keys()
    found = []
    for place in range(WEEKS_BEFORE, number + WEEKS_BEFORE):
        period = Period(first + place * periods.WEEK, first + (place + 1) * periods.WEEK)
        found.append(Week(period, UNREPORTED, None, None) if place in unnamed else _week(period, by_week, place))
    return found


def _happened_in(handle: Handle, first: datetime) -> set[int]:
    """In which weeks from the first on anything happened: who engaged has seen it, impressions told or not."""
    days = HandleRollup.objects.filter(handle=handle, grain=Grain.DAY, start__gte=first)
    return {(start - first) // periods.WEEK for start in days.values_list("start", flat=True)}


def _week(period: Period, by_week: Mapping[int, People], place: int) -> Week:
    mine = by_week.get(place, {})
    before: People = {}
    for earlier in range(place - WEEKS_BEFORE, place):
        before = _joined(before, by_week.get(earlier, {}))
    epochs = {*mine, *before}
    if len(epochs) > 1:
        return Week(period, reach_of(mine), None, None)
    (own, earlier_people), _ = _of_newest_epoch([mine, before])
    new, returning = own - earlier_people, own & earlier_people
    return Week(period, *(Reach.of(each.estimate) for each in (own, new, returning)))


def _by_start(members: Sequence[Member], asked: Span, audience: Audience, grain: Grain) -> dict[datetime, People]:
    """The people of each bucket of this grain in the span."""
    period = asked.period or Period(EPOCH, asked.now)
    found: dict[datetime, People] = {}
    for _, start, epoch, data in fetch(members, [Piece(grain, period.since, period.until)], audience):
        found[start] = _joined(found.get(start, {}), {epoch: Sketch.from_bytes(data)})
    return found


def _joined(one: People, other: People) -> People:
    """Everybody of both, epoch by epoch."""
    return {epoch: one.get(epoch, NOBODY) | other.get(epoch, NOBODY) for epoch in {*one, *other}}


def _of_newest_epoch(sets: Sequence[People]) -> tuple[list[Sketch], bool]:
    """The sets' people of the newest epoch that any of them has, and whether there are others."""
    epochs = {epoch for found in sets for epoch in found}
    newest = max(epochs, default=0)
    return [found.get(newest, NOBODY) for found in sets], len(epochs) > 1
