"""People's sketches computed again from events, old hours making room, and one person forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np
from django.db import connection, transaction
from django.utils import timezone

from metrics import stream
from metrics.aggregate import history, partitions, reach
from metrics.aggregate.arrivals import Batch
from metrics.aggregate.binary import Layout
from metrics.aggregate.reach import Key
from metrics.models import DroppedDay, EngagementEvent, ReachSketch
from metrics.vocabulary.periods import Grain
from metrics.vocabulary.sketches import Sketch, hours_since, union

_NAMED: Final = Layout(
    ("handle_id", "bigint"),
    ("tweet_id", "bigint"),
    ("occurred_at", "instant"),
    ("person", "bigint"),
    ("type", "smallint"),
    ("epoch", "smallint"),
)
_KEY_NAMES: Final = ("tweet_id", "audience", "epoch")


class Forgotten(NamedTuple):
    """How much was removed of a person: events, and from how many sketches; `handles` whose events those were."""

    events: int
    sketches: int
    handles: tuple[int, ...]


def rebuild(handle_id: int) -> int:
    """Compute the handle's sketches again from the events that are held; returns how many are stored then.

    Days whose events have been dropped keep what they have. A lifetime is what its days hold, old ones included.
    The shard's writer of sketches waits meanwhile.
    """
    mine = ReachSketch.objects.filter(handle_id=handle_id)
    with transaction.atomic(), connection.cursor() as cursor:
        reach.hold(stream.shard_of(handle_id))
        # No day may be dropped between being listed and being read.
        cursor.execute(f"LOCK TABLE {partitions.EVENTS} IN ACCESS SHARE MODE")
        dropped = set(DroppedDay.objects.values_list("day", flat=True))
        for day in partitions.existing(partitions.EVENTS):
            if day not in dropped:
                since = datetime.combine(day, time(), UTC)
                of_day = mine.filter(start__gte=since, start__lt=since + timedelta(days=1))
                of_day.exclude(grain=Grain.LIFETIME).delete()
                found = reach.buckets(_named_events(handle_id, since), hours_since(timezone.now()))
                reach.write({key: sketch for key, sketch in found.items() if key.grain != Grain.LIFETIME})
        mine.filter(grain=Grain.LIFETIME).delete()
        reach.write(dict(_lifetimes(handle_id)))
        return mine.count()


def _named_events(handle_id: int, since: datetime) -> Batch:
    """The handle's events of a day that name somebody."""
    query = (
        f"SELECT {_NAMED.names} FROM {partitions.EVENTS} WHERE handle_id = %s"  # noqa: S608  our own names
        " AND occurred_at >= %s AND occurred_at < %s AND person IS NOT NULL"
    )
    with connection.cursor() as cursor:
        asked = cursor.mogrify(query, [handle_id, since, since + timedelta(days=1)])
        found = _NAMED.copy_out(cursor, asked)
    events = np.empty(len(found), dtype=[*found.dtype.descr, ("flags", "u1")])
    for name in found.dtype.names or ():
        events[name] = found[name]
    events["flags"] = found["epoch"] << 1
    return events


def _lifetimes(handle_id: int) -> Iterator[tuple[Key, Sketch]]:
    """What the days of each Tweet, audience and epoch add up to."""
    days = ReachSketch.objects.filter(handle_id=handle_id, grain=Grain.DAY).order_by(*_KEY_NAMES)
    rows = days.values_list(*_KEY_NAMES, "sketch").iterator(chunk_size=500)
    for (tweet_id, audience, epoch), group in groupby(rows, itemgetter(0, 1, 2)):
        yield Key(handle_id, tweet_id, Grain.LIFETIME, 0, audience, epoch), union(bytes(row[3]) for row in group)


def drop_old_hours() -> int:
    """Drop sketches by hour that are past their time; returns how many. Their days stay."""
    gone, _ = ReachSketch.objects.filter(grain=Grain.HOUR, start__lt=hours_since(timezone.now())).delete()
    return gone


def forget(person: int, epoch: int) -> Forgotten:
    """Remove a person: their events that are held, with what those added to totals, and their hash in every sketch.

    A sketch that has met more people than it keeps may hold no trace of somebody; then nothing is to be removed.
    """
    with transaction.atomic():
        for shard in stream.shards():
            reach.hold(shard)
        theirs = EngagementEvent.objects.filter(person=person, epoch=epoch)
        handles = tuple(sorted(set(theirs.values_list("handle_id", flat=True))))
        events, _ = theirs.delete()
        for handle_id in handles:
            history.rebuild(handle_id)
        return Forgotten(events, _remove(Sketch.of([person]), epoch), handles)


def _remove(person: Sketch, epoch: int) -> int:
    names = ("handle_id", "tweet_id", "grain", "start", "audience", "epoch")
    held = ReachSketch.objects.filter(epoch=epoch).values_list(*names, "sketch")
    changed: dict[Key, Sketch] = {}
    for *key, data in held.iterator(chunk_size=500):
        sketch = Sketch.from_bytes(bytes(data))
        without = sketch - person
        if len(without.hashes) < len(sketch.hashes):
            handle_id, tweet_id, grain, start, audience, epoch = key
            start_us = int(start.timestamp()) * 1_000_000
            changed[Key(handle_id, tweet_id, grain, start_us, audience, epoch)] = without
    reach.write(changed)
    return len(changed)
