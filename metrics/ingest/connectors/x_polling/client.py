"""One question to X's API and its answer: limits, problems, renewed tokens, and as of when the answer counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Protocol

import httpx
import msgspec
import structlog
from django.conf import settings

from metrics.ingest.connectors import DisconnectedError, LimitedError, SourceError
from metrics.ingest.connectors.x_polling import limits
from metrics.ingest.connectors.x_polling.ledger import Endpoint

log = structlog.get_logger(__name__)

TIMEOUT = httpx.Timeout(15.0, connect=5.0)
# A quick second try, so that one dropped connection is no outage; what fails twice is the runner's to wait for.
SECOND_TRY_SECONDS = 0.5
# A plan's used-up month has no reset that X tells.
CAP_WAIT = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Answer:
    """What X answered, and the latest instant that was surely counted in it, by X's clock."""

    body: Mapping[str, Any]
    as_of: datetime


class Refused(SourceError):  # noqa: N818  # like Refusal: an answer
    """X refuses the question itself (400, 403, 404); `kind` is the last part of the problem's type."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.kind = status, kind_of(problem)
        told = str(problem.get("detail") or problem.get("title") or "no reason given")
        super().__init__(f"X refuses the request ({status}): {told[:300]}")


Token = Callable[[str], Awaitable[str]]
"""Gives the access token, or a new one in place of the one that X has refused; raises DisconnectedError."""


class Books(Protocol):
    """Where calls are written down before they are made, and limits as they are told."""

    async def spend(self, endpoint: Endpoint) -> None:
        """One call; raises LimitedError."""

    async def learn(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        """What the headers of an answer tell."""

    async def close_until(self, endpoint: Endpoint, until: datetime) -> None:
        """Nothing more is to be asked until then."""


class Client:
    """Asks X in the name of one connection."""

    def __init__(self, http: httpx.AsyncClient, token: Token, books: Books | None = None) -> None:
        self._http, self._token, self._books = http, token, books
        self.skew = timedelta()
        """By how much our clock was ahead of X's at the last answer."""

    async def ask(self, path: str, params: Mapping[str, str], endpoint: Endpoint | None = None) -> Answer:
        """The answer to a GET; raises Refused, LimitedError, DisconnectedError, or SourceError for what passes."""
        token = await self._token("")
        try:
            return await self._asked(path, params, token, endpoint)
        except _ExpiredError:
            token = await self._token(token)
        try:
            return await self._asked(path, params, token, endpoint)
        except _ExpiredError:
            raise DisconnectedError("X does not accept this connection's access any more. Connect it again.") from None

    async def _asked(self, path: str, params: Mapping[str, str], token: str, endpoint: Endpoint | None) -> Answer:
        began_at, began = datetime.now(UTC), asyncio.get_running_loop().time()
        try:
            response = await self._sent(path, params, token, endpoint)
        except _PassingError:
            await asyncio.sleep(SECOND_TRY_SECONDS)
            began_at, began = datetime.now(UTC), asyncio.get_running_loop().time()
            response = await self._sent(path, params, token, endpoint)
        took = timedelta(seconds=asyncio.get_running_loop().time() - began)
        await self._check(response, endpoint)
        date = limits.date_of(response.headers, began_at)
        self.skew = began_at + took - date if date else timedelta()
        return Answer(_object(response), as_of(began_at, took, date))

    async def _sent(
        self, path: str, params: Mapping[str, str], token: str, endpoint: Endpoint | None
    ) -> httpx.Response:
        if endpoint and self._books:
            await self._books.spend(endpoint)
        try:
            response = await self._http.get(path, params=params, headers={"Authorization": f"Bearer {token}"})
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _PassingError(f"X cannot be reached: {_described(error)}.") from error
        if endpoint and self._books:
            await self._books.learn(endpoint, response.headers)
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _PassingError(f"X answers with the error {response.status_code}.")
        return response

    async def _check(self, response: httpx.Response, endpoint: Endpoint | None) -> None:
        status = response.status_code
        if status == HTTPStatus.OK:
            return
        if status == HTTPStatus.UNAUTHORIZED:
            raise _ExpiredError("X does not accept the token.")
        if response.is_redirect:
            where = response.headers.get("location", "")[:200]
            raise SourceError(f"X_API_URL answers with a redirect to “{where}”; set it to the API's own address.")
        problem = _problem(response)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise await self._limited(response, problem, endpoint)
        if status == HTTPStatus.PAYMENT_REQUIRED:
            raise SourceError("X wants to be paid first: the plan of the X app has no credits left.")
        raise Refused(status, problem)

    async def _limited(
        self, response: httpx.Response, problem: Mapping[str, Any], endpoint: Endpoint | None
    ) -> LimitedError:
        now = datetime.now(UTC)
        if kind_of(problem) == "usage-capped":
            until, reason = now + CAP_WAIT, "The plan of the X app allows no more reads in this period."
        else:
            until, reason = limits.over_at(response.headers, now), "X allows no more calls for now."
        if endpoint and self._books:
            await self._books.close_until(endpoint, until)
        return LimitedError(reason, until)


class _ExpiredError(Exception):
    """The access token is not accepted."""


class _PassingError(SourceError):
    """What a second try may get past."""


def connect() -> httpx.AsyncClient:
    """A connection to the API that X_API_URL names; redirects are not followed, for they would carry the token away."""
    return httpx.AsyncClient(base_url=settings.X_API_URL, timeout=TIMEOUT, follow_redirects=False)


def as_of(began_at: datetime, took: timedelta, date: datetime | None) -> datetime:
    """As of when an answer counts at the latest that is certain: never after what was counted.

    X counts between the request's arrival and the answer's `Date`, which is cut to the second. So `Date` less the
    whole time that the answer took lies before the counting, by X's own clock: the clock of its webhook's events, too.
    A clock of ours that runs behind would be refused as from the future, so our own time before the request caps it.
    Too early costs nothing that lasts: an event between the two instants is corrected by the next answer.
    """
    return min(began_at, date - took) if date else began_at


def kind_of(problem: Mapping[str, Any]) -> str:
    """The last part of a problem's type: X writes it with the one or the other of its host names."""
    return str(problem.get("type") or "").rsplit("/", 1)[-1]


def _object(response: httpx.Response) -> Mapping[str, Any]:
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict):
        log.warning("x_answer_not_json", start=response.text[:200])
        raise SourceError("X answers with something that is not JSON.")
    return body


def _problem(response: httpx.Response) -> Mapping[str, Any]:
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    if not isinstance(body, dict):
        return {}
    errors = body.get("errors")
    inner = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return {"detail": inner.get("message") or inner.get("detail"), **body}


def _described(error: Exception) -> str:
    return str(error) or ("it takes too long to answer" if isinstance(error, httpx.TimeoutException) else "no answer")
