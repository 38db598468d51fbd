"""`{% load figures %}`: the number formats of `metrics.present.figures` as filters, and the words for an age."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from django import template

from metrics.present import figures

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


@register.filter
def unix(instant: datetime) -> int:
    """Seconds since the epoch."""
    return int(instant.timestamp())


@register.filter
def in_zone(instant: datetime, zone: tzinfo) -> datetime:
    """The instant as a clock in the zone shows it."""
    return instant.astimezone(zone)


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
