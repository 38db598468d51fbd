"""The real cascades, and one replay of them into the running installation for all tests of a session.

All fifty where the data folder lies beside the checkout, else the two kept under `tests/demo/data`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from metrics.demo.cascades import Cascade, read_cascades
from metrics.vocabulary.events import snowflake_at
from tests.cast import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.stack import Stack

KEPT = Path(__file__).parent / "demo" / "data"
BESIDE = Path(__file__).parents[2] / "shared" / "data" / "cascades"
HANDLE, OWNER = "cascades", "cascades@example.com"


@dataclass(frozen=True)
class Replayed:
    """The cascades as Tweets of @cascades, all created at `started_at`; `lines` is what the command printed."""

    token: str
    cascades: list[Cascade]
    started_at: datetime
    lines: list[str]

    def tweet_id(self, cascade: Cascade) -> int:
        """The Tweet that stands for a cascade."""
        return snowflake_at(self.started_at, cascade.number)

    def page(self, cascade: Cascade) -> str:
        """The address of its page."""
        return f"/h/{HANDLE}/t/{self.tweet_id(cascade)}/"

    def in_file(self, cascade: Cascade, edges: Iterable[float]) -> list[int]:
        """The Retweets that the file has before each of these instants, in seconds since the epoch."""
        ages = np.array(list(edges)) - self.started_at.timestamp()
        return [int(number) for number in np.searchsorted(cascade.ages, ages, side="left")]


def replay(stack: Stack, directory: Path, token: str, *more: str) -> list[str]:
    """What the command prints; AssertionError with its complaint when it fails."""
    options = ("--handle", HANDLE, "--url", stack.url, "--token", token, *more)
    return stack.manage("replay_cascades", str(directory), *options).splitlines()


@pytest.fixture(scope="session")
def cascades_dir() -> Path:
    return BESIDE if BESIDE.is_dir() else KEPT


@pytest.fixture(scope="session")
def cascades(cascades_dir: Path) -> list[Cascade]:
    return read_cascades(cascades_dir)


@pytest.fixture(scope="session")
def replayed(live_stack: Stack, cascades_dir: Path, cascades: list[Cascade]) -> Replayed:
    live_stack.wait_until_ready()
    live_stack.add_handle(HANDLE, team="Cascades", email=OWNER)
    token = live_stack.token(HANDLE)
    lines = replay(live_stack, cascades_dir, token, "--speed", "max")
    started_at = datetime.strptime(lines[0].split("from ")[1], "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC)
    return Replayed(token, cascades, started_at, lines)


@pytest.fixture(scope="session")
def reader(live_stack: Stack, replayed: Replayed) -> Iterator[httpx.Client]:
    """The owner of @cascades, signed in over HTTP."""
    assert replayed.lines
    with httpx.Client(base_url=live_stack.url, follow_redirects=True, timeout=timedelta(minutes=1).seconds) as client:
        client.get("/accounts/login/")
        form = {"login": OWNER, "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        answer = client.post("/accounts/login/", data=form, headers={"Referer": live_stack.url})
        assert answer.url.path == "/", answer.text
        yield client
