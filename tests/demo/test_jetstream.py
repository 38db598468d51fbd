"""The demo's Bluesky network: what it tells is what the product's own reader of Jetstream understands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event as Stop
from typing import Any

import msgspec
import pytest
from websockets.sync.client import connect

from metrics.demo import plan
from metrics.demo.content import BLUESKY_VOICES, ON_BLUESKY, RECORDED
from metrics.demo.feed import Feed
from metrics.demo.jetstream import Scribe, Server
from metrics.demo.kernel import DAY, HOUR
from metrics.demo.plan import Story
from metrics.demo.sender import Sender
from metrics.demo.viewers import Viewers
from metrics.ingest.bluesky.messages import Sieve
from metrics.vocabulary import atproto
from metrics.vocabulary.engagements import UNDO_OF
from tests.demo.peer import running
from tests.stack import eventually, free_port

NOW = datetime(2026, 3, 12, 15, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return plan.all_stories(BLUESKY_VOICES, 1, NOW - 9 * DAY, NOW + HOUR)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(free_port())
    yield made
    made.close()


def heard(server: Server, number: int, query: str = "") -> list[dict[str, Any]]:
    with connect(f"ws://127.0.0.1:{server.port}/subscribe{query}", compression=None) as socket:
        return [msgspec.json.decode(socket.recv(timeout=10, decode=False)) for _ in range(number)]


def test_it_names_posts_by_uris_of_which_their_ids_are_made(stories: list[Story]) -> None:
    assert len(stories) > 10
    for story in stories:
        assert story.tweet_id == atproto.post_id(story.uri)
        assert atproto.web_address(story.uri).startswith(f"https://bsky.app/profile/{ON_BLUESKY.did}/post/")


def test_it_tells_what_its_people_do(stories: list[Story]) -> None:
    done = Viewers(1, 2).events(stories, NOW, NOW + HOUR)
    new = [story for story in stories if NOW <= story.created < NOW + HOUR]
    sieve = Sieve(ON_BLUESKY.did, set())

    for number, message in enumerate(Scribe(3).write(new, done, stories)):
        sieve.add(msgspec.json.encode({**message, "time_us": number}))

    assert {event.type for event in done} <= RECORDED
    gained = Counter(kind for deed in sieve.deeds for kind in deed.posts)
    assert gained == Counter(event.type for event in done if event.type in UNDO_OF)
    assert gained["favorites"] > 100
    undone = sum(not deed.posts for deed in sieve.deeds)
    assert undone == sum(event.type not in UNDO_OF for event in done) > 0
    assert [(post.id, post.text, post.link) for post in sieve.posts] == [
        (story.tweet_id, story.post.text, story.uri) for story in new
    ]
    assert sieve.ignored == {}


def test_it_plays_back_from_a_cursor_and_goes_on_live(server: Server) -> None:
    server.tell([{"did": "one"}, {"did": "two"}, {"did": "three"}])
    past = heard(server, 8, "?cursor=1")
    times = [message["time_us"] for message in past]
    place = next(at for at, message in enumerate(past) if message["did"] == "two")
    assert times == sorted(times)
    assert heard(server, 2, f"?cursor={times[place]}")[-1]["did"] == "three"
    with connect(f"ws://127.0.0.1:{server.port}/subscribe", compression=None) as socket:
        eventually(lambda: server.listeners == 1, 10, "somebody listens")
        server.tell([{"did": "four"}])
        assert any(msgspec.json.decode(socket.recv(timeout=10))["did"] == "four" for _ in range(20))


def test_it_never_rests(server: Server) -> None:
    sieve = Sieve(ON_BLUESKY.did, set())
    for message in heard(server, 10):
        sieve.add(msgspec.json.encode(message))
    assert sieve.newest_us() is not None
    assert (sieve.deeds, sieve.ignored) == ([], {})


def test_it_says_when_its_port_is_taken(server: Server) -> None:
    with pytest.raises(OSError, match="in use"):
        Server(server.port)


def test_its_feed_tells_blueskys_present_by_jetstream_alone(server: Server, tmp_path: Path) -> None:
    clock = [NOW]
    with running() as (peer, url):
        sender = Sender(url, "a-token", Stop())
        feed = Feed(sender, tmp_path / "feed.json", 1, 1, clock=lambda: clock[0], jetstream=server)
        while feed.behind:
            feed.tick()
        there = {event["handle"] for event in peer.events.values()}
        assert ON_BLUESKY.username in there
        assert {event["type"] for event in peer.events.values() if event["handle"] == ON_BLUESKY.username} <= RECORDED
        history = sum(event["handle"] == ON_BLUESKY.username for event in peer.events.values())
        for _ in range(60):
            clock[0] += 5
            feed.tick()
        sender.close()
        assert sum(event["handle"] == ON_BLUESKY.username for event in peer.events.values()) == history
        assert feed.progress.live_events > 100
    told = heard(server, 30, "?cursor=1")
    assert any(ON_BLUESKY.did in str(message) for message in told)
