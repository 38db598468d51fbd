"""What a delivery is taken to mean: whose Tweet it is about, when it happened, under which id it counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.ingest import account_activity
from metrics.ingest.account_activity import MAX_KINDS, Owner, Reading
from metrics.vocabulary.events import MAX_EVENT_ID_LENGTH
from tests.ingest import activity
from tests.ingest.activity import FAN, NOW, OWNER, TWEET, born

KNOWN, UNKNOWN = Owner("northwind", OWNER["id_str"]), Owner("northwind")
DATE = "Mon Mar 26 16:33:26 +0000 2018"
BARE = {"id_str": str(TWEET)}


def read(content: Any, owner: Owner = KNOWN) -> Reading:
    """What it means for the owner."""
    return account_activity.read(content, owner, NOW)


def kinds(content: Any, owner: Owner = KNOWN) -> list[str]:
    """The types of its events."""
    return [event.type for event in read(content, owner).events]


@pytest.mark.parametrize("owner", [KNOWN, UNKNOWN])
def test_it_believes_x_where_the_author_of_a_tweet_is_not_told(owner: Owner) -> None:
    assert kinds(activity.like(favorited_status=BARE), owner) == ["favorites"]
    assert kinds(activity.retweet(born(5), retweeted_status=BARE), owner) == ["retweets"]
    bare = {"in_reply_to_user_id_str": None, "in_reply_to_screen_name": None}
    assert kinds(activity.reply(born(5), **bare), owner) == ["replies"]
    assert kinds(activity.quote(born(5), quoted_status=None), owner) == ["quote_tweets"]
    # What the account does with a Tweet whose author is not told is most likely somebody else's.
    assert kinds(activity.retweet(born(5), user=OWNER, retweeted_status=BARE), owner) == []


def test_it_knows_an_account_by_its_id_before_its_name() -> None:
    renamed, squatter = {**OWNER, "screen_name": "renamed"}, {**FAN, "screen_name": "northwind"}
    assert kinds(activity.like(favorited_status=activity.post(TWEET, renamed))) == ["favorites"]
    assert kinds(activity.like(favorited_status=activity.post(TWEET, squatter))) == []
    assert kinds(activity.like(favorited_status=activity.post(TWEET, renamed)), UNKNOWN) == []


def test_it_learns_the_id_of_the_account() -> None:
    assert read(activity.like(), UNKNOWN).user_id == OWNER["id_str"]
    assert read(activity.like(favorited_status=BARE), UNKNOWN).user_id == ""


def test_it_counts_the_accounts_own_answers_to_itself() -> None:
    for make, kind in [(activity.reply, "replies"), (activity.quote, "quote_tweets")]:
        reading = read(make(born(5), user=OWNER))
        assert [event.type for event in reading.events] == [kind]
        assert [tweet.id for tweet in reading.tweets] == [str(born(5))]
    assert (kinds(activity.retweet(born(5), user=OWNER)), read(activity.retweet(born(5), user=OWNER)).tweets) == (
        ["retweets"],
        [],
    )


def test_it_does_not_count_what_a_retweeted_quote_quotes() -> None:
    content = activity.retweet(born(5), quoted_status_id_str=str(TWEET), in_reply_to_status_id_str=str(TWEET))
    assert kinds(content) == ["retweets"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"timestamp_ms": 1522082006123}, datetime(2018, 3, 26, 16, 33, 26, 123_000, UTC)),
        ({"timestamp_ms": "1522082006123"}, datetime(2018, 3, 26, 16, 33, 26, 123_000, UTC)),
        ({"timestamp_ms": None, "created_at": DATE}, datetime(2018, 3, 26, 16, 33, 26, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_it_reads_every_way_to_tell_a_time(told: dict[str, Any], expected: datetime) -> None:
    assert read(activity.like(**told)).events[0].occurred_at == expected


def test_it_takes_the_time_from_the_posts_own_id_where_none_is_told() -> None:
    reading = read(activity.reply(born(7), created_at="", timestamp_ms=None))
    assert reading.events[0].occurred_at.timestamp() == pytest.approx(NOW.timestamp() - 7, abs=0.01)


def test_it_reads_the_whole_of_a_long_text() -> None:
    long = {
        "truncated": True,
        "extended_tweet": {"full_text": "All of it", "extended_entities": {"media": [{"type": "video"}]}},
    }
    (tweet,) = read(activity.envelope(tweet_create_events=[activity.post(TWEET, OWNER, **long)])).tweets
    assert (tweet.text, tweet.media) == ("All of it", "video")


def test_it_makes_ids_that_the_door_takes() -> None:
    short, long = account_activity.event_id("favorites", 7), account_activity.event_id("favorites", "x" * 500)
    assert short == account_activity.event_id("favorites", "7") == "x:favorites:7"
    assert len(long) <= MAX_EVENT_ID_LENGTH
    assert long != account_activity.event_id("favorites", "x" * 501)


def test_it_keeps_few_kinds_of_what_it_ignores() -> None:
    reading = read({f"kind_{number}": [{}] for number in range(100)})
    assert len(reading.ignored) == MAX_KINDS + 1
    assert sum(reading.ignored.values()) == 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
KINDS = ["favorite_events", "tweet_create_events", "tweet_delete_events", "follow_events", "user_event", "for_user_id"]
GOOD = [
    activity.like(),
    activity.reply(born(5)),
    activity.retweet(born(6)),
    activity.quote(born(7)),
    activity.deletion(born(8)),
    activity.revocation(),
]


@given(st.dictionaries(st.sampled_from(KINDS) | st.text(max_size=8), JSON, max_size=4))
def test_it_reads_any_json(content: dict[str, Any]) -> None:
    reading = read(msgspec.json.decode(msgspec.json.encode(content)))
    assert len(reading.events) <= reading.refused + sum(
        len(told) for told in content.values() if isinstance(told, list)
    )


@given(st.sampled_from(GOOD), st.data())
def test_it_survives_any_changed_field(content: dict[str, Any], data: st.DataObject) -> None:
    changed = msgspec.json.decode(msgspec.json.encode(content))
    kind = next(name for name in changed if name != "for_user_id")
    place = changed[kind][0] if isinstance(changed[kind], list) else changed[kind]
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict) or data.draw(st.booleans()):
            break
        place = place[name]
    place[name] = data.draw(JSON)
    reading = read(changed)
    assert reading.refused in {0, 1}
    for event in reading.events:
        assert event.occurred_at.tzinfo is not None
