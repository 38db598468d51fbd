"""Snapshots at the border: cumulative counts of a Tweet as a sender writes them, checked once and packed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec
import numpy as np

from metrics.ingest.validation import Reason, Refusal, handle_of, refuse_time, tweet_id_of
from metrics.vocabulary.engagements import CODE, N_TYPES
from metrics.vocabulary.snapshots import MAX_TOTAL, SNAPSHOT_DTYPE, UNSAID, Part

PARTS: Mapping[bool | None, Part] = {False: Part.ORGANIC, True: Part.PROMOTED, None: Part.BOTH}


class IncomingSnapshot(msgspec.Struct, gc=False):
    """What a source says of a Tweet as of an instant; unknown fields are passed over.

    `counts` maps engagement types to lifetime totals (net of what was taken back); null says nothing. `promoted` is
    false for organic counts, true for promoted ones, null for both together.
    """

    tweet_id: str | int
    as_of: Annotated[datetime, msgspec.Meta(tz=True)]
    counts: dict[str, int | None]
    promoted: bool | None = False
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = "api"
    handle: str | None = None


def pack(snapshot: IncomingSnapshot, source_id: int, handles: Mapping[str, int], now_us: int) -> tuple[int, bytes]:
    """The snapshot's handle id and its packed record; raises Refusal."""
    handle_id = handle_of(snapshot.handle, handles)
    tweet_id = tweet_id_of(snapshot.tweet_id)
    as_of_us = int(snapshot.as_of.timestamp() * 1e6 + 0.5)
    refuse_time("as_of", tweet_id, as_of_us, now_us)
    record = np.zeros(1, dtype=SNAPSHOT_DTYPE)
    record["handle_id"], record["tweet_id"], record["source"] = handle_id, tweet_id, source_id
    record["as_of"], record["part"], record["counts"] = as_of_us, PARTS[snapshot.promoted], _vector(snapshot.counts)
    return handle_id, record.tobytes()


def _vector(counts: Mapping[str, int | None]) -> list[int]:
    vector = [UNSAID] * N_TYPES
    for name, number in counts.items():
        code = CODE.get(name)
        if code is None:
            detail = f"counts: “{name[:40]}” is not one of the 26 engagement types."
            raise Refusal("counts", Reason.UNKNOWN_TYPE, detail)
        if number is not None:
            if not 0 <= number <= MAX_TOTAL:
                detail = f"counts: {name} must be 0 to {MAX_TOTAL:,}."
                raise Refusal("counts", Reason.COUNT_OUT_OF_RANGE, detail)
            vector[code] = number
    if max(vector) == UNSAID:
        raise Refusal("counts", Reason.MISSING, "counts: name at least one engagement type and its number.")
    return vector
