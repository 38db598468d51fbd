"""Batches taken apart: good items packed for their shards, the others with why they are refused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from metrics import stream
from metrics.ingest import labels, receipts, snapshots
from metrics.ingest.labels import Label
from metrics.ingest.rejections import Rejected
from metrics.ingest.sources import Taken
from metrics.ingest.validation import Refusal, pack, refusal_of
from metrics.stream import Cargo


class Part:
    """The events, or snapshots, of one batch that go to one shard."""

    __slots__ = ("first_us", "handles", "last_us", "payload")

    def __init__(self, instant_us: int) -> None:
        self.payload = bytearray()
        self.handles: set[int] = set()
        self.first_us = self.last_us = instant_us

    def add(self, handle_id: int, instant_us: int, packed: bytes) -> None:
        """Append one packed item and its instant (Unix µs)."""
        self.payload += packed
        self.handles.add(handle_id)
        if instant_us < self.first_us:
            self.first_us = instant_us
        elif instant_us > self.last_us:
            self.last_us = instant_us

    def receipt(self, shard: int, entry: str, cargo: Cargo) -> receipts.Part:
        """What a receipt says of it."""
        records = cargo.records(self.payload)
        return receipts.Part(shard, entry, sorted(self.handles), records, self.first_us, self.last_us, cargo)


def sort_events(items: list[Any], handles: Mapping[str, int]) -> tuple[dict[int, Part], list[Rejected]]:
    """Events by shard."""
    parts: dict[int, Part] = {}
    rejected: list[Rejected] = []
    now_us = time.time_ns() // 1000
    for index, item in enumerate(items):
        try:
            handle_id, occurred_us, packed = pack(well_formed(item), handles, now_us)
        except Refusal as refusal:
            rejected.append(Rejected(index, refusal, _as_sent(item)))
            continue
        shard = stream.shard_of(handle_id)
        part = parts.get(shard)
        if part is None:
            part = parts[shard] = Part(occurred_us)
        part.add(handle_id, occurred_us, packed)
    return parts, rejected


def labels_of(items: list[Any], handles: Mapping[str, int]) -> set[Label]:
    """The labels of those snapshots that can be told one."""
    found = set()
    for item in items:
        try:
            found.add(labels.of(well_formed(item), handles))
        except Refusal:
            continue
    return found


def sort_snapshots(
    items: list[Any], sources: Mapping[Label, int], handles: Mapping[str, int]
) -> tuple[dict[int, Part], list[Rejected], dict[int, Taken]]:
    """Snapshots by shard, and what each source (by its key) has brought."""
    parts: dict[int, Part] = {}
    rejected: list[Rejected] = []
    taken: dict[int, Taken] = {}
    now_us = time.time_ns() // 1000
    for index, item in enumerate(items):
        try:
            snapshot = well_formed(item)
            source = labels.source_id(labels.of(snapshot, handles), sources)
            handle_id, packed = snapshots.pack(snapshot, source, handles, now_us)
        except Refusal as refusal:
            rejected.append(Rejected(index, refusal, _as_sent(item)))
            continue
        parts.setdefault(stream.shard_of(handle_id), Part(now_us)).add(handle_id, now_us, packed)
        _tally(taken.setdefault(source, Taken()), snapshot.as_of)
    return parts, rejected, taken


def _tally(taken: Taken, as_of: datetime) -> None:
    taken.snapshots += 1
    taken.newest_at = as_of if taken.newest_at is None else max(taken.newest_at, as_of)


def well_formed(item: Any) -> Any:
    """The decoded item; raises Refusal."""
    if isinstance(item, tuple):
        raise refusal_of(item[1]) from item[1]
    return item


def _as_sent(item: Any) -> Any:
    """The item as plain values; None where a field that nobody asked for cannot be decoded."""
    if not isinstance(item, tuple):
        return msgspec.to_builtins(item)
    try:
        return msgspec.json.decode(item[0])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
