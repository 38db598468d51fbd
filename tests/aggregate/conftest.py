"""Partitions made inside a test's transaction vanish with it, so nothing may remember them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from metrics import stream
from metrics.aggregate import partitions


@pytest.fixture(autouse=True)
def _no_memory_of_partitions() -> Iterator[None]:
    partitions.forget()
    yield
    partitions.forget()


@pytest.fixture(autouse=True)
def _empty_streams() -> Iterator[None]:
    stream.client().flushdb()
    yield
    stream.client().flushdb()
