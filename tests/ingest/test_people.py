"""People are keyed hashes from the border on; a new key begins a new epoch; a person can be forgotten."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Handle
from insightstrack_site.run import BASE_DIR
from metrics import stream
from metrics.aggregate import reach, rollups
from metrics.ingest import people
from metrics.models import EngagementEvent, HandleRollup, PersonEpoch, ReachSketch, Rejection, StreamCursor
from metrics.vocabulary.periods import Grain
from metrics.vocabulary.sketches import Sketch
from tests.aggregate.events import Event, entries

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """The rows of this test's epochs go with its transaction, and so must what is remembered of them."""
    people.epoch.cache_clear()
    yield
    people.epoch.cache_clear()


def test_it_tells_people_apart_and_names_nobody() -> None:
    assert people.person_of("alice") == people.person_of("alice") != people.person_of("bob")
    assert people.person_of(None) == people.person_of("") == 0


def test_a_key_that_is_new_begins_an_epoch_and_one_that_is_known_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert people.epoch() == 0
    for fingerprint, number in (("another", 1), ("a third", 2), ("another", 1)):
        monkeypatch.setattr(people, "_FINGERPRINT", fingerprint)
        people.epoch.cache_clear()
        assert people.epoch() == number
    assert PersonEpoch.objects.count() == 3


@pytest.mark.parametrize(("key", "refusal"), [("short", "PEOPLE_KEY: a key needs at least 32"), ("k" * 32, "")])
def test_it_refuses_a_key_that_is_too_short(key: str, refusal: str) -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import django; django.setup(); from metrics.ingest import people; print(people.person_of('a'))",
        ],
        env={**os.environ, "PEOPLE_KEY": key},
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refusal in told.stderr
    if not refusal:
        assert int(told.stdout) != people.person_of("a")  # another key, another hash


def test_it_forgets_a_person_and_says_what_it_could_not(northwind: Handle) -> None:
    stream.client().flushdb()
    StreamCursor.objects.create(shard=0)
    someone = people.person_of("someone")
    batch = entries(northwind.pk, [[Event(1, 0, 0, 60, person=someone), Event(2, 0, 0, 60, person=7)]])
    rollups.apply(0, batch)
    reach.keep(0, batch)
    Rejection.objects.create(
        handle=northwind, index=0, field="type", reason="unknown_type", detail="", event={"person": someone, "epoch": 0}
    )
    PersonEpoch.objects.create(number=people.epoch() + 5, fingerprint="another")
    told = StringIO()
    call_command("forget_person", "--user-id", "someone", stdout=told)
    assert "Removed: 1 events of @northwind" in told.getvalue()
    assert "Removed from 6 sketches of people, and 1 refused events." in told.getvalue()
    assert "1 other keys" in told.getvalue()
    assert "What this could not do" in told.getvalue()
    assert [event.person for event in EngagementEvent.objects.all()] == [7]
    assert HandleRollup.objects.get(grain=Grain.LIFETIME).impressions == 1
    assert {Sketch.from_bytes(bytes(row.sketch)).estimate.people for row in ReachSketch.objects.all()} == {1}
    assert Rejection.objects.get().event == {}


def test_it_asks_whom_to_forget() -> None:
    with pytest.raises(CommandError, match="--user-id"):
        call_command("forget_person", "--user-id", "")


def test_rebuild_makes_sketches_again(northwind: Handle) -> None:
    StreamCursor.objects.create(shard=0)
    rollups.apply(0, entries(northwind.pk, [[Event(1, 0, 0, 60, person=7)]]))
    told = StringIO()
    call_command("rebuild", "--handle", "northwind", "--reach", stdout=told)
    assert told.getvalue() == "@northwind: 6 sketches of people are kept now.\n"
    assert ReachSketch.objects.count() == 6
