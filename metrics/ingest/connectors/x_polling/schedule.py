"""Who is asked about when: a pure function of the Tweets' ages, of their last turns, and of what X allows.

A Tweet's *pace* follows its age: every minute in its first hour, then ever more rarely, weekly after a quarter of a
year. When that needs more calls than the window has, all paces are stretched by the same factor, so a younger Tweet
never waits longer than an older one. The Tweet that has waited longest for its pace comes first, so each gets its
turn; calls are counted by `limits.Allowance`, so there are never more of them than X allows.

A call asks about up to 100 Tweets, but only about those whose turn it is: X may bill each Tweet read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from math import ceil

from metrics.ingest.connectors.x_polling.limits import Allowance

TWEETS_A_CALL = 100
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# Up to this age: asked about this often.
PACES: tuple[tuple[timedelta, timedelta], ...] = (
    (_HOUR, _MINUTE),
    (6 * _HOUR, 5 * _MINUTE),
    (_DAY, 15 * _MINUTE),
    (7 * _DAY, _HOUR),
    (30 * _DAY, 6 * _HOUR),
    (90 * _DAY, _DAY),
)
SLOWEST = 7 * _DAY
# A Tweet that was never counted is as urgent as one of its first day: it is 0 on every page until then.
FIRST_TURN = 15 * _MINUTE
# Tweets that would have their turn soon join a call that is made anyway, so that they need none of their own.
NEARLY = 0.8


@dataclass(frozen=True, slots=True)
class Turn:
    """A Tweet, when it was last asked about (None: never), since when it is known, and which calls may hold it."""

    tweet_id: int
    created_at: datetime
    known_at: datetime
    asked_at: datetime | None = None
    group: str = ""


@dataclass(frozen=True)  # without slots: the stretch is kept once made
class Schedule:
    """The Tweets' paces under an allowance; `least` is the shortest pace, for calls that are worth less."""

    turns: Sequence[Turn]
    allowance: Allowance
    now: datetime
    least: timedelta = _MINUTE

    def pace(self, turn: Turn) -> timedelta:
        """How often this Tweet is asked about as long as the limit does not matter."""
        age = self.now - turn.created_at
        pace = next((pace for up_to, pace in PACES if age < up_to), SLOWEST)
        return max(self.least, pace if turn.asked_at else min(pace, FIRST_TURN))

    @cached_property
    def stretch(self) -> float:
        """By which factor all paces are longer because of the limit; 1 where it does not matter."""
        paces = defaultdict[str, Counter[timedelta]](Counter)
        for turn in self.turns:
            paces[turn.group][self.pace(turn)] += 1
        needed = sum(_calls(found, self.allowance.window) for found in paces.values())
        return max(1.0, needed / self.allowance.limit)

    def next_call(self) -> list[Turn]:
        """Whom to ask about now, all of one group, who is due first; nobody where none is due or may be called."""
        if self.allowance.free_at(self.now) > self.now:
            return []
        waits = sorted(((self.urgency(turn), turn) for turn in self.turns), key=_most_urgent_first)
        due = [turn for urgency, turn in waits if urgency >= self.stretch or not turn.asked_at]
        if not due:
            return []
        near = [turn for urgency, turn in waits if turn.asked_at and NEARLY * self.stretch <= urgency < self.stretch]
        return [turn for turn in (*due, *near) if turn.group == due[0].group][:TWEETS_A_CALL]

    def urgency(self, turn: Turn) -> float:
        """How long the Tweet has waited, in its own paces; the first turn is due at once and so is one pace ahead."""
        waited = (self.now - (turn.asked_at or turn.known_at)) / self.pace(turn)
        return waited if turn.asked_at else 1.0 + waited

    def next_at(self) -> datetime | None:
        """When somebody will be due and may be asked about; None where there is nobody to ask about."""
        if not self.turns:
            return None
        due = min(turn.asked_at + self.stretch * self.pace(turn) if turn.asked_at else self.now for turn in self.turns)
        return max(due, self.allowance.free_at(max(due, self.now)))

    def sentence(self) -> str:
        """The schedule as a sentence for people: how many Tweets are asked about how often, and why not more."""
        paces = Counter(self.pace(turn) for turn in self.turns)
        told = ", ".join(f"{number:,} {every(self.stretch * pace)}" for pace, number in sorted(paces.items()))
        sentence = f"{len(self.turns):,} Tweet{'s' * (len(self.turns) != 1)}" + (f": {told}." if told else ".")
        if self.stretch > 1:
            calls = f"{self.allowance.limit:,} call{'s' * (self.allowance.limit != 1)}"
            sentence += f" This is slower than usual because X allows {calls} {_within(self.allowance.window)}."
        return sentence


def _calls(paces: Counter[timedelta], window: timedelta) -> float:
    """The calls that a window needs for one group: one each time somebody is due, more where they overflow it."""
    often = min(paces)
    due_each_time = sum(number * (often / pace) for pace, number in paces.items())
    return (window / often) * ceil(due_each_time / TWEETS_A_CALL)


def _most_urgent_first(wait: tuple[float, Turn]) -> tuple[float, int]:
    return -wait[0], -wait[1].tweet_id


_UNITS = {7 * _DAY: "week", _DAY: "day", _HOUR: "hour", _MINUTE: "minute"}


def every(pace: timedelta) -> str:
    """`every minute`, `every 5 minutes`, `every hour`, …: in the largest unit that leaves a rounding below 10 %."""
    fitting = (unit for unit in _UNITS if abs(_rounded(pace, unit) * unit - pace) <= pace / 10)
    unit = next(fitting, _MINUTE)
    number = _rounded(pace, unit)
    return f"every {_UNITS[unit]}" if number == 1 else f"every {number:,} {_UNITS[unit]}s"


def _rounded(pace: timedelta, unit: timedelta) -> int:
    return max(1, round(pace / unit))


def _within(window: timedelta) -> str:
    minutes = round(window / _MINUTE)
    return f"in {minutes} minutes" if minutes < 120 else f"in {round(minutes / 60)} hours"


def soonest(instants: Iterable[datetime | None]) -> datetime | None:
    """The first of the instants that are known."""
    return min((instant for instant in instants if instant), default=None)
