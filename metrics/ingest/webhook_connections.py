"""Which source a webhook's address names, with what the door must know of it; believed for a few seconds."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError

from accounts.sealing import BrokenSealError
from metrics.ingest import people, x_account
from metrics.ingest.account_activity import Owner
from metrics.ingest.connectors.x_webhook import KIND
from metrics.models import Source, SourceState

BELIEVED_SECONDS: Final = 5.0
RENEWED_WITHIN_SECONDS: Final = 30.0
"""How much longer an answer is believed while it is being renewed."""
REMEMBERED: Final = 4_096
log = structlog.get_logger(__name__)


class UnknownConnectionError(KeyError):
    """No source has this address."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A source of kind `x_webhook`: whose account it is about, and the secret that its deliveries are signed with."""

    source_id: int
    handle_id: int
    owner: Owner
    consumer_secret: str
    is_paused: bool


@dataclass(slots=True)
class _Known:
    connection: Connection | None
    asked_at: float
    asking: asyncio.Task[None] | None = None


class Connections:
    """The latest answers, refusals included; the oldest make room. One process holds one, in its event loop.

    A busy webhook waits for the database only once: later its answer is renewed while the last one is believed.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def get(self, name: str) -> Connection:
        """The connection of this name. Raises UnknownConnectionError; DatabaseError when nothing is known of it.

        While the database is away, what was known last is believed: deliveries need it for nothing else.
        """
        known = self._known.get(name)
        age = time.monotonic() - known.asked_at if known else math.inf
        if known is None:
            known = self._known[name] = _Known(None, -math.inf)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        if age > BELIEVED_SECONDS:
            is_too_old = age > BELIEVED_SECONDS + RENEWED_WITHIN_SECONDS
            await self._renew(name, known, is_waited_for=is_too_old or known.connection is None)
        if known.connection is None:
            raise UnknownConnectionError(name)
        return known.connection

    async def _renew(self, name: str, known: _Known, is_waited_for: bool) -> None:
        if known.asking is None or known.asking.done():
            known.asking = asyncio.create_task(self._ask(name, known))
        if is_waited_for:
            # Shielded, because others wait for the same answer.
            await asyncio.shield(known.asking)

    async def _ask(self, name: str, known: _Known) -> None:
        try:
            known.connection = await database_sync_to_async(_load)(name)
        except DatabaseError as error:
            if known.connection is None:
                self._known.pop(name, None)
                raise
            log.warning("webhook_connection_not_renewed", error=str(error))
        known.asked_at = time.monotonic()


def _load(name: str) -> Connection | None:
    people.epoch()  # known from here on: events are packed in the event loop, where nobody may ask the database
    try:
        public_id = uuid.UUID(name)
    except ValueError:
        return None
    source = Source.objects.filter(public_id=public_id, kind=KIND).select_related("handle").first()
    if source is None:
        return None
    account = x_account.connection_of(source.handle)
    told = (account.settings if account else {}) | source.settings
    owner = Owner(source.handle.username, str(told.get("user_id", "")))
    return Connection(source.pk, source.handle_id, owner, consumer_secret(source), source.state == SourceState.PAUSED)


def consumer_secret(source: Source) -> str:
    """The source's own, or the installation's; empty where neither is known."""
    try:
        own = source.secrets.get("consumer_secret", "")
    except BrokenSealError:
        own = ""
    return str(own or settings.X_CONSUMER_SECRET)
