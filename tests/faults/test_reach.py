"""Writers of people's sketches die in mid-batch, or two machines share the work: the sketches end the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from metrics.ingest.people import person_of
from metrics.models import Audience
from metrics.vocabulary.sketches import Sketch
from tests.faults.load import Load, wait_for_answers, writers_in_mid_batch
from tests.stack import Stack, free_port

HANDLES = ["seen", "heard"]


@pytest.fixture(scope="module")
def token(live_stack: Stack) -> str:
    shards = {live_stack.add_handle(name, team="Reach", email="reach@example.com") % 2 for name in HANDLES}
    assert shards == {0, 1}
    return live_stack.token(*HANDLES)


@pytest.fixture
def load(live_stack: Stack, token: str) -> Load:
    live_stack.wait_until_ready()
    return Load(live_stack, token, HANDLES)


Lifetimes = dict[tuple[str, int], bytes]


def kept(stack: Stack, tweet_id: int) -> Lifetimes:
    """(handle, audience) → the Tweet's sketch."""
    with stack.database() as connection:
        rows = connection.execute(
            "SELECT username, audience, sketch FROM metrics_reachsketch JOIN accounts_handle ON handle_id = id"
            " WHERE grain = 4 AND tweet_id = %s",
            [tweet_id],
        ).fetchall()
    return {(str(username), int(str(audience))): bytes(sketch) for username, audience, sketch in rows}


def expected(load: Load) -> Lifetimes:
    people: dict[tuple[str, int], set[int]] = {}
    for event in (event for batch in load.batches for event in batch):
        audience = Audience.SEEN if event["type"] == "impressions" else Audience.ENGAGED
        people.setdefault((event["handle"], int(audience)), set()).add(person_of(event["user_id"]))
    return {key: Sketch.of(someone).to_bytes() for key, someone in people.items()}


def check(stack: Stack, load: Load) -> None:
    stack.eventually(lambda: kept(stack, load.tweet_id) == expected(load), 90, "the sketches hold all people")


def test_it_keeps_everybody_when_writers_are_killed_in_mid_batch(live_stack: Stack, load: Load) -> None:
    with load.running():
        for _ in range(2):
            wait_for_answers(live_stack, load)
            with writers_in_mid_batch(live_stack, "metrics_reachsketch", len(HANDLES), "EXCLUSIVE"):
                live_stack.kill_writers()
        wait_for_answers(live_stack, load)
    check(live_stack, load)


def test_it_keeps_everybody_when_two_machines_share_the_work(live_stack: Stack, load: Load) -> None:
    with tempfile.TemporaryDirectory(prefix="it-machine-", ignore_cleanup_errors=True) as folder:
        second = Stack(Path(folder), free_port(), beside=live_stack)
        try:
            second.start()
            with load.running():
                for machine in (live_stack, second):
                    wait_for_answers(live_stack, load)
                    machine.kill_writers()
                wait_for_answers(live_stack, load)
            load.send_again(1)
            check(live_stack, load)
        finally:
            second.stop()
