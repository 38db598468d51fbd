"""What a receipt tells, to whom, and for how long."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import pytest

from accounts.credentials import issue_token
from accounts.models import Handle, Scope
from metrics import stream
from metrics.aggregate import rollups
from metrics.ingest import receipts
from metrics.models import SetAsideEntry, TweetRollup
from tests.ingest.asking import RECEIPTS, Answer, ask, authorization, post
from tests.ingest.corpus import TWEET, good

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

pytestmark = pytest.mark.django_db(transaction=True)


def told(secret: str, receipt: str) -> Answer:
    return ask("GET", RECEIPTS + receipt, headers=(authorization(secret),))


def write_all() -> None:
    """What the consumers do."""
    for shard in stream.shards():
        writer = rollups.Writer(shard)
        while writer.step(1):
            pass


def send(secret: str, *events: dict[str, Any]) -> str:
    return str(post(secret, list(events)).body["receipt"])


def test_it_waits_and_then_tells_fresh_from_resent(ingest_token: str) -> None:
    first = send(ingest_token, good(id="a"), good(id="b"), good(id="b"))
    assert told(ingest_token, first).body == {"status": "pending"}
    write_all()
    second = send(ingest_token, good(id="b"), good(id="c"))
    write_all()
    assert told(ingest_token, first).body == {"status": "applied", "fresh": 2, "duplicates": 1}
    assert told(ingest_token, second).body == {"status": "applied", "fresh": 1, "duplicates": 1}
    assert TweetRollup.objects.get(tweet_id=TWEET, grain=4, promoted=False).favorites == 3


def test_it_tells_of_a_batch_for_two_shards(northwind: Handle) -> None:
    others = [
        Handle.objects.create(team=northwind.team, username=name, display_name=name) for name in ("south", "west")
    ]
    _, secret = issue_token(northwind.team, "all", [Scope.INGEST], [northwind, *others])
    receipt = send(secret, *(good(handle=name) for name in ("northwind", "south", "west")))
    assert told(secret, receipt).body == {"status": "pending"}
    write_all()
    assert told(secret, receipt).body == {"status": "applied", "fresh": 3, "duplicates": 0}


def test_it_shows_a_batch_to_tokens_of_its_handle_only(ingest_token: str, northwind: Handle, acme: Handle) -> None:
    receipt = send(ingest_token, good())
    _, second = issue_token(northwind.team, "another of alice's", [Scope.INGEST], [northwind])
    _, charlies = issue_token(acme.team, "charlie's", [Scope.INGEST], [acme])
    assert told(second, receipt).status == 200
    answer = told(charlies, receipt)
    assert (answer.status, answer.error) == (404, "no_such_receipt")
    assert answer.body == told(charlies, "unknown").body


@pytest.mark.parametrize(
    "receipt",
    [
        *("", "x", "é", "..", "a/b", "=" * 20, "A" * 8_000, "\x00", "kA", "%2e"),
        urlsafe_b64encode(b"\x91" * 5_000).decode(),
        urlsafe_b64encode(b"\x91\x9f" + b"\x91" * 5_000).decode(),
        urlsafe_b64encode(b"\x91\x96\x00\xa3abc\x90\x00\x00\x00").decode(),
        urlsafe_b64encode(b"\xdd\xff\xff\xff\xff").decode(),
    ],
)
def test_it_knows_no_made_up_receipt(ingest_token: str, receipt: str) -> None:
    answer = told(ingest_token, receipt)
    assert (answer.status, answer.error) == (404, "no_such_receipt")


def test_it_tells_of_a_poisoned_entry_that_was_set_aside(ingest_token: str, northwind: Handle) -> None:
    shard = stream.shard_of(northwind.pk)
    entry = stream.append(shard, b"poison")
    after = send(ingest_token, good())
    write_all()
    receipt = receipts.write([receipts.Part(shard, entry, [northwind.pk], 1, 0, 1)])
    assert told(ingest_token, receipt).body == {"status": "set_aside"}
    assert told(ingest_token, after).body == {"status": "applied", "fresh": 1, "duplicates": 0}
    assert bytes(SetAsideEntry.objects.get().payload) == b"poison"
    assert stream.oldest_waiting_us(shard) is None


def test_it_says_when_the_events_are_no_longer_kept(ingest_token: str, settings: SettingsWrapper) -> None:
    receipt = send(ingest_token, good())
    write_all()
    settings.EVENT_DAYS = 0
    assert told(ingest_token, receipt).body == {"status": "expired"}
