"""How a source is doing: the only writer of its state, its days, its notes and its outages.

Every change of state is noted; what is not up is an outage, from its first moment to its last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from accounts.models import Handle
from metrics.models import Outage, Source, SourceDay, SourceNote, SourceState

NOTES_KEPT = 50
# A runner is started again within this time; a longer silence of a source that ought to run was an outage of ours.
GAP = timedelta(seconds=60)


@dataclass(slots=True)
class Taken:
    """What one delivery brought: counts, how many messages of which kind were passed over, and the newest instant."""

    events: int = 0
    snapshots: int = 0
    tweets: int = 0
    refused: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    newest_at: datetime | None = None


def known(handle: Handle | int, kind: str, name: str) -> Source:
    """The handle's source of this kind and name, made where it does not exist."""
    handle_id = handle if isinstance(handle, int) else handle.pk
    return Source.objects.get_or_create(handle_id=handle_id, kind=kind, name=name)[0]


class MovedError(Exception):
    """Somebody else has moved the source meanwhile, such as paused it; nothing was changed."""


def enter(
    source: Source,
    state: SourceState,
    reason: str = "",
    due_at: datetime | None = None,
    *,
    since: datetime | None = None,
) -> None:
    """Move the source into a state, note it, and open or close its outage; nothing when it is in it already.

    With `since`, only out of the state that it entered then; raises MovedError.
    """
    with transaction.atomic():
        before = Source.objects.select_for_update().get(pk=source.pk)
        if since is not None and before.state_since != since:
            raise MovedError(f"{source} was moved by somebody else.")
        source.state, source.reason, source.due_at = state, reason[:500], due_at
        if (before.state, before.reason) == (state, source.reason):
            source.state_since = before.state_since
            source.save(update_fields=["due_at"])
            return
        source.state_since = timezone.now()
        source.save(update_fields=["state", "state_since", "reason", "due_at"])
        note(source, f"{state.label}: {reason}" if reason else state.label, is_trouble=not state.is_up)
        _keep_outages(source)


def _keep_outages(source: Source) -> None:
    open_outages = Outage.objects.filter(source=source, until=None)
    state = SourceState(source.state)
    if state.is_up:
        open_outages.update(until=source.state_since)
    elif not open_outages.update(state=state, reason=source.reason):
        Outage.objects.create(source=source, since=source.state_since, state=state, reason=source.reason)


def note_gap(source: Source) -> None:
    """Call as a runner begins: when nobody has run the source for a while although it was up, that was an outage."""
    now = timezone.now()
    heard = source.last_heard_at
    if heard is None or not SourceState(source.state).is_up:
        return
    # Until it was due again, its silence was its schedule.
    since = max(heard, source.due_at or heard)
    if now - since < GAP:
        return
    reason = "InsightsTrack was not running."
    Outage.objects.create(source=source, since=since, until=now, state=SourceState.FAILING, reason=reason)
    note(source, f"Not heard from {since:%Y-%m-%d %H:%M} to {now:%H:%M} UTC: {reason}", is_trouble=True)


def note(source: Source, text: str, is_trouble: bool = False) -> None:
    """Write down one thing that happened; the last NOTES_KEPT stay."""
    SourceNote.objects.create(source=source, text=text[:500], is_trouble=is_trouble)
    edge = source.notes.values_list("id", flat=True)[NOTES_KEPT:].first()
    if edge:
        source.notes.filter(id__lte=edge).delete()


def heard(source: Source, taken: Taken | None = None, lag_ms: int | None = None) -> None:
    """A sign of life, and what it brought."""
    now = timezone.now()
    changes: dict[str, object] = {"last_heard_at": now}
    if lag_ms is not None:
        changes["lag_ms"] = lag_ms
    if taken and taken.newest_at:
        changes["last_event_at"] = Greatest(Coalesce(F("last_event_at"), taken.newest_at), taken.newest_at)
    Source.objects.filter(pk=source.pk).update(**changes)
    source.last_heard_at = now
    if taken:
        _add_to_day(source, now, taken)


def turned_away(source: Source, number: int) -> None:
    """Count deliveries that did not come from the platform, and so are no sign of its life."""
    _add_to_day(source, timezone.now(), Taken(refused=number))


def _add_to_day(source: Source, now: datetime, taken: Taken) -> None:
    with transaction.atomic(), connection.cursor():
        day, _ = SourceDay.objects.select_for_update().get_or_create(source=source, day=now.date())
        for name in ("events", "snapshots", "tweets", "refused"):
            setattr(day, name, getattr(day, name) + getattr(taken, name))
        day.ignored = _sums(day.ignored, taken.ignored)
        day.save()


def _sums(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def is_due(now: datetime) -> Q:
    """The condition under which a source wants to be run."""
    rests = [SourceState.PAUSED, SourceState.DISCONNECTED]
    return ~Q(state__in=rests) & (Q(due_at=None) | Q(due_at__lte=now))
