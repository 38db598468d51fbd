"""Ids of Bluesky's posts: the same for the same URI, true to the millisecond, whatever the record key is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.vocabulary import atproto
from metrics.vocabulary.events import FIRST_SNOWFLAKE, MAX_TWEET_ID, tweet_created_at, tweet_created_ms

DID = "did:plc:vfnmgxg2yscfliemmcxzyfyh"
SNOWFLAKES_US = st.integers(1_288_834_990_000_000, 3_400_000_000_000_000)
RKEYS = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789._~:-", min_size=1, max_size=40)


def post(rkey: str, did: str = DID) -> str:
    return atproto.uri(did, atproto.POST, rkey)


@given(SNOWFLAKES_US, st.integers(0, 1023))
def test_it_keeps_the_time_of_a_tid_to_the_millisecond(instant_us: int, clock: int) -> None:
    number = atproto.post_id(post(atproto.tid(instant_us, clock)))

    assert tweet_created_ms(number) == instant_us // 1000
    assert FIRST_SNOWFLAKE <= number <= MAX_TWEET_ID


@given(st.integers(0, 2**53 - 1), st.integers(0, 1023))
def test_it_reads_back_every_tid_that_it_writes(instant_us: int, clock: int) -> None:
    written = atproto.tid(instant_us, clock)

    assert len(written) == 13
    assert atproto.tid_us(written) == instant_us


@given(RKEYS)
def test_it_gives_every_post_one_id_of_64_bits(rkey: str) -> None:
    number = atproto.post_id(post(rkey))

    assert 0 < number <= MAX_TWEET_ID
    assert number == atproto.post_id(post(rkey))
    assert number != atproto.post_id(post(rkey, "did:web:acme.example"))


@pytest.mark.parametrize("rkey", ["self", "3mmoodizfwc2", "zzzzzzzzzzzzz", "2222222222222", "3MMOODIZFWC2J"])
def test_it_gives_a_post_that_tells_no_time_one_of_the_first_ids(rkey: str) -> None:
    assert 0 < atproto.post_id(post(rkey)) < FIRST_SNOWFLAKE


def test_it_knows_the_time_of_a_real_post() -> None:
    number = atproto.post_id(f"at://{DID}/app.bsky.feed.post/3mmoodizfwc2j")

    assert tweet_created_at(number).replace(microsecond=0) == datetime(2026, 5, 25, 14, 20, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (f"at://{DID}/app.bsky.feed.post/3mmoodizfwc2j", (DID, "app.bsky.feed.post", "3mmoodizfwc2j")),
        ("at://did:web:acme.example/app.bsky.feed.like/self", ("did:web:acme.example", "app.bsky.feed.like", "self")),
        ("at://name.bsky.social/app.bsky.feed.post/3mmoodizfwc2j", None),
        (f"at://{DID}/app.bsky.feed.post/a/b", None),
        (f"https://{DID}/app.bsky.feed.post/a", None),
        (None, None),
        ({"uri": "x"}, None),
    ],
)
def test_it_takes_apart_only_the_uris_of_records(address: object, told: tuple[str, str, str] | None) -> None:
    assert atproto.parts(address) == told


def test_it_leads_people_to_bluesky() -> None:
    assert atproto.web_address(post("3mmoodizfwc2j")) == f"https://bsky.app/profile/{DID}/post/3mmoodizfwc2j"
    assert atproto.web_address("https://northwind.example/beans") == "https://northwind.example/beans"
    assert atproto.web_address("at://elsewhere") == ""
    assert atproto.web_address("") == ""


@pytest.mark.parametrize(
    "name", ["name.bsky.social", "northwind.example", "8.cn", "xn--fiqa61au8b7zsevnm8ak20mc4a87e.xn--p1ai"]
)
def test_it_knows_a_handle_when_it_sees_one(name: str) -> None:
    assert atproto.is_handle(name)


@pytest.mark.parametrize(
    "name", ["northwind", "did:plc:abc", "a..b", "-a.example", "a.example/x", "a.1", "a" * 250 + ".com"]
)
def test_it_knows_what_is_no_handle(name: str) -> None:
    assert not atproto.is_handle(name)
