"""A Bluesky network of its own, on this machine: it tells what people do with a handle's posts as Jetstream does.

Between that pass the doings of others, which a reader has to sort out, and which never rest. It keeps what it told for
some minutes, so a reader that names a cursor misses nothing.
"""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from metrics.vocabulary import atproto
from metrics.vocabulary.engagements import UNDO_OF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metrics.demo.events import Event
    from metrics.demo.plan import Story

COLLECTIONS = {
    "favorites": atproto.LIKE,
    "retweets": atproto.REPOST,
    "replies": atproto.POST,
    "quote_tweets": atproto.POST,
}
_TAKEN_BACK = {undo: kind for kind, undo in UNDO_OF.items()}
KEPT_MESSAGES = 20_000
REMEMBERED = 20_000  # records that may still be deleted
OTHERS_EVERY_S = 0.12
Message = dict[str, Any]
"""A message as it is encoded, but for its time, which is when the server has it."""


def did_of(person: str) -> str:
    """The made-up DID of somebody."""
    letters = base64.b32encode(blake2b(person.encode(), digest_size=15).digest())
    return f"did:plc:{letters.decode().lower()}"


class Server:
    """Serves Jetstream at 127.0.0.1:`port`, from a thread of its own, until closed. Raises OSError when it is taken.

    `listeners` is how many listen now.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.listeners = 0
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=KEPT_MESSAGES)
        self._first = 0  # the number of the oldest message that is kept
        self._loop = asyncio.new_event_loop()
        self._more = asyncio.Event()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._failed: OSError | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failed:
            self._thread.join()
            self._loop.close()
            raise self._failed

    def tell(self, messages: Sequence[Message]) -> None:
        """Tell everybody who listens, now and for some minutes."""
        if messages:
            self._loop.call_soon_threadsafe(self._keep, messages)

    def close(self) -> None:
        """Hang up."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    def _keep(self, messages: Sequence[Message]) -> None:
        self._first += max(0, len(self._kept) + len(messages) - KEPT_MESSAGES)
        for message in messages:
            now_us = time.time_ns() // 1000
            self._kept.append((now_us, msgspec.json.encode({**message, "time_us": now_us})))
        self._more.set()
        self._more = asyncio.Event()

    async def _run(self) -> None:
        try:
            async with serve(self._serve, "127.0.0.1", self.port, compression=None):
                self._started.set()
                await self._go_on()
        except OSError as error:
            self._failed = error
            self._started.set()

    async def _go_on(self) -> None:
        """Tell what others do, until closed."""
        rng = np.random.default_rng()
        while not self._stop.is_set():
            self._keep([_like_elsewhere(rng)])
            with suppress(TimeoutError):
                async with asyncio.timeout(OTHERS_EVERY_S):
                    await self._stop.wait()

    async def _serve(self, socket: ServerConnection) -> None:
        sending = asyncio.create_task(self._send(socket))
        self.listeners += 1
        await socket.wait_closed()
        self.listeners -= 1
        sending.cancel()
        with suppress(asyncio.CancelledError, ConnectionClosed):
            await sending

    async def _send(self, socket: ServerConnection) -> None:
        place = self._place(socket.request.path if socket.request else "")
        while True:
            more = self._more
            place = max(place, self._first)
            while place - self._first < len(self._kept):
                message = self._kept[place - self._first][1]
                place += 1
                await socket.send(message, text=True)
            await more.wait()

    def _place(self, path: str) -> int:
        """The number of the first message from the cursor on; without a cursor that of the next one."""
        cursor = parse_qs(urlsplit(path).query).get("cursor", [""])[0]
        end = self._first + len(self._kept)
        if not cursor.isdigit():
            return end
        return next((self._first + at for at, (us, _) in enumerate(self._kept) if us >= int(cursor)), end)


class Scribe:
    """Writes what happens as records, and their deletion: a like taken back is the like's own record deleted."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._records: OrderedDict[tuple[str, str, str | None], tuple[str, str]] = OrderedDict()

    def write(self, posts: Iterable[Story], events: Iterable[Event], stories: Iterable[Story]) -> list[Message]:
        """The messages of new posts, and then of what people did with posts of `stories`, in order of time."""
        uris = {str(story.tweet_id): story.uri for story in stories}
        told = [self._post(story) for story in posts]
        for event in events:
            if event.tweet_id in uris:  # whose story is over is talked of no more
                told += self._event(event, uris[event.tweet_id])
        return told

    def _post(self, story: Story) -> Message:
        parts = atproto.parts(story.uri)
        assert parts is not None  # noqa: S101  only stories of Bluesky are told here
        at_us = int(story.created * 1e6)
        embed = {"photo": "app.bsky.embed.images", "video": "app.bsky.embed.video", "gif": "app.bsky.embed.video"}
        record: dict[str, Any] = {"text": story.post.text, "tags": list(story.post.tags)}
        if story.post.media in embed:
            record["embed"] = {"$type": embed[story.post.media]}
            record["embed"] |= {"presentation": "gif"} if story.post.media == "gif" else {}
        return _commit(parts[0], at_us, "create", atproto.POST, parts[2], record)

    def _event(self, event: Event, post: str) -> list[Message]:
        at_us = int(event.occurred_at.timestamp() * 1e6)
        kind = _TAKEN_BACK.get(event.type, event.type)
        whose, did = (event.tweet_id, kind, event.user_id), did_of(event.user_id or "")
        if event.type in _TAKEN_BACK:
            record = self._records.pop(whose, None)
            return [_commit(did, at_us, "delete", *record)] if record else []
        rkey = atproto.tid(at_us, int(self._rng.integers(1024)))
        self._records[whose] = (COLLECTIONS[kind], rkey)
        if len(self._records) > REMEMBERED:
            self._records.popitem(last=False)
        return [_commit(did, at_us, "create", COLLECTIONS[kind], rkey, _record(kind, post))]


def _like_elsewhere(rng: np.random.Generator) -> Message:
    now_us = time.time_ns() // 1000
    author, fan = (did_of(f"elsewhere-{number}") for number in rng.integers(10_000, size=2))
    post = atproto.uri(author, atproto.POST, atproto.tid(now_us - 60_000_000))
    return _commit(fan, now_us, "create", atproto.LIKE, atproto.tid(now_us), _record("favorites", post))


def _record(kind: str, post: str) -> dict[str, Any]:
    ref = {"cid": "bafyreiaxf7tgbfydx3465sckitq6v564thxe2wwydbi7cwxbxvgssje3em", "uri": post}
    if kind == "replies":
        return {"text": "🙌", "reply": {"parent": ref, "root": ref}}
    if kind == "quote_tweets":
        return {"text": "This.", "embed": {"$type": "app.bsky.embed.record", "record": ref}}
    return {"subject": ref}


def _commit(
    did: str, at_us: int, operation: str, collection: str, rkey: str, record: dict[str, Any] | None = None
) -> Message:
    commit: dict[str, Any] = {"rev": atproto.tid(at_us), "operation": operation, "collection": collection, "rkey": rkey}
    if record is not None:
        commit["record"] = {"$type": collection, **record}
    return {"did": did, "kind": "commit", "commit": commit}
