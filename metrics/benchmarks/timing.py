"""How long a reader takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def p95_ms(read: Callable[[], object], runs: int) -> float:
    """The time under which 95 of 100 readings stay, in ms, after one that does not count."""
    read()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        read()
        times.append(time.perf_counter() - began)
    return round(float(np.percentile(times, 95)) * 1000, 2)
