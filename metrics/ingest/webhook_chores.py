"""What a webhook's delivery brings besides events: put aside durably before the answer, worked off moments later.

Own Tweets are stored. A deleted post takes back the reply, Retweet or quote that it was: the event table remembers
those, under the key that the post's id makes. Since deliveries come in any order, a deletion whose post is unknown
waits for it for a while. A revocation ends the connection.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from django.conf import settings
from django.db import connection
from redis.exceptions import LockError

from metrics import stream
from metrics.ingest import account_activity, intake, sources, x_account
from metrics.ingest.account_activity import ANSWERS
from metrics.ingest.intake import Delivery
from metrics.ingest.tweets import IncomingTweet
from metrics.ingest.validation import IncomingEvent
from metrics.models import Source, SourceState, Tweet
from metrics.vocabulary.engagements import NAMES, TYPES
from metrics.vocabulary.events import CLOCK_TOLERANCE, MAX_TWEET_ID, tweet_created_at

log = structlog.get_logger(__name__)

KEY: Final = "webhook:chores"
AT_ONCE: Final = 1_000
LEASE_SECONDS: Final = 60
PATIENCE: Final = timedelta(minutes=10)
"""How long a deletion waits for its post: X sends a delivery again for about five minutes."""
_UNDO: Final = {kind.undoes: kind.name for kind in TYPES if kind.undoes in ANSWERS}
_FIND: Final = Path(__file__).with_name("webhook_chores.sql").read_text()


class Written(msgspec.Struct, tag=True):
    """Tweets that the handle's account has written."""

    source: int
    tweets: list[IncomingTweet]


class Gone(msgspec.Struct, tag=True):
    """A post that was deleted at `at`; we heard of it at `since`."""

    source: int
    status_id: int
    at: datetime
    since: datetime


class Revoked(msgspec.Struct, tag=True):
    """The account has ended the app's access."""

    source: int
    at: datetime


Chore: TypeAlias = Written | Gone | Revoked
_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Chore] = msgspec.json.Decoder(Written | Gone | Revoked)


def packed(chores: Sequence[Chore]) -> list[bytes]:
    """The chores as they lie in Redis, in the list `KEY`."""
    return [_encode(chore) for chore in chores]


def waiting() -> int:
    """How many chores wait. Raises RedisError."""
    return int(stream.client().llen(KEY))


def work(now: datetime | None = None) -> int:
    """Work off what waits, each once while others hold the lease; how many are done. Raises RedisError, DatabaseError.

    A chore leaves Redis only when it is done, so that after a crash it comes again; done twice it changes nothing.
    """
    lease = stream.client().lock(f"lease:{KEY}", timeout=LEASE_SECONDS, blocking=False, thread_local=False)
    if not lease.acquire():
        return 0
    try:
        done = 0
        for _ in range(-(-waiting() // AT_ONCE)):
            done += _work_some(lease, now or datetime.now(UTC))
        return done
    finally:
        _release(lease)


def _release(lease: stream.Lease) -> None:
    try:
        lease.release()
    except LockError as error:
        log.info("lease_gone", error=str(error))


def _work_some(lease: stream.Lease, now: datetime) -> int:
    rows: Any = stream.client().lrange(KEY, 0, AT_ONCE - 1)
    chores = [chore for row in rows if (chore := _decoded(row)) is not None]
    found = Source.objects.select_related("handle").in_bulk({chore.source for chore in chores})
    later: list[Chore] = []
    for source in found.values():
        mine = [chore for chore in chores if chore.source == source.pk]
        later += _of_one(source, mine, now)
    # Whoever has lost the lease must not take away what another has not done.
    lease.reacquire()
    with stream.client().pipeline(transaction=True) as pipe:
        pipe.ltrim(KEY, len(rows), -1)
        if later:
            pipe.rpush(KEY, *packed(later))
        pipe.execute()
    return len(rows) - len(later)


def _decoded(row: bytes) -> Chore | None:
    try:
        return _decoder.decode(row)
    except msgspec.DecodeError as error:
        log.error("webhook_chore_unreadable", error=str(error))
        return None


def _of_one(source: Source, chores: list[Chore], now: datetime) -> list[Gone]:
    tweets = [tweet for chore in chores if isinstance(chore, Written) for tweet in chore.tweets]
    if tweets:
        intake.take(source, Delivery(tweets=tweets))
    undone, later, unknown = _settled(source, [chore for chore in chores if isinstance(chore, Gone)], now)
    ignored = {"deletion of an unknown post": unknown} if unknown else {}
    if undone or ignored:
        intake.take(source, Delivery(events=undone, ignored=ignored))
    for chore in chores:
        if isinstance(chore, Revoked):
            _revoke(source, chore.at)
    return later


def _settled(source: Source, gone: list[Gone], now: datetime) -> tuple[list[IncomingEvent], list[Gone], int]:
    """The undos of those whose post is known, those that wait on, and how many are given up."""
    answers = _answers(source, gone)
    own = set(
        Tweet.objects.filter(handle=source.handle_id, tweet_id__in=[one.status_id for one in gone]).values_list(
            "tweet_id", flat=True
        )
    )
    undone: list[IncomingEvent] = []
    later: list[Gone] = []
    unknown = 0
    for place, one in enumerate(gone):
        for tweet_id, kind in answers.get(place, []):
            undone.append(_undo(one, tweet_id, kind))
        if one.status_id in own:
            _note_once(source, f"Tweet {one.status_id} was deleted on X at {one.at:%Y-%m-%d %H:%M} UTC.")
        elif place not in answers:
            if _may_come(one, now):
                later.append(one)
            else:
                unknown += 1
    return undone, later, unknown


def _note_once(source: Source, text: str) -> None:
    if not source.notes.filter(text=text).exists():
        sources.note(source, text)


def _undo(gone: Gone, tweet_id: int, kind: str) -> IncomingEvent:
    undo = _UNDO[kind]
    name = account_activity.event_id(undo, gone.status_id)
    return IncomingEvent(id=name, tweet_id=tweet_id, type=undo, occurred_at=gone.at)


def _may_come(gone: Gone, now: datetime) -> bool:
    """Whether the post, or the Tweet that it answers, may still be told: not for ever, and not what is long gone."""
    oldest = now - timedelta(days=settings.EVENT_DAYS)
    return now - gone.since < PATIENCE and tweet_created_at(gone.status_id) > oldest


def _answers(source: Source, gone: list[Gone]) -> dict[int, list[tuple[int, str]]]:
    """By place in the list: which Tweets the deleted posts had answered, and how."""
    wanted = [
        (place, _key(kind, one.status_id), tweet_created_at(one.status_id))
        for place, one in enumerate(gone)
        if 0 < one.status_id <= MAX_TWEET_ID
        for kind in ANSWERS
    ]
    if not wanted:
        return {}
    places, keys, born = (list(column) for column in zip(*wanted, strict=True))
    since, until = [instant - CLOCK_TOLERANCE for instant in born], [instant + CLOCK_TOLERANCE for instant in born]
    found: dict[int, list[tuple[int, str]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [places, keys, since, until, source.handle_id])
        for place, tweet_id, code in cursor.fetchall():
            found.setdefault(place, []).append((tweet_id, NAMES[code]))
    return found


def _key(kind: str, status_id: int) -> uuid.UUID:
    """The event key that `validation.pack` makes of the answer's event id."""
    name = account_activity.event_id(kind, status_id)
    return uuid.UUID(bytes=blake2b(name.encode(), digest_size=16).digest())


def _revoke(source: Source, at: datetime) -> None:
    """The access has ended, unless somebody has connected again since."""
    authenticated_at = source.handle.authenticated_at
    if authenticated_at and at < authenticated_at:
        return
    reason = f"@{source.handle.username} has ended the access on X at {at:%Y-%m-%d %H:%M} UTC."
    sources.enter(source, SourceState.DISCONNECTED, reason)
    account = x_account.connection_of(source.handle)
    if account is not None and account.state != SourceState.DISCONNECTED:
        x_account.withdrawn(account, reason)
