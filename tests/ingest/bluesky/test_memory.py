"""Each record counts once, and once back, however often and by whom it is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from metrics.ingest.bluesky import memory as memories
from metrics.models import RememberedRecord, Source, Tweet
from metrics.vocabulary import atproto
from metrics.vocabulary.events import tweet_created_at
from tests.ingest.connectors.jetstream import (
    OURS,
    SECOND_US,
    Server,
    a_like,
    a_post,
    accepted,
    an_unlike,
    appended,
    engaging,
    listen_to_the_end,
    message,
    now_us,
    resumed,
    served,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def source(bluesky_source: Source) -> Source:
    return bluesky_source


def test_it_counts_what_happens_and_what_is_taken_back(source: Source) -> None:
    post, at_us = a_post(), now_us() - 60 * SECOND_US

    async def act(server: Server) -> None:
        resumed(source, at_us - SECOND_US)
        await server.say(a_like(post, at_us, rkey="3kaaaaaaaaaa2"), an_unlike(at_us + 5, "3kaaaaaaaaaa2"))
        await server.say(an_unlike(at_us + 6, "3kunknownaaa2"), a_like(post, at_us + 7))
        shift = await listen_to_the_end(source, server)
        assert shift.receipts[0].taken.ignored == {"deletion of an unknown record": 1}

    served(act)
    assert accepted() == {(atproto.post_id(post), "favorites"): 2, (atproto.post_id(post), "unfavorites"): 1}


def test_it_counts_each_record_with_its_time_at_jetstream_and_its_person(source: Source) -> None:
    post, at_us = a_post(), now_us() - 60 * SECOND_US

    async def act(server: Server) -> None:
        resumed(source, at_us)
        await server.say(a_like(post, at_us))
        shift = await listen_to_the_end(source, server)
        (event,) = shift.deliveries[0].events
        assert event.user_id == "did:plc:carol"
        assert event.occurred_at == datetime.fromtimestamp(at_us / 1e6, UTC)

    served(act)


def test_it_makes_tweets_known_with_their_address(source: Source) -> None:
    old, new, at_us = a_post(7200), a_post(61), now_us() - 60 * SECOND_US

    async def act(server: Server) -> None:
        resumed(source, at_us)
        own = message(OURS, at_us, "create", atproto.POST, new.rpartition("/")[2], {"text": "Fresh \0beans."})
        await server.say((at_us, own), a_like(old, at_us + 1), a_like(new, at_us + 2))
        await listen_to_the_end(source, server)

    served(act)
    known = {row.tweet_id: row for row in Tweet.objects.filter(handle=source.handle)}
    told, stub = known[atproto.post_id(new)], known[atproto.post_id(old)]
    assert (told.text, told.link, told.is_stub) == ("Fresh \ufffdbeans.", new, False)
    assert (stub.text, stub.link, stub.is_stub) == ("", old, True)
    assert stub.created_at == tweet_created_at(stub.tweet_id)
    assert stub.web_address == f"https://bsky.app/profile/{OURS}/post/{old.rpartition('/')[2]}"


def test_it_remembers_over_a_restart_which_post_a_record_liked(source: Source) -> None:
    post, at_us = a_post(), now_us() - 60 * SECOND_US

    async def act(server: Server) -> None:
        resumed(source, at_us)
        await server.say(a_like(post, at_us, rkey="3kaaaaaaaaaa2"))
        await listen_to_the_end(source, server)
        # Long after the few seconds that are asked for again.
        await server.say(an_unlike(at_us + 30 * SECOND_US, "3kaaaaaaaaaa2"))
        await listen_to_the_end(source, server)

    served(act)
    assert accepted()[atproto.post_id(post), "unfavorites"] == 1


def test_it_asks_for_a_few_seconds_more_and_appends_nothing_twice(source: Source) -> None:
    post, at_us = a_post(), now_us() - 60 * SECOND_US

    async def act(server: Server) -> None:
        resumed(source, at_us)
        await server.say(*(a_like(post, at_us + n, f"did:plc:p{n}") for n in range(20)))
        await listen_to_the_end(source, server)
        await server.say(a_like(post, at_us + SECOND_US))
        shift = await listen_to_the_end(source, server)
        assert server.asked[-1]["cursor"] == [str(at_us + 19 - 5 * SECOND_US)]
        assert set(server.asked[-1]["wantedCollections"]) == {atproto.LIKE, atproto.REPOST, atproto.POST}
        assert shift.receipts[0].taken.events == 1
        assert shift.receipts[0].taken.ignored == {"repeated message": 20}

    served(act)
    assert appended() == 21


def test_it_counts_once_what_another_server_tells_with_other_times(source: Source) -> None:
    post, at_us = a_post(), now_us() - 60 * SECOND_US
    rkey = "3kaaaaaaaaaa2"
    like = message("did:plc:carol", at_us, "create", atproto.LIKE, rkey, engaging("favorites", post))
    unlike = message("did:plc:carol", at_us + 9, "delete", atproto.LIKE, rkey)

    def late(raw: bytes, time_us: int, by_us: int) -> tuple[int, bytes]:
        return time_us + by_us, raw.replace(str(time_us).encode(), str(time_us + by_us).encode())

    async def act(server: Server) -> None:
        resumed(source, at_us)
        await server.say((at_us, like), (at_us + 9, unlike))
        await listen_to_the_end(source, server)
        # Nothing that was taken is known to have been: the worst that a crash can leave.
        resumed(source, at_us)
        server.messages.clear()
        await server.say(late(like, at_us, 70_000), late(unlike, at_us + 9, 70_000))
        await listen_to_the_end(source, server)

    served(act)
    assert appended() == 4
    assert accepted() == {(atproto.post_id(post), "favorites"): 1, (atproto.post_id(post), "unfavorites"): 1}


def test_it_counts_anew_when_a_record_key_is_used_again(source: Source) -> None:
    post, at_us, rkey = a_post(), now_us() - 60 * SECOND_US, "self"

    async def act(server: Server) -> None:
        resumed(source, at_us)
        for n in range(3):
            await server.say(a_like(post, at_us + 10 * n, rkey=rkey), an_unlike(at_us + 10 * n + 5, rkey))
            await listen_to_the_end(source, server)

    served(act)
    assert accepted() == {(atproto.post_id(post), "favorites"): 3, (atproto.post_id(post), "unfavorites"): 3}


def test_it_takes_nothing_back_that_the_border_refused(source: Source) -> None:
    to_come, at_us, rkey = a_post(-600), now_us() - 60 * SECOND_US, "3kaaaaaaaaaa2"

    async def act(server: Server) -> None:
        resumed(source, at_us)
        await server.say(a_like(to_come, at_us, rkey=rkey), an_unlike(at_us + 30 * SECOND_US, rkey))
        shift = await listen_to_the_end(source, server)
        assert [refusal.field for _, _, refusal in shift.receipts[0].refused] == ["occurred_at"]

    served(act)
    assert accepted() == {}
    assert not Tweet.objects.exists()


def test_it_forgets_the_oldest_records_first(source: Source) -> None:
    RememberedRecord.objects.bulk_create(
        RememberedRecord(source=source, record=n, engagement=1, tweet_id=1, at_us=1, delivery=1) for n in range(30)
    )
    memory = memories.Memory(source.pk, kept=20)

    memory.refresh()

    assert memory.keys == set(range(10, 30))
    assert RememberedRecord.objects.count() == 20
