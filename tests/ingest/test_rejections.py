"""Refused events are kept for an admin, without the people in them, up to a cap; and can be sent again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from accounts.models import ApiToken, Handle
from metrics import stream
from metrics.ingest import rejections
from metrics.ingest.validation import Refusal, person_of
from metrics.models import Rejection
from metrics.vocabulary import events
from tests.ingest.asking import held, post
from tests.ingest.corpus import good

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper

SECRET = "somebody in particular"


@pytest.mark.parametrize(
    "bad",
    [
        good(type="likes", user_id=SECRET),
        good(id="", user_id=SECRET),
        good(user_id=[SECRET]),
        good(user_id={"name": SECRET}),
        good(user_id=SECRET * 50),
        good(id="", user={"user_id": SECRET}, author=SECRET),
        good(id=[{"user_id": SECRET}]),
        [good(user_id=SECRET)],
        SECRET,
    ],
)
def test_it_keeps_no_person(ingest_token: str, northwind: Handle, bad: object) -> None:
    assert post(ingest_token, [bad]).status == 422
    kept = Rejection.objects.values().get()
    assert SECRET not in json.dumps(kept, default=str)
    assert (kept["handle_id"], kept["token_id"], kept["index"]) == (northwind.pk, ApiToken.objects.get().pk, 0)


def test_it_keeps_what_was_sent(ingest_token: str) -> None:
    post(ingest_token, [good(), good(type="likes\x00", user_id=SECRET, count=2**70)])
    kept = Rejection.objects.get()
    assert (kept.index, kept.field, kept.reason) == (1, "type", "unknown_type")
    assert kept.event["type"] == "likes�"
    assert kept.event["count"] == {"left_out": "a number beyond 64 bits"}
    assert kept.event["person"] == person_of(SECRET)
    assert "\x00" not in kept.detail


def test_it_keeps_the_first_of_a_batch_and_the_newest_of_all(ingest_token: str, settings: SettingsWrapper) -> None:
    answer = post(ingest_token, [5] * 10_000)
    assert len(answer.body["rejected"]) == 10_000
    assert Rejection.objects.count() == rejections.KEPT_A_BATCH
    settings.REJECTIONS_KEPT = 10
    assert rejections.trim() == rejections.KEPT_A_BATCH - 10
    assert set(Rejection.objects.values_list("index", flat=True)) == set(range(90, 100))
    assert rejections.trim() == 0


def test_it_keeps_to_its_cap_while_a_sender_gets_everything_wrong(
    ingest_token: str, settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REJECTIONS_KEPT = 50
    monkeypatch.setattr(rejections, "TRIM_EVERY", 100)
    for _ in range(5):
        post(ingest_token, [5] * 100)
    assert 50 <= Rejection.objects.count() < 50 + 100


def test_it_sends_again_what_has_become_good(ingest_token: str, northwind: Handle) -> None:
    post(ingest_token, [good(handle="southwind", user_id=SECRET)])
    rejection = Rejection.objects.get()
    with pytest.raises(Refusal):
        rejections.replay(rejection)
    southwind = Handle.objects.create(team=northwind.team, username="southwind", display_name="Southwind")
    ApiToken.objects.get().handles.add(southwind)
    rejections.replay(rejection)
    assert rejection.replayed_at is not None
    [(_, fields)] = stream.client().xrange(stream.stream_key(stream.shard_of(southwind.pk)))
    [event] = events.unpack(fields[b"e"])
    assert (event["handle_id"], event["person"]) == (southwind.pk, person_of(SECRET))


@pytest.mark.parametrize("bad", [good(id=["one"]), good(count=2**70), good(tweet_id=2**70), 5, [], None, good(id="")])
def test_it_never_makes_up_what_was_left_out(ingest_token: str, bad: object) -> None:
    post(ingest_token, [bad])
    with pytest.raises(Refusal):
        rejections.replay(Rejection.objects.get())
    assert held() == 0
