"""How often X may be asked: the allowance of each of its endpoints, as its answers' headers tell it.

X's instants are told by X's clock. They are kept as ours: as so long after the answer as X's own `Date` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

WINDOW = timedelta(minutes=15)
# What is believed of an endpoint until its first answer: the least that X gives for reading.
FIRST_LIMIT = 15
# What differs more from our clock is no clock's time, such as that of an old answer from a cache.
BELIEVED_SKEW = timedelta(days=1)
# A wait that X cannot have meant.
LONGEST_WAIT = timedelta(days=31)
_DAILY = ("x-user-limit-24hour", "x-app-limit-24hour")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of an endpoint's calls: `remaining` of `limit` until `reset_at`, then `limit` again in `window`."""

    limit: int
    remaining: int
    reset_at: datetime
    window: timedelta = WINDOW

    def at(self, now: datetime) -> Allowance:
        """The same, seen at an instant: a new window where the old one has passed."""
        if now < self.reset_at:
            return self
        return Allowance(self.limit, self.limit, now + self.window, self.window)

    def spent(self) -> Allowance:
        """The same after one more call."""
        return replace(self, remaining=self.remaining - 1)

    def free_at(self, now: datetime) -> datetime:
        """When the next call may be made: at once, unless it would take what is kept for the rest of the window.

        Half of a window's calls may be made at any time; the other half comes free evenly over the window. So a long
        list of old Tweets never uses up what young ones will need a minute later.
        """
        if now >= self.reset_at:
            return now
        if self.remaining < 1:
            return self.reset_at
        kept_for = 2 * self.window * self.remaining / self.limit
        return min(self.reset_at, max(now, self.reset_at - kept_for))


def first(now: datetime) -> Allowance:
    """The allowance of an endpoint that has not answered yet."""
    return Allowance(FIRST_LIMIT, FIRST_LIMIT, now + WINDOW)


def told(headers: Mapping[str, str], now: datetime, before: Allowance) -> Allowance:
    """The allowance that an answer's headers tell, in our time; the one before it where they do not.

    X does not tell how long a window is: a quarter of an hour, or longer where the reset lies farther away.
    """
    limit, remaining = (_number(headers.get(f"x-rate-limit-{name}")) for name in ("limit", "remaining"))
    reset_at = _ours(headers, "x-rate-limit-reset", now)
    if not limit or remaining is None or reset_at is None:
        return before
    is_same = abs(reset_at - before.reset_at) < timedelta(seconds=5)
    window = before.window if is_same else max(WINDOW, reset_at - now)
    return Allowance(limit, min(remaining, limit), reset_at, window)


def over_at(headers: Mapping[str, str], now: datetime) -> datetime:
    """When a refusal for too many calls ends: the latest reset of what is used up; a window from now if untold."""
    resets = [_ours(headers, "x-rate-limit-reset", now)]
    resets += [
        _ours(headers, f"{name}-reset", now) for name in _DAILY if _number(headers.get(f"{name}-remaining")) == 0
    ]
    latest = max((reset for reset in resets if reset), default=now + WINDOW)
    # A reset that has passed already would have us ask again and again.
    return max(latest, now + timedelta(seconds=5))


def date_of(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """The instant of an answer by X's clock, cut to the second; None where none is told, or one that is days off."""
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return date if abs(date - now) < BELIEVED_SKEW else None


def _ours(headers: Mapping[str, str], name: str, now: datetime) -> datetime | None:
    seconds = _number(headers.get(name))
    if seconds is None:
        return None
    theirs = date_of(headers, now) or now
    wait = timedelta(seconds=min(seconds - theirs.timestamp(), LONGEST_WAIT.total_seconds()))
    return now + max(wait, timedelta())


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None
