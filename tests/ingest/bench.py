"""A shift without a runner: everything a connector does is done at once, in the test's own thread and transaction."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, sync_to_async

from metrics.ingest import intake, sources
from metrics.ingest.connectors import Connector, Shift
from metrics.ingest.intake import Delivery, Receipt
from metrics.models import Source, SourceState

Result = TypeVar("Result")


class Bench(Shift):
    """Takes deliveries through the real intake; `deliveries` and `states` are what the connector brought and said."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.deliveries: list[Delivery] = []
        self.states: list[SourceState] = []
        self.steps: int | None = None
        """After so many signs of life the shift is over; None: never."""

    def run(self, connector: Connector) -> datetime | None:
        """Run the connector as a runner would: with the source as it is stored."""
        self.source = Source.objects.select_related("handle").get(pk=self.source.pk)
        return async_to_sync(connector.run)(self)

    @property
    def is_over(self) -> bool:
        return self.steps is not None and self.steps < 1

    async def do(self, work: Callable[[], Result]) -> Result:
        return await sync_to_async(work)()

    async def take(self, delivery: Delivery, cursor: dict[str, Any] | None = None) -> Receipt:
        self.deliveries.append(delivery)
        receipt = await self.do(lambda: intake.take(self.source, delivery))
        if cursor is not None:
            await self.do(lambda: Source.objects.filter(pk=self.source.pk).update(cursor=cursor))
        return receipt

    async def live(self, lag_ms: int | None = None) -> None:
        self.states.append(SourceState.LIVE)

    async def catching_up(self, reason: str = "") -> None:
        self.states.append(SourceState.CATCHING_UP)

    async def heard(self, lag_ms: int | None = None) -> None:
        if self.steps is not None:
            self.steps -= 1

    async def note(self, text: str, is_trouble: bool = False) -> None:
        await self.do(lambda: sources.note(self.source, text, is_trouble))
