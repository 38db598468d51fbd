"""Streams that are empty before each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from channels import db

from accounts.models import Handle, Platform
from metrics import stream
from metrics.ingest import sources
from metrics.ingest.connectors import jetstream
from metrics.ingest.connectors.x_webhook import KIND
from metrics.models import Source
from tests.ingest.activity import SECRET
from tests.ingest.connectors.jetstream import OURS

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


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


@pytest.fixture
def bluesky_source(northwind: Handle, monkeypatch: pytest.MonkeyPatch) -> Source:
    """@northwind's Bluesky account, known by its DID; deliveries are short."""
    monkeypatch.setattr(jetstream, "WINDOW_SECONDS", 0.02)
    northwind.platform = Platform.BLUESKY
    northwind.save()
    source = sources.known(northwind, "jetstream", "bluesky")
    source.settings = {"account": OURS, "url": ""}
    source.save()
    return source


@pytest.fixture
def webhook(northwind: Handle, settings: SettingsWrapper) -> Source:
    """@northwind's webhook, new."""
    settings.X_CONSUMER_SECRET = SECRET
    return Source.objects.create(handle=northwind, kind=KIND, name="northwind")
