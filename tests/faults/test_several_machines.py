"""Two machines on one PostgreSQL and Redis: each takes, counts and shows, and one goes on when the other is gone."""

from __future__ import annotations

import itertools
import re
import signal
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import redis
from websockets.sync.client import connect

from metrics.stream import LEASE_SECONDS, Group
from metrics.vocabulary.events import snowflake_at
from tests.cast import PASSWORD
from tests.stack import Stack, eventually, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

HANDLES = ["eastern", "western"]
_numbers = itertools.count()
EMAIL = "machines@example.com"
# The lease of a killed writer, then the other machine's next beat, which comes every three seconds; and a busy machine.
TAKEOVER_SECONDS = LEASE_SECONDS + 3 + 7


@pytest.fixture(scope="module")
def machines(live_stack: Stack) -> Iterator[tuple[Stack, Stack]]:
    live_stack.wait_until_ready()
    with tempfile.TemporaryDirectory(prefix="it-machine-", ignore_cleanup_errors=True) as folder:
        second = Stack(Path(folder), free_port(), beside=live_stack)
        try:
            second.start()
            yield live_stack, second
        finally:
            second.stop()


@pytest.fixture(scope="module")
def token(live_stack: Stack) -> str:
    shards = {live_stack.add_handle(name, team="Machines", email=EMAIL) % 2 for name in HANDLES}
    assert shards == {0, 1}
    return live_stack.token(*HANDLES)


def some_events(number: int) -> list[dict[str, Any]]:
    """So many new likes of one Tweet, of each handle in turn."""
    born_at = datetime.now(UTC) - timedelta(hours=1)
    return [
        {
            "id": f"machines-{next(_numbers)}",
            "tweet_id": str(snowflake_at(born_at)),
            "type": "favorites",
            "occurred_at": datetime.now(UTC).isoformat(),
            "handle": HANDLES[n % 2],
        }
        for n in range(number)
    ]


def send(machine: Stack, token: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer 202; events are sent again until it comes."""
    answers: list[httpx.Response] = []

    def taken() -> bool:
        headers = {"Authorization": f"Bearer {token}"}
        answers.append(httpx.post(f"{machine.url}/api/v1/events", json=events, headers=headers, timeout=10))
        return answers[-1].status_code == 202

    eventually(taken, 30, "the events are taken")
    told: dict[str, Any] = answers[-1].json()
    return told


def outcome(machine: Stack, token: str, receipt: str) -> tuple[int, int]:
    """How many events of the receipt were fresh, and how many duplicates, once they are applied."""
    found: dict[str, Any] = {}

    def applied() -> bool:
        headers = {"Authorization": f"Bearer {token}"}
        found.update(httpx.get(f"{machine.url}/api/v1/receipts/{receipt}", headers=headers, timeout=10).json())
        return bool(found["status"] == "applied")

    eventually(applied, TAKEOVER_SECONDS, "the events are applied")
    return found["fresh"], found["duplicates"]


def writer(machine: Stack, shard: int, group: Group = Group.ROLLUPS) -> int | None:
    """The process that holds the shard's lease for the group."""
    with redis.Redis.from_url(machine.redis.url) as client:
        token: Any = client.get(f"lease:{group}:{shard}")
    return int(token.split()[0].rpartition(b":")[2]) if token else None


def writers(machine: Stack) -> set[int]:
    """The processes in which this machine's consumers work."""
    consumers = machine.processes["consumers"].process
    assert consumers is not None
    return {child.pid for child in psutil.Process(consumers.pid).children()} if consumers.poll() is None else set()


def is_of(pid: int | None, machine: Stack) -> bool:
    """Whether the process is one of this machine's consumers."""
    return pid in writers(machine)


def writes_all(machine: Stack) -> bool:
    """Whether this machine counts, and keeps people, of every shard."""
    return all(is_of(writer(machine, shard, group), machine) for shard in range(2) for group in Group)


def cookies(machine: Stack) -> str:
    """Those of a browser that is signed in on this machine."""
    with httpx.Client(base_url=machine.url, timeout=30) as browser:
        form = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get("/accounts/login/").text)
        assert form is not None
        fields = {"csrfmiddlewaretoken": form[1], "login": EMAIL, "password": PASSWORD}
        assert browser.post("/accounts/login/", data=fields).status_code == 302
        return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


def test_it_counts_once_what_both_machines_take(machines: tuple[Stack, Stack], token: str) -> None:
    events = some_events(40)
    receipts = [send(machine, token, events)["receipt"] for machine in machines]
    outcomes = [outcome(machines[1], token, receipt) for receipt in receipts]
    assert outcomes == [(40, 0), (0, 40)]


def test_it_shows_on_one_machine_what_the_other_takes(machines: tuple[Stack, Stack], token: str) -> None:
    first, second = machines
    address = second.url.replace("http", "ws") + f"/ws/live/?handle={HANDLES[0]}"
    headers = {"Cookie": cookies(first)}  # a session of one machine is good on all
    with connect(address, origin=second.url, additional_headers=headers) as socket:
        assert '"hello"' in str(socket.recv(30))

        def framed() -> bool:
            send(first, token, some_events(2))
            try:
                return '"frame"' in str(socket.recv(2))
            except TimeoutError:
                return False

        eventually(framed, 30, "a frame on the second machine")


def test_it_goes_on_with_all_shards_when_a_machine_dies(machines: tuple[Stack, Stack], token: str) -> None:
    dying, other = machines if is_of(writer(machines[0], 0), machines[0]) else machines[::-1]
    for name in dying.processes:
        dying.kill(name)
    receipt = send(other, token, some_events(2))["receipt"]
    eventually(lambda: writes_all(other), TAKEOVER_SECONDS, "all shards are taken")
    assert outcome(other, token, receipt) == (2, 0)
    dying.tend()
    dying.wait_until_ready()


def test_it_hands_its_shards_over_when_it_is_stopped(machines: tuple[Stack, Stack]) -> None:
    eventually(
        lambda: all(len(writers(machine)) == 2 * len(Group) for machine in machines), 60, "both machines have writers"
    )
    first, second = machines
    stopping, other = (first, second) if is_of(writer(first, 0), first) else (second, first)
    process = stopping.processes["consumers"].process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    # Sooner than a lease would end by itself.
    eventually(lambda: writes_all(other), LEASE_SECONDS - 3, "handed over")
    assert process.wait(20) == 0
    stopping.tend()
