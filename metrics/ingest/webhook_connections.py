"""Which source a webhook's address names, with what the door must know of it; believed for a few seconds."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError

from accounts.sealing import BrokenSealError
from metrics.ingest import x_account
from metrics.ingest.account_activity import Owner
from metrics.ingest.connectors.x_webhook import KIND
from metrics.models import Source, SourceState

BELIEVED_SECONDS: Final = 5.0
REMEMBERED: Final = 4_096


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


class Connections:
    """The latest answers, refusals included; the oldest make room. One process holds one."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, Connection | None]] = OrderedDict()

    async def get(self, name: str) -> Connection:
        """The connection of this name. Raises UnknownConnectionError; DatabaseError when nothing is known of it.

        While the database is away, what was known last is believed: deliveries need it for nothing else.
        """
        believed_until, connection = self._known.get(name, (0.0, None))
        if time.monotonic() >= believed_until:
            try:
                connection = await database_sync_to_async(_load)(name)
            except DatabaseError:
                if connection is None:
                    raise
            self._remember(name, connection)
        if connection is None:
            raise UnknownConnectionError(name)
        return connection

    def _remember(self, name: str, connection: Connection | None) -> None:
        self._known[name] = time.monotonic() + BELIEVED_SECONDS, connection
        self._known.move_to_end(name)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _load(name: str) -> Connection | None:
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
