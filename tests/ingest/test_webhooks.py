"""X's webhook at the door: who is believed, what is taken durably, what counts once, and what the source says of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection

from accounts.models import Handle
from metrics import stream
from metrics.aggregate import rollups
from metrics.ingest import sources, webhook_chores, webhook_connections, webhook_tally
from metrics.ingest.bodies import MAX_BYTES
from metrics.ingest.connectors.x_webhook import KIND
from metrics.ingest.webhook_signature import SIGNATURE
from metrics.ingest.webhooks import WebhookDoor
from metrics.models import Source, SourceDay, SourceState, Tweet, TweetRollup
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.events import snowflake_at
from metrics.vocabulary.periods import Grain
from tests.ingest import activity
from tests.ingest.activity import FAN, NOW, OWNER, SECRET, TWEET, address, born, signed
from tests.ingest.asking import Answer, ask, held

if TYPE_CHECKING:
    from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

pytestmark = pytest.mark.django_db
OTHERS = activity.post(TWEET, FAN)
OWN = activity.envelope(tweet_create_events=[activity.post(TWEET, OWNER)])


@pytest.fixture
def source(northwind: Handle, settings: SettingsWrapper) -> Source:
    """@northwind's webhook, new."""
    settings.X_CONSUMER_SECRET = SECRET
    return Source.objects.create(handle=northwind, kind=KIND, name="northwind")


def deliver(source: Source, content: Any, secret: str = SECRET, times: int = 1) -> Answer:
    """X sends this, signed."""
    body, proof = signed(content, secret)
    return ask("POST", address(source), body, headers=(proof,), times=times, made=WebhookDoor)


def counted(handle: Handle, tweet_id: int = TWEET) -> dict[str, int]:
    """The Tweet's lifetime counts that are not zero, after everything that waits is applied and done."""
    webhook_chores.work()
    for shard in stream.shards():
        stream.open_groups(shard)
        writer = rollups.Writer(shard)
        while writer.step(1):
            pass
    row = TweetRollup.objects.filter(handle=handle, tweet_id=tweet_id, grain=Grain.LIFETIME, promoted=False).first()
    return {name: getattr(row, name) for name in NAMES if row is not None and getattr(row, name)}


def today(source: Source) -> SourceDay:
    """What the source says it brought today."""
    return SourceDay.objects.get(source=source)


def test_it_proves_to_x_that_it_knows_the_secret(source: Source) -> None:
    answer = ask("GET", f"{address(source)}?crc_token=a%2Bb%20c%3D&nonce=1", made=WebhookDoor)
    expected = base64.b64encode(hmac.new(SECRET.encode(), b"a+b c=", hashlib.sha256).digest()).decode()
    assert (answer.status, answer.body) == (200, {"response_token": f"sha256={expected}"})
    source.refresh_from_db()
    assert source.state == SourceState.LIVE
    assert source.last_heard_at is not None
    assert source.last_event_at is None


def test_it_needs_something_to_prove(source: Source) -> None:
    assert ask("GET", address(source), made=WebhookDoor).status == 400


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (activity.like(), {"favorites": 1}),
        (activity.reply(born(60)), {"replies": 1}),
        (activity.retweet(born(60)), {"retweets": 1}),
        (activity.quote(born(60)), {"quote_tweets": 1}),
        (activity.reply(born(60), quoted_status_id_str=str(TWEET)), {"replies": 1, "quote_tweets": 1}),
    ],
)
def test_it_counts_what_people_do_with_a_tweet(
    content: dict[str, Any], expected: dict[str, int], source: Source, northwind: Handle
) -> None:
    assert deliver(source, content).body == {"taken": sum(expected.values())}
    assert counted(northwind) == expected


def test_it_counts_what_comes_several_times_once(source: Source, northwind: Handle) -> None:
    for content in (activity.like(), activity.reply(born(60)), activity.retweet(born(61)), activity.quote(born(62))):
        deliver(source, content, times=3)
        deliver(source, {**content, "for_user_id": "12"})
    assert counted(northwind) == {"favorites": 1, "replies": 1, "retweets": 1, "quote_tweets": 1}


def test_it_reads_both_kinds_of_timestamp_alike(source: Source, northwind: Handle) -> None:
    for name, told in [("a", activity.ms(NOW)), ("b", str(activity.ms(NOW))), ("c", None)]:
        for _ in range(2):
            deliver(source, activity.like(name, timestamp_ms=told))
    assert counted(northwind) == {"favorites": 3}
    source.refresh_from_db()
    assert source.last_event_at == NOW


def test_it_reads_ids_that_have_not_lost_digits(source: Source, northwind: Handle) -> None:
    assert activity.lossy(TWEET + 1) != TWEET + 1
    deliver(source, activity.like(tweet=TWEET + 1))
    assert counted(northwind, TWEET + 1) == {"favorites": 1}
    numeric = activity.like("b", favorited_status={"id": TWEET, "user": OWNER})
    assert deliver(source, numeric).body == {"taken": 0}
    assert today(source).refused == 1


def test_it_takes_back_what_is_deleted_whatever_comes_first(source: Source, northwind: Handle) -> None:
    kinds = {"replies": activity.reply, "retweets": activity.retweet, "quote_tweets": activity.quote}
    contents = []
    for place, make in enumerate(kinds.values()):
        status = born(60 + place)
        contents += [make(status), make(status), activity.deletion(status), activity.deletion(status)]
    random.Random(7).shuffle(contents)
    for content in contents:
        deliver(source, content)
    # What was deleted before it was told waits for it.
    counted(northwind)
    undone = {f"un{kind}": 1 for kind in kinds}
    assert counted(northwind) == dict.fromkeys(kinds, 1) | undone
    assert webhook_chores.waiting() == 0


def test_it_waits_for_a_deleted_post_only_for_a_while(source: Source, northwind: Handle) -> None:
    deliver(source, activity.deletion(born(60)))
    counted(northwind)
    assert webhook_chores.waiting() == 1
    webhook_chores.work(datetime.now(UTC) + webhook_chores.PATIENCE)
    assert webhook_chores.waiting() == 0
    assert today(source).ignored == {"deletion of an unknown post": 1}


def test_it_does_not_wait_for_what_is_long_gone(source: Source) -> None:
    deliver(source, activity.deletion(snowflake_at(NOW - timedelta(days=40))))
    webhook_chores.work()
    assert webhook_chores.waiting() == 0
    assert today(source).ignored == {"deletion of an unknown post": 1}


def test_it_stores_the_tweets_of_the_account(source: Source, northwind: Handle) -> None:
    shown = {"extended_entities": {"media": [{"type": "animated_gif"}, {"type": "photo"}]}}
    content = activity.envelope(tweet_create_events=[activity.post(TWEET, OWNER, **shown)])
    assert deliver(source, content).status == 200
    counted(northwind)
    tweet = Tweet.objects.get()
    assert (tweet.handle, tweet.tweet_id, tweet.text, tweet.media) == (northwind, TWEET, "Nice & warm", "gif")
    assert tweet.link == f"https://x.com/Northwind/status/{TWEET}"
    assert abs(tweet.created_at - (NOW - timedelta(hours=1))) < timedelta(seconds=1)
    assert today(source).tweets == 1


def test_it_notes_that_a_tweet_of_the_account_was_deleted(source: Source, northwind: Handle) -> None:
    deliver(source, OWN)
    deliver(source, activity.deletion(TWEET, OWNER), times=2)
    counted(northwind)
    assert [note.text for note in source.notes.all() if str(TWEET) in note.text] == [
        f"Tweet {TWEET} was deleted on X at {NOW:%Y-%m-%d %H:%M} UTC."
    ]
    assert webhook_chores.waiting() == 0


@pytest.mark.parametrize(
    ("content", "ignored"),
    [
        (activity.like(favorited_status=OTHERS), {"favorite of another account": 1}),
        (activity.retweet(born(5), user=OWNER, retweeted_status=OTHERS), {"Retweet of another account": 1}),
        (activity.envelope(tweet_create_events=[activity.post(born(5))]), {"mention": 1}),
        (activity.reply(born(5), in_reply_to_user_id_str="12", in_reply_to_screen_name="other"), {"mention": 1}),
        (activity.envelope(follow_events=[{"type": "follow"}, {"type": "unfollow"}]), {"follow": 1, "unfollow": 1}),
        (activity.envelope(direct_message_events=[{}, {}], users={"1": {}}, apps={}), {"direct_message_events": 2}),
        (activity.envelope(block_events=[{}], something_new={"a": 1}), {"block_events": 1, "something_new": 1}),
        ({"user_event": {"something": {}}}, {"user_event": 1}),
    ],
)  # fmt: skip
def test_it_counts_what_it_ignores_by_kind(
    content: dict[str, Any], ignored: dict[str, int], source: Source, northwind: Handle
) -> None:
    assert (deliver(source, content).status, held()) == (200, 0)
    assert today(source).ignored == ignored
    assert counted(northwind) == {}


def test_it_takes_the_good_items_of_a_delivery(source: Source, northwind: Handle) -> None:
    good = activity.like()["favorite_events"][0]
    bad = [{}, 7, None, {**good, "timestamp_ms": "soon"}, {**good, "id": None}, {**good, "timestamp_ms": 10**30}]
    late = {**good, "id": "x", "timestamp_ms": activity.ms(NOW + timedelta(hours=1))}
    assert deliver(source, activity.envelope(favorite_events=[*bad, good, late])).body == {"taken": 1}
    assert counted(northwind) == {"favorites": 1}
    assert (today(source).events, today(source).refused) == (1, len(bad) + 1)


def test_it_disconnects_when_the_account_ends_the_access(source: Source, northwind: Handle) -> None:
    account = Source.objects.create(
        handle=northwind, kind="x_api", name="northwind", settings={"user_id": OWNER["id_str"]}
    )
    account.secrets = {"access_token": "a"}
    account.save()
    Handle.objects.update(authenticated_at=NOW - timedelta(days=1))
    deliver(source, activity.like())
    assert deliver(source, activity.revocation(user_id="12")).status == 200
    counted(northwind)
    source.refresh_from_db()
    assert source.state == SourceState.LIVE
    deliver(source, activity.revocation(), times=2)
    counted(northwind)
    for one in (source, account, northwind):
        one.refresh_from_db()
    assert (source.state, account.state) == (SourceState.DISCONNECTED, SourceState.DISCONNECTED)
    assert "has ended the access" in source.reason
    assert (account.secrets, northwind.authenticated_at) == ({}, None)
    # What had happened before, and comes late, does not make it live; what happens after does.
    deliver(source, activity.like("late"))
    source.refresh_from_db()
    assert source.state == SourceState.DISCONNECTED
    deliver(source, activity.like("new", timestamp_ms=activity.ms(datetime.now(UTC) + timedelta(seconds=2))))
    source.refresh_from_db()
    assert source.state == SourceState.LIVE


def test_it_does_not_disconnect_by_a_late_revocation(source: Source, northwind: Handle) -> None:
    Handle.objects.update(authenticated_at=NOW)
    deliver(source, activity.like())
    deliver(source, activity.revocation(NOW - timedelta(minutes=1)))
    counted(northwind)
    source.refresh_from_db()
    assert source.state == SourceState.LIVE


def test_it_says_what_it_brought_and_when(source: Source) -> None:
    deliver(source, activity.like())
    source.refresh_from_db()
    assert source.state == SourceState.LIVE
    assert source.last_event_at == NOW
    assert source.last_heard_at is not None
    assert source.lag_ms is not None
    assert source.settings == {"user_id": OWNER["id_str"]}
    assert (today(source).events, today(source).refused, today(source).ignored) == (1, 0, {})


def test_it_takes_nothing_while_it_is_paused(source: Source) -> None:
    sources.enter(source, SourceState.PAUSED)
    assert deliver(source, activity.like()).body == {"taken": 0}
    source.refresh_from_db()
    assert (source.state, held()) == (SourceState.PAUSED, 0)
    assert today(source).ignored == {"while paused": 1}


@pytest.mark.parametrize(
    ("proof", "status", "error"),
    [
        (None, 401, "no_signature"),
        (b"", 401, "no_signature"),
        (b"sha256=", 403, "bad_signature"),
        (b"\xff\xfe", 403, "bad_signature"),
        (signed(activity.like(), "another secret")[1][1], 403, "bad_signature"),
        (signed(activity.like("b"))[1][1], 403, "bad_signature"),
        (signed(activity.like())[1][1].lower(), 403, "bad_signature"),
        (signed(activity.like())[1][1].removeprefix(b"sha256="), 403, "bad_signature"),
    ],
    # The signatures hold the time, and so differ from one test process to the next.
    ids=["none", "empty", "no digest", "not ASCII", "another secret", "another body", "lower case", "no prefix"],
)
def test_it_believes_only_who_knows_the_secret(proof: bytes | None, status: int, error: str, source: Source) -> None:
    headers = () if proof is None else ((SIGNATURE, proof),)
    body, _ = signed(activity.like())
    answer = ask("POST", address(source), body, headers=headers, times=2, made=WebhookDoor)
    assert (answer.status, answer.error, held()) == (status, error, 0)
    source.refresh_from_db()
    assert (source.state, source.last_heard_at) == (SourceState.STARTING, None)
    assert today(source).refused == 2
    # Anybody can send such, so the log has it once in a while.
    assert [note.text for note in source.notes.all()] == [webhook_tally.FORGED]


def test_it_signs_the_body_as_it_came(source: Source) -> None:
    body = b'{"for_user_id": "2244994945",\n\t"favorite_events":   [ ] }'
    assert deliver(source, body).status == 200
    body, proof = signed({"favorite_events": []})
    assert ask("POST", address(source), body + b" ", headers=(proof,), made=WebhookDoor).status == 403


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b"null", b"\xff", b"{" + b'"a":{' * 5_000, b'{"a":' + b"[" * 100_000, b"\x00"]
)
def test_it_refuses_what_is_no_delivery(body: bytes, source: Source) -> None:
    answer = deliver(source, body)
    assert (answer.status, answer.error, held()) == (400, "not_json", 0)


def test_it_refuses_a_body_past_the_bound(source: Source) -> None:
    chunk = b" " * 1_000_000
    _, proof = signed(b"x")
    answer = ask("POST", address(source), *[chunk] * 6, headers=(proof,), made=WebhookDoor)
    assert (answer.status, answer.error) == (413, "too_large")
    whole = msgspec.json.encode(activity.like())
    assert deliver(source, whole + b" " * (MAX_BYTES - len(whole))).body == {"taken": 1}


@pytest.mark.parametrize(
    "name", ["", "x", "00000000-0000-0000-0000-000000000000", "../events", "%00", "1", "a" * 5_000]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_answers_only_at_addresses_that_were_made(name: str, method: str, source: Source) -> None:
    answer = ask(method, f"/webhooks/x/{name}", made=WebhookDoor, times=2)
    assert (answer.status, answer.error) == (404, "no_such_webhook")
    Source.objects.update(kind="x_api")
    assert deliver(source, activity.like()).status == 404


def test_it_takes_no_other_method(source: Source) -> None:
    answer = ask("PUT", address(source), made=WebhookDoor)
    assert (answer.status, answer.headers[b"allow"]) == (405, b"GET, POST")


def test_it_prefers_the_secret_of_the_source(source: Source) -> None:
    source.secrets = {"consumer_secret": "its own"}
    source.save()
    assert deliver(source, activity.like()).status == 403
    assert deliver(source, activity.like(), secret="its own").status == 200


def test_it_says_that_it_knows_no_secret(source: Source, settings: SettingsWrapper) -> None:
    settings.X_CONSUMER_SECRET = ""
    assert deliver(source, activity.like(), secret="").status == 503
    assert ask("GET", f"{address(source)}?crc_token=1", made=WebhookDoor).status == 503


def test_it_lets_x_send_again_while_redis_is_away(source: Source, settings: SettingsWrapper, northwind: Handle) -> None:
    there = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for content in (
        activity.like(),
        activity.deletion(born(5)),
        activity.envelope(tweet_create_events=[activity.post(TWEET, OWNER)]),
    ):
        answer = deliver(source, content)
        assert (answer.status, answer.error) == (503, "stream_away")
        assert answer.headers[b"retry-after"] == b"3"
    settings.REDIS_URL = there
    deliver(source, activity.like())
    assert counted(northwind) == {"favorites": 1}
    assert today(source).events == 1


def test_it_lets_x_send_again_while_too_much_waits(source: Source, settings: SettingsWrapper) -> None:
    settings.BACKLOG_LIMIT = -1
    answer = deliver(source, activity.like())
    assert (answer.status, answer.error) == (503, "backlog")


def test_it_asks_the_database_nothing_for_most_deliveries(
    source: Source, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    body, proof = signed(activity.like())
    deliver(source, activity.like())
    # One look at the source, then the sums of a hundred deliveries in one go.
    with django_assert_num_queries(10, exact=False):
        ask("POST", address(source), body, headers=(proof,), times=100, made=WebhookDoor)
    assert today(source).events == 101


def test_it_believes_what_it_knew_while_the_database_is_away(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_connections, "BELIEVED_SECONDS", -1.0)
    monkeypatch.setattr(webhook_connections, "RENEWED_WITHIN_SECONDS", 0.0)

    def away(*args: Any) -> Any:
        raise OperationalError("away")

    known, name = webhook_connections.Connections(), source.public_id.hex
    before = async_to_sync(known.get)(name)
    with connection.execute_wrapper(away):
        assert async_to_sync(known.get)(name) == before
        with pytest.raises(OperationalError):
            async_to_sync(webhook_connections.Connections().get)(name)
        # A delivery that cannot be placed is sent again.
        assert deliver(source, activity.like()).status == 503
    assert async_to_sync(known.get)(name) == before


def test_it_asks_once_for_many_that_wait(source: Source, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    known, name = webhook_connections.Connections(), source.public_id.hex

    async def many() -> None:
        found = await asyncio.gather(*(known.get(name) for _ in range(50)))
        assert len(set(found)) == 1

    with django_assert_num_queries(2):
        async_to_sync(many)()


def test_it_renews_what_it_knows_without_a_wait(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    known, name = webhook_connections.Connections(), source.public_id.hex
    async_to_sync(known.get)(name)
    Source.objects.update(state=SourceState.PAUSED)
    monkeypatch.setattr(webhook_connections, "BELIEVED_SECONDS", -1.0)

    async def twice() -> tuple[bool, bool]:
        first = await known.get(name)
        (asking,) = (one.asking for one in known._known.values())
        assert asking is not None
        await asking
        return first.is_paused, (await known.get(name)).is_paused

    assert async_to_sync(twice)() == (False, True)
    # After a long silence the first delivery waits for the answer.
    monkeypatch.setattr(webhook_connections, "RENEWED_WITHIN_SECONDS", 0.0)
    Source.objects.all().delete()
    with pytest.raises(webhook_connections.UnknownConnectionError):
        async_to_sync(known.get)(name)
