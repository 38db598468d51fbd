"""`manage.py follow_stream` beside a running installation: it shows what comes, and leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from insightstrack_site.run import BASE_DIR
from metrics.demo.follower import Address
from metrics.vocabulary.events import snowflake_at
from tests.faults.streams import Plain, site
from tests.stack import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack import Stack

TEAM, HANDLE = "terminals", "in_terminal"


@pytest.fixture(scope="module")
def token(live_stack: Stack) -> str:
    live_stack.wait_until_ready()
    live_stack.add_handle(HANDLE, team="Terminals", email="terminals@example.com")
    return live_stack.token(HANDLE)


def follow(stack: Stack, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """What it says and how it ends, when it ends by itself."""
    command = [sys.executable, "manage.py", "follow_stream", *arguments]
    environment = {**stack.env, **more}
    return subprocess.run(
        command, env=environment, cwd=BASE_DIR, capture_output=True, text=True, timeout=60, check=False
    )


def test_it_shows_what_happens_and_leaves_nothing_behind(live_stack: Stack, token: str, tmp_path: Path) -> None:
    tweet_id = snowflake_at(datetime.now(UTC) - timedelta(hours=1))
    event = {"id": "t-1", "tweet_id": str(tweet_id), "type": "favorites", "occurred_at": datetime.now(UTC).isoformat()}
    out, err = tmp_path / "out", tmp_path / "err"
    command = [sys.executable, "manage.py", "follow_stream", "--team", TEAM]
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(command, env=live_stack.env, cwd=BASE_DIR, stdout=stdout, stderr=stderr)
    try:
        eventually(lambda: "Stream: open" in err.read_text(), 30, "the stream is open")
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{live_stack.url}/api/v1/events", json=[event], headers=headers, timeout=15)
        assert answer.status_code == 202
        line = f"{tweet_id} impressions=0 engagements=1 favorites=1 retweets=0"
        eventually(lambda: line in out.read_text(), 20, "the summary's line")
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(20)
    assert status == 0
    assert out.read_text().endswith("Stopped.\n")
    with live_stack.database() as connection:
        left = connection.execute(
            "SELECT (SELECT count(*) FROM metrics_streamrule WHERE label LIKE 'terminal-%%'),"
            " (SELECT count(*) FROM accounts_apitoken WHERE name LIKE 'terminal-%%')"
        ).fetchone()
    assert left == (0, 0)


def test_it_says_in_one_line_why_a_stream_does_not_open(live_stack: Stack, token: str) -> None:
    unknown = "it_00000000_" + "A" * 43
    asked = {
        (unknown, TEAM): "the server answered 401: the token is unknown, expired or revoked",
        (token, "another"): "the server answered 404: there is no such stream, or the token is of another team",
    }
    for (secret, team), answer in asked.items():
        told = follow(live_stack, "--url", live_stack.url, "--token", secret, "--team", team, "--label", "prod")
        assert (told.returncode, told.stderr) == (1, f"CommandError: {answer}\n")
    told = follow(live_stack, "--team", "nobody")
    assert told.stderr.startswith("CommandError: There is no team “nobody”; there are: ")


def test_it_says_when_the_token_has_too_many_streams(live_stack: Stack, token: str) -> None:
    with site(live_stack, "daphne", STREAM_CONNECTIONS_PER_TOKEN="1") as web:
        address = Address(web.url, token, TEAM, "prod")
        with Plain(web.port, address):
            told = follow(live_stack, "--url", web.url, "--token", token, "--team", TEAM, "--label", "prod")
    assert told.stderr == "CommandError: the server answered 429: the token has as many open streams as it may\n"
