"""What an Account Activity delivery says about one account's Tweets: pure reading, no network and no database.

Ids are read from `id_str` only: the numeric ones have lost digits on their way. A delivery tells whatever happened
around a subscribed account, so each item is checked for being about a Tweet of the handle's own account.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec

from metrics.ingest.tweets import IncomingTweet
from metrics.ingest.validation import IncomingEvent, Refusal, tweet_id_of
from metrics.vocabulary.events import FIRST_SNOWFLAKE, MAX_EVENT_ID_LENGTH, tweet_created_at

ANSWERS: Final = ("replies", "retweets", "quote_tweets")
"""The types that are Tweets of their own, and so can be deleted."""
MAX_KINDS: Final = 20
# What stands beside the events: who and what they are about.
_CONTEXT: Final = frozenset({"for_user_id", "users", "apps", "user_has_blocked", "is_blocked_by"})
_MEDIA: Final[Mapping[str, Literal["photo", "gif", "video"]]] = {
    "photo": "photo",
    "animated_gif": "gif",
    "video": "video",
}


class User(msgspec.Struct):
    """Somebody on X."""

    id_str: str = ""
    screen_name: str = ""


class Media(msgspec.Struct):
    """A picture or video of a post."""

    type: str = ""


class Entities(msgspec.Struct):
    """What a post shows."""

    media: list[Media] = []


class Extended(msgspec.Struct):
    """The whole of a post whose text was cut."""

    full_text: str = ""
    extended_entities: Entities | None = None


class Post(msgspec.Struct):
    """A post: a Tweet, a reply, a Retweet or a quote."""

    id_str: str
    user: User | None = None
    text: str = ""
    full_text: str = ""
    created_at: str = ""
    timestamp_ms: int | str | None = None
    in_reply_to_status_id_str: str | None = None
    in_reply_to_user_id_str: str | None = None
    in_reply_to_screen_name: str | None = None
    retweeted_status: Post | None = None
    quoted_status: Post | None = None
    quoted_status_id_str: str | None = None
    extended_tweet: Extended | None = None
    extended_entities: Entities | None = None


class Favorite(msgspec.Struct):
    """A like."""

    id: str | int
    favorited_status: Post
    user: User
    created_at: str = ""
    timestamp_ms: int | str | None = None


class DeletedPost(msgspec.Struct):
    """What is left of a deleted post."""

    id: str | int = ""
    id_str: str = ""


class Deletion(msgspec.Struct):
    """The deletion of a post."""

    status: DeletedPost
    timestamp_ms: int | str | None = None


class Follow(msgspec.Struct):
    """Somebody follows an account, or ceases to."""

    type: Literal["follow", "unfollow"]


class Revoker(msgspec.Struct):
    """Who has ended the access."""

    user_id: str | int = ""


class Revoke(msgspec.Struct):
    """The end of an app's access to an account."""

    date_time: datetime | None = None
    source: Revoker = msgspec.field(default_factory=Revoker)


class UserEvent(msgspec.Struct):
    """Something about the subscription itself."""

    revoke: Revoke | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """The handle's account, as far as it is known: its username, and its id once somebody has told it."""

    username: str
    user_id: str = ""

    def is_(self, user: User | None) -> bool | None:
        """Whether this is the account; None where what is told does not suffice."""
        if user is None:
            return None
        if user.id_str and self.user_id:
            return user.id_str == self.user_id
        return user.screen_name.lower() == self.username.lower() if user.screen_name else None


@dataclass(frozen=True, slots=True)
class Deleted:
    """A post that is gone: its id, and when that was."""

    status_id: int
    at: datetime


@dataclass(slots=True)
class Reading:
    """What a delivery means for the handle; items that cannot be read are `refused`, others `ignored` by kind."""

    events: list[IncomingEvent] = field(default_factory=list)
    tweets: list[IncomingTweet] = field(default_factory=list)
    deleted: list[Deleted] = field(default_factory=list)
    revoked_at: datetime | None = None
    refused: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    user_id: str = ""
    """The account's id, where the delivery tells it."""

    def pass_over(self, kind: str, number: int = 1) -> None:
        """Count what means nothing here."""
        kind = kind[:60] if kind in self.ignored or len(self.ignored) < MAX_KINDS else "other"
        self.ignored[kind] = self.ignored.get(kind, 0) + number


def read(payload: Mapping[str, Any], owner: Owner, now: datetime) -> Reading:
    """What the delivery says; an item that cannot be read spoils no other."""
    reading = Reading()
    for kind, told in payload.items():
        if kind in _CONTEXT or not isinstance(told, list | dict):
            continue
        items = told if isinstance(told, list) else [told]
        reader = _READERS.get(kind)
        if reader is None:
            reading.pass_over(kind, len(items))
            continue
        for item in items:
            try:
                reader(reading, item, owner, now)
            except (msgspec.ValidationError, Refusal, ValueError, OverflowError, OSError):
                reading.refused += 1
    return reading


def event_id(kind: str, told: str | int) -> str:
    """The id under which something counts: the same for every delivery of it."""
    name = f"x:{kind}:{told}"
    return (
        name if len(name) <= MAX_EVENT_ID_LENGTH else f"x:{kind}:{blake2b(name.encode(), digest_size=16).hexdigest()}"
    )


def _favorite(reading: Reading, item: Any, owner: Owner, now: datetime) -> None:
    like = msgspec.convert(item, Favorite)
    _learn(reading, owner, like.user, like.favorited_status.user)
    if not _concerns(owner, like.favorited_status.user, like.user):
        reading.pass_over("favorite of another account")
        return
    occurred_at = _instant(like.timestamp_ms, like.created_at)
    reading.events.append(
        IncomingEvent(
            id=event_id("favorites", like.id),
            tweet_id=like.favorited_status.id_str,
            type="favorites",
            occurred_at=occurred_at,
            user_id=like.user.id_str or None,
        )
    )


def _create(reading: Reading, item: Any, owner: Owner, now: datetime) -> None:
    post = msgspec.convert(item, Post)
    _learn(reading, owner, post.user)
    is_own = owner.is_(post.user) is True
    targets = list(_targets(post, owner))
    for kind, tweet_id in targets:
        reading.events.append(
            IncomingEvent(
                id=event_id(kind, post.id_str),
                tweet_id=tweet_id,
                type=kind,
                occurred_at=_instant(post.timestamp_ms, post.created_at, post.id_str),
                user_id=post.user.id_str or None if post.user else None,
            )
        )
    if is_own and post.retweeted_status is None:
        reading.tweets.append(_tweet(post, owner))
    elif not targets:
        reading.pass_over("Retweet of another account" if post.retweeted_status else "mention")


def _targets(post: Post, owner: Owner) -> list[tuple[str, str]]:
    """The Tweets of the account that the post answers, each with the type that this counts as."""
    if post.retweeted_status is not None:
        # A Retweet repeats what its original quotes or answers: those were counted with the original.
        shared = post.retweeted_status
        return [("retweets", shared.id_str)] if _concerns(owner, shared.user, post.user) else []
    found = []
    if post.in_reply_to_status_id_str:
        author = User(post.in_reply_to_user_id_str or "", post.in_reply_to_screen_name or "")
        if _concerns(owner, author, post.user):
            found.append(("replies", post.in_reply_to_status_id_str))
    quoted_id = post.quoted_status_id_str or (post.quoted_status.id_str if post.quoted_status else "")
    if quoted_id and _concerns(owner, post.quoted_status.user if post.quoted_status else None, post.user):
        found.append(("quote_tweets", quoted_id))
    return found


def _tweet(post: Post, owner: Owner) -> IncomingTweet:
    whole = post.extended_tweet
    text = (whole.full_text if whole else "") or post.full_text or post.text
    shown = (whole.extended_entities if whole else None) or post.extended_entities or Entities()
    kinds = [_MEDIA[media.type] for media in shown.media if media.type in _MEDIA]
    name = post.user.screen_name if post.user and post.user.screen_name else owner.username
    return IncomingTweet(
        id=post.id_str,
        text=html.unescape(text)[:25_000],
        created_at=_instant(post.timestamp_ms, post.created_at, post.id_str),
        media=kinds[0] if kinds else "none",
        link=f"https://x.com/{name}/status/{post.id_str}",
    )


def _delete(reading: Reading, item: Any, owner: Owner, now: datetime) -> None:
    gone = msgspec.convert(item, Deletion)
    at = _instant(gone.timestamp_ms, "") if gone.timestamp_ms is not None else now
    reading.deleted.append(Deleted(tweet_id_of(gone.status.id_str or gone.status.id), at))


def _follow(reading: Reading, item: Any, owner: Owner, now: datetime) -> None:
    # A follow is of the account; nothing tells from which Tweet it came.
    reading.pass_over(msgspec.convert(item, Follow).type)


def _user_event(reading: Reading, item: Any, owner: Owner, now: datetime) -> None:
    revoke = msgspec.convert(item, UserEvent).revoke
    if revoke is None:
        reading.pass_over("user_event")
    elif owner.user_id and str(revoke.source.user_id) not in {"", owner.user_id}:
        reading.pass_over("revoke by another account")
    else:
        at = revoke.date_time or now
        reading.revoked_at = at if at.tzinfo else at.replace(tzinfo=UTC)


_READERS: Final[Mapping[str, Callable[[Reading, Any, Owner, datetime], None]]] = {
    "favorite_events": _favorite,
    "tweet_create_events": _create,
    "tweet_delete_events": _delete,
    "follow_events": _follow,
    "user_event": _user_event,
}


def _concerns(owner: Owner, author: User | None, actor: User | None) -> bool:
    """Whether a Tweet is the account's: by its author, or else because X tells what others do with it."""
    is_owners = owner.is_(author)
    return is_owners if is_owners is not None else owner.is_(actor) is not True


def _learn(reading: Reading, owner: Owner, *users: User | None) -> None:
    for user in users:
        if user and user.id_str and user.screen_name.lower() == owner.username.lower():
            reading.user_id = user.id_str


def _instant(timestamp_ms: int | str | None, created_at: str, status_id: str = "") -> datetime:
    """When it happened: X writes milliseconds as number or text, or a date; else the snowflake tells. ValueError."""
    if timestamp_ms is not None and timestamp_ms != "":
        return datetime.fromtimestamp(int(timestamp_ms) / 1000, UTC)
    if created_at:
        return datetime.strptime(created_at, "%a %b %d %H:%M:%S %z %Y")
    if status_id.isascii() and status_id.isdigit() and int(status_id) >= FIRST_SNOWFLAKE:
        return tweet_created_at(int(status_id))
    raise ValueError("an item tells no time")
