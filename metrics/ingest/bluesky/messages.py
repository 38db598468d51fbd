"""Jetstream's messages, sifted: of the whole network's records only those that concern one account's posts are decoded.

Deciding costs less than a microsecond: a message matters only when the account's DID stands in it, or when it deletes a
record that is remembered. Records are written by anyone, so nothing in them is taken for granted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any

import msgspec

from metrics.ingest.tweets import IncomingTweet
from metrics.vocabulary import atproto
from metrics.vocabulary.events import CLOCK_TOLERANCE, FIRST_SNOWFLAKE, FIRST_TWEET_AT

_DELETE = b'"delete"'
_MEDIA = {"app.bsky.embed.images": "photo", "app.bsky.embed.video": "video"}


class Commit(msgspec.Struct):
    """A change of one record; `rev` grows with every change of the repository."""

    operation: str
    collection: str
    rkey: str
    rev: str = ""
    record: dict[str, Any] | None = None


# Unix µs, until the year 2096.
Instant = Annotated[int, msgspec.Meta(ge=0, le=4_000_000_000_000_000)]


class Message(msgspec.Struct):
    """One message; `time_us` is when Jetstream had it (Unix µs)."""

    did: str
    time_us: Instant
    kind: str
    commit: Commit | None = None
    account: dict[str, Any] | None = None
    identity: dict[str, Any] | None = None


class _Clock(msgspec.Struct):
    time_us: Instant


@dataclass(frozen=True, slots=True)
class Deed:
    """What a record does to our posts, `posts`: engagement type → the post's URI; none when it is deleted again."""

    record: str
    rev: str
    at_us: int
    person: str
    posts: dict[str, str]

    @property
    def key(self) -> int:
        """The record's URI in 64 bits, signed as the database has them."""
        return record_key(self.record)


def record_key(record_uri: str) -> int:
    """A record's URI in 64 bits, signed as the database has them."""
    return int.from_bytes(blake2b(record_uri.encode(), digest_size=8).digest(), "big", signed=True)


_message = msgspec.json.Decoder(Message)
_clock = msgspec.json.Decoder(_Clock)


@dataclass(slots=True)
class Sieve:
    """Collects what concerns the account `did`; `keys` are those of the records that are remembered.

    `deeds` and `posts` are in the order in which they came; `news` are messages about the account itself; `ignored`
    counts what concerned the account and means nothing here, and deletions of records that nobody remembers.
    """

    did: str
    keys: set[int]
    seen: int = 0
    deeds: list[Deed] = field(default_factory=list)
    posts: list[IncomingTweet] = field(default_factory=list)
    news: list[Message] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    _last: bytes = b""
    _newest_us: int | None = None
    _needle: bytes = b""

    def __post_init__(self) -> None:
        self._needle = self.did.encode()

    @property
    def held(self) -> int:
        """How much has been collected."""
        return len(self.deeds) + len(self.posts) + len(self.news)

    def add(self, raw: bytes) -> None:
        """Look at one message as it came."""
        self.seen += 1
        self._last = raw
        if self._needle in raw or _DELETE in raw:
            self._look(raw)

    def newest_us(self) -> int | None:
        """Jetstream's time (Unix µs) of the last message, or where that cannot be read of the last one asked about."""
        with suppress(msgspec.DecodeError):
            self._newest_us = _clock.decode(self._last).time_us
        return self._newest_us

    def empty(self) -> None:
        """Begin anew, with the same memory and clock."""
        self.deeds, self.posts, self.news, self.ignored = [], [], [], Counter()

    def _look(self, raw: bytes) -> None:
        try:
            message = _message.decode(raw)
        except msgspec.DecodeError:
            self.ignored["unreadable message"] += 1
            return
        if message.commit is not None:
            self._commit(message, message.commit)
        elif message.did == self.did:
            self.news.append(message)

    def _commit(self, message: Message, commit: Commit) -> None:
        record = atproto.uri(message.did, commit.collection, commit.rkey)
        if atproto.parts(record) is None:
            self.ignored["unreadable message"] += 1
        elif commit.operation == "create":
            self._create(message, commit, record)
        elif commit.operation != "delete":
            self.ignored["change of a record"] += 1
        elif record_key(record) in self.keys:
            self.deeds.append(Deed(record, _rev(commit), message.time_us, message.did, {}))
        elif message.did == self.did and commit.collection == atproto.POST:
            self.ignored["own post deleted"] += 1
        else:
            self.ignored["deletion of an unknown record"] += 1

    def _create(self, message: Message, commit: Commit, record: str) -> None:
        is_own_post = message.did == self.did and commit.collection == atproto.POST
        if is_own_post:
            self.posts.append(tweet(record, commit.record or {}, message.time_us))
        posts = {kind: post for kind, post in engaged(commit) if self._is_ours(post)}
        if posts:
            self.keys.add(record_key(record))
            self.deeds.append(Deed(record, _rev(commit), message.time_us, message.did, posts))
        elif not is_own_post:
            self.ignored[f"{commit.collection[:40]} of no post"] += 1

    def _is_ours(self, post: str) -> bool:
        found = atproto.parts(post)
        return found is not None and found[0] == self.did and found[1] == atproto.POST


def _rev(commit: Commit) -> str:
    """The revision, a TID; empty when it is something else, which would not tell what came first."""
    return commit.rev if commit.rev.isascii() and commit.rev.isalnum() and len(commit.rev) <= 64 else ""


def engaged(commit: Commit) -> Iterator[tuple[str, str]]:
    """The engagement types of a new record, each with the URI of what it engages; of posts replies and quotes."""
    record = commit.record or {}
    if commit.collection == atproto.LIKE:
        yield "favorites", _text(record, "subject", "uri")
    elif commit.collection == atproto.REPOST:
        yield "retweets", _text(record, "subject", "uri")
    elif commit.collection == atproto.POST:
        yield "replies", _text(record, "reply", "parent", "uri")
        # Quoted beside media, the record is one step deeper.
        quoted = _text(record, "embed", "record", "uri") or _text(record, "embed", "record", "record", "uri")
        yield "quote_tweets", quoted


def tweet(post_uri: str, record: dict[str, Any], time_us: int) -> IncomingTweet:
    """The account's own post as a Tweet."""
    number = atproto.post_id(post_uri)
    tags = [tag for tag in [*_tags(record)] if tag]
    return IncomingTweet(
        id=number,
        text=_text(record, "text")[:25_000],
        created_at=None if number >= FIRST_SNOWFLAKE else _claimed(record, time_us),
        media=_media(record),
        link=post_uri,
        tags=list(dict.fromkeys(tags))[:50],
    )


def _claimed(record: dict[str, Any], time_us: int) -> datetime:
    """When the record says that it was made, unless that cannot be; then when Jetstream had it."""
    had_at = datetime.fromtimestamp(time_us / 1e6, UTC)
    try:
        claimed = datetime.fromisoformat(_text(record, "createdAt"))
    except ValueError:
        return had_at
    is_possible = claimed.tzinfo is not None and FIRST_TWEET_AT <= claimed <= had_at + CLOCK_TOLERANCE
    return claimed if is_possible else had_at


def _media(record: dict[str, Any]) -> Any:
    for place in (("embed",), ("embed", "media")):
        kind = _MEDIA.get(_text(record, *place, "$type"))
        if kind == "video" and _text(record, *place, "presentation") == "gif":
            return "gif"
        if kind:
            return kind
    return "none"


def _tags(record: dict[str, Any]) -> Iterator[str]:
    """The tags of a post: those in its text, and those beside it."""
    for facet in _items(record, "facets"):
        for feature in _items(facet, "features"):
            yield _text(feature, "tag")[:100]
    for tag in _items(record, "tags"):
        if isinstance(tag, str):
            yield tag[:100]


def _items(holder: Any, name: str) -> list[Any]:
    found = holder.get(name) if isinstance(holder, dict) else None
    return found if isinstance(found, list) else []


def _text(holder: Any, *path: str) -> str:
    """The text at the path through nested objects; empty where there is none."""
    for name in path:
        holder = holder.get(name) if isinstance(holder, dict) else None
    return holder if isinstance(holder, str) else ""


def lag(newest_us: int, now: datetime) -> timedelta:
    """How far behind the network a message of that time is."""
    return max(timedelta(), now - datetime.fromtimestamp(newest_us / 1e6, UTC))
