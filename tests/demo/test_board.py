"""The live table of a stream: the newest summary of each Tweet, the busiest first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from rich.console import Console

from metrics.demo.board import Board
from metrics.present.summaries import summary
from metrics.query.following import State
from metrics.vocabulary.engagements import CODE, N_TYPES
from metrics.vocabulary.events import snowflake_at

NOW = datetime.now(UTC).replace(microsecond=0)
QUIET, BUSY = snowflake_at(NOW - timedelta(hours=1)), snowflake_at(NOW - timedelta(hours=2))


def told(tweet_id: int, likes: int, seconds: int = 0) -> dict[str, Any]:
    """The summary of so many likes, and ten times as many impressions, so many seconds ago."""
    organic = [0] * N_TYPES
    organic[CODE["favorites"]], organic[CODE["impressions"]] = likes, likes * 10
    state = State(tweet_id, organic, [], NOW - timedelta(seconds=seconds), 1)
    return dict(msgspec.json.decode(summary(state, NOW)))


def drawn(board: Board) -> list[str]:
    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(board.render("open", 40))
    return capture.get().splitlines()


def test_it_shows_the_busiest_tweet_of_the_last_minute_first() -> None:
    board = Board("@northwind")
    for message in (told(QUIET, 900, 300), told(BUSY, 3, 30), told(QUIET, 901), told(BUSY, 1_005)):
        assert board.take(message)

    lines = [line for line in drawn(board) if str(QUIET) in line or str(BUSY) in line]

    assert [str(BUSY) in line for line in lines] == [True, False]
    assert "+11,022" in lines[0]
    assert "10,050" in lines[0]
    assert "+11 " in lines[1]


def test_it_keeps_to_the_newest_summary() -> None:
    board = Board("@northwind")
    board.take(told(BUSY, 10))

    assert board.take(told(BUSY, 9, 60)) is None
    assert board.rows[str(BUSY)].counts["favorites"] == 10
    assert board.take(told(BUSY, 11)).endswith("favorites=11 retweets=0 replies=0 url_clicks=0 video_views=0")


def test_a_tweets_text_cannot_steer_the_terminal() -> None:
    board = Board("@northwind")
    user = {"screen_name": "northwind"}
    tweet = {"id_str": str(BUSY), "text": "[red]hi[/] \x1b[2Jthere", "user": user, "created_at": "now"}

    assert "\x1b" not in (board.take(tweet) or "\x1b")
    board.take(told(BUSY, 1))
    assert any("@northwind [red]hi[/]  [2Jthere" in line for line in drawn(board))


def test_it_passes_over_what_it_does_not_know() -> None:
    board = Board("@northwind")

    assert board.take({"another": "kind"}) is None
    assert board.take({"user_event": {"revoke": {"date_time": "now", "source": {"user_id": "7"}}}})
    assert "followed no longer: 1" in drawn(board)[0]
