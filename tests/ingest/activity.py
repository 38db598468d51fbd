"""Deliveries as X's Account Activity API sends them, for tests: each kind, with the fields that the manual names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from metrics.ingest.webhook_signature import SIGNATURE, signature
from metrics.ingest.webhooks import PREFIX
from metrics.models import Source
from metrics.vocabulary.events import snowflake_at

SECRET = "the consumer secret"
OWNER = {"id": 2244994945, "id_str": "2244994945", "screen_name": "Northwind", "name": "Northwind Coffee"}
FAN = {"id": 3001969357, "id_str": "3001969357", "screen_name": "jordan", "name": "Jordan"}
NOW = datetime.now(UTC).replace(microsecond=0)
TWEET = snowflake_at(NOW - timedelta(hours=1))


def born(seconds_ago: float, sequence: int = 1) -> int:
    """The id of a post that was made so long ago."""
    return snowflake_at(NOW - timedelta(seconds=seconds_ago), sequence)


def ms(instant: datetime) -> int:
    """Unix milliseconds."""
    return int(instant.timestamp() * 1000)


def date(instant: datetime) -> str:
    """X's way to write a time."""
    return instant.strftime("%a %b %d %H:%M:%S +0000 %Y")


def lossy(number: int) -> int:
    """The number as it comes out of a double: what X's numeric ids have gone through."""
    return int(float(number))


def post(status: int, user: dict[str, Any] = FAN, **more: Any) -> dict[str, Any]:
    """A post, made when its id says."""
    at = datetime.fromtimestamp(((status >> 22) + 1288834974657) / 1000, UTC)
    basics = {"created_at": date(at), "id": lossy(status), "id_str": str(status), "text": "Nice &amp; warm"}
    return {**basics, "user": user, "timestamp_ms": str(ms(at)), **more}


def envelope(**kinds: Any) -> dict[str, Any]:
    """A delivery to the owner."""
    return {"for_user_id": OWNER["id_str"], **kinds}


def like(name: str = "a7ba59eab0bfcba386f7acedac279542", tweet: int = TWEET, **more: Any) -> dict[str, Any]:
    """Somebody likes a Tweet of the owner's."""
    found = {"id": name, "created_at": date(NOW), "timestamp_ms": ms(NOW), "user": FAN}
    found["favorited_status"] = post(tweet, OWNER)
    return envelope(favorite_events=[{**found, **more}])


def reply(status: int, tweet: int = TWEET, user: dict[str, Any] = FAN, **more: Any) -> dict[str, Any]:
    """Somebody replies to a Tweet of the owner's."""
    to = {"in_reply_to_status_id": lossy(tweet), "in_reply_to_status_id_str": str(tweet)}
    to |= {"in_reply_to_user_id_str": OWNER["id_str"], "in_reply_to_screen_name": OWNER["screen_name"]}
    return envelope(tweet_create_events=[post(status, user, **{**to, **more})])


def retweet(status: int, tweet: int = TWEET, user: dict[str, Any] = FAN, **more: Any) -> dict[str, Any]:
    """Somebody Retweets a Tweet of the owner's."""
    return envelope(tweet_create_events=[post(status, user, **{"retweeted_status": post(tweet, OWNER), **more})])


def quote(status: int, tweet: int = TWEET, user: dict[str, Any] = FAN, **more: Any) -> dict[str, Any]:
    """Somebody quotes a Tweet of the owner's."""
    quoted = {"quoted_status_id_str": str(tweet), "is_quote_status": True, "quoted_status": post(tweet, OWNER)}
    return envelope(tweet_create_events=[post(status, user, **{**quoted, **more})])


def deletion(status: int, user: dict[str, Any] = FAN, at: datetime = NOW) -> dict[str, Any]:
    """A post is deleted."""
    gone = {"status": {"id": str(status), "user_id": user["id_str"]}, "timestamp_ms": str(ms(at))}
    return envelope(tweet_delete_events=[gone])


def revocation(at: datetime = NOW, user_id: str = "2244994945") -> dict[str, Any]:
    """The owner removes the app."""
    told = {"date_time": at.isoformat(), "target": {"app_id": "13090192"}, "source": {"user_id": user_id}}
    return {"user_event": {"revoke": told}}


def address(source: Source) -> str:
    """Where X calls."""
    return f"{PREFIX}{source.public_id.hex}"


def signed(content: Any, secret: str = SECRET) -> tuple[bytes, tuple[bytes, bytes]]:
    """The body, and the header that proves it."""
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return body, (SIGNATURE, signature(secret, body).encode())
