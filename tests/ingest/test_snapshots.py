"""Cumulative counts at the door: what is taken, what is refused and why, and what becomes of it."""

from __future__ import annotations

import gzip
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from accounts.credentials import issue_token
from accounts.models import ApiToken, Handle, Scope
from metrics import stream
from metrics.aggregate import rollups
from metrics.ingest import labels, rejections
from metrics.ingest.validation import REASONS, Refusal
from metrics.models import Rejection, Source, SourceState, TweetRollup
from metrics.stream import Cargo
from metrics.vocabulary import snapshots
from metrics.vocabulary.engagements import CODE
from metrics.vocabulary.snapshots import UNSAID, Part
from tests.ingest.asking import RECEIPTS, SNAPSHOTS, Answer, ask, authorization
from tests.ingest.corpus import GZIP, NDJSON, NOT_ITEMS, NOT_JSON, NOW, TWEET, dumped

pytestmark = pytest.mark.django_db


def good(**changes: Any) -> dict[str, Any]:
    """A good snapshot, changed."""
    as_of = (NOW - timedelta(minutes=10)).isoformat()
    return {"tweet_id": TWEET, "as_of": as_of, "counts": {"impressions": 100, "favorites": 7}} | changes


def post(secret: str, items: Any, *more: tuple[bytes, bytes]) -> Answer:
    body = items if isinstance(items, bytes) else msgspec.json.encode(items)
    return ask("POST", SNAPSHOTS, body, headers=(authorization(secret), *more))


def held() -> list[Any]:
    """The snapshots in the streams."""
    rows = [row for shard in stream.shards() for row in stream.client().xrange(stream.stream_key(shard))]
    return [record for _, fields in rows for record in snapshots.unpack(fields[Cargo.SNAPSHOTS.encode()])]


def write_all() -> None:
    """What the consumers do."""
    for shard in stream.shards():
        writer = rollups.Writer(shard)
        while writer.step(1):
            pass


@pytest.mark.django_db(transaction=True)
def test_it_takes_snapshots_and_tells_what_became_of_them(ingest_token: str, northwind: Handle) -> None:
    answer = post(
        ingest_token, [good(), good(promoted=None, source="nightly", counts={"url_clicks": 0, "replies": None})]
    )
    assert (answer.status, answer.body["accepted"], answer.rejected) == (202, 2, [])
    first, second = held()
    assert (first["handle_id"], first["tweet_id"], first["part"]) == (northwind.pk, int(TWEET), Part.ORGANIC)
    assert first["as_of"] == round((NOW - timedelta(minutes=10)).timestamp() * 1_000_000)
    assert (first["counts"][CODE["impressions"]], first["counts"][CODE["replies"]]) == (100, UNSAID)
    assert (second["part"], second["counts"][CODE["url_clicks"]]) == (Part.BOTH, 0)
    named = dict(Source.objects.filter(kind=labels.KIND).values_list("name", "pk"))
    assert named == {"api": first["source"], "nightly": second["source"]}

    path = RECEIPTS + answer.body["receipt"]
    assert ask("GET", path, headers=(authorization(ingest_token),)).body == {"status": "pending"}
    write_all()
    assert ask("GET", path, headers=(authorization(ingest_token),)).body == {"status": "applied", "snapshots": 2}
    assert TweetRollup.objects.get(tweet_id=TWEET, grain=4, promoted=False).impressions == 100


@pytest.mark.django_db(transaction=True)
def test_it_changes_nothing_when_a_batch_is_sent_again(ingest_token: str) -> None:
    for _ in range(2):
        assert post(ingest_token, [good(), good()]).status == 202
    write_all()
    assert TweetRollup.objects.get(tweet_id=TWEET, grain=4, promoted=False).favorites == 7


def test_it_lists_the_sender_as_a_live_source(ingest_token: str, northwind: Handle) -> None:
    post(ingest_token, [good(), good(promoted=True), good(counts={})])
    source = Source.objects.get(handle=northwind)
    assert (source.kind, source.name, source.state) == ("api", "api", SourceState.LIVE)
    assert source.last_heard_at is not None
    assert source.last_event_at == NOW - timedelta(minutes=10)
    assert source.days.get().snapshots == 2


def test_it_takes_every_form_of_a_body(ingest_token: str) -> None:
    one = dumped(good())
    assert post(ingest_token, b'{"snapshots": [' + one + b"]}").status == 202
    assert post(ingest_token, one + b"\n" + one, NDJSON).body["accepted"] == 2
    assert post(ingest_token, gzip.compress(b"[" + one + b"]"), GZIP).status == 202
    assert len(held()) == 4


ODD: list[tuple[dict[str, Any], str, str]] = [
    *(({"tweet_id": value}, "tweet_id", "bad_tweet_id") for value in ("", "x", 0, -1, 2**63, "9" * 30)),
    *(({"tweet_id": value}, "tweet_id", "wrong_type") for value in (None, True, 1.5, [])),
    *(({"as_of": value}, "as_of", "bad_time") for value in ("", "now", "2026-01-01", "2026-01-01T00:00:00")),
    ({"as_of": None}, "as_of", "wrong_type"),
    ({"as_of": (NOW + timedelta(hours=9)).isoformat()}, "as_of", "in_the_future"),
    ({"as_of": "1999-01-01T00:00:00Z"}, "as_of", "too_early"),
    ({"as_of": (NOW - timedelta(days=2)).isoformat()}, "as_of", "before_the_tweet"),
    *(({"counts": value}, "counts", "wrong_type") for value in (None, 5, "x", [], [["impressions", 5]])),
    *(({"counts": {"impressions": value}}, "counts", "wrong_type") for value in (True, 1.5, "5", [], {})),
    *(({"counts": value}, "counts", "missing") for value in ({}, {"impressions": None})),
    *(
        ({"counts": {value: 5}}, "counts", "unknown_type")
        for value in ("", "likes", "Impressions", "x" * 1_000, "\x00")
    ),
    *(({"counts": {"impressions": value}}, "counts", "count_out_of_range") for value in (-1, 10**15 + 1, 2**63 - 1)),
    *(({"promoted": value}, "promoted", "wrong_type") for value in (0, 1, "true", [], {})),
    *(({"source": value}, "source", "wrong_type") for value in (None, 5, [])),
    *(({"source": value}, "source", "bad_length") for value in ("", "x" * 65)),
    ({"source": "a\x00b"}, "source", "bad_value"),
    *(({"handle": value}, "handle", "unknown_handle") for value in ("", "acme", "x" * 1_000)),
]


@pytest.mark.parametrize(
    # Names without values: some hold the time, and every process must find the same names.
    ("change", "field", "reason"),
    ODD,
    ids=[f"{number}-{field}-{reason}" for number, (_, field, reason) in enumerate(ODD)],
)
def test_it_refuses_one_and_keeps_the_others(
    ingest_token: str, change: dict[str, Any], field: str, reason: str
) -> None:
    answer = post(ingest_token, [good(), good(**change), good()])
    assert (answer.status, answer.body["accepted"], answer.rejected) == (202, 2, [(1, field, reason)])
    assert answer.body["rejected"][0]["detail"].startswith(f"{field}: ")
    assert (len(held()), reason in REASONS) == (2, True)
    kept = Rejection.objects.get()
    assert (kept.cargo, kept.field, kept.reason) == ("s", field, reason)
    assert post(ingest_token, [good(**change)]).status == 422


@pytest.mark.parametrize("item", [None, 5, "x", True, [], [[]]])
def test_it_refuses_what_is_no_snapshot(ingest_token: str, item: Any) -> None:
    answer = post(ingest_token, [good(), item])
    assert (answer.status, answer.rejected) == (202, [(1, "", "not_an_object")])


@pytest.mark.parametrize("field", ["tweet_id", "as_of", "counts"])
def test_it_names_what_is_missing(ingest_token: str, field: str) -> None:
    answer = post(ingest_token, [{name: value for name, value in good().items() if name != field}])
    assert (answer.status, answer.rejected) == (422, [(0, field, "missing")])


# What stands in unknown fields is never decoded.
@pytest.mark.parametrize("name", [*(name for name in NOT_JSON if " in a" not in name or "NaN" in name), *NOT_ITEMS])
def test_it_refuses_bodies_that_are_none(ingest_token: str, name: str) -> None:
    answer = post(ingest_token, NOT_JSON.get(name) or NOT_ITEMS.get(name, b""))
    assert (answer.status, answer.error) == (400, "not_json" if name in NOT_JSON else "not_items")
    assert held() == []


def test_it_refuses_what_is_too_large(ingest_token: str) -> None:
    assert post(ingest_token, b"{}\n" * 10_001, NDJSON).status == 413
    assert post(ingest_token, b" " * 5_000_001).status == 413


def test_it_takes_nothing_without_the_right_token(ingest_token: str, read_token: str, acme: Handle) -> None:
    assert ask("POST", SNAPSHOTS, dumped([good()])).status == 401
    assert post(read_token, [good()]).status == 403
    assert ask("GET", SNAPSHOTS, headers=(authorization(ingest_token),)).status == 405
    _, charlies = issue_token(acme.team, "charlie's", [Scope.INGEST], [acme])
    assert post(charlies, [good(handle="northwind")]).rejected == [(0, "handle", "unknown_handle")]
    assert held() == []


def test_it_wants_the_handle_named_when_a_token_covers_two(northwind: Handle) -> None:
    second = Handle.objects.create(team=northwind.team, username="southwind", display_name="Southwind")
    _, secret = issue_token(northwind.team, "both", [Scope.INGEST], [northwind, second])
    answer = post(secret, [good(), good(handle="@Northwind"), good(handle="southwind")])
    assert answer.rejected == [(0, "handle", "handle_required")]
    assert set(Source.objects.values_list("handle__username", "name")) == {("northwind", "api"), ("southwind", "api")}


def test_it_makes_fifty_sources_a_handle_at_most(ingest_token: str) -> None:
    answer = post(ingest_token, [good(source=f"{number:02}") for number in range(labels.MOST + 2)])
    assert answer.rejected == [(number, "source", "too_many_sources") for number in (50, 51)]
    assert Source.objects.count() == labels.MOST
    assert post(ingest_token, [good(source="07"), good(source="new")]).rejected == [(1, "source", "too_many_sources")]


def test_it_sends_again_what_has_become_good(ingest_token: str, northwind: Handle) -> None:
    post(ingest_token, [good(handle="southwind", source="nightly", counts={"impressions": 5, "replies": None})])
    rejection = Rejection.objects.get()
    with pytest.raises(Refusal):
        rejections.replay(rejection)
    southwind = Handle.objects.create(team=northwind.team, username="southwind", display_name="Southwind")
    ApiToken.objects.get().handles.add(southwind)
    rejections.replay(rejection)
    [record] = held()
    assert (record["handle_id"], record["counts"][CODE["impressions"]]) == (southwind.pk, 5)
    assert record["source"] == Source.objects.get(handle=southwind, name="nightly").pk


@pytest.mark.parametrize(
    "bad", [good(counts={"likes": 1}), good(counts=[1]), good(source=5), 5, None, good(tweet_id=2**70)]
)
def test_it_never_makes_up_what_was_left_out(ingest_token: str, bad: object) -> None:
    post(ingest_token, [bad])
    with pytest.raises(Refusal):
        rejections.replay(Rejection.objects.get())
    assert held() == []
