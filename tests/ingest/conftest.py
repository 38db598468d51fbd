"""Streams that are empty before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from channels import db

from metrics import stream


@pytest.fixture(autouse=True)
def empty_streams() -> Iterator[None]:
    """Nothing in Redis before and after."""
    stream.client().flushdb()
    yield
    stream.client().flushdb()


@pytest.fixture(autouse=True)
def one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels closes old connections around each query, and would close the test's transaction with them."""
    monkeypatch.setattr(db, "close_old_connections", lambda: None)
