"""What stream entries carry, as one numpy batch with the time at which each entry arrived."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from metrics import stream

Batch = npt.NDArray[np.void]


def dtype_of(packed: np.dtype[np.void]) -> np.dtype[np.void]:
    """A packed record's fields and `received_at` (Unix µs)."""
    return np.dtype([*packed.descr, ("received_at", "<i8")])


def batch_of(entries: Sequence[stream.Entry], unpack: Callable[[bytes], Batch], dtype: np.dtype[np.void]) -> Batch:
    """All records of the entries in their order; `received_at` is taken from the entry's id."""
    parts = [unpack(entry.payload) for entry in entries]
    batch = np.empty(sum(map(len, parts)), dtype=dtype)
    if not parts:
        return batch
    for name in parts[0].dtype.names or ():
        batch[name] = np.concatenate([part[name] for part in parts])
    batch["received_at"] = np.repeat([entry.arrived_us for entry in entries], [len(part) for part in parts])
    return batch
