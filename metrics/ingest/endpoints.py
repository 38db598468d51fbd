"""The ingest door: a small ASGI application ahead of Django's middleware.

`POST /api/v1/events`, `POST /api/v1/snapshots`, `GET /api/v1/receipts/{receipt}`, `PUT /api/v1/tweets`. The first is
the hot path: one pass over the body, one append, an answer. It is documented in the same OpenAPI schema as the rest
(`present/api.py`).
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any

import structlog
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import Error as DatabaseError

from accounts.credentials import MISSING, Credential, CredentialCache, bearer, load_credential
from metrics import stream
from metrics.ingest import batches, bodies, labels, people, receipts, rejections, snapshots, tweets
from metrics.ingest.bodies import Receive, RequestError, Scope, Send
from metrics.ingest.rejections import Rejected
from metrics.ingest.validation import IncomingEvent, Refusal
from metrics.stream import Cargo

log = structlog.get_logger(__name__)

Answer = tuple[HTTPStatus, Any]
_RECEIPTS = "/api/v1/receipts/"
_EVENTS = bodies.Items(IncomingEvent, "events")
_SNAPSHOTS = bodies.Items(snapshots.IncomingSnapshot, "snapshots")
_TWEETS = bodies.Items(tweets.IncomingTweet, "tweets")
_RETRY_AFTER = 2


class Door:
    """The ASGI application; one lives in each server process, and keeps only caches."""

    def __init__(self) -> None:
        self._appender = stream.Appender()
        self._credentials = CredentialCache()
        self._labels = labels.Labels()
        self._rates: dict[int, tuple[int, int]] = {}
        self._routes = {
            "/api/v1/events": ("POST", "ingest", self._take_events),
            "/api/v1/snapshots": ("POST", "ingest", self._take_snapshots),
            "/api/v1/tweets": ("PUT", "ingest", self._take_tweets),
            _RECEIPTS: ("GET", "ingest", self._tell_receipt),
        }

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        await self._appender.aclose()

    def serves(self, path: str) -> bool:
        """Whether this address is the door's rather than Django's."""
        return path in self._routes or path.startswith(_RECEIPTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: bodies.Headers = []
        try:
            status, body = await self._answer(scope, receive)
        except RequestError as error:
            status, body = error.status, {"error": error.error, "detail": error.detail}
            headers = _headers_of(error, self._routes.get(scope["path"]))
        await bodies.answer(send, status, body, headers)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path = _RECEIPTS if scope["path"].startswith(_RECEIPTS) else scope["path"]
        method, needed, handler = self._routes[path]
        if scope["method"] != method:
            raise RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "wrong_method", f"Use {method}.")
        credential = await self._credential(scope, needed)
        self._limit(credential)
        try:
            return await handler(scope, receive, credential)
        except stream.StreamUnavailableError as error:
            log.warning("stream_unavailable", error=str(error))
            detail = "Redis is away: nothing was taken. Send the batch again."
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "stream_away", detail, _RETRY_AFTER) from error
        except DatabaseError as error:
            raise _database_away(error) from error

    async def _credential(self, scope: Scope, needed: str) -> Credential:
        secret = bearer(bodies.header(scope, b"authorization"))
        if secret is None:
            detail = "Send the header “Authorization: Bearer <token>”."
            raise RequestError(HTTPStatus.UNAUTHORIZED, "no_token", detail)
        credential = self._credentials.get(secret)
        if credential is MISSING:
            try:
                credential = await database_sync_to_async(_load)(secret)
            except DatabaseError as error:
                raise _database_away(error) from error
            self._credentials.put(secret, credential)
        if credential is None:
            raise RequestError(HTTPStatus.UNAUTHORIZED, "bad_token", "The token is unknown, expired or revoked.")
        if needed not in credential.scopes:
            raise RequestError(HTTPStatus.FORBIDDEN, "wrong_scope", f"The token lacks the scope “{needed}”.")
        return credential

    def _limit(self, credential: Credential) -> None:
        """Count the token's requests of this second in this process."""
        second = int(time.monotonic())
        since, used = self._rates.get(credential.token_id, (second, 0))
        used = used + 1 if since == second else 1
        self._rates[credential.token_id] = (second, used)
        if used > settings.TOKEN_REQUESTS_PER_SECOND:
            limit = settings.TOKEN_REQUESTS_PER_SECOND
            detail = f"At most {limit:,} requests a second for each token; send more events in each."
            raise RequestError(HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", detail, 1)

    async def _take_events(self, scope: Scope, receive: Receive, credential: Credential) -> Answer:
        declared = bodies.media_type(scope)
        body = await bodies.read_body(scope, receive)
        items = _EVENTS.decode(body, declared)
        await self._refuse_past_backlog()
        parts, rejected = batches.sort_events(items, credential.handles)
        receipt = await self._append(parts) if parts else None
        accepted = len(items) - len(rejected)
        return await _answer_of(accepted, rejected, credential, receipt)

    async def _take_snapshots(self, scope: Scope, receive: Receive, credential: Credential) -> Answer:
        declared = bodies.media_type(scope)
        items = _SNAPSHOTS.decode(await bodies.read_body(scope, receive), declared)
        await self._refuse_past_backlog()
        sources = await self._labels.sources(batches.labels_of(items, credential.handles))
        parts, rejected, taken = batches.sort_snapshots(items, sources, credential.handles)
        receipt = await self._append(parts, Cargo.SNAPSHOTS) if parts else None
        try:
            await database_sync_to_async(labels.heard)(taken)
        except DatabaseError as error:
            # What was taken is safe; only the source's page does not know of it.
            log.error("sources_not_noted", sources=len(taken), error=str(error))
        return await _answer_of(len(items) - len(rejected), rejected, credential, receipt, Cargo.SNAPSHOTS)

    async def _refuse_past_backlog(self) -> None:
        if await self._appender.backlog() > settings.BACKLOG_LIMIT:
            detail = "Too many events wait to be counted: nothing was taken. Send the batch again."
            raise RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "backlog", detail, _RETRY_AFTER)

    async def _append(self, parts: dict[int, batches.Part], cargo: Cargo = Cargo.EVENTS) -> str:
        entries = await self._appender.append({shard: bytes(part.payload) for shard, part in parts.items()}, cargo)
        return receipts.write([part.receipt(shard, entries[shard], cargo) for shard, part in parts.items()])

    async def _take_tweets(self, scope: Scope, receive: Receive, credential: Credential) -> Answer:
        declared = bodies.media_type(scope)
        items = _TWEETS.decode(await bodies.read_body(scope, receive), declared)
        good, rejected = [], []
        for index, item in enumerate(items):
            try:
                good.append(tweets.checked(batches.well_formed(item), credential.handles))
            except Refusal as refusal:
                rejected.append(Rejected(index, refusal, None))
        if good:
            await database_sync_to_async(tweets.upsert)(good)
        answer = {"accepted": len(good), "rejected": [item.answer() for item in rejected]}
        return (HTTPStatus.OK if good or not items else HTTPStatus.UNPROCESSABLE_ENTITY), answer

    async def _tell_receipt(self, scope: Scope, _receive: Receive, credential: Credential) -> Answer:
        receipt = scope["path"].removeprefix(_RECEIPTS)
        covered = frozenset(credential.handles.values())
        outcome = await database_sync_to_async(receipts.outcome)(receipt, covered)
        if outcome is None:
            raise RequestError(
                HTTPStatus.NOT_FOUND, "no_such_receipt", "No receipt of this token's handles is so named."
            )
        return HTTPStatus.OK, outcome


def _load(secret: str) -> Credential | None:
    people.epoch()  # known from here on: events are packed in the event loop, where nobody may ask the database
    return load_credential(secret)


async def _answer_of(
    accepted: int,
    rejected: list[Rejected],
    credential: Credential,
    receipt: str | None,
    cargo: Cargo = Cargo.EVENTS,
) -> Answer:
    answer: dict[str, Any] = {"accepted": accepted, "rejected": [item.answer() for item in rejected]}
    if rejected:
        try:
            await database_sync_to_async(rejections.store)(rejected, credential, cargo)
        except DatabaseError as error:
            # The sender has the reasons in the answer; only the admin's copy is lost, and the log says so.
            log.error("rejections_not_stored", rejected=len(rejected), error=str(error))
    if receipt is None:
        return HTTPStatus.UNPROCESSABLE_ENTITY, answer
    return HTTPStatus.ACCEPTED, answer | {"receipt": receipt}


def _database_away(error: Exception) -> RequestError:
    log.warning("database_unavailable", error=str(error))
    detail = "The database is away: nothing was taken. Send it again."
    return RequestError(HTTPStatus.SERVICE_UNAVAILABLE, "database_away", detail, _RETRY_AFTER)


def _headers_of(error: RequestError, route: tuple[str, str, Any] | None) -> list[tuple[bytes, bytes]]:
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if error.status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'Bearer realm="InsightsTrack"'))
    if error.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", (route[0] if route else "GET").encode()))
    return headers
