"""A Jetstream server for the benchmark: a made-up network's messages, made beforehand and sent as they are read."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from metrics.vocabulary import atproto
from metrics.vocabulary.engagements import CODE, N_TYPES, Counts

CHUNK = 1_000  # messages written at once
APART_US = 100  # a network of 10,000 messages a second
# Shares: what concerns our posts at all, and of every message what it is. Sizes are those of real messages.
OURS = 0.02
KINDS = {"like": 0.55, "repost": 0.1, "post": 0.25, "delete": 0.1}
_TEXT = "What a lovely morning, and what a lovely cup of coffee to go with it. " * 4


@dataclass(frozen=True)
class FirehosePlan:
    """How many messages the network sends, about which account's posts, and from which instant (Unix µs) on."""

    did: str
    posts: tuple[str, ...]
    messages: int
    since_us: int

    @property
    def last_us(self) -> int:
        """The last message's time."""
        return self.since_us + self.messages * APART_US


@dataclass
class Told:
    """The messages, and what those that concern our posts add up to: int64[posts, 2, 26].

    A chunk is many messages, framed, and one more as it is.
    """

    chunks: list[tuple[bytes, bytes]]
    expected: Counts


def speak(plan: FirehosePlan, pipe: Connection) -> None:
    """A load process: its first message is the server's address, its last one when it began and what is expected."""
    asyncio.run(_speak(plan, pipe))


async def _speak(plan: FirehosePlan, pipe: Connection) -> None:
    told = written(plan)
    began = 0.0

    async def play(socket: ServerConnection) -> None:
        nonlocal began
        began = began or time.time()
        for framed, last in told.chunks:
            # Framed already: the library would spend more on each message than the connector does. It is left to send
            # the last one, and to wait until the other side has read enough.
            socket.transport.write(framed)
            await socket.send(last, text=True)
        await socket.wait_closed()

    async with serve(play, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        pipe.send(f"ws://127.0.0.1:{port}/subscribe")
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    pipe.send((began, told.expected))


def written(plan: FirehosePlan) -> Told:
    """All messages, the same for the same plan."""
    dice = random.Random(1)  # noqa: S311  no secret
    expected = np.zeros((len(plan.posts), 2, N_TYPES), dtype=np.int64)
    liked: list[tuple[str, str, int]] = []
    kinds = dice.choices(list(KINDS), weights=list(KINDS.values()), k=plan.messages)
    messages: list[bytes] = []
    for number, kind in enumerate(kinds, 1):
        at_us = plan.since_us + number * APART_US
        did, rkey = f"did:plc:{dice.randrange(10**6):024}", atproto.tid(at_us, number % 1024)
        place = dice.randrange(len(plan.posts)) if dice.random() < OURS else None
        if kind == "delete" and place is not None and liked:
            did, rkey, place = liked.pop(dice.randrange(len(liked)))
            expected[place, 0, CODE["unfavorites"]] += 1
        elif kind == "like" and place is not None:
            liked.append((did, rkey, place))
            expected[place, 0, CODE["favorites"]] += 1
        elif kind != "delete" and place is not None:
            expected[place, 0, CODE["retweets" if kind == "repost" else "replies"]] += 1
        subject = atproto.uri(f"did:plc:{number:024}", atproto.POST, rkey) if place is None else plan.posts[place]
        messages.append(_message(kind, did, at_us, rkey, subject))
    parts = [messages[start : start + CHUNK] for start in range(0, len(messages), CHUNK)]
    return Told([(b"".join(map(_framed, part[:-1])), part[-1]) for part in parts], expected)


def _framed(message: bytes) -> bytes:
    return Frame(Opcode.TEXT, message).serialize(mask=False)


def _message(kind: str, did: str, at_us: int, rkey: str, subject: str) -> bytes:
    head = f'{{"did":"{did}","time_us":{at_us},"kind":"commit","commit":{{"rev":"{atproto.tid(at_us)}","operation":'
    if kind == "delete":
        return f'{head}"delete","collection":"{atproto.LIKE}","rkey":"{rkey}"}}}}'.encode()
    cid = "bafyreiaxf7tgbfydx3465sckitq6v564thxe2wwydbi7cwxbxvgssje3em"
    ref = f'{{"cid":"{cid}","uri":"{subject}"}}'
    collection = {"like": atproto.LIKE, "repost": atproto.REPOST, "post": atproto.POST}[kind]
    content = f'"text":"{_TEXT}","reply":{{"parent":{ref},"root":{ref}}}' if kind == "post" else f'"subject":{ref}'
    record = f'{{"$type":"{collection}","createdAt":"2026-05-25T14:23:28.778Z",{content}}}'
    return f'{head}"create","collection":"{collection}","rkey":"{rkey}","record":{record},"cid":"{cid}"}}}}'.encode()
