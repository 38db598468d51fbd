"""The vendor's Engagement API client, unmodified, in an environment of its own: what it prints is what the CSV says.

`gnip-insights-interface` 0.2 signs with OAuth 1.0a and splits what it asks: 25 Tweets and 27 days a request.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from metrics.query.engagement import MAPPED, TYPES_OF, Surface
from metrics.vocabulary.engagements import NAMES, TYPES
from metrics.vocabulary.events import snowflake_at
from metrics.vocabulary.periods import DAY, floor
from tests.cast import PASSWORD

if TYPE_CHECKING:
    from tests.stack import Stack

LOCK = Path(__file__).parents[1] / "official_client.lock"
HANDLE, OWNER, TWEETS = "officialclient", "official@example.com", 31
# PyYAML 5.3.1 cannot be compiled for today's Pythons; its Python part does the same.
INSTALL = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--use-pep517", "--require-hashes"]
PURE = "--config-settings=--global-option=--without-libyaml"
WINDOW_TYPES = list(TYPES_OF[Surface.HISTORICAL])


@dataclass(frozen=True)
class Client:
    """The installed client, its home with the credentials file, and the Tweets that it asks about."""

    python: Path
    home: Path
    tweet_ids: list[str]

    def run(self, *options: str, types: Sequence[str], group_by: Sequence[str]) -> dict[str, Any]:
        """What it prints; the Tweet ids come from a file, one a line."""
        config = {"engagement": {"engagement_types": list(types), "groupings": {"g": {"group_by": list(group_by)}}}}
        (self.home / "config.yaml").write_text(json.dumps(config))
        (self.home / "ids.txt").write_text("\n".join(self.tweet_ids) + "\n")
        script = self.python.with_name("tweet_engagements.py")
        command = [self.python, script, *options, "-f", self.home / "ids.txt", "-c", self.home / "config.yaml"]
        env = {**os.environ, "HOME": str(self.home), "NO_PROXY": "127.0.0.1"}
        told = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        answer: dict[str, Any] = json.loads(told.stdout)
        return answer


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the client, as its lock file pins it: a paragraph after the other."""
    folder = tmp_path_factory.mktemp("official")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    for number, paragraph in enumerate(LOCK.read_text().split("\n\n")):
        (folder / f"{number}.lock").write_text(paragraph + "\n")
        subprocess.run([python, *INSTALL, PURE, "-r", folder / f"{number}.lock"], check=True)
    return python


@pytest.fixture(scope="module")
def official(live_stack: Stack, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """The client, with what it needs: credentials, and Tweets of the last six weeks to ask about."""
    live_stack.add_handle(HANDLE, email=OWNER, team="Official")
    made = json.loads(live_stack.manage("create_token", "--handle", HANDLE, "--scope", "read", "--oauth"))
    home = tmp_path_factory.mktemp("home")
    (home / ".twitter_api_creds").write_text(
        f"""engagement:
  url: {live_stack.url}/insights/engagement
  consumer_key: {made["consumer_key"]}
  consumer_secret: {made["consumer_secret"]}
  token: {made["access_token"]}
  token_secret: {made["access_token_secret"]}
"""
    )
    now = datetime.now(UTC)
    born = [now - timedelta(hours=2 + 32 * number) for number in range(TWEETS)]
    ids = [snowflake_at(instant, number) for number, instant in enumerate(born)]
    _send(
        live_stack,
        [event for tweet_id, since in zip(ids, born, strict=True) for event in _events(tweet_id, since, now)],
    )
    return Client(python, home, [str(tweet_id) for tweet_id in ids])


def _events(tweet_id: int, since: datetime, now: datetime) -> Iterator[dict[str, Any]]:
    """Two events of each type over the Tweet's life."""
    chance = random.Random(tweet_id)
    for number, kind in enumerate([*TYPES, *TYPES]):
        yield {
            "id": f"{tweet_id}-{number}",
            "tweet_id": str(tweet_id),
            "type": kind.name,
            "occurred_at": (since + (now - since) * chance.random() ** 0.3).isoformat(),
            "promoted": kind.promotable and number >= len(TYPES),
            "count": chance.randint(1, 5000),
        }


def _send(stack: Stack, events: list[dict[str, Any]]) -> None:
    headers = {"Authorization": f"Bearer {stack.token(HANDLE, scopes=('ingest',))}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=30) as client:
        answer = client.post("/api/v1/events", json=events).raise_for_status().json()
        assert answer["accepted"] == len(events)
        path = f"/api/v1/receipts/{answer['receipt']}"
        stack.eventually(lambda: client.get(path).json()["status"] == "applied", 60, "the events are counted")


@pytest.fixture(scope="module")
def browser(live_stack: Stack, official: Client) -> Iterator[httpx.Client]:
    """The handle's owner, signed in over HTTP."""
    assert official.tweet_ids
    with httpx.Client(base_url=live_stack.url, follow_redirects=True, timeout=30) as client:
        client.get("/accounts/login/")
        form = {"login": OWNER, "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        assert client.post("/accounts/login/", data=form, headers={"Referer": live_stack.url}).url.path == "/"
        yield client


def _csv(browser: httpx.Client, path: str, **asked: str) -> list[dict[str, str]]:
    answer = browser.get(f"/h/{HANDLE}/{path}", params=asked)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def _by_day(browser: httpx.Client, tweet_id: str, since: str, until: str) -> dict[str, Counter[str]]:
    """The Tweet's CSV series: each type's count by UTC day."""
    rows = _csv(browser, f"t/{tweet_id}/series.csv", since=since, until=until, grain="hour", zone="UTC")
    days: dict[str, Counter[str]] = {name: Counter() for name in WINDOW_TYPES}
    for row in rows:
        for name in WINDOW_TYPES:
            days[name][row["start"][:10]] += int(row[MAPPED.get(name, name)])
    return days


def test_it_gets_totals(official: Client, browser: httpx.Client) -> None:
    types = TYPES_OF[Surface.TOTALS]
    told = official.run("-T", types=types, group_by=["tweet.id", "engagement.type"])
    since = f"{datetime.now(UTC) - 60 * DAY:%Y-%m-%d}"
    rows = _csv(browser, "tweets.csv", since=since, reading="tweets", zone="UTC")
    expected = {row["tweet_id"]: {name: int(row[f"lifetime_{name}"]) for name in types} for row in rows}
    assert set(official.tweet_ids) == set(expected)
    assert told == {"g": expected}
    assert sum(each["engagements"] for each in expected.values()) > 1_000_000


def test_it_gets_the_last_28_hours(official: Client, browser: httpx.Client) -> None:
    group_by = ["tweet.id", "engagement.type", "engagement.day"]
    hour = datetime.now(UTC).hour
    told = official.run("-D", types=WINDOW_TYPES, group_by=group_by)
    if datetime.now(UTC).hour != hour:  # its two requests may have been about two windows
        told = official.run("-D", types=WINDOW_TYPES, group_by=group_by)
    assert list(told["g"]) == official.tweet_ids
    for tweet_id in official.tweet_ids:
        assert told["g"][tweet_id] == _by_day(browser, tweet_id, told["start"], told["end"])
    assert any(any(days.values()) for days in told["g"][official.tweet_ids[0]].values())


@pytest.mark.parametrize("days", [20, 40])
def test_it_gets_windows_of_any_length(official: Client, browser: httpx.Client, days: int) -> None:
    today = floor(datetime.now(UTC), DAY)
    since, until = f"{today - days * DAY:%Y-%m-%d}", f"{today:%Y-%m-%d}"
    daily = official.run(
        "-H", since, until, types=WINDOW_TYPES, group_by=["tweet.id", "engagement.type", "engagement.day"]
    )
    summed = official.run("-H", since, until, types=WINDOW_TYPES, group_by=["engagement.type", "tweet.id"])
    assert len(daily["g"]) == TWEETS
    for tweet_id in official.tweet_ids:
        expected = _by_day(browser, tweet_id, since, until)
        assert daily["g"][tweet_id] == expected
        assert {name: summed["g"][name][tweet_id] for name in WINDOW_TYPES} == {
            name: sum(by_day.values()) for name, by_day in expected.items()
        }
    assert len(daily["g"][official.tweet_ids[0]]["impressions"]) == days
    assert set(daily) == {"start", "end", "g"}
    assert sum(sum(daily["g"][official.tweet_ids[-1]][name].values()) for name in NAMES) > 0


def test_it_hears_of_what_it_may_not_read(official: Client) -> None:
    ids = ["20", *official.tweet_ids[:25], "21"]
    told = Client(official.python, official.home, ids).run(
        "-D", types=["impressions"], group_by=["tweet.id", "engagement.type"]
    )
    assert told["errors"] == ["1 Tweet ID(s) are unavailable"] * 2
    assert told["unavailable_tweet_ids"] == ["20", "21"]
    assert list(told["g"]) == official.tweet_ids[:25]
