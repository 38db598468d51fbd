"""Numbers of people in words: as much as is known of them, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from metrics.present import clock, figures
from metrics.query.audience import Basis, Reach, Reached, Span
from metrics.query.overlap import Week

TOO_SMALL = "too small to tell"
NOT_REPORTED = "not reported by this source"
LONG: Final = 11
"""Characters; a longer figure is written smaller."""
DEFINITIONS: Final = {
    "reach": "How many different people saw it. Somebody who saw it five times is one person.",
    "frequency": "How often each of those people saw it: impressions that name a person, divided by reach.",
    "engaged": "How many different people liked, replied, clicked or did anything else about it.",
    "coverage": "The share of impressions for which the source named a person. Only those people can be counted.",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure about people, as text, with how sure it is and its definition."""

    name: str
    label: str
    value: str
    note: str

    @property
    def definition(self) -> str:
        """What is counted."""
        return DEFINITIONS[self.name]

    @property
    def size(self) -> str:
        """How it is written: words, and what is long, smaller than a number."""
        if self.value[:1].isalpha():
            return "words"
        return "long" if len(self.value) > LONG else ""


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


def told(reached: Reached) -> list[Figure]:
    """The four figures that a set's people are told in."""
    return [
        _headline("reach", "Reach", reached.seen),
        _frequency(reached),
        _headline("engaged", "Engaged people", reached.engaged),
        _coverage(reached),
    ]


def sentences(reached: Reached, zone: ZoneInfo) -> list[str]:
    """What a reader has to know about these figures; most often nothing."""
    said = []
    if reached.span.is_widened:
        said.append(_widened(reached.span, zone))
    if 0 < reached.named_impressions < reached.impressions:
        said.append("People behind impressions that name nobody are not in these figures.")
    if reached.epochs:
        said.append(new_key(reached.epochs, zone) + " So only the bounds of their number are known.")
    return said


def new_key(began: tuple[datetime, ...], zone: ZoneInfo) -> str:
    """That people can be matched only on one side of an instant."""
    dates = " and ".join(f"{at.astimezone(zone).day} {at.astimezone(zone):%B %Y, %H:%M}" for at in began)
    return f"A new key began on {dates}: people from before and after it cannot be matched."


def share(ratio: float) -> str:
    """A share in per cent that is 0 or 100 only where it is exactly that."""
    text = figures.percent(ratio, 1)
    if ratio > 0 and text == figures.percent(0, 1):
        return f"< {figures.percent(0.001, 1)}"
    if ratio < 1 and text == figures.percent(1, 1):
        return f"> {figures.percent(0.999, 1)}"
    return figures.percent(ratio, 0) if ratio in {0, 1} else text


def _headline(name: str, label: str, reach: Reach) -> Figure:
    if reach.basis is Basis.UNREPORTED:
        value, note = NOT_REPORTED.split(" by ")
        return Figure(name, label, value, f"by {note}")
    return Figure(name, label, number(reach), interval(reach))


def _frequency(reached: Reached) -> Figure:
    label = "Frequency"
    if reached.frequency is None or not reached.seen.is_told:
        return Figure("frequency", label, figures.DASH, _why_no_frequency(reached))
    return Figure("frequency", label, f"{figures.rounded(reached.frequency, 2)}×", "impressions for each person")


def _why_no_frequency(reached: Reached) -> str:
    if not reached.impressions:
        return "nothing was shown"
    return "not known: only bounds of reach are" if reached.named_impressions else "not known: nobody is named"


def _coverage(reached: Reached) -> Figure:
    label = "Coverage"
    if reached.coverage is None:
        return Figure("coverage", label, figures.DASH, "nothing was shown")
    named, shown = figures.count(reached.named_impressions), figures.count(reached.impressions)
    return Figure("coverage", label, share(reached.coverage), f"{named} of {shown} impressions name a person")


def _widened(span: Span, zone: ZoneInfo) -> str:
    if span.period is None:
        return ""
    since = clock.moment(span.period.since, zone)
    until = "now" if span.period.until > span.now else clock.moment(span.period.until, zone)
    kept = "People are kept by hour for a week and by UTC day before"
    return f"{kept}: these figures are of {since} to {until}."


def untold(week: Week) -> str:
    """Why nothing is said of a week's new and returning people."""
    is_unreported = week.reach.basis is Basis.UNREPORTED
    return NOT_REPORTED if is_unreported else "cannot be told: a new key began"
