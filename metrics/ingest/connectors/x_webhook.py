"""X's Account Activity webhook: X calls us, so nothing is run here. What it sends comes through `ingest.webhooks`."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from accounts.models import Platform
from metrics.ingest.connectors import Connector, Shift, SourceError
from metrics.models import Source

KIND = "x_webhook"


class XWebhook(Connector):
    """Likes, replies, Retweets and quotes the moment they happen, where the Account Activity API is to be had."""

    kind: ClassVar[str] = KIND
    label: ClassVar[str] = "X webhook (Account Activity)"
    description: ClassVar[str] = "X calls us the moment somebody likes, replies, Retweets or quotes."
    platforms: ClassVar[frozenset[str]] = frozenset({Platform.X})
    # X asks the address for a proof about every hour, however quiet the account is.
    silent_after_seconds: ClassVar[int | None] = 3 * 3600
    is_run: ClassVar[bool] = False
    connect_url: ClassVar[str | None] = "connect_x"

    async def run(self, shift: Shift) -> datetime | None:
        """Nothing: X calls."""
        return None

    async def test(self, source: Source) -> str:
        """When X was last heard."""
        if source.last_heard_at is None:
            raise SourceError("X has not called yet. Register the address with X; it is checked at once.")
        return f"X called last at {source.last_heard_at:%Y-%m-%d %H:%M:%S} UTC."
