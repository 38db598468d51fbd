"""What X delivers to a webhook: what counts once, what is taken back, and what the source says of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from accounts.models import Handle
from metrics.ingest import sources, webhook_chores
from metrics.ingest.webhooks import WebhookDoor
from metrics.models import Source, SourceState, Tweet
from metrics.vocabulary.events import snowflake_at
from tests.ingest import activity
from tests.ingest.activity import FAN, NOW, OWNER, SECRET, TWEET, address, born
from tests.ingest.asking import ask, held
from tests.ingest.delivering import counted, deliver, today

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.django_db
OTHERS = activity.post(TWEET, FAN)
OWN = activity.envelope(tweet_create_events=[activity.post(TWEET, OWNER)])


def test_it_proves_to_x_that_it_knows_the_secret(webhook: Source) -> None:
    answer = ask("GET", f"{address(webhook)}?crc_token=a%2Bb%20c%3D&nonce=1", made=WebhookDoor)
    expected = base64.b64encode(hmac.new(SECRET.encode(), b"a+b c=", hashlib.sha256).digest()).decode()
    assert (answer.status, answer.body) == (200, {"response_token": f"sha256={expected}"})
    webhook.refresh_from_db()
    assert webhook.state == SourceState.LIVE
    assert webhook.last_heard_at is not None
    assert webhook.last_event_at is None


def test_it_needs_something_to_prove(webhook: Source) -> None:
    assert ask("GET", address(webhook), made=WebhookDoor).status == 400


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
    content: dict[str, Any], expected: dict[str, int], webhook: Source, northwind: Handle
) -> None:
    assert deliver(webhook, content).body == {"taken": sum(expected.values())}
    assert counted(northwind) == expected


def test_it_counts_what_comes_several_times_once(webhook: Source, northwind: Handle) -> None:
    for content in (activity.like(), activity.reply(born(60)), activity.retweet(born(61)), activity.quote(born(62))):
        deliver(webhook, content, times=3)
        deliver(webhook, {**content, "for_user_id": "12"})
    assert counted(northwind) == {"favorites": 1, "replies": 1, "retweets": 1, "quote_tweets": 1}


def test_it_reads_both_kinds_of_timestamp_alike(webhook: Source, northwind: Handle) -> None:
    for name, told in [("a", activity.ms(NOW)), ("b", str(activity.ms(NOW))), ("c", None)]:
        for _ in range(2):
            deliver(webhook, activity.like(name, timestamp_ms=told))
    assert counted(northwind) == {"favorites": 3}
    webhook.refresh_from_db()
    assert webhook.last_event_at == NOW


def test_it_reads_ids_that_have_not_lost_digits(webhook: Source, northwind: Handle) -> None:
    assert activity.lossy(TWEET + 1) != TWEET + 1
    deliver(webhook, activity.like(tweet=TWEET + 1))
    assert counted(northwind, TWEET + 1) == {"favorites": 1}
    numeric = activity.like("b", favorited_status={"id": TWEET, "user": OWNER})
    assert deliver(webhook, numeric).body == {"taken": 0}
    assert today(webhook).refused == 1


def test_it_takes_back_what_is_deleted_whatever_comes_first(webhook: Source, northwind: Handle) -> None:
    kinds = {"replies": activity.reply, "retweets": activity.retweet, "quote_tweets": activity.quote}
    contents = []
    for place, make in enumerate(kinds.values()):
        status = born(60 + place)
        contents += [make(status), make(status), activity.deletion(status), activity.deletion(status)]
    random.Random(7).shuffle(contents)
    for content in contents:
        deliver(webhook, content)
    # What was deleted before it was told waits for it.
    counted(northwind)
    undone = {f"un{kind}": 1 for kind in kinds}
    assert counted(northwind) == dict.fromkeys(kinds, 1) | undone
    assert webhook_chores.waiting() == 0


def test_it_waits_for_a_deleted_post_only_for_a_while(webhook: Source, northwind: Handle) -> None:
    deliver(webhook, activity.deletion(born(60)))
    counted(northwind)
    assert webhook_chores.waiting() == 1
    webhook_chores.work(datetime.now(UTC) + webhook_chores.PATIENCE)
    assert webhook_chores.waiting() == 0
    assert today(webhook).ignored == {"deletion of an unknown post": 1}


def test_it_does_not_wait_for_what_is_long_gone(webhook: Source) -> None:
    deliver(webhook, activity.deletion(snowflake_at(NOW - timedelta(days=40))))
    webhook_chores.work()
    assert webhook_chores.waiting() == 0
    assert today(webhook).ignored == {"deletion of an unknown post": 1}


def test_it_stores_the_tweets_of_the_account(webhook: Source, northwind: Handle) -> None:
    shown = {"extended_entities": {"media": [{"type": "animated_gif"}, {"type": "photo"}]}}
    content = activity.envelope(tweet_create_events=[activity.post(TWEET, OWNER, **shown)])
    assert deliver(webhook, content).status == 200
    counted(northwind)
    tweet = Tweet.objects.get()
    assert (tweet.handle, tweet.tweet_id, tweet.text, tweet.media) == (northwind, TWEET, "Nice & warm", "gif")
    assert tweet.link == f"https://x.com/Northwind/status/{TWEET}"
    assert abs(tweet.created_at - (NOW - timedelta(hours=1))) < timedelta(seconds=1)
    assert today(webhook).tweets == 1


def test_it_notes_that_a_tweet_of_the_account_was_deleted(webhook: Source, northwind: Handle) -> None:
    deliver(webhook, OWN)
    deliver(webhook, activity.deletion(TWEET, OWNER), times=2)
    counted(northwind)
    assert [note.text for note in webhook.notes.all() if str(TWEET) in note.text] == [
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
    content: dict[str, Any], ignored: dict[str, int], webhook: Source, northwind: Handle
) -> None:
    assert (deliver(webhook, content).status, held()) == (200, 0)
    assert today(webhook).ignored == ignored
    assert counted(northwind) == {}


def test_it_takes_the_good_items_of_a_delivery(webhook: Source, northwind: Handle) -> None:
    good = activity.like()["favorite_events"][0]
    bad = [{}, 7, None, {**good, "timestamp_ms": "soon"}, {**good, "id": None}, {**good, "timestamp_ms": 10**30}]
    late = {**good, "id": "x", "timestamp_ms": activity.ms(NOW + timedelta(hours=1))}
    assert deliver(webhook, activity.envelope(favorite_events=[*bad, good, late])).body == {"taken": 1}
    assert counted(northwind) == {"favorites": 1}
    assert (today(webhook).events, today(webhook).refused) == (1, len(bad) + 1)


def test_it_disconnects_when_the_account_ends_the_access(webhook: Source, northwind: Handle) -> None:
    account = Source.objects.create(
        handle=northwind, kind="x_api", name="northwind", settings={"user_id": OWNER["id_str"]}
    )
    account.secrets = {"access_token": "a"}
    account.save()
    Handle.objects.update(authenticated_at=NOW - timedelta(days=1))
    deliver(webhook, activity.like())
    assert deliver(webhook, activity.revocation(user_id="12")).status == 200
    counted(northwind)
    webhook.refresh_from_db()
    assert webhook.state == SourceState.LIVE
    deliver(webhook, activity.revocation(), times=2)
    counted(northwind)
    for one in (webhook, account, northwind):
        one.refresh_from_db()
    assert (webhook.state, account.state) == (SourceState.DISCONNECTED, SourceState.DISCONNECTED)
    assert "has ended the access" in webhook.reason
    assert (account.secrets, northwind.authenticated_at) == ({}, None)
    # What had happened before, and comes late, does not make it live; what happens after does.
    deliver(webhook, activity.like("late"))
    webhook.refresh_from_db()
    assert webhook.state == SourceState.DISCONNECTED
    deliver(webhook, activity.like("new", timestamp_ms=activity.ms(datetime.now(UTC) + timedelta(seconds=2))))
    webhook.refresh_from_db()
    assert webhook.state == SourceState.LIVE


def test_it_does_not_disconnect_by_a_late_revocation(webhook: Source, northwind: Handle) -> None:
    Handle.objects.update(authenticated_at=NOW)
    deliver(webhook, activity.like())
    deliver(webhook, activity.revocation(NOW - timedelta(minutes=1)))
    counted(northwind)
    webhook.refresh_from_db()
    assert webhook.state == SourceState.LIVE


def test_it_says_what_it_brought_and_when(webhook: Source) -> None:
    deliver(webhook, activity.like())
    webhook.refresh_from_db()
    assert webhook.state == SourceState.LIVE
    assert webhook.last_event_at == NOW
    assert webhook.last_heard_at is not None
    assert webhook.lag_ms is not None
    assert webhook.settings == {"user_id": OWNER["id_str"]}
    assert (today(webhook).events, today(webhook).refused, today(webhook).ignored) == (1, 0, {})


def test_it_takes_nothing_while_it_is_paused(webhook: Source) -> None:
    sources.enter(webhook, SourceState.PAUSED)
    assert deliver(webhook, activity.like()).body == {"taken": 0}
    webhook.refresh_from_db()
    assert (webhook.state, held()) == (SourceState.PAUSED, 0)
    assert today(webhook).ignored == {"while paused": 1}
