"""An InsightsTrack stream, the vendor's or another InsightsTrack's: summaries over an HTTP answer that stays open.

What the messages mean is in `ingest.summaries`. Counts are cumulative, so a repeat changes nothing, and what was missed
is made good by the Tweet's next summary.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from accounts.models import Platform
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
from metrics.ingest.summaries import Memory, Summary, Told, reports_of, snapshots_of, summary_of, tweet_of
from metrics.ingest.tweets import IncomingTweet
from metrics.models import Source, Tweet

# A stream says something every three seconds.
SILENCE_SECONDS = 30.0
MOST_BACKFILL_MINUTES = 5
LONGEST_LINE = 1_000_000
MOST_WAITING = 20_000  # messages that wait to be stored
MOST_KINDS = 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SAYS_WHY = {
    401: "The server does not accept the token (401).",
    403: "The token may not read this stream (403).",
    404: "There is no stream at this address (404).",
}
_decode = msgspec.json.Decoder().decode


class InsightsTrack(Connector):
    """Reads a stream for one handle."""

    kind = "insightstrack"
    label = "InsightsTrack stream"
    description = "Cumulative summaries of your Tweets, from the vendor's stream or from another InsightsTrack."
    platforms = frozenset({Platform.X.value})
    settings = (
        Setting(
            "url",
            "Address",
            "As your provider shows it: https://…/stream/insightstrack/accounts/ACCOUNT/publishers/twitter/LABEL.json",
        ),
        Setting("token", "Bearer token", "It needs to read the stream, and is kept encrypted.", is_secret=True),
        Setting(
            "tweets",
            "Which Tweets",
            "A summary names no handle: of a stream that follows several, take only what is this handle's.",
            default="own",
            choices=(
                ("own", "Those that are known to be this handle's"),
                ("all", "All: the stream follows no other handle"),
            ),
        ),
    )
    silent_after_seconds = 60

    def __init__(self) -> None:
        self._memories: dict[tuple[int, str, str], Memory] = {}

    def checked(self, source: Source, given: dict[str, str]) -> dict[str, str]:
        kept = super().checked(source, given)
        _address(kept["url"])
        if not kept["token"].isascii() or not kept["token"].isprintable() or " " in kept["token"]:
            raise SettingsError("token", "holds characters that no token has; paste it alone, without “Bearer”")
        if kept["tweets"] not in {"own", "all"}:
            raise SettingsError("tweets", "must be “own” or “all”")
        return kept

    async def run(self, shift: Shift) -> datetime | None:
        source = shift.source
        missed = datetime.now(UTC) - source.last_heard_at if source.last_heard_at else None
        memory = self._memory(source)
        async with _opened(source, {"backfillMinutes": str(_backfill_minutes(missed))}) as response:
            if missed and missed > timedelta(minutes=MOST_BACKFILL_MINUTES):
                text = f"Unheard for {missed.total_seconds() / 60:.0f} minutes, and the stream tells again only five"
                await shift.note(f"{text}: older counts come with each Tweet's next summary.", is_trouble=True)
            await Reading(shift, memory).follow(response)
        return None

    async def test(self, source: Source) -> str:
        async with _opened(source, {}) as response:
            with suppress(httpx.TransportError, TimeoutError):
                async with asyncio.timeout(5.0):
                    await anext(response.aiter_raw(), b"")
            return f"The stream is open.{await _followed(source)}"

    def _memory(self, source: Source) -> Memory:
        key = source.pk, source.handle.username, source.settings["tweets"]
        return self._memories.setdefault(key, Memory(*key[1:]))


def _address(text: str) -> httpx.URL:
    """The stream's address without its query; raises SettingsError."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise SettingsError("url", "is not an address") from error
    if url.scheme != "https" and not (url.scheme == "http" and url.host in LOOPBACK):
        raise SettingsError("url", "must start with https://")
    if not url.host or url.userinfo:
        raise SettingsError("url", "must name a server, and no user or password")
    if not url.path.endswith(".json"):
        raise SettingsError("url", "must end in .json, as the stream's address does")
    return url.copy_with(query=None, fragment=None)


def _backfill_minutes(missed: timedelta | None) -> int:
    """How many minutes to ask for again: one more than it takes, because counting upstream takes time too."""
    if missed is None:
        return MOST_BACKFILL_MINUTES
    return min(MOST_BACKFILL_MINUTES, 2 + int(missed.total_seconds()) // 60)


@asynccontextmanager
async def _opened(source: Source, params: dict[str, str], kind: str = "stream") -> AsyncIterator[httpx.Response]:
    """The answer 200 with its body still to come; raises SourceError, also when it breaks off later."""
    url = _address(source.settings["url"])
    url = url.copy_with(path=url.path.replace("/stream/", f"/{kind}/"))
    headers = {"Authorization": f"Bearer {source.secrets['token']}", "Accept-Encoding": "identity"}
    timeout = httpx.Timeout(10.0, read=SILENCE_SECONDS)
    try:
        async with (
            httpx.AsyncClient(headers=headers, timeout=timeout) as client,
            client.stream("GET", url, params=params) as response,
        ):
            if response.status_code != HTTPStatus.OK:
                raise _refusal(response)
            yield response
    except httpx.ReadTimeout as error:
        raise SourceError(f"Nothing was heard for {SILENCE_SECONDS:.0f} seconds.") from error
    except httpx.ConnectError as error:
        raise SourceError(f"{url.host} cannot be reached: {str(error)[:200]}") from error
    except httpx.RequestError as error:
        raise SourceError(f"The connection to {url.host} broke.") from error


def _refusal(response: httpx.Response) -> SourceError:
    status = response.status_code
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return DisconnectedError(_SAYS_WHY[status])
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        until = _retry_at(response.headers.get("retry-after", ""))
        return LimitedError("The server has as many open streams as it allows us, or was asked too often (429).", until)
    if response.is_redirect:
        return SourceError(f"The stream has moved ({status}); give its new address.")
    return SourceError(_SAYS_WHY.get(status, f"The server answered {status}."))


def _retry_at(text: str) -> datetime:
    """What a Retry-After header asks for, within a quarter of an hour; a minute where there is none."""
    now, wait = datetime.now(UTC), timedelta(seconds=60)
    if text.isascii() and text.isdigit():
        wait = timedelta(seconds=int(text[:6]))
    elif text:
        with suppress(ValueError, TypeError):
            wait = parsedate_to_datetime(text) - now
    return now + min(max(wait, timedelta(seconds=1)), timedelta(minutes=15))


async def _followed(source: Source) -> str:
    """What the stream's rules say, where they can be read: one more sentence for the test."""
    try:
        async with _opened(source, {}, "rules") as response:
            rules = _decode(await response.aread())["rules"]
            names = [str(rule["value"]).lower().removeprefix("from:").removeprefix("@") for rule in rules]
    except (SourceError, msgspec.DecodeError, KeyError, TypeError):
        return ""
    if source.handle.username.lower() not in names:
        raise SourceError(f"The stream is open, but no rule of it follows @{source.handle.username}.")
    return " It follows this handle alone." if len(names) == 1 else f" It follows {len(names)} handles."


class Reading:
    """One open connection: what has come and waits to be stored; of a Tweet only its newest summary waits."""

    def __init__(self, shift: Shift, memory: Memory) -> None:
        self._shift, self._memory = shift, memory
        self._summaries: dict[int, Told] = {}
        self._partial: list[Told] = []
        """Summaries that leave out types which an earlier one that still waits has told."""
        self._peopled: dict[tuple[int, int], Summary] = {}
        """Summaries that say how many people there were, by Tweet and time: they may say nothing else that is new."""
        self._tweets: dict[int, IncomingTweet] = {}
        self._unstored: set[int] = set()
        self._ignored: Counter[str] = Counter()
        self._user_id: str | None = shift.source.cursor.get("user_id")
        self._revoked_at: str | None = None
        self._end_us = 0
        self._has_complained = False
        self._stirred, self._has_room = asyncio.Event(), asyncio.Event()

    async def follow(self, response: httpx.Response) -> None:
        """Store what comes, until the shift is over; raises SourceError when the stream ends."""
        self._has_room.set()
        reading = asyncio.create_task(self._read(response))
        reading.add_done_callback(lambda _: self._stirred.set())
        try:
            await self._store()
            while not (self._shift.is_over or reading.done()):
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await self._stirred.wait()
                await self._store()
            await self._store()
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            self._memory.forget(self._unstored)
        if not reading.cancelled():
            reading.result()

    async def _read(self, response: httpx.Response) -> None:
        rest = b""
        async for piece in response.aiter_bytes():
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise SourceError("The stream sent a line of more than a megabyte.")
            for line in lines:
                if line.strip():
                    self._hear(line)
            self._stirred.set()
            if sum(map(len, (self._summaries, self._partial, self._peopled, self._tweets))) > MOST_WAITING:
                self._has_room.clear()
            await self._has_room.wait()
        # Half a line at the end is told again after the next backfill.
        raise SourceError("The other side ended the stream.")

    # --- what comes ---

    def _hear(self, line: bytes) -> None:
        try:
            message = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            message = "no JSON"
        match message:
            case {"summary_event": event} if (summary := summary_of(event)) is not None:
                self._hear_summary(summary)
            case {"user_event": {"revoke": {"source": {"user_id": user_id}, **revoke}}}:
                self._hear_revoke(str(user_id), str(revoke.get("date_time", "")))
            case {"id_str": str(number), "user": {"screen_name": str(name), **user}} if number.isdecimal():
                self._hear_tweet(message, int(number), name, str(user.get("id_str", "")))
            case dict(fields):
                self._ignore(str(next(iter(fields), "empty")))
            case _:
                self._ignore("no JSON object")

    def _hear_summary(self, summary: Summary) -> None:
        if summary.people:
            self._peopled[summary.tweet_id, summary.end_us] = summary
        told = self._memory.dated(summary)
        if told is None:
            return
        self._unstored.add(summary.tweet_id)
        self._end_us = max(self._end_us, summary.end_us)
        waiting = self._summaries.get(summary.tweet_id)
        if waiting is None or waiting.summary.counts.keys() <= summary.counts.keys():
            self._summaries[summary.tweet_id] = told
        else:
            self._partial.append(told)

    def _hear_tweet(self, message: dict[str, Any], tweet_id: int, username: str, user_id: str) -> None:
        if not self._memory.claim(tweet_id, username):
            self._ignore("tweet of another handle")
            return
        self._user_id = user_id or self._user_id
        # Whoever has only heard of a Tweet tells it without its text.
        if (tweet := tweet_of(message, tweet_id)).text:
            self._tweets[tweet_id] = tweet
        if told := self._memory.unclaimed.pop(tweet_id, None):
            self._summaries.setdefault(tweet_id, told)
            self._peopled.setdefault((tweet_id, told.summary.end_us), told.summary)

    def _hear_revoke(self, user_id: str, at: str) -> None:
        if user_id == self._user_id or (self._user_id is None and self._memory.takes_all):
            self._revoked_at = at
        else:
            self._ignore("revoke of another user")

    def _ignore(self, kind: str) -> None:
        self._ignored[kind[:40] if len(self._ignored) < MOST_KINDS else "others"] += 1

    # --- what is stored ---

    @property
    def _waits(self) -> bool:
        heard = self._summaries or self._partial or self._peopled or self._tweets or self._ignored
        return bool(heard) or self._revoked_at is not None

    async def _store(self) -> None:
        self._stirred.clear()
        lag_ms, revoked_at = None, self._revoked_at
        if self._waits:
            told = [*self._summaries.values(), *self._partial]
            tweets, ignored, peopled = list(self._tweets.values()), self._ignored, self._peopled
            self._summaries, self._partial, self._tweets, self._ignored, self._peopled = {}, [], {}, Counter(), {}
            self._has_room.set()
            ours = await self._of_ours(told, ignored)
            snapshots = [snapshot for each in ours for snapshot in snapshots_of(*each)]
            reports = [report for each in peopled.values() if self._is_ours(each) for report in reports_of(each)]
            await self._take(Delivery(snapshots=snapshots, tweets=tweets, reports=reports, ignored=dict(ignored)))
            self._unstored -= {each.summary.tweet_id for each in told if each.summary.tweet_id not in self._summaries}
            lag_ms = max(0, int(datetime.now(UTC).timestamp() * 1000) - self._end_us // 1000) if ours else None
            self._memory.trim()
        await self._shift.live(lag_ms)
        if revoked_at is not None:
            raise DisconnectedError(f"@{self._memory.username} has revoked access ({revoked_at[:25]}).")

    async def _take(self, delivery: Delivery) -> None:
        receipt = await self._shift.take(delivery, {"user_id": self._user_id} if self._user_id else None)
        if receipt.refused and not self._has_complained:
            self._has_complained = True
            kind, _, refusal = receipt.refused[0]
            await self._shift.note(f"A {kind} was refused: {refusal.detail}", is_trouble=True)

    async def _of_ours(self, told: Iterable[Told], ignored: Counter[str]) -> list[Told]:
        """Those of our handle's Tweets; the others are ignored, and kept until it is told whose they are."""
        is_ours = self._memory.is_ours
        numbers = {each.summary.tweet_id for each in told}
        if unknown := [] if self._memory.takes_all else [number for number in numbers if number not in is_ours]:
            is_ours |= dict.fromkeys(await self._shift.do(_stored(self._shift.source.handle_id, unknown)), True)
        ours = []
        for each in told:
            if self._is_ours(each.summary):
                ours.append(each)
            elif each.summary.tweet_id in is_ours:
                ignored["summary of another handle"] += 1
            else:
                ignored["summary of an unknown Tweet"] += 1
                self._memory.unclaimed[each.summary.tweet_id] = each
        return ours

    def _is_ours(self, summary: Summary) -> bool:
        return self._memory.is_ours.get(summary.tweet_id, self._memory.takes_all)


def _stored(handle_id: int, numbers: list[int]) -> Callable[[], list[int]]:
    """Ask which of these Tweets are known as the handle's."""
    tweets = Tweet.objects.filter(handle_id=handle_id, tweet_id__in=numbers)
    return lambda: list(tweets.values_list("tweet_id", flat=True))
