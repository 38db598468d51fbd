"""What Jetstream's messages mean to the posts of one account."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from metrics.ingest.bluesky.messages import Sieve, tweet
from metrics.vocabulary import atproto
from tests.ingest.connectors.jetstream import OURS, SECOND_US, THEIRS, a_post, engaging, message, now_us

# Real messages; their licence lies beside them.
GOLDEN = Path(__file__).parent / "data" / "jetstream" / "golden_v1.jsonl"


def sifted(*raws: bytes, keys: set[int] | None = None) -> Sieve:
    sieve = Sieve(OURS, set() if keys is None else keys)
    for raw in raws:
        sieve.add(raw)
    return sieve


def golden() -> list[bytes]:
    return GOLDEN.read_bytes().splitlines()


@pytest.mark.parametrize(
    ("did", "kind"),
    [
        ("did:plc:vfnmgxg2yscfliemmcxzyfyh", "favorites"),
        ("did:plc:j76trmiofvaxxpvx2vnb2vwf", "replies"),
        ("did:plc:hjloomm2tkve3pmfgbxegl3v", "retweets"),
    ],
)
def test_it_finds_the_engagement_in_real_messages(did: str, kind: str) -> None:
    sieve = Sieve(did, set())
    for raw in golden():
        sieve.add(raw)

    (deed,) = sieve.deeds
    assert list(deed.posts) == [kind]
    assert deed.posts[kind].startswith(f"at://{did}/app.bsky.feed.post/3mmo")
    assert sieve.newest_us() == 1779719009462151
    assert sieve.ignored == {"deletion of an unknown record": 1}


def test_it_sees_every_kind_of_real_message_without_complaint() -> None:
    for raw in golden():
        did = raw.split(b'"')[3].decode()
        sieve = Sieve(did, set())
        sieve.add(raw)
        assert sieve.ignored["unreadable message"] == 0
        assert sieve.seen == 1


@pytest.mark.parametrize("with_media", [False, True])
def test_it_knows_a_quote_in_both_shapes(with_media: bool) -> None:
    post = a_post()
    raw = message("did:plc:carol", now_us(), "create", atproto.POST, "3k", engaging("quote_tweets", post, with_media))

    assert [deed.posts for deed in sifted(raw).deeds] == [{"quote_tweets": post}]


def test_it_counts_a_post_that_replies_and_quotes_as_both() -> None:
    one, other = a_post(10), a_post(20)
    record = engaging("replies", one) | {"embed": engaging("quote_tweets", other)["embed"]}

    (deed,) = sifted(message("did:plc:carol", now_us(), "create", atproto.POST, "3k", record)).deeds

    assert deed.posts == {"replies": one, "quote_tweets": other}


@pytest.mark.parametrize(
    "record",
    [
        {"subject": {"uri": f"at://{OURS}/app.bsky.feed.generator/beans"}},
        {"subject": {"uri": f"at://{OURS}"}},
        {"subject": f"at://{OURS}/app.bsky.feed.post/3k"},
        {"subject": {"uri": [OURS]}},
        {"text": OURS},
    ],
)
def test_it_ignores_and_counts_a_like_of_something_else(record: object) -> None:
    sieve = sifted(message("did:plc:carol", now_us(), "create", atproto.LIKE, "3k", record))

    assert sieve.deeds == []
    assert sieve.ignored == {"app.bsky.feed.like of no post": 1}


def test_it_ignores_a_reply_to_somebody_elses_reply_in_our_thread() -> None:
    record = {"reply": {"parent": {"uri": a_post(9, THEIRS)}, "root": {"uri": a_post(9)}}}

    assert sifted(message("did:plc:carol", now_us(), "create", atproto.POST, "3k", record)).deeds == []


def test_it_takes_our_own_posts_as_tweets() -> None:
    uri = a_post(30)
    record = {
        "text": "Fresh beans.",
        "facets": [{"features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "coffee"}, {"uri": "https://x"}]}, 7],
        "tags": ["beans", "coffee", 3],
        "embed": {"$type": "app.bsky.embed.recordWithMedia", "media": {"$type": "app.bsky.embed.video"}},
    }
    sieve = sifted(message(OURS, now_us(), "create", atproto.POST, uri.rpartition("/")[2], record))

    (found,) = sieve.posts
    assert (found.id, found.text, found.link) == (atproto.post_id(uri), "Fresh beans.", uri)
    assert (found.media, found.tags) == ("video", ["coffee", "beans"])
    assert found.created_at is None
    assert sieve.ignored == {}


@pytest.mark.parametrize(
    ("claimed", "told"),
    [
        ("2026-05-25T14:23:28.778Z", datetime(2026, 5, 25, 14, 23, 28, 778_000, UTC)),
        ("1969-05-25T14:23:28Z", datetime(2026, 6, 1, tzinfo=UTC)),
        ("2036-05-25T14:23:28Z", datetime(2026, 6, 1, tzinfo=UTC)),
        ("2026-05-25T14:23:28", datetime(2026, 6, 1, tzinfo=UTC)),
        ("yesterday", datetime(2026, 6, 1, tzinfo=UTC)),
    ],
)
def test_it_believes_a_post_without_a_tid_only_what_can_be(claimed: str, told: datetime) -> None:
    had_us = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * SECOND_US

    assert tweet(f"at://{OURS}/app.bsky.feed.post/hello", {"createdAt": claimed}, had_us).created_at == told


def test_it_passes_over_edits_and_the_end_of_own_posts_and_counts_them() -> None:
    sieve = sifted(
        message("did:plc:carol", now_us(), "update", atproto.POST, "3k", engaging("replies", a_post())),
        message(OURS, now_us(), "delete", atproto.POST, "3k"),
        message("did:plc:carol", now_us(), "delete", atproto.LIKE, "3k"),
    )

    assert sieve.deeds == []
    assert sieve.ignored == {"change of a record": 1, "own post deleted": 1, "deletion of an unknown record": 1}
