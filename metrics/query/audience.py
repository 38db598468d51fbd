"""How many people: of a Tweet, a handle, or any set of Tweets, ever or in a period, with how sure that is.

People are kept by hour for a week and by UTC day for ever, so a period is widened to whole ones, and says so. People
of two epochs (keys) cannot be matched: of those only bounds are known. Where nobody was named, reach is not reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import reduce
from itertools import groupby, product
from operator import attrgetter, or_
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q, Sum
from psycopg import Cursor

from accounts.models import Handle
from metrics.models import OF_HANDLE, Audience, HandleRollup, PersonEpoch, ReportedReach, Tweet, TweetRollup
from metrics.query.series import load_sql
from metrics.query.tweets import metric_expression
from metrics.vocabulary import periods
from metrics.vocabulary.engagements import METRICS
from metrics.vocabulary.events import CLOCK_TOLERANCE, tweet_created_at
from metrics.vocabulary.periods import EPOCH, Grain, Period, Piece
from metrics.vocabulary.sketches import NOBODY, Estimate, Sketch, hours_since, union

_SKETCHES = load_sql("audience.sql")
EVER = (Piece(Grain.LIFETIME, EPOCH, EPOCH + periods.MINUTE),)
People = Mapping[int, Sketch]
"""Epoch → the people of a set who were hashed with its key."""


class Basis(StrEnum):
    """What a number of people stands on."""

    EXACT = "exact"
    ESTIMATED = "estimated"
    BOUNDS = "bounds"
    REPORTED = "reported"
    UNREPORTED = "unreported"


@dataclass(frozen=True, slots=True)
class Reach:
    """A number of people with its 95 % interval; `people` is None where only the bounds, or nothing, is known."""

    basis: Basis
    people: int | None = None
    low: int | None = None
    high: int | None = None

    @classmethod
    def of(cls, estimate: Estimate) -> Reach:
        """What a sketch says."""
        basis = Basis.EXACT if estimate.is_exact else Basis.ESTIMATED
        return cls(basis, round(estimate.people), round(estimate.low), round(estimate.high))

    @property
    def is_told(self) -> bool:
        """Whether the number may be shown: its interval is no wider than itself."""
        if self.people is None or self.low is None or self.high is None:
            return False
        return self.high - self.low <= self.people


UNREPORTED = Reach(Basis.UNREPORTED)


@dataclass(frozen=True, slots=True)
class Span:
    """The time for which people are told: `period` in whole kept buckets, or None for ever."""

    asked: Period | None
    period: Period | None
    now: datetime

    @property
    def is_widened(self) -> bool:
        """Whether the period was cut through kept buckets, which were taken whole."""
        return self.asked != self.period

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The kept buckets that make it up."""
        return EVER if self.period is None else tuple(periods.cover(self.period))


class Member(NamedTuple):
    """A Tweet of a set, or a handle's whole audience (`tweet_id` OF_HANDLE)."""

    handle_id: int
    tweet_id: int

    @property
    def created_at(self) -> datetime:
        """When its audience can have begun, by the snowflake."""
        return EPOCH if self.tweet_id == OF_HANDLE else tweet_created_at(self.tweet_id)


@dataclass(frozen=True, slots=True)
class Reached:
    """A set's people who saw and who engaged, beside its impressions and how many of them named a person.

    `epochs` are the instants inside the set's time at which a new key began.
    """

    seen: Reach
    engaged: Reach
    impressions: int
    named_impressions: int
    engagements: int
    span: Span
    epochs: tuple[datetime, ...] = ()

    @property
    def coverage(self) -> float | None:
        """The share of impressions that named a person; None where nothing was shown."""
        return self.named_impressions / self.impressions if self.impressions else None

    @property
    def frequency(self) -> float | None:
        """Impressions with a person for each person; None where that is not known."""
        people = self.seen.people
        return self.named_impressions / people if people and self.seen.basis is not Basis.REPORTED else None


def reach_of(found: People) -> Reach:
    """How many they are: of people of several epochs, who cannot be matched, only the bounds are known."""
    estimates = [sketch.estimate for sketch in found.values()] or [NOBODY.estimate]
    if len(estimates) == 1:
        return Reach.of(estimates[0])
    low, high = max(each.low for each in estimates), sum(each.high for each in estimates)
    return Reach(Basis.BOUNDS, None, round(low), round(high))


def member(tweet: Tweet) -> Member:
    """The Tweet as a member of a set."""
    return Member(tweet.handle_id, tweet.tweet_id)


def whole(handle: Handle) -> Member:
    """The handle's whole audience as a member of a set."""
    return Member(handle.pk, OF_HANDLE)


def span(asked: Period | None, now: datetime) -> Span:
    """The period, widened to the buckets that are kept: hours of the last week, UTC days before.

    What has not come yet needs no bucket: a period that ends with the running one is not widened at its end.
    """
    if asked is None:
        return Span(None, None, now)
    since = _floor(asked.since, now)
    until = periods.ceil(min(asked.until, max(now, asked.since + periods.MINUTE)), periods.HOUR)
    if _floor(until, now) != until:
        until = periods.ceil(until, periods.DAY)
    is_running = asked.until >= now
    period = Period(since, until)
    told = Period(asked.since, period.until) if is_running else asked
    return Span(told, period, now)


def _floor(instant: datetime, now: datetime) -> datetime:
    return periods.floor(instant, periods.HOUR if instant >= hours_since(now) else periods.DAY)


def reached(sets: Sequence[Sequence[Member]], asked: Span) -> list[Reached]:
    """The people of each set: everybody counted once, whatever Tweets they saw."""
    seen, engaged = (people(sets, asked, audience) for audience in (Audience.SEEN, Audience.ENGAGED))
    counts = _counts(sets, asked)
    reported = _reported(sets, asked)
    began = _epochs()
    found = []
    for place, members in enumerate(sets):
        shown, named, engagements = counts[place]
        epochs = sorted({*seen[place], *engaged[place]})
        found.append(
            Reached(
                # Whoever engaged has seen it, also where a source tells no impressions.
                _reach(seen[place], shown + engagements, reported[Audience.SEEN], members),
                _reach(engaged[place], engagements, reported[Audience.ENGAGED], members),
                shown,
                named,
                engagements,
                asked,
                tuple(began[number] for number in epochs[1:] if number in began),
            )
        )
    return found


def people(sets: Sequence[Sequence[Member]], asked: Span, audience: Audience) -> list[People]:
    """The sketches of each set, by epoch."""
    stored: dict[Member, list[tuple[int, bytes]]] = defaultdict(list)
    for members, pieces in _wanted({one for some in sets for one in some}, asked):
        for one, _, epoch, data in fetch(members, pieces, audience):
            stored[one].append((epoch, data))
    return [_merged(held for one in members for held in stored.get(one, ())) for members in sets]


def _merged(held: Iterable[tuple[int, bytes]]) -> People:
    by_epoch: dict[int, list[bytes]] = defaultdict(list)
    for epoch, data in held:
        by_epoch[epoch].append(data)
    return {epoch: union(data) for epoch, data in by_epoch.items()}


def fetch(
    members: Iterable[Member], pieces: Iterable[Piece], audience: Audience
) -> Iterator[tuple[Member, datetime, int, bytes]]:
    """The stored sketches of these buckets: of what, from when, of which epoch."""
    connection.ensure_connection()
    # As Django's own errors: so that a connection that broke is not used again.
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        for (handle_id, tweet_ids), piece in product(_by_handle(members), pieces):
            given = {"handle_id": handle_id, "tweet_ids": tweet_ids, "audience": audience.value}
            bounds = {"grain": piece.grain.value, "since": piece.since, "until": piece.until}
            cursor.execute(_SKETCHES, given | bounds, binary=True)
            for tweet_id, start, epoch, data in cursor.fetchall():
                yield Member(handle_id, tweet_id), start, epoch, data


def _wanted(members: Iterable[Member], asked: Span) -> Iterator[tuple[list[Member], Sequence[Piece]]]:
    """Which buckets to read of whom: a Tweet whose whole life lies in the span needs one only."""
    period, now = asked.period, asked.now
    within: list[Member] = []
    cut: list[Member] = []
    for one in members:
        is_within = period is None or (one.created_at - CLOCK_TOLERANCE >= period.since and period.until >= now)
        (within if is_within else cut).append(one)
    yield within, EVER
    yield cut, asked.pieces


def _reach(found: People, happened: int, reported: Mapping[Member, int], members: Sequence[Member]) -> Reach:
    """What is known: our own count, the bounds of several epochs or reports, one report, or nothing."""
    if found:
        return reach_of(found)
    told = [reported[one] for one in members if one in reported]
    if len(told) == 1 and len(members) == 1:
        return Reach(Basis.REPORTED, told[0], told[0], told[0])
    if told:
        return Reach(Basis.BOUNDS, None, max(told), sum(told) if len(told) == len(members) else None)
    return UNREPORTED if happened else Reach.of(NOBODY.estimate)


def _counts(sets: Sequence[Sequence[Member]], asked: Span) -> list[tuple[int, int, int]]:
    """Impressions, those that named a person, and engagements of each set."""
    sums: dict[Member, list[int]] = defaultdict(lambda: [0, 0, 0])
    for members, pieces in _wanted({one for some in sets for one in some}, asked):
        within = reduce(or_, (Q(grain=each.grain, start__gte=each.since, start__lt=each.until) for each in pieces))
        wholes = [one.handle_id for one in members if one.tweet_id == OF_HANDLE]
        if wholes:
            _add(sums, HandleRollup.objects.filter(within, handle_id__in=wholes).values("handle_id"))
        for handle_id, tweet_ids in _by_handle(members):
            rows = TweetRollup.objects.filter(within, handle_id=handle_id, tweet_id__in=tweet_ids)
            _add(sums, rows.values("handle_id", "tweet_id"))
    return [_total(sums, set(members)) for members in sets]


def _total(sums: Mapping[Member, Sequence[int]], members: Iterable[Member]) -> tuple[int, int, int]:
    shown, named, engaged = (sum(sums[one][place] for one in members) for place in range(3))
    return shown, named, engaged


def _add(sums: dict[Member, list[int]], rows: Any) -> None:
    totals = rows.order_by().annotate(
        shown=Sum("impressions"), named=Sum("named_impressions"), engaged=Sum(metric_expression(METRICS["engagements"]))
    )
    for row in totals:
        kept = sums[Member(row["handle_id"], row.get("tweet_id", OF_HANDLE))]
        for place, name in enumerate(("shown", "named", "engaged")):
            kept[place] += int(row[name])


def _by_handle(members: Iterable[Member]) -> list[tuple[int, list[int]]]:
    """The ids of the members that are Tweets or wholes, for each handle."""
    groups = groupby(sorted(members), key=attrgetter("handle_id"))
    return [(handle_id, [one.tweet_id for one in some]) for handle_id, some in groups]


def _reported(sets: Sequence[Sequence[Member]], asked: Span) -> dict[Audience, dict[Member, int]]:
    """What other systems say a Tweet has reached in its life: the newest word on each, where a life was asked for."""
    lives, _ = next(_wanted({one for some in sets for one in some}, asked))
    found: dict[Audience, dict[Member, int]] = {audience: {} for audience in Audience}
    for handle_id, tweet_ids in _by_handle(lives):
        rows = ReportedReach.objects.filter(handle_id=handle_id, tweet_id__in=tweet_ids)
        for row in rows.order_by("as_of"):
            found[Audience(row.audience)][Member(row.handle_id, row.tweet_id)] = row.people
    return found


def _epochs() -> dict[int, datetime]:
    return dict(PersonEpoch.objects.values_list("number", "began_at"))
