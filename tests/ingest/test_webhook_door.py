"""X's webhook at the door: who is believed, what is refused, and what is held while parts are away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection

from accounts.models import Handle
from metrics.ingest import webhook_connections, webhook_tally
from metrics.ingest.bodies import MAX_BYTES
from metrics.ingest.webhook_signature import SIGNATURE
from metrics.ingest.webhooks import WebhookDoor
from metrics.models import Source, SourceState
from tests.ingest import activity
from tests.ingest.activity import OWNER, TWEET, address, born, signed
from tests.ingest.asking import ask, held
from tests.ingest.delivering import counted, deliver, today

if TYPE_CHECKING:
    from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

pytestmark = pytest.mark.django_db


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
def test_it_believes_only_who_knows_the_secret(proof: bytes | None, status: int, error: str, webhook: Source) -> None:
    headers = () if proof is None else ((SIGNATURE, proof),)
    body, _ = signed(activity.like())
    answer = ask("POST", address(webhook), body, headers=headers, times=2, made=WebhookDoor)
    assert (answer.status, answer.error, held()) == (status, error, 0)
    webhook.refresh_from_db()
    assert (webhook.state, webhook.last_heard_at) == (SourceState.STARTING, None)
    assert today(webhook).refused == 2
    # Anybody can send such, so the log has it once in a while.
    assert [note.text for note in webhook.notes.all()] == [webhook_tally.FORGED]


def test_it_signs_the_body_as_it_came(webhook: Source) -> None:
    body = b'{"for_user_id": "2244994945",\n\t"favorite_events":   [ ] }'
    assert deliver(webhook, body).status == 200
    body, proof = signed({"favorite_events": []})
    assert ask("POST", address(webhook), body + b" ", headers=(proof,), made=WebhookDoor).status == 403


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b"null", b"\xff", b"{" + b'"a":{' * 5_000, b'{"a":' + b"[" * 100_000, b"\x00"]
)
def test_it_refuses_what_is_no_delivery(body: bytes, webhook: Source) -> None:
    answer = deliver(webhook, body)
    assert (answer.status, answer.error, held()) == (400, "not_json", 0)


def test_it_refuses_a_body_past_the_bound(webhook: Source) -> None:
    chunk = b" " * 1_000_000
    _, proof = signed(b"x")
    answer = ask("POST", address(webhook), *[chunk] * 6, headers=(proof,), made=WebhookDoor)
    assert (answer.status, answer.error) == (413, "too_large")
    whole = msgspec.json.encode(activity.like())
    assert deliver(webhook, whole + b" " * (MAX_BYTES - len(whole))).body == {"taken": 1}


@pytest.mark.parametrize(
    "name", ["", "x", "00000000-0000-0000-0000-000000000000", "../events", "%00", "1", "a" * 5_000]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_answers_only_at_addresses_that_were_made(name: str, method: str, webhook: Source) -> None:
    answer = ask(method, f"/webhooks/x/{name}", made=WebhookDoor, times=2)
    assert (answer.status, answer.error) == (404, "no_such_webhook")
    Source.objects.update(kind="x_api")
    assert deliver(webhook, activity.like()).status == 404


def test_it_takes_no_other_method(webhook: Source) -> None:
    answer = ask("PUT", address(webhook), made=WebhookDoor)
    assert (answer.status, answer.headers[b"allow"]) == (405, b"GET, POST")


def test_it_prefers_the_secret_of_the_source(webhook: Source) -> None:
    webhook.secrets = {"consumer_secret": "its own"}
    webhook.save()
    assert deliver(webhook, activity.like()).status == 403
    assert deliver(webhook, activity.like(), secret="its own").status == 200


def test_it_says_that_it_knows_no_secret(webhook: Source, settings: SettingsWrapper) -> None:
    settings.X_CONSUMER_SECRET = ""
    assert deliver(webhook, activity.like(), secret="").status == 503
    assert ask("GET", f"{address(webhook)}?crc_token=1", made=WebhookDoor).status == 503


def test_it_lets_x_send_again_while_redis_is_away(
    webhook: Source, settings: SettingsWrapper, northwind: Handle
) -> None:
    there = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    for content in (
        activity.like(),
        activity.deletion(born(5)),
        activity.envelope(tweet_create_events=[activity.post(TWEET, OWNER)]),
    ):
        answer = deliver(webhook, content)
        assert (answer.status, answer.error) == (503, "stream_away")
        assert answer.headers[b"retry-after"] == b"3"
    settings.REDIS_URL = there
    deliver(webhook, activity.like())
    assert counted(northwind) == {"favorites": 1}
    assert today(webhook).events == 1


def test_it_lets_x_send_again_while_too_much_waits(webhook: Source, settings: SettingsWrapper) -> None:
    settings.BACKLOG_LIMIT = -1
    answer = deliver(webhook, activity.like())
    assert (answer.status, answer.error) == (503, "backlog")


def test_it_asks_the_database_nothing_for_most_deliveries(
    webhook: Source, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    body, proof = signed(activity.like())
    deliver(webhook, activity.like())
    # One look at the webhook, then the sums of a hundred deliveries in one go.
    with django_assert_num_queries(10, exact=False):
        ask("POST", address(webhook), body, headers=(proof,), times=100, made=WebhookDoor)
    assert today(webhook).events == 101


def test_it_believes_what_it_knew_while_the_database_is_away(webhook: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_connections, "BELIEVED_SECONDS", -1.0)
    monkeypatch.setattr(webhook_connections, "RENEWED_WITHIN_SECONDS", 0.0)

    def away(*args: Any) -> Any:
        raise OperationalError("away")

    known, name = webhook_connections.Connections(), webhook.public_id.hex
    before = async_to_sync(known.get)(name)
    with connection.execute_wrapper(away):
        assert async_to_sync(known.get)(name) == before
        with pytest.raises(OperationalError):
            async_to_sync(webhook_connections.Connections().get)(name)
        # A delivery that cannot be placed is sent again.
        assert deliver(webhook, activity.like()).status == 503
    assert async_to_sync(known.get)(name) == before


def test_it_asks_once_for_many_that_wait(webhook: Source, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    known, name = webhook_connections.Connections(), webhook.public_id.hex

    async def many() -> None:
        found = await asyncio.gather(*(known.get(name) for _ in range(50)))
        assert len(set(found)) == 1

    with django_assert_num_queries(2):
        async_to_sync(many)()


def test_it_renews_what_it_knows_without_a_wait(webhook: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    known, name = webhook_connections.Connections(), webhook.public_id.hex
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
