"""The InsightsTrack stream: an open HTTP answer with cumulative summaries of followed handles' Tweets.

`GET /stream/insightstrack/accounts/{team}/publishers/twitter/{label}.json`, served ahead of Django by a small ASGI
application. The shapes and habits are the vendor's (`present/summaries.py`), so that its clients work unmodified.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import msgspec
import structlog
from channels.db import database_sync_to_async
from django.db import Error as DatabaseError
from redis.exceptions import RedisError

from accounts.credentials import bearer, load_credential
from accounts.models import ApiToken
from metrics.ingest.bodies import header
from metrics.present import summaries
from metrics.present.connections import Connection, Send
from metrics.present.exchange import Exchange
from metrics.present.readers import Reader
from metrics.present.rules import ADDRESS

log = structlog.get_logger(__name__)

PATH = re.compile(f"/stream/{ADDRESS}")
PREFIX = "/stream/insightstrack/"
MOST_BACKFILL_MINUTES, MOST_INTERVAL_SECONDS = 5, 60
_RETRY_AFTER = b"2"
_encode = msgspec.json.Encoder().encode


class RefusedError(Exception):
    """The stream is not opened: a status, a word for programs, a sentence for people."""

    def __init__(self, status: HTTPStatus, error: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.error, self.detail = status, error, detail


class StreamDoor:
    """The ASGI application; one lives in each server process."""

    def __init__(self) -> None:
        self._exchange: Exchange | None = None

    @property
    def exchange(self) -> Exchange:
        """The process's streams; made in its event loop on first use."""
        if self._exchange is None:
            self._exchange = Exchange()
        return self._exchange

    def serves(self, path: str) -> bool:
        """Whether this address is the stream's."""
        return path.startswith(PREFIX)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        """Serve one reader until it leaves or is ended."""
        try:
            connection, replay_minutes = await self._admit(scope)
        except RefusedError as refusal:
            await _refuse(refusal, send)
            return
        try:
            await self.exchange.open(connection, replay_minutes)
            await self._serve(connection, receive, send)
        except (DatabaseError, RedisError, OSError) as error:
            log.warning("stream_not_opened", error=str(error).strip())
            await _refuse(_away(), send)
        finally:
            # However it ends: the server may also give the request up while its stream is being opened.
            await self.exchange.close(connection)

    async def _serve(self, connection: Connection, receive: Any, send: Send) -> None:
        log.info("stream_opened", **connection.reader.told)
        leaving = asyncio.create_task(_until_gone(receive, connection))
        try:
            headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            connection.put(summaries.KEEP_ALIVE)
            await connection.run(send)
        except (OSError, TimeoutError) as error:
            log.info("stream_broken", error=str(error))
        finally:
            leaving.cancel()
            log.info("stream_closed", **connection.reader.told, why=connection.ending)

    async def _admit(self, scope: dict[str, Any]) -> tuple[Connection, int]:
        """The new connection and how many minutes to replay; raises RefusedError."""
        match = PATH.fullmatch(scope["path"])
        if match is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "not_found", "There is no such stream.")
        if scope["method"] != "GET":
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "wrong_method", "Use GET.")
        secret = bearer(header(scope, b"authorization"))
        if secret is None:
            detail = "Send the header “Authorization: Bearer <token>”."
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "no_token", detail)
        given = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        replay = _whole(given, "backfillMinutes", MOST_BACKFILL_MINUTES, 0)
        interval = _whole(given, "intervalSeconds", MOST_INTERVAL_SECONDS, 1)
        try:
            token = await database_sync_to_async(_token)(secret, match[1])
            reader = _reader(token, match[2], scope)
            if not await self.exchange.registry.admit(reader):
                detail = "The token has as many open streams as it may; close one, or use another token."
                raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too_many_streams", detail)
        except (DatabaseError, RedisError, OSError) as error:
            log.warning("stream_not_opened", error=str(error).strip())
            raise _away() from error
        return Connection(reader, interval), replay


def _token(secret: str, team: str) -> ApiToken:
    """The live token of the team that the address names; raises RefusedError."""
    credential = load_credential(secret)
    if credential is None:
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "bad_token", "The token is unknown, expired or revoked.")
    if "read" not in credential.scopes:
        raise RefusedError(HTTPStatus.FORBIDDEN, "wrong_scope", "The token lacks the scope “read”.")
    token = ApiToken.objects.select_related("team").filter(pk=credential.token_id, team__slug=team).first()
    if token is None:
        raise RefusedError(HTTPStatus.NOT_FOUND, "not_found", "There is no such stream.")
    return token


def _reader(token: ApiToken, label: str, scope: dict[str, Any]) -> Reader:
    now = datetime.now(UTC)
    address = str((scope.get("client") or ("",))[0] or "")
    return Reader(secrets.token_hex(8), token.pk, token.name, token.team_id, label, address, now, now)


def _whole(given: dict[str, list[str]], name: str, most: int, default: int) -> int:
    """A whole number from 1 to `most`; raises RefusedError."""
    if name not in given:
        return default
    text = given[name][-1]
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= most):
        detail = f"{name}: “{text[:40]}” is not a whole number from 1 to {most}."
        raise RefusedError(HTTPStatus.BAD_REQUEST, "bad_parameter", detail)
    return int(text)


def _away() -> RefusedError:
    detail = "The database or Redis is away; try again in a moment."
    return RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "away", detail)


async def _until_gone(receive: Any, connection: Connection) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    connection.leave()


async def _refuse(refusal: RefusedError, send: Send) -> None:
    body = _encode({"error": refusal.error, "detail": refusal.detail})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="InsightsTrack"'))
    if refusal.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", b"GET"))
    if refusal.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        headers.append((b"retry-after", _RETRY_AFTER))
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
