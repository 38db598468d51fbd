"""X's webhook through a whole installation: what is put aside is done by Celery, and the challenge is answered."""

from __future__ import annotations

import httpx
import pytest

from metrics.ingest.webhook_signature import signature
from tests.ingest import activity
from tests.ingest.activity import OWNER, SECRET, TWEET, born, signed
from tests.stack import Stack

HANDLE = "northwind"
MAKE = f"""
from accounts.models import Handle
from metrics.models import Source
source = Source(handle=Handle.objects.get(username="{HANDLE}"), kind="x_webhook", name="X webhook")
source.secrets = {{"consumer_secret": "{SECRET}"}}
source.save()
print(source.public_id.hex)
"""
COUNTS = """
SELECT replies, unreplies FROM metrics_tweetrollup WHERE tweet_id = %s AND grain = 4 AND NOT promoted
"""


@pytest.fixture
def address(live_stack: Stack) -> str:
    """A new webhook's address."""
    live_stack.add_handle(HANDLE)
    name = live_stack.manage("shell", "--no-imports", "--command", MAKE).strip()
    return f"{live_stack.url}/webhooks/x/{name}"


def test_it_stores_tweets_and_takes_back_what_was_deleted(live_stack: Stack, address: str) -> None:
    assert httpx.get(address, params={"crc_token": "t"}).json() == {"response_token": signature(SECRET, b"t")}
    status = born(30)
    own = activity.envelope(tweet_create_events=[activity.post(TWEET, OWNER)])
    for content in (activity.deletion(status), own, activity.reply(status)):
        body, (name, proof) = signed(content)
        answer = httpx.post(address, content=body, headers={name.decode(): proof.decode()}, timeout=30)
        assert answer.status_code == 200, answer.text

    def rows(query: str) -> list[tuple[object, ...]]:
        with live_stack.database() as connection:
            return connection.execute(query, [TWEET]).fetchall()

    live_stack.eventually(lambda: rows(COUNTS) == [(1, 1)], 60, "the reply and its deletion are counted")
    told = "SELECT text FROM metrics_tweet WHERE tweet_id = %s AND NOT is_stub"
    live_stack.eventually(lambda: rows(told) == [("Nice & warm",)], 60, "the Tweet is stored")
