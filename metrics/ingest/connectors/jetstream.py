"""Bluesky, by Jetstream: the whole open network's likes, reposts and posts on one websocket, of which we keep ours.

Jetstream serves everybody the same messages and keeps about 36 hours of them. A cursor (its own clock, in Unix µs) says
how far we have come; after any break we ask for a few seconds more than that, and what comes again is recognised.
Events occur when Jetstream had them: the time that a record claims is its author's, and may be anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from accounts.models import Platform
from metrics.ingest import tweets
from metrics.ingest.bluesky import accounts
from metrics.ingest.bluesky.memory import Memory, Settled
from metrics.ingest.bluesky.messages import Message, Sieve, lag
from metrics.ingest.connectors import (
    Connector,
    DisconnectedError,
    LimitedError,
    Setting,
    SettingsError,
    Shift,
    SourceError,
)
from metrics.ingest.intake import Delivery
from metrics.models import Source
from metrics.vocabulary import atproto

PUBLIC_URL = "wss://jetstream2.us-west.bsky.network/subscribe"
WANTED = (atproto.LIKE, atproto.REPOST, atproto.POST)
REWIND = timedelta(seconds=5)
WINDOW_SECONDS = 0.25  # a delivery holds what has come in this time,
FULL = 2_000  # or so much
SAVE_SECONDS = 5.0  # between two saves of the cursor while nothing concerns us
SILENCE_SECONDS = 30.0  # the network never rests: a connection so quiet is dead
NEAR, FAR = timedelta(seconds=5), timedelta(seconds=60)  # live from here on, and no longer beyond
MISSING = timedelta(minutes=5)  # more between cursor and first message was no pause of the network's
MESSAGE_BYTES = 8_000_000
QUEUE = 1_024


class Position(msgspec.Struct):
    """The source's cursor: whom `account` turned out to be, Jetstream's time, and how many deliveries were taken.

    `called` is the handle that the account has taken since, as far as Jetstream said.
    """

    account: str = ""
    did: str = ""
    time_us: int = 0
    delivery: int = 0
    called: str = ""


class Jetstream(Connector):
    """Likes, reposts, replies and quotes of a Bluesky account's posts, and the account's new posts."""

    kind = "jetstream"
    label = "Bluesky"
    description = "Likes, reposts, replies and quotes of the account's posts, the moment they happen. Free and open."
    platforms = frozenset({Platform.BLUESKY.value})
    settings = (
        Setting(
            "account",
            "Account",
            "Its handle, such as name.bsky.social, or its DID. Leave it empty for the handle's own name.",
            is_required=False,
        ),
        Setting("url", "Jetstream server", "The public one will do; you may run your own.", default=PUBLIC_URL),
    )
    silent_after_seconds = 60

    def __init__(self) -> None:
        self._memories: dict[int, Memory] = {}

    def checked(self, source: Source, given: dict[str, str]) -> dict[str, str]:
        """The account without its @, and a websocket's address."""
        kept = super().checked(source, given)
        account = kept["account"].removeprefix("@") or source.handle.username
        if not (atproto.is_did(account) or atproto.is_handle(account)):
            detail = f"“{account[:64]}” is no Bluesky account; write it like name.bsky.social, or give its DID."
            raise SettingsError("account", detail)
        parts = urlsplit(kept["url"])
        if parts.scheme not in {"ws", "wss"} or not parts.hostname:
            raise SettingsError("url", f"must be a websocket's address, such as {PUBLIC_URL}.")
        return {**kept, "account": account}

    async def run(self, shift: Shift) -> datetime | None:
        """Listen until the shift is over; raises SourceError when the connection ends."""
        source = shift.source
        memory = self._memories.setdefault(source.pk, Memory(source.pk))
        position = await _position(source)
        await shift.do(lambda: memory.resume(position.delivery))
        listener = Listener(shift, position, memory)
        async with _connected(_address(source, listener.position.time_us)) as socket:
            await listener.listen(socket)
        return None

    async def test(self, source: Source) -> str:
        """Look the account up, and listen for a moment."""
        account = _account(source)
        did = await accounts.resolve(account)
        sieve = Sieve(did, set())
        async with _connected(_address(source, 0)) as socket:
            await _gather(socket, sieve, 3.0, lambda: sieve.seen >= 100)
        newest_us = sieve.newest_us()
        if newest_us is None:
            raise SourceError(f"{_host(source)} lets us in, but sent nothing in 3 seconds.")
        seconds = lag(newest_us, datetime.now(UTC)).total_seconds()
        return f"@{account} is {did}; {_host(source)} sends, {seconds:.1f} s behind the network."

    def forget(self, source: Source) -> None:
        """Nothing was granted; what we remember goes with the source."""
        self._memories.pop(source.pk, None)


class Listener:
    """One connection's messages on their way into deliveries."""

    def __init__(self, shift: Shift, position: Position, memory: Memory) -> None:
        self.position = position
        self._shift, self._memory = shift, memory
        self._sieve = Sieve(position.did, memory.keys)
        self._introduced: set[int] = set()
        self._resumed_us, self._is_first = position.time_us, True
        self._is_live: bool | None = None
        self._heard_at = time.monotonic()
        self._saved_at = 0.0

    async def listen(self, socket: ClientConnection) -> None:
        """Gather and deliver until the shift is over; raises SourceError when the other side is gone or silent."""
        while not self._shift.is_over:
            seen = self._sieve.seen
            error = await _gather(socket, self._sieve, WINDOW_SECONDS, self._is_full)
            await self._tell(self._sieve.seen > seen)
            await self._deliver()
            if error is not None:
                raise SourceError(f"{_host(self._shift.source)} ended the connection.") from error
        self._saved_at = 0.0
        await self._deliver()

    def _is_full(self) -> bool:
        return self._sieve.held >= FULL

    async def _tell(self, has_come: bool) -> None:
        """Say how the source is: live, or behind; raises SourceError when nothing comes any more."""
        now = time.monotonic()
        if not has_come:
            if now - self._heard_at > SILENCE_SECONDS:
                host = _host(self._shift.source)
                raise SourceError(f"{host} has sent nothing for {SILENCE_SECONDS:.0f} seconds; it never rests so long.")
            if self._is_live is None and now - self._heard_at > 1:
                self._is_live = True  # connected, and nothing to catch up with
                await self._shift.live()
            return
        self._heard_at = now
        newest_us = self._sieve.newest_us()
        if newest_us is None:
            raise SourceError(f"{_host(self._shift.source)} sends something else than Jetstream's messages.")
        await self._tell_missing(newest_us)
        await self._tell_lag(lag(newest_us, datetime.now(UTC)))

    async def _tell_missing(self, newest_us: int) -> None:
        """At the first message: Jetstream may not reach back as far as we asked."""
        is_gone = self._resumed_us and newest_us - self._resumed_us > MISSING / timedelta(microseconds=1)
        if self._is_first and is_gone:
            since, until = (datetime.fromtimestamp(us / 1e6, UTC) for us in (self._resumed_us, newest_us))
            text = (
                f"Jetstream has nothing from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC: it keeps 36 hours."
            )
            await self._shift.note(text, is_trouble=True)
        self._is_first = False

    async def _tell_lag(self, behind: timedelta) -> None:
        milliseconds = behind // timedelta(milliseconds=1)
        if behind <= (FAR if self._is_live else NEAR):
            self._is_live = True
            await self._shift.live(milliseconds)
        elif self._is_live is not False:
            self._is_live = False
            await self._shift.catching_up()
        else:
            await self._shift.heard(milliseconds)

    async def _deliver(self) -> None:
        """Hand over what was gathered, with the cursor; from time to time the cursor alone."""
        sieve = self._sieve
        newest_us = sieve.newest_us()
        if newest_us is None or not (sieve.held or time.monotonic() - self._saved_at >= SAVE_SECONDS):
            return
        settled = await self._shift.do(self._settle) if sieve.deeds else Settled()
        before_us, self.position.time_us = self.position.time_us, max(self.position.time_us, newest_us)
        self.position.delivery += 1
        news = [message for message in sieve.news if message.time_us > before_us]
        end = await self._hear(news)
        delivery = Delivery(settled.events, tweets=sieve.posts, ignored=dict(sieve.ignored + settled.ignored))
        await self._shift.take(delivery, msgspec.to_builtins(self.position))
        self._saved_at = time.monotonic()
        sieve.empty()
        if end:
            raise DisconnectedError(end)
        if self._memory.is_overfull:
            await self._shift.do(self._memory.refresh)

    def _settle(self) -> Settled:
        """Turn deeds into events, and tell the pages where the posts that they are about can be seen."""
        settled = self._memory.settle(self._sieve.deeds, self.position.delivery + 1)
        new = {number: link for number, link in settled.posts.items() if number not in self._introduced}
        tweets.introduce(self._shift.source.handle_id, new)
        self._introduced.update(new)
        return settled

    async def _hear(self, news: list[Message]) -> str:
        """What became of the account itself; the reason to go no further, if it is gone."""
        for message in news:
            if called := (message.identity or {}).get("handle"):
                if called not in {self.position.called, self.position.account}:
                    await self._shift.note(f"The account is called @{called} now; it is the same one.")
                self.position.called = str(called)
            if message.account is None or message.account.get("active") is not False:
                continue
            status = str(message.account.get("status") or "inactive")
            if status == "deleted":
                return "The Bluesky account has been deleted."
            await self._shift.note(f"Bluesky says that the account is {status[:40]}.", is_trouble=True)
        return ""


async def _gather(
    socket: ClientConnection, sieve: Sieve, seconds: float, is_enough: Callable[[], bool]
) -> ConnectionClosed | None:
    """Take messages for so long or until there are enough; the end of the connection, when it came."""
    try:
        async with asyncio.timeout(seconds):
            while not is_enough():
                sieve.add(await socket.recv(decode=False))
    except TimeoutError:
        return None
    except ConnectionClosed as error:
        return error
    return None


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[ClientConnection]:
    """A connection to Jetstream; raises SourceError when there is none to be had."""
    host = urlsplit(address).netloc
    try:
        # Not compressed: that would cost more than the filtering itself.
        opening = connect(address, compression=None, max_size=MESSAGE_BYTES, max_queue=QUEUE, close_timeout=1)
        socket = await opening
    except InvalidStatus as error:
        raise _refused(host, error) from error
    except (OSError, TimeoutError, WebSocketException) as error:
        raise SourceError(f"{host} does not answer as a Jetstream server.") from error
    try:
        yield socket
    finally:
        try:
            await socket.close()
        finally:
            socket.transport.abort()  # whoever cannot wait for the other side's goodbye leaves nothing open


def _refused(host: str, error: InvalidStatus) -> SourceError:
    status = error.response.status_code
    asked = error.response.headers.get("Retry-After", "")
    reason = f"{host} answered {status} instead of opening a stream."
    if status in {429, 503} and asked.isdigit():
        return LimitedError(reason, datetime.now(UTC) + timedelta(seconds=min(int(asked), 3_600)))
    return SourceError(reason)


async def _position(source: Source) -> Position:
    """Where to go on; whom the account is, is asked once."""
    position = _known(source.cursor)
    account = _account(source)
    if position.account != account or not position.did:
        position.did, position.account, position.called = await accounts.resolve(account), account, ""
    return position


def _known(cursor: dict[str, Any]) -> Position:
    try:
        return msgspec.convert(cursor, Position)
    except msgspec.ValidationError:
        return Position()


def _account(source: Source) -> str:
    return source.settings.get("account") or source.handle.username


def _address(source: Source, time_us: int) -> str:
    """Where to listen, from a moment before the cursor, or without one from now on."""
    parts = urlsplit(source.settings.get("url") or PUBLIC_URL)
    query = [*parse_qsl(parts.query), *(("wantedCollections", name) for name in WANTED)]
    if time_us:
        query.append(("cursor", str(max(1, time_us - REWIND // timedelta(microseconds=1)))))
    return urlunsplit(parts._replace(query=urlencode(query)))


def _host(source: Source) -> str:
    return urlsplit(source.settings.get("url") or PUBLIC_URL).netloc
