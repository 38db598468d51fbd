"""A number of people in words: as much as is known of it, and how sure that is."""

from __future__ import annotations

from metrics.present import figures
from metrics.query.audience import Basis, Reach

TOO_SMALL = "too small to tell"
NOT_REPORTED = "not reported by this source"


def number(reach: Reach) -> str:
    """The number itself: "41,380"; "3,000–4,000" where only bounds are known; else why there is none."""
    if reach.basis is Basis.UNREPORTED:
        return NOT_REPORTED
    if reach.people is None:
        return _between(reach)
    return figures.count(reach.people) if reach.is_told else TOO_SMALL


def interval(reach: Reach) -> str:
    """How sure the number is: "exact", "40,100–42,700 (95 %)", and where it does not come from our own count."""
    if reach.basis is Basis.EXACT:
        return "exact"
    if reach.basis is Basis.ESTIMATED:
        return f"{_between(reach)} (95{figures.NARROW}%)" if reach.is_told else f"at most {figures.count(reach.high)}"
    if reach.basis is Basis.REPORTED:
        return "as the source reports it"
    return "true bounds: these people cannot be matched" if reach.basis is Basis.BOUNDS else ""


def _between(reach: Reach) -> str:
    if reach.high is None:
        return f"at least {figures.count(reach.low)}"
    return f"{figures.count(reach.low)}{figures.DASH}{figures.count(reach.high)}"
