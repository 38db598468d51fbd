"""The InsightsTrack stream, line by line of its contract: who may read, what its messages say, and when they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from accounts.credentials import issue_token
from accounts.models import ApiToken, Handle, Team, User
from metrics import stream
from metrics.aggregate import partitions
from metrics.aggregate.reach import keep
from metrics.ingest import tweets
from metrics.models import Audience, ReportedReach, StreamRule, Tweet
from metrics.present import exchange, rules, uniques
from metrics.present.announce import follow_group
from metrics.present.insightstrack import StreamDoor
from metrics.vocabulary.engagements import CODE, NAMES, TYPES
from metrics.vocabulary.events import snowflake_at
from tests.aggregate.events import NOW, Event, entries
from tests.present.stream_reader import PATH, Stream, ago, announce, commit, happen, impressions

pytestmark = pytest.mark.django_db(transaction=True)
happens, commits = sync_to_async(happen), sync_to_async(commit)
announces = sync_to_async(announce)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "LOOK_SECONDS", 0.1)
    partitions.forget()
    stream.client().flushdb()


@pytest.fixture
def followed(northwind: Handle) -> StreamRule:
    """The rule that makes the stream `prod` follow @northwind."""
    return rules.follow(northwind.team_id, "prod", northwind)[0]


@pytest.fixture
async def reader(door: StreamDoor, followed: StreamRule, read_token: str) -> AsyncIterator[Stream]:
    """An open stream."""
    made = Stream(door, read_token)
    assert await made.open() == 200
    yield made


# --- who may read -------------------------------------------------------------------------------------------


async def test_it_asks_for_a_token(door: StreamDoor, northwind: Handle, ingest_token: str) -> None:
    for token, status, error in [
        (None, 401, "no_token"),
        ("it_x", 401, "bad_token"),
        (ingest_token, 403, "wrong_scope"),
    ]:
        asked = Stream(door, token)
        assert await asked.open() == status
        assert (await asked.refusal())["error"] == error


async def test_it_tells_strangers_nothing(door: StreamDoor, followed: StreamRule, acme: Handle) -> None:
    def stranger() -> str:
        return issue_token(acme.team, "charlie's", ["read"], [acme])[1]

    token = await sync_to_async(stranger)()
    answers = []
    for path in (PATH, PATH.replace("northwind", "nobody"), PATH.replace("twitter", "elsewhere")):
        asked = Stream(door, token, path=path)
        answers.append((await asked.open(), await asked.refusal()))
    assert answers == [(404, {"error": "not_found", "detail": "There is no such stream."})] * 3


@pytest.mark.parametrize("person", ["alice", "bob"])
async def test_it_serves_the_owner_and_a_team_mate_alike(
    person: str, door: StreamDoor, followed: StreamRule, northwind: Handle, alice: User, bob: User
) -> None:
    made_by = {"alice": alice, "bob": bob}[person]
    _, secret = await sync_to_async(issue_token)(northwind.team, person, ["read"], [northwind], created_by=made_by)
    asked = Stream(door, secret)
    assert await asked.open() == 200
    await happens(northwind, Event(1, 0, 0, 60, 3))
    assert impressions(await asked.summary()) == 3


async def test_it_follows_only_what_the_token_covers(door: StreamDoor, followed: StreamRule, northwind: Handle) -> None:
    def narrow() -> tuple[Handle, str]:
        other = Handle.objects.create(team=northwind.team, username="other", display_name="Other")
        rules.follow(northwind.team_id, "prod", other)
        return other, issue_token(northwind.team, "narrow", ["read"], [other])[1]

    other, token = await sync_to_async(narrow)()
    asked = Stream(door, token)
    assert await asked.open() == 200
    await happens(northwind, Event(1, 1, 0, 60))
    await happens(other, Event(2, 2, 0, 60))
    assert (await asked.summary())["target"] == {"id_str": str(Event(2, 2, 0, 60).tweet_id)}


@pytest.mark.parametrize("query", ["backfillMinutes=0", "backfillMinutes=6", "intervalSeconds=61", "intervalSeconds=x"])
async def test_it_names_the_parameter_at_fault(door: StreamDoor, read_token: str, query: str) -> None:
    asked = Stream(door, read_token, query)
    assert await asked.open() == 400
    assert (await asked.refusal())["detail"].startswith(query.partition("=")[0])


async def test_it_knows_no_team_of_an_impossible_name(door: StreamDoor, read_token: str) -> None:
    asked = Stream(door, read_token, path=PATH.replace("northwind", "north\x00wind"))
    assert await asked.open() == 404


async def test_it_is_only_read(door: StreamDoor, read_token: str) -> None:
    assert await Stream(door, read_token, method="POST").open() == 405


async def test_it_opens_so_many_streams_a_token(door: StreamDoor, read_token: str, token: str, settings: Any) -> None:
    settings.STREAM_CONNECTIONS_PER_TOKEN = 2
    opened = [Stream(door, read_token) for _ in range(2)]
    assert [await each.open() for each in opened] == [200, 200]
    refused = Stream(door, read_token)
    assert (await refused.open(), (await refused.refusal())["error"]) == (429, "too_many_streams")
    assert await Stream(door, token).open() == 200
    await opened[0].close()
    assert await Stream(door, read_token).open() == 200


# --- what a summary says ------------------------------------------------------------------------------------


async def test_it_says_all_types_in_the_vendors_shape(reader: Stream, followed: StreamRule, northwind: Handle) -> None:
    events = [Event(code, 0, code, 60, code + 1) for code in range(len(NAMES))]
    await happens(northwind, *events, Event(99, 0, CODE["favorites"], 60, 3, promoted=True))
    told = await reader.summary()
    assert told["target"] == {"id_str": str(events[0].tweet_id)}
    assert told["start_time"] == f"{followed.created_at:%Y-%m-%dT%H:%M:%SZ}"
    counted = told["metrics"]["engagements"]["metric_counts"]
    assert counted.pop("detail_clicks") == counted["detail_expands"] == {"total": {"count": CODE["detail_expands"] + 1}}
    assert counted.pop("favorites") == {"total": {"count": 5}, "organic": {"count": 2}, "promoted": {"count": 3}}
    assert {name: count["total"]["count"] for name, count in counted.items()} == {
        name: CODE[name] + 1 for name in NAMES if name not in {"impressions", "favorites"}
    }
    assert told["metrics"]["impressions"] == {"total": {"count": 1}}
    overall = sum(CODE[kind.name] + 1 for kind in TYPES if kind.undoes is None and kind.name != "impressions") + 3
    assert told["metrics"]["engagements"]["overall"] == {"total": {"count": overall}}


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniques, "FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(uniques, "LOOK_SECONDS", 0.05)


@pytest.mark.usefixtures("_soon")
async def test_it_tells_how_many_people_once_that_is_known(reader: Stream, northwind: Handle) -> None:
    crowd = [Event(number, 0, CODE["impressions"], 60, 3, person=number) for number in range(1, 6)]
    crowd.append(Event(9, 0, CODE["favorites"], 60, person=2))
    await happens(northwind, *crowd)
    first = await reader.summary()
    assert (uniques_of(first), impressions(first)) == ((None, None), 15)
    await sync_to_async(keep)(0, entries(northwind.pk, [crowd]))
    told = await reader.summary()
    assert (uniques_of(told), impressions(told)) == ((5, 1), 15)
    assert told["metrics"]["impressions"]["unique"] == {"count": 5, "low": 5, "high": 5}
    await happens(northwind, Event(10, 0, CODE["impressions"], 50))
    assert uniques_of(later := await reader.summary()) == (5, 1)
    assert impressions(later) == 16


@pytest.mark.usefixtures("_soon")
async def test_it_passes_on_what_other_systems_report(reader: Stream, northwind: Handle) -> None:
    shown, only_played = Event(1, 0, CODE["impressions"], 60, 50), Event(2, 1, CODE["video_views"], 60)
    report = {"tweet_id": shown.tweet_id, "audience": Audience.SEEN, "source_id": 1, "people": 40, "as_of": NOW}
    await ReportedReach.objects.acreate(handle=northwind, **report)
    seen = Event(3, 1, CODE["impressions"], 60, person=7)
    await sync_to_async(keep)(0, entries(northwind.pk, [[seen]]))
    await happens(northwind, shown, only_played, seen)
    told: dict[str, Any] = {}
    while len(told) < 2:
        summary = await reader.summary()
        if any(uniques_of(summary)):
            told[summary["target"]["id_str"]] = uniques_of(summary)
    assert told == {str(shown.tweet_id): (40, 0), str(seen.tweet_id): (1, None)}


def uniques_of(summary: dict[str, Any]) -> tuple[int | None, int | None]:
    """How many people the summary says saw the Tweet and engaged with it."""
    metrics = summary["metrics"]
    both = metrics["impressions"], metrics["engagements"]["overall"]
    shown, engaged = (part.get("unique", {"count": None})["count"] for part in both)
    return shown, engaged


async def test_it_is_cumulative_over_the_tweets_life(reader: Stream, northwind: Handle) -> None:
    await happens(northwind, Event(1, 0, 0, 3 * 86_400, 40))
    assert impressions(await reader.summary()) == 40
    await happens(northwind, Event(2, 0, 0, 60, 2))
    assert impressions(await reader.summary()) == 42


async def test_it_begins_with_the_tweet_where_that_is_younger_than_the_rule(reader: Stream, northwind: Handle) -> None:
    tweet_id = snowflake_at(datetime.now(UTC) + timedelta(seconds=30))
    published = tweets.checked(tweets.IncomingTweet(tweet_id, "Soon"), {"northwind": northwind.pk})
    await sync_to_async(tweets.upsert)([published])
    assert (await reader.message())["id_str"] == str(tweet_id)


async def test_it_follows_a_tweet_for_seven_days(reader: Stream, northwind: Handle, monkeypatch: Any) -> None:
    young, old = Event(1, 0, 0, 60), Event(2, 1, 0, 60)
    monkeypatch.setattr(
        Event, "tweet_id", property(lambda event: snowflake_at(NOW - timedelta(days=6 + 2 * event.tweet)))
    )
    await happens(northwind, old, young)
    assert (await reader.summary())["target"]["id_str"] == str(young.tweet_id)
    await happens(northwind, Event(3, 1, 0, 30), Event(4, 0, 0, 30))
    assert (await reader.summary())["target"]["id_str"] == str(young.tweet_id)


# --- when it comes ------------------------------------------------------------------------------------------


async def test_the_newest_state_wins_at_most_once_an_interval(reader: Stream, northwind: Handle) -> None:
    clock = asyncio.get_running_loop()
    await happens(northwind, Event(1, 0, 0, 60))
    assert impressions(await reader.summary()) == 1
    first_at = clock.time()
    for number in range(2, 6):
        await happens(northwind, Event(number, 0, 0, 60))
    assert impressions(await reader.summary()) == 5
    assert clock.time() - first_at >= 0.95


async def test_it_waits_longer_between_summaries_when_asked_to(
    door: StreamDoor, followed: StreamRule, northwind: Handle, read_token: str
) -> None:
    slow = Stream(door, read_token, "intervalSeconds=2")
    await slow.open()
    await happens(northwind, Event(1, 0, 0, 60))
    assert impressions(await slow.summary()) == 1
    began = asyncio.get_running_loop().time()
    await happens(northwind, Event(2, 0, 0, 60))
    assert impressions(await slow.summary()) == 2
    assert asyncio.get_running_loop().time() - began >= 1.5


async def test_it_keeps_the_connection_alive(
    door: StreamDoor, read_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exchange.KEEP_ALIVE_SECONDS == 3
    monkeypatch.setattr(exchange, "KEEP_ALIVE_SECONDS", 0.05)
    asked = Stream(door, read_token)
    await asked.open()
    assert [await asked.line() for _ in range(4)] == [b""] * 4


async def test_it_loses_nothing_when_a_message_is_lost(reader: Stream, northwind: Handle) -> None:
    await happens(northwind, Event(1, 0, 0, 60))
    assert impressions(await reader.summary()) == 1
    await commits(northwind, Event(2, 1, 0, 60, 7))  # nobody is told
    announced = await commits(northwind, Event(3, 2, 0, 60))
    await announces(announced)
    seen = {}
    while len(seen) < 2:
        summary = await reader.summary()
        seen[summary["target"]["id_str"]] = impressions(summary)
    assert seen == {str(Event(2, 1, 0, 0).tweet_id): 7, str(Event(3, 2, 0, 0).tweet_id): 1}


async def test_it_passes_over_messages_of_the_past(reader: Stream, northwind: Handle) -> None:
    await happens(northwind, Event(1, 0, 0, 60))
    await happens(northwind, Event(2, 0, 0, 60))
    assert impressions(await reader.summary()) == 1
    tweet = [Event(1, 0, 0, 0).tweet_id, [1] + [0] * 25, []]
    late = {"previous": [0, 0], "reached": [1, 0], "sequence": 1, "at": 0, "tweets": [tweet]}
    await get_channel_layer().group_send(follow_group(northwind.pk), {"type": "frame", "text": json.dumps(late)})
    assert impressions(await reader.summary()) == 2


async def test_it_replays_the_last_minutes(
    door: StreamDoor, followed: StreamRule, northwind: Handle, read_token: str
) -> None:
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    then = [ago(minute - timedelta(minutes=minutes)) - 1 for minutes in (4, 2, 2)]
    await commits(northwind, Event(1, 0, 0, 3600, 10), *(Event(n, 0, 0, at, n) for n, at in enumerate(then, 2)))
    asked = Stream(door, read_token, "backfillMinutes=5")
    await asked.open()
    told = [await asked.summary() for _ in range(3)]
    assert [impressions(each) for each in told] == [12, 19, 19]
    ends = [minute - timedelta(minutes=3), minute - timedelta(minutes=1)]
    assert [each["end_time"] for each in told[:2]] == [f"{end:%Y-%m-%dT%H:%M:%SZ}" for end in ends]
    await happens(northwind, Event(9, 0, 0, 5, 1))
    assert impressions(await asked.summary()) == 20


async def test_it_replays_the_tweets_that_became_known(
    door: StreamDoor, followed: StreamRule, northwind: Handle, read_token: str
) -> None:
    lately, before = (tweets.IncomingTweet(str(Event(0, number, 0, 0).tweet_id), "Fresh beans") for number in (1, 2))
    known = [tweets.checked(each, {"northwind": northwind.pk}) for each in (lately, before)]
    await sync_to_async(tweets.upsert)(known)
    long_ago = datetime.now(UTC) - timedelta(minutes=3)
    await Tweet.objects.filter(tweet_id=int(before.id)).aupdate(changed_at=long_ago)
    asked = Stream(door, read_token, "backfillMinutes=2")
    await asked.open()
    await happens(northwind, Event(9, 1, 0, 5, 1))  # of a Tweet that is known
    told = []
    while "summary_event" not in (message := await asked.message()):
        told.append(message["id_str"])
    assert set(told) == {lately.id}


# --- Tweets, rules and reach --------------------------------------------------------------------------------


async def test_it_tells_a_tweet_once_it_is_known(reader: Stream, northwind: Handle) -> None:
    told = tweets.IncomingTweet(str(Event(1, 0, 0, 0).tweet_id), "Fresh beans", tags=["spring"], media="photo")
    await sync_to_async(lambda: tweets.upsert([tweets.checked(told, {"northwind": northwind.pk})]))()
    tweet = await Tweet.objects.aget()
    assert await reader.message() == {
        "created_at": tweet.created_at.strftime("%a %b %d %H:%M:%S +0000 %Y"),
        "id_str": told.id,
        "text": "Fresh beans",
        "user": {"id_str": str(northwind.pk), "screen_name": "northwind", "name": "Northwind Coffee"},
        "entities": {"hashtags": [{"text": "spring"}], "urls": [], "media": [{"type": "photo"}]},
    }


async def test_it_follows_a_rule_from_when_it_is_made_until_it_goes(
    door: StreamDoor, northwind: Handle, read_token: str
) -> None:
    asked = Stream(door, read_token)
    await asked.open()
    await happens(northwind, Event(1, 0, 0, 60))
    rule, _ = await sync_to_async(rules.follow)(northwind.team_id, "prod", northwind)
    await joined(door, 1)
    await happens(northwind, Event(2, 1, 0, 60))
    assert (await asked.summary())["target"]["id_str"] == str(Event(2, 1, 0, 0).tweet_id)
    await sync_to_async(rules.unfollow)(rule)
    await joined(door, 0)


async def joined(door: StreamDoor, feeds: int) -> None:
    """Wait until the only stream follows so many handles."""
    async with asyncio.timeout(5):
        while sum(len(each.feeds) for each in door.exchange.connections) != feeds:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", ["moved", "taken from the token", "deleted"])
async def test_it_says_when_a_handle_leaves_the_tokens_reach(
    how: str, reader: Stream, door: StreamDoor, northwind: Handle
) -> None:
    number = northwind.pk

    def leave() -> None:
        if how == "moved":
            Handle.objects.filter(pk=number).update(team=Team.objects.create(name="New", slug="new"))
        elif how == "deleted":
            Handle.objects.get(pk=number).delete()
        else:
            ApiToken.objects.get().handles.clear()

    await sync_to_async(leave)()
    revoke = (await reader.message())["user_event"]["revoke"]
    assert (revoke["source"], revoke["target"]) == ({"user_id": str(number)}, {"app_id": "prod"})
    assert datetime.fromisoformat(revoke["date_time"]).tzinfo
    await joined(door, 0)


@pytest.mark.parametrize("field", ["revoked_at", "expires_at"])
async def test_it_ends_with_its_token(field: str, reader: Stream) -> None:
    await ApiToken.objects.aupdate(**{field: datetime.now(UTC)})
    async with asyncio.timeout(5):
        await reader.end()
