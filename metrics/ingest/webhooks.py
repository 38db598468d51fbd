"""The door for X's Account Activity webhook: `/webhooks/x/{connection}`, ahead of Django's middleware.

GET answers X's challenge. POST checks the signature over the raw body, reads what it says (`account_activity`), and
answers 200 once Redis holds it durably: the events in the shard's stream, the rest among the `webhook_chores`. Nothing
else happens in the request. What came is summed up and told to the database once a second for each process.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import redis.asyncio
import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from redis.exceptions import RedisError

from metrics import stream
from metrics.ingest import account_activity, bodies, webhook_chores
from metrics.ingest.account_activity import Reading
from metrics.ingest.bodies import Receive, RequestError, Scope, Send
from metrics.ingest.validation import Refusal, pack
from metrics.ingest.webhook_chores import Chore, Gone, Revoked, Written
from metrics.ingest.webhook_connections import Connection, Connections, UnknownConnectionError
from metrics.ingest.webhook_signature import SIGNATURE, is_signed, signature
from metrics.ingest.webhook_tally import Tally

log = structlog.get_logger(__name__)

PREFIX: Final = "/webhooks/x/"
_RETRY_AFTER: Final = 3
_decode = msgspec.json.Decoder(dict[str, Any]).decode
Answer = tuple[HTTPStatus, Any]


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery, ready to be stored."""

    events: list[bytes]
    chores: list[Chore]
    reading: Reading


class WebhookDoor:
    """The ASGI application; one lives in each server process, with caches and sums of the last second."""

    def __init__(self) -> None:
        self._appender = stream.Appender()
        self._redis: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1
        )
        self._connections = Connections()
        self._tally = Tally()

    async def aclose(self) -> None:
        """Tell the database what has not been told yet, and close the connections to Redis."""
        await self._tally.aclose()
        await self._appender.aclose()
        await self._redis.aclose()

    def serves(self, path: str) -> bool:
        """Whether this address is the door's rather than Django's."""
        return path.startswith(PREFIX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: bodies.Headers = []
        try:
            status, content = await self._answer(scope, receive)
        except RequestError as error:
            status, content = error.status, {"error": error.error, "detail": error.detail}
            if error.retry_after is not None:
                headers.append((b"retry-after", b"%d" % error.retry_after))
            if status is HTTPStatus.METHOD_NOT_ALLOWED:
                headers.append((b"allow", b"GET, POST"))
        await bodies.answer(send, status, content, headers)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] not in {"GET", "HEAD", "POST"}:
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "wrong_method", "Use GET or POST.")
        connection = await self._connection(scope["path"].removeprefix(PREFIX).removesuffix("/"))
        if not connection.consumer_secret:
            detail = "No consumer secret is known for this address: set X_CONSUMER_SECRET."
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "no_secret", detail)
        if scope["method"] == "POST":
            return await self._take(connection, scope, receive)
        return self._prove(connection, scope)

    async def _connection(self, name: str) -> Connection:
        try:
            return await self._connections.get(name)
        except UnknownConnectionError as error:
            raise RequestError(HTTPStatus.NOT_FOUND, "no_such_webhook", "No webhook has this address.") from error
        except DatabaseError as error:
            log.warning("database_unavailable", error=str(error))
            raise _away("database_away", "The database is away") from error

    def _prove(self, connection: Connection, scope: Scope) -> Answer:
        """Answer X's challenge: only who knows the consumer secret can."""
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("crc_token", [""])[0]
        if not asked:
            raise RequestError(HTTPStatus.BAD_REQUEST, "no_token", "crc_token: missing.")
        self._tally.of(connection).proofs += 1
        self._tally.tell_soon()
        return HTTPStatus.OK, {"response_token": signature(connection.consumer_secret, asked.encode())}

    async def _take(self, connection: Connection, scope: Scope, receive: Receive) -> Answer:
        body = await bodies.read_raw(scope, receive)
        self._check(connection, bodies.header(scope, SIGNATURE), body)
        now = datetime.now(UTC)
        try:
            reading = account_activity.read(_decode(body), connection.owner, now)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bodies.not_json(error) from error
        if connection.is_paused:
            reading = Reading(ignored={"while paused": 1})
        letter = _letter(connection, reading, now)
        await self._store(connection, letter)
        self._tally.add(connection, letter.reading, len(letter.events))
        return HTTPStatus.OK, {"taken": len(letter.events)}

    def _check(self, connection: Connection, given: bytes, body: bytes) -> None:
        """Raise RequestError unless the body is signed with the consumer secret."""
        if is_signed(connection.consumer_secret, body, given):
            return
        self._tally.of(connection).forged += 1
        self._tally.tell_soon()
        if not given:
            detail = "Send the header x-twitter-webhooks-signature."
            raise RequestError(HTTPStatus.UNAUTHORIZED, "no_signature", detail)
        raise RequestError(HTTPStatus.FORBIDDEN, "bad_signature", "The signature does not fit the body.")

    async def _store(self, connection: Connection, letter: Letter) -> None:
        """Hold the letter durably, events first: if it fails half-way, X sends all again and nothing counts twice."""
        try:
            if letter.events:
                if await self._appender.backlog() > settings.BACKLOG_LIMIT:
                    raise _away("backlog", "Too many events wait to be counted")
                await self._appender.append({stream.shard_of(connection.handle_id): b"".join(letter.events)})
            if letter.chores:
                await self._redis.rpush(webhook_chores.KEY, *webhook_chores.packed(letter.chores))
        except (stream.StreamUnavailableError, RedisError) as error:
            log.warning("stream_unavailable", error=str(error))
            raise _away("stream_away", "Redis is away") from error


def _letter(connection: Connection, reading: Reading, now: datetime) -> Letter:
    """The reading as it is stored; an event that cannot be is refused, and spoils no other."""
    handles = {connection.owner.username.lower(): connection.handle_id}
    now_us = int(now.timestamp() * 1e6)
    events = []
    for event in reading.events:
        try:
            events.append(pack(event, handles, now_us)[2])
        except Refusal as refusal:
            log.warning("webhook_event_refused", source=connection.source_id, reason=refusal.detail)
            reading.refused += 1
    chores: list[Chore] = [Gone(connection.source_id, one.status_id, one.at, now) for one in reading.deleted]
    if reading.tweets:
        chores.append(Written(connection.source_id, reading.tweets))
    if reading.revoked_at:
        chores.append(Revoked(connection.source_id, reading.revoked_at))
    return Letter(events, chores, reading)


def _away(error: str, what: str) -> RequestError:
    detail = f"{what}: nothing was taken. Send it again."
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, error, detail, _RETRY_AFTER)
