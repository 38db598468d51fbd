"""The AT protocol's words, in which Bluesky speaks: DIDs, handles, at:// URIs, TIDs, and our ids of its posts.

A post is named by its URI, `at://DID/app.bsky.feed.post/RKEY`. Its id here is a snowflake like a Tweet's, made from
the URI alone: the same URI has the same id everywhere, and no table is needed.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from metrics.vocabulary.events import FIRST_SNOWFLAKE, MAX_TWEET_ID, TWITTER_EPOCH_MS

POST, LIKE, REPOST = "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.feed.repost"

# As https://atproto.com/specs has them: a DID; a handle, which is a domain name; a TID, 53 bits of µs and 10 of clock.
_DID = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]{0,250}[A-Za-z0-9._-]")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HANDLE = re.compile(rf"(?:{_LABEL}\.)+[a-zA-Z](?:[a-zA-Z0-9-]{{0,61}}[a-zA-Z0-9])?")
_TID = re.compile(r"[2-7a-j][2-7a-z]{12}")
_TID_DIGITS = {letter: value for value, letter in enumerate("234567abcdefghijklmnopqrstuvwxyz")}
_RECORD = re.compile(rf"at://({_DID.pattern})/([a-zA-Z0-9.-]+)/([A-Za-z0-9._~:-]{{1,512}})")

_SEQUENCE_BITS = 22


def is_did(text: str) -> bool:
    """Whether the text is written as a DID, such as did:plc:z72i7hdynmk6r22z27h6tvur."""
    return _DID.fullmatch(text) is not None


def is_handle(text: str) -> bool:
    """Whether the text is written as a handle, such as name.bsky.social."""
    return len(text) <= 253 and _HANDLE.fullmatch(text) is not None


def uri(did: str, collection: str, rkey: str) -> str:
    """The address of a record."""
    return f"at://{did}/{collection}/{rkey}"


def parts(address: object) -> tuple[str, str, str] | None:
    """The DID, collection and record key of a record's URI; None for anything else."""
    found = _RECORD.fullmatch(address) if isinstance(address, str) else None
    return (found[1], found[2], found[3]) if found else None


def tid_us(rkey: str) -> int | None:
    """The instant (Unix µs) that a TID holds; None for a record key that is none."""
    if not _TID.fullmatch(rkey):
        return None
    number = 0
    for letter in rkey:
        number = number << 5 | _TID_DIGITS[letter]
    return number >> 10


def tid(instant_us: int, clock: int = 0) -> str:
    """The TID of an instant (Unix µs) by one of 1,024 clocks."""
    number = instant_us << 10 | clock
    letters = "".join(_TID_DIGITS)
    return "".join(letters[number >> shift & 31] for shift in range(60, -1, -5))


def post_id(post_uri: str) -> int:
    """The 64-bit id of a post: its record key's time to the millisecond, then 22 bits of a hash of its URI.

    A record key that is no TID, or one from before snowflakes or after their end, tells no time: such a post gets one
    of the small ids of the first Tweets, whose time is unknown too.
    """
    digest = int.from_bytes(blake2b(post_uri.encode(), digest_size=8).digest(), "big")
    instant_us = tid_us(post_uri.rpartition("/")[2])
    if instant_us is not None:
        number = (instant_us // 1000 - TWITTER_EPOCH_MS) << _SEQUENCE_BITS | digest % (1 << _SEQUENCE_BITS)
        if FIRST_SNOWFLAKE <= number <= MAX_TWEET_ID:
            return number
    return 1 + digest % (FIRST_SNOWFLAKE - 1)


def web_address(link: str) -> str:
    """Where people see what the link names: Bluesky's page of a post's at:// URI, any other link as it is."""
    found = parts(link)
    if found and found[1] == POST:
        return f"https://bsky.app/profile/{found[0]}/post/{found[2]}"
    return "" if link.startswith("at://") else link
