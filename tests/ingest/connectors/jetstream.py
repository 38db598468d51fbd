"""A Jetstream server on this machine, after the documented contract, a small network to tell of, and who listens to it.

The server plays back from a cursor, goes on live, and can do what goes wrong: cut, say nonsense, refuse, know
nothing of the past. The network keeps its own account of what became of our posts.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from asgiref.sync import async_to_sync
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed

from metrics import stream
from metrics.ingest import intake
from metrics.ingest.connectors import DisconnectedError, LimitedError, SourceError
from metrics.ingest.connectors.jetstream import Jetstream
from metrics.ingest.intake import Delivery, Receipt
from metrics.models import Source, SourceState
from metrics.vocabulary import atproto, events
from metrics.vocabulary.engagements import NAMES, UNDO_OF
from tests.ingest.bench import Bench

OURS = "did:plc:northwind7777777777777777"
THEIRS = "did:plc:acme44444444444444444444"
TYPES = {"favorites": atproto.LIKE, "retweets": atproto.REPOST, "replies": atproto.POST, "quote_tweets": atproto.POST}


class Server:
    """Serves `messages`, each (Unix µs, bytes), to whoever subscribes; `say` adds one."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.cuts: deque[int] = deque()
        """After how many messages the next connections end."""
        self.asked: list[dict[str, list[str]]] = []
        """The query of each connection."""
        self.reaches_back_to = 0
        self.refuses: tuple[HTTPStatus, dict[str, str]] | None = None
        self.url = ""
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[Server]:
        async with serve(self._serve, "127.0.0.1", port, process_request=self._greet, compression=None) as server:
            bound = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{bound}/subscribe"
            yield self

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    async def say(self, *messages: tuple[int, bytes]) -> None:
        """Tell everybody who listens."""
        async with self._changed:
            self.messages.extend(messages)
            self._changed.notify_all()

    async def _greet(self, _connection: ServerConnection, _request: Request) -> Response | None:
        if self.refuses is None:
            return None
        status, headers = self.refuses
        return Response(status.value, status.phrase, Headers({**headers, "Content-Length": "0"}), b"")

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        query = parse_qs(urlsplit(socket.request.path).query)
        self.asked.append(query)
        cursor = int(query.get("cursor", ["0"])[0])
        place = len(self.messages)
        if cursor and cursor <= time.time_ns() // 1000:
            cursor = max(cursor, self.reaches_back_to)
            place = next((at for at, (us, _) in enumerate(self.messages) if us >= cursor), place)
        allowed = self.cuts.popleft() if self.cuts else None
        sending = asyncio.create_task(self._send(socket, place, allowed))
        await socket.wait_closed()
        sending.cancel()
        with suppress(asyncio.CancelledError, ConnectionClosed):
            await sending

    async def _send(self, socket: ServerConnection, place: int, allowed: int | None) -> None:
        first = place
        while True:
            async with self._changed:
                while place >= len(self.messages):
                    await self._changed.wait()
            if allowed is not None and place - first >= allowed:
                socket.transport.abort()
                return
            await socket.send(self.messages[place][1], text=True)
            place += 1


SECOND_US = 1_000_000


def message(did: str, time_us: int, operation: str, collection: str, rkey: str, record: Any = None) -> bytes:
    """One commit as Jetstream writes it."""
    commit = {"rev": atproto.tid(time_us, 7), "operation": operation, "collection": collection, "rkey": rkey}
    if record is not None:
        commit |= {"record": {"$type": collection, "createdAt": "2026-05-25T14:23:28.778Z", **record}, "cid": "bafy"}
    return encoded({"did": did, "time_us": time_us, "kind": "commit", "commit": commit})


def encoded(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def engaging(kind: str, post: str, with_media: bool = False) -> dict[str, Any]:
    """The record that engages a post in this way."""
    ref = {"cid": "bafy", "uri": post}
    if kind in {"favorites", "retweets"}:
        return {"subject": ref}
    if kind == "replies":
        return {"text": "Lovely.", "reply": {"parent": ref, "root": ref}}
    if with_media:
        embed = {"$type": "app.bsky.embed.recordWithMedia", "record": {"record": ref}, "media": {"images": []}}
    else:
        embed = {"$type": "app.bsky.embed.record", "record": ref}
    return {"text": "See this.", "embed": embed}


@dataclass
class Network:
    """People who engage our posts and other people's, and change their minds; `truth` is what became of ours."""

    seed: int
    now_us: int = field(default_factory=lambda: time.time_ns() // 1000 - 120_000_000)
    truth: Counter[tuple[int, str]] = field(default_factory=Counter)
    """(our id of the post, engagement type) → how often."""
    messages: list[tuple[int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._records: list[tuple[str, str, str, str, str]] = []
        born_us = self.now_us - 3_600_000_000
        self.posts = [atproto.uri(OURS, atproto.POST, atproto.tid(born_us + n * 1_000_000)) for n in range(3)]
        self.elsewhere = [atproto.uri(THEIRS, atproto.POST, atproto.tid(born_us + n)) for n in range(3)]

    def live(self, steps: int) -> Network:
        """Let so many things happen."""
        for _ in range(steps):
            self.now_us += self._dice.choice([1, 900, 40_000, 1_500_000])
            if self._records and self._dice.random() < 0.35:
                self._regret()
            else:
                self._engage()
        return self

    def _engage(self) -> None:
        kind = self._dice.choice(list(TYPES))
        is_ours = self._dice.random() < 0.6
        post = self._dice.choice(self.posts if is_ours else self.elsewhere)
        did = f"did:plc:person{self._dice.randrange(20)}"
        rkey = atproto.tid(self.now_us, self._dice.randrange(1024))
        record = engaging(kind, post, self._dice.random() < 0.5)
        self._tell(message(did, self.now_us, "create", TYPES[kind], rkey, record))
        self._records.append((did, TYPES[kind], rkey, kind, post))
        if is_ours:
            self.truth[atproto.post_id(post), kind] += 1

    def _regret(self) -> None:
        did, collection, rkey, kind, post = self._records.pop(self._dice.randrange(len(self._records)))
        self._tell(message(did, self.now_us, "delete", collection, rkey))
        if post in self.posts:
            self.truth[atproto.post_id(post), UNDO_OF[kind]] += 1

    def _tell(self, raw: bytes) -> None:
        self.messages.append((self.now_us, raw))

    def nonsense(self) -> None:
        """What a broken server might say in between."""
        for raw in (b"{", b'"delete"', OURS.encode(), b'{"did":7,"kind":"delete"}', b"\xf0\x9f", b"[]"):
            self._tell(raw)
        self._tell(encoded({"did": OURS, "time_us": 10**30, "kind": "commit"}))


class Listening(Bench):
    """A shift that is over as soon as `is_enough` says so, and notes what a connector says."""

    def __init__(self, source: Source, is_enough: Callable[[], bool] = lambda: False) -> None:
        super().__init__(source)
        self.notes: list[str] = []
        self.receipts: list[Receipt] = []
        self._is_enough = is_enough

    @property
    def is_over(self) -> bool:
        return self._is_enough()

    async def take(self, delivery: Delivery, cursor: dict[str, Any] | None = None) -> Receipt:
        receipt = await self.do(lambda: intake.take(self.source, delivery))
        self.deliveries.append(delivery)
        self.receipts.append(receipt)
        if cursor is not None:
            self.source.cursor = cursor
        return receipt

    async def note(self, text: str, is_trouble: bool = False) -> None:
        self.notes.append(text)

    @property
    def changes(self) -> list[SourceState]:
        """The states one after the other, each once."""
        return [state for at, state in enumerate(self.states) if self.states[at - 1 : at] != [state]]


def accepted() -> Counter[tuple[int, str]]:
    """What the streams hold, each event once, as the writers count them: (Tweet, type) → how many."""
    found: dict[tuple[int, int, bytes], tuple[int, str]] = {}
    for event in _events():
        identity = (int(event["handle_id"]), int(event["occurred_at"]), event["event_key"].tobytes())
        found[identity] = (int(event["tweet_id"]), NAMES[event["type"]])
    return Counter(found.values())


def appended() -> int:
    """How many events the streams hold, repeats included."""
    return len(_events())


def _events() -> list[Any]:
    rows = [row for shard in stream.shards() for row in stream.client().xrange(stream.stream_key(shard))]
    return [event for _, fields in rows for event in events.unpack(fields[b"e"])]


def now_us() -> int:
    return time.time_ns() // 1000


def a_post(seconds_ago: int = 3600, did: str = OURS) -> str:
    return atproto.uri(did, atproto.POST, atproto.tid(now_us() - seconds_ago * SECOND_US))


def a_like(post: str, time_us: int, person: str = "did:plc:carol", rkey: str = "") -> tuple[int, bytes]:
    rkey = rkey or atproto.tid(time_us)
    return time_us, message(person, time_us, "create", atproto.LIKE, rkey, engaging("favorites", post))


def an_unlike(time_us: int, rkey: str, person: str = "did:plc:carol") -> tuple[int, bytes]:
    return time_us, message(person, time_us, "delete", atproto.LIKE, rkey)


def resumed(source: Source, at_us: int) -> None:
    """As if the source had come to just before that instant."""
    source.cursor = {"account": source.settings["account"], "did": OURS, "time_us": at_us - 1, "delivery": 0}


def served(act: Callable[[Server], Awaitable[None]]) -> None:
    """Do it with a server that runs; in this thread, so that queries see the test's transaction."""

    async def scene() -> None:
        async with Server().running() as server:
            await act(server)

    async_to_sync(scene)()


def position(source: Source) -> int:
    return int(source.cursor.get("time_us", 0))


async def listen_to_the_end(source: Source, server: Server, attempts: int = 50) -> Listening:
    """Run the connector, again after each break, until its cursor stands at the server's last message."""
    source.settings["url"] = server.url
    last_us = max(us for us, _ in server.messages)
    shift = Listening(source, lambda: position(source) >= last_us)
    for _ in range(attempts):
        try:
            await Jetstream().run(shift)
        except (DisconnectedError, LimitedError):
            raise
        except SourceError:
            continue
        if shift.is_over:
            return shift
    raise AssertionError("never came to the end")
