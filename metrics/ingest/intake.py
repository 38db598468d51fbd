"""What sources bring goes the same way as what the door takes: checked at the border, appended to the shard's stream.

A delivery is whole or not at all: the caller moves its own cursor only after `take` has returned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from metrics import stream
from metrics.ingest import reported, sources
from metrics.ingest import snapshots as snapshot_border
from metrics.ingest import tweets as tweet_border
from metrics.ingest.reported import Report
from metrics.ingest.snapshots import IncomingSnapshot
from metrics.ingest.sources import Taken
from metrics.ingest.tweets import IncomingTweet
from metrics.ingest.validation import IncomingEvent, Refusal, pack
from metrics.models import Source
from metrics.stream import Cargo


@dataclass(slots=True)
class Delivery:
    """What a source brings at once; `ignored` counts messages that mean nothing here, by kind."""

    events: Sequence[IncomingEvent] = ()
    snapshots: Sequence[IncomingSnapshot] = ()
    tweets: Sequence[IncomingTweet] = ()
    reports: Sequence[Report] = ()
    ignored: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Receipt:
    """What became of a delivery: what was taken, and what was refused as (kind, index, refusal)."""

    taken: Taken
    refused: list[tuple[str, int, Refusal]] = field(default_factory=list)


def take(source: Source, delivery: Delivery) -> Receipt:
    """Store the good parts of a delivery durably and tell the bad ones; raises RedisError or DatabaseError.

    The items need not name a handle: everything is of the source's handle. A repeat changes nothing.
    """
    handles = {source.handle.username.lower(): source.handle_id}
    now_us = time.time_ns() // 1000
    receipt = Receipt(Taken(ignored=dict(delivery.ignored)))

    def packed(kind: str, items: Iterable[Any], of: Callable[[Any], Any]) -> list[Any]:
        good = []
        for index, item in enumerate(items):
            try:
                good.append(of(item))
            except Refusal as refusal:
                receipt.refused.append((kind, index, refusal))
        return good

    events = packed("event", delivery.events, lambda event: pack(event, handles, now_us)[2])
    counts = packed(
        "snapshot", delivery.snapshots, lambda one: snapshot_border.pack(one, source.pk, handles, now_us)[1]
    )
    posts = packed("tweet", delivery.tweets, lambda tweet: tweet_border.checked(tweet, handles))
    if posts:
        tweet_border.upsert(posts)
    reported.keep(source, delivery.reports)
    shard = stream.shard_of(source.handle_id)
    if events:
        stream.append(shard, b"".join(events))
    if counts:
        stream.append(shard, b"".join(counts), Cargo.SNAPSHOTS)
    taken = receipt.taken
    taken.events, taken.snapshots, taken.tweets = len(events), len(counts), len(posts)
    taken.refused, taken.newest_at = len(receipt.refused), _newest(delivery)
    sources.heard(source, taken)
    return receipt


def _newest(delivery: Delivery) -> datetime | None:
    instants = [event.occurred_at for event in delivery.events]
    return max([*instants, *(one.as_of for one in delivery.snapshots)], default=None)
