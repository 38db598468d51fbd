"""Bluesky by Jetstream: whatever breaks, and however often something is told, each engagement counts once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metrics import stream
from metrics.aggregate import rollups
from metrics.ingest.connectors import (
    DisconnectedError,
    LimitedError,
    SettingsError,
    SourceError,
    jetstream,
    registry,
)
from metrics.ingest.connectors.jetstream import Jetstream
from metrics.models import RememberedRecord, Source, SourceState, TweetRollup
from metrics.vocabulary import atproto
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.periods import Grain
from tests.ingest.connectors.jetstream import (
    OURS,
    SECOND_US,
    THEIRS,
    Listening,
    Network,
    Server,
    a_like,
    a_post,
    accepted,
    encoded,
    listen_to_the_end,
    message,
    now_us,
    position,
    resumed,
    served,
)
from tests.ingest.scripted import Worked

pytestmark = pytest.mark.django_db
PROPERTY = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def source(bluesky_source: Source) -> Source:
    return bluesky_source


# --- breaks ---


@PROPERTY
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 40), max_size=6), crashes=st.sets(st.integers(1, 9)))
def test_it_ends_at_the_true_totals_whatever_is_cut(
    source: Source, seed: int, cuts: list[int], crashes: set[int]
) -> None:
    stream.client().flushdb()
    RememberedRecord.objects.all().delete()
    network = Network(seed)
    resumed(source, network.now_us)
    network.live(60)
    network.nonsense()
    network.live(60)

    async def act(server: Server) -> None:
        server.cuts.extend(cuts)
        await server.say(*network.messages)
        await listen_to_the_end(source, server) if not crashes else await _crashing(source, server, crashes)

    served(act)
    assert accepted() == network.truth


class CrashError(Exception):
    """The process dies."""


class CrashingShift(Listening):
    """Dies at some deliveries: before anything is stored, or between the events and the cursor."""

    crashes: set[int]

    async def take(self, delivery, cursor=None):
        number = len(self.deliveries) + 1
        if number in self.crashes:
            self.crashes.discard(number)
            if number % 2:
                await super().take(delivery)
            raise CrashError
        return await super().take(delivery, cursor)


async def _crashing(source: Source, server: Server, crashes: set[int]) -> None:
    source.settings["url"] = server.url
    last_us = max(us for us, _ in server.messages)
    shift = CrashingShift(source, lambda: position(source) >= last_us)
    shift.crashes = crashes
    for _ in range(60):
        if shift.is_over:
            return
        try:
            await Jetstream().run(shift)
        except (CrashError, SourceError):
            continue
    raise AssertionError("never came to the end")


def test_it_goes_on_when_the_server_was_away(source: Source) -> None:
    network = Network(4)
    resumed(source, network.now_us)

    async def act() -> None:
        server = Server()
        async with server.running():
            await server.say(*network.live(40).messages)
            await listen_to_the_end(source, server)
            port = server.port
        with pytest.raises(SourceError, match=rf"127\.0\.0\.1:{port} does not answer as a Jetstream server"):
            await Jetstream().run(Listening(source))
        told = len(network.messages)
        async with server.running(port):
            await server.say(*network.live(40).messages[told:])
            await listen_to_the_end(source, server)

    async_to_sync(act)()
    assert accepted() == network.truth


def test_it_says_who_refuses_and_when_to_come_back(source: Source) -> None:
    async def act(server: Server) -> None:
        source.settings["url"] = server.url
        server.refuses = (HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": "90"})
        with pytest.raises(LimitedError, match="answered 429") as limited:
            await Jetstream().run(Listening(source))
        assert timedelta(seconds=80) < limited.value.until - datetime.now(UTC) < timedelta(seconds=91)
        server.refuses = (HTTPStatus.FORBIDDEN, {})
        with pytest.raises(SourceError, match="answered 403"):
            await Jetstream().run(Listening(source))

    served(act)


def test_it_ends_a_connection_on_which_nothing_comes(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream, "SILENCE_SECONDS", 0.1)

    async def act(server: Server) -> None:
        source.settings["url"] = server.url
        with pytest.raises(SourceError, match="has sent nothing"):
            await Jetstream().run(Listening(source))

    served(act)


def test_it_ends_a_connection_on_which_only_nonsense_comes(source: Source) -> None:
    async def act(server: Server) -> None:
        resumed(source, now_us())
        source.settings["url"] = server.url
        await server.say((now_us(), b"220 mail ready"))
        with pytest.raises(SourceError, match="something else than Jetstream's messages"):
            await Jetstream().run(Listening(source))

    served(act)


def test_it_catches_up_before_it_is_live(source: Source) -> None:
    post, at_us = a_post(), now_us() - 60 * SECOND_US

    async def act(server: Server) -> None:
        resumed(source, at_us)
        await server.say(a_like(post, at_us))
        shift = await listen_to_the_end(source, server)
        assert shift.changes == [SourceState.CATCHING_UP]
        await server.say(a_like(post, now_us()))
        shift = await listen_to_the_end(source, server)
        assert shift.states[-1] == SourceState.LIVE

    served(act)


def test_it_tells_what_jetstream_no_longer_has(source: Source) -> None:
    post, at_us = a_post(200_000), now_us() - 60 * SECOND_US

    async def act(server: Server) -> None:
        resumed(source, at_us - 40 * 3600 * SECOND_US)
        server.reaches_back_to = at_us
        await server.say(a_like(post, at_us - 39 * 3600 * SECOND_US), a_like(post, at_us))
        shift = await listen_to_the_end(source, server)
        (note,) = shift.notes
        assert note.startswith("Jetstream has nothing from")

    served(act)
    assert accepted() == {(atproto.post_id(post), "favorites"): 1}


# --- the account ---


def an_account(time_us: int, **told: object) -> tuple[int, bytes]:
    return time_us, encoded({"did": OURS, "time_us": time_us, "kind": "account", "account": {"did": OURS, **told}})


def test_it_stops_when_the_account_is_deleted(source: Source) -> None:
    post, at_us = a_post(), now_us() - 60 * SECOND_US

    async def act(server: Server) -> None:
        resumed(source, at_us - SECOND_US)
        await server.say(a_like(post, at_us), an_account(at_us + 1, active=False, status="deleted"))
        with pytest.raises(DisconnectedError, match="has been deleted"):
            await listen_to_the_end(source, server)
        # Connected again, by somebody who knows better: the old message is no news.
        await server.say(a_like(post, at_us + 2, "did:plc:dave"))
        await listen_to_the_end(source, server)

    served(act)
    assert accepted() == {(atproto.post_id(post), "favorites"): 2}


def test_it_notes_what_becomes_of_the_account(source: Source) -> None:
    at_us = now_us() - 60 * SECOND_US
    renamed = {"did": OURS, "time_us": at_us + 1, "kind": "identity", "identity": {"did": OURS, "handle": "n.example"}}

    async def act(server: Server) -> None:
        resumed(source, at_us - SECOND_US)
        await server.say(an_account(at_us, active=False, status="deactivated"), (at_us + 1, encoded(renamed)))
        shift = await listen_to_the_end(source, server)
        assert shift.notes == [
            "Bluesky says that the account is deactivated.",
            "The account is called @n.example now; it is the same one.",
        ]
        await server.say(an_account(at_us + 2, active=True), (at_us + 3, encoded(renamed | {"time_us": at_us + 3})))
        assert (await listen_to_the_end(source, server)).notes == []

    served(act)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"account": "not a name"}, "account"),
        ({"account": "did:PLC:x"}, "account"),
        ({"account": "name.bsky.social", "url": "https://jetstream.example"}, "url"),
        ({"account": "name.bsky.social", "url": "wss://"}, "url"),
    ],
)
def test_it_refuses_settings_that_cannot_work(source: Source, given: dict[str, str], field: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Jetstream().checked(source, given)
    assert refused.value.field == field


def test_it_keeps_the_account_without_its_at_and_the_public_server(source: Source) -> None:
    kept = Jetstream().checked(source, {"account": " @name.bsky.social "})

    assert kept == {"account": "name.bsky.social", "url": jetstream.PUBLIC_URL}
    assert registry()["jetstream"].platforms == {"bluesky"}


def test_its_test_tells_whom_it_found(source: Source) -> None:
    async def act(server: Server) -> None:
        source.settings["url"] = server.url

        async def talking() -> None:
            while True:
                await server.say((now_us(), message(THEIRS, now_us(), "delete", atproto.LIKE, "3k")))
                await asyncio.sleep(0.01)

        talk = asyncio.create_task(talking())
        assert (await Jetstream().test(source)).startswith(f"@{OURS} is {OURS}; 127.0.0.1:")
        talk.cancel()

    served(act)


def test_it_asks_once_whom_a_handle_is(source: Source) -> None:
    source.settings["account"] = "name.bsky.social"
    source.cursor = {"account": "name.bsky.social", "did": OURS}
    post = a_post()

    async def act(server: Server) -> None:
        source.settings["url"] = server.url
        source.cursor["time_us"] = now_us() - 60 * SECOND_US
        await server.say(a_like(post, now_us() - 30 * SECOND_US))
        await listen_to_the_end(source, server)

    served(act)
    assert accepted() == {(atproto.post_id(post), "favorites"): 1}


# --- with a runner, and counted ---


@pytest.mark.django_db(transaction=True)
def test_its_runner_goes_on_through_cuts_and_the_writers_count_the_truth(source: Source) -> None:
    network = Network(7).live(150)
    last_us = network.messages[-1][0]
    resumed(source, network.messages[0][0])

    async def act(server: Server) -> None:
        server.cuts.extend([30, 80])
        await server.say(*network.messages)
        source.settings["url"] = server.url
        await sync_to_async(source.save)()
        with Worked(source):
            for _ in range(600):
                await sync_to_async(source.refresh_from_db)()
                if position(source) >= last_us and source.state == SourceState.CATCHING_UP:
                    break
                await asyncio.sleep(0.05)

    served(act)
    assert position(source) == last_us
    assert [note.text for note in source.notes.all()].count("catching up") == 3
    for shard in stream.shards():
        writer = rollups.Writer(shard)
        while writer.step(1):
            pass
    rows = TweetRollup.objects.filter(handle=source.handle, grain=Grain.LIFETIME).values()
    counted = {(row["tweet_id"], name): row[name] for row in rows for name in NAMES if row[name]}
    assert counted == network.truth
    today = source.days.get()
    assert today.events == network.truth.total()
