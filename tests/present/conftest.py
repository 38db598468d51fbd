"""What tests of open streams share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from channels.layers import get_channel_layer

from metrics.present import hub
from metrics.present.insightstrack import StreamDoor


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StreamDoor]:
    """A door of this test's event loop, with a hub of its own."""
    own = hub.Hub()
    monkeypatch.setattr(hub, "_hub", own)
    made = StreamDoor()
    yield made
    await made.exchange.aclose()
    await own.aclose()
    await get_channel_layer().flush()
