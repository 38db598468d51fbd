"""When a handle's sources were down: the answer to "is it a drop, or a broken feed?"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q

from metrics.models import Outage, SourceState

if TYPE_CHECKING:
    from datetime import datetime

    from metrics.vocabulary.periods import Period

MOST = 200


@dataclass(frozen=True, slots=True)
class Down:
    """A stretch of a period in which one source was not up; `is_over` is False while it lasts."""

    since: datetime
    until: datetime
    kind: str
    name: str
    state: SourceState
    reason: str
    is_over: bool


def outages(handle_id: int, period: Period, now: datetime) -> list[Down]:
    """The outages that touch the period, cut to it, the oldest first; at most the latest MOST of them."""
    touches = Q(until=None) | Q(until__gt=period.since)
    found = (
        Outage.objects.filter(touches, source__handle=handle_id, since__lt=min(period.until, now))
        .select_related("source")
        .order_by("-since", "-id")[:MOST]
    )
    return [_cut(outage, period, now) for outage in reversed(found)]


def _cut(outage: Outage, period: Period, now: datetime) -> Down:
    return Down(
        since=max(outage.since, period.since),
        until=min(outage.until or now, period.until),
        kind=outage.source.kind,
        name=outage.source.name,
        state=SourceState(outage.state),
        reason=outage.reason,
        is_over=outage.until is not None,
    )
