"""`{% load figures %}`: the number formats of `metrics.present.figures` as filters, and words for an age."""

from __future__ import annotations

from datetime import UTC, datetime

from django import template

from metrics.present import figures, overlaps, people
from metrics.query.report import TweetRow
from metrics.vocabulary.engagements import METRICS

register = template.Library()
for _format in (
    figures.count,
    figures.signed,
    figures.compact,
    figures.percent,
    figures.change,
    figures.points,
    figures.times,
    figures.rate,
    figures.direction,
):
    register.filter(_format.__name__, _format)
register.filter("people", people.number)
register.filter("people_interval", people.interval)
register.filter("untold", people.untold)
register.filter("people_error", overlaps.error)


@register.filter
def age(instant: datetime, now: datetime | None = None) -> str:
    """How old something is, in at most two units: "38 min", "2 h 14 min", "3 d"."""
    seconds = max(0, int(((now or datetime.now(UTC)) - instant).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 1:
        return "now"
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        rest = minutes % 60
        return f"{hours} h {rest} min" if rest and hours < 10 else f"{hours} h"
    return f"{days:,} d"


@register.filter
def frequency(times: float | None) -> str:
    """How often each person saw something: "1.84"; a dash where that is not known."""
    return figures.DASH if times is None else figures.rounded(times, 2)


@register.filter
def share(ratio: float | None) -> str:
    """A share in per cent, a dash where there is none; 0 only where it is exactly that."""
    return figures.DASH if ratio is None else people.share(ratio)


@register.filter
def lag(milliseconds: int) -> str:
    """How far something is behind: "12 ms", "3.2 s"."""
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


@register.filter
def lost(count: int) -> str:
    """What was taken back, with its sign."""
    return figures.count(-count) if count else "0"


@register.filter
def zone_name(key: str) -> str:
    """A time zone's name as people write it."""
    return key.replace("_", " ")


@register.filter
def ink_on(colour: str) -> str:
    """White or near-black: whichever reads better on a colour like #0b6e69 (WCAG's relative luminance)."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if luminance < 0.18 else "#15181b"


@register.filter
def cell(row: TweetRow, name: str) -> str:
    """One figure of a Tweet in a list, under the name of a metric, `rate` or `engagement_rate`."""
    if name == "rate":
        return figures.rate(row.rate_per_minute)
    if name == "engagement_rate":
        return figures.percent(row.engagement_rate)
    return figures.count(int(METRICS[name].of(row.totals).sum()))


@register.filter
def type_label(name: str) -> str:
    """What people call an engagement type."""
    return METRICS[name].label
