"""The main job on real input: cascades replayed into a running installation equal their files, minute for minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.replayed import HANDLE, KEPT, Replayed, replay
from tests.stack import Stack


def test_it_counts_every_retweet_of_every_file(live_stack: Stack, replayed: Replayed) -> None:
    lines = replayed.lines
    assert lines[-1] == f"All {len(replayed.cascades)} Tweets equal their files, minute for minute."
    for cascade in replayed.cascades:
        number = f"{len(cascade.ages):,}"
        told = f"RT{cascade.number}: file {number}, counted {number}, every minute the same"
        assert told in lines
    # Again, some of them: it finds the earlier replay, and resends count nothing.
    again = replay(live_stack, KEPT, replayed.token)
    assert again[0].split("from ")[1] == lines[0].split("from ")[1]
    assert again[-1] == "All 2 Tweets equal their files, minute for minute."
    assert tweets(live_stack) == len(replayed.cascades)


def test_it_fails_where_a_count_differs(live_stack: Stack, replayed: Replayed, tmp_path: Path) -> None:
    """A file that lost a Retweet after it was replayed: the product has one more."""
    # Minutes are kept for weeks, not for ever.
    started_at = ("--started-at", f"{datetime.now(UTC) - timedelta(days=20):%Y-%m-%dT%H:%MZ}")
    rows = (KEPT / "RT49.txt").read_text().splitlines()
    path = tmp_path / "RT49.txt"
    path.write_text("\n".join([f"{len(rows) - 2} 1.0", *rows[1:]]))
    replay(live_stack, tmp_path, replayed.token, *started_at)
    path.write_text("\n".join([f"{len(rows) - 3} 1.0", *rows[1:-1]]))
    with pytest.raises(AssertionError, match="1 of 1 Tweets differ from their files"):
        replay(live_stack, tmp_path, replayed.token, *started_at)


def test_it_names_a_broken_file(live_stack: Stack, replayed: Replayed, tmp_path: Path) -> None:
    (tmp_path / "RT1.txt").write_text("3 1.0\n0 10\n5 5\n")
    with pytest.raises(AssertionError, match=r"RT1\.txt: line 1 states 3 Retweets, 1 follow"):
        replay(live_stack, tmp_path, replayed.token)


def tweets(stack: Stack) -> int:
    """Tweets of the handle."""
    with stack.database() as connection:
        found = connection.execute(
            "SELECT count(*) FROM metrics_tweet t JOIN accounts_handle h ON h.id = t.handle_id WHERE h.username = %s",
            [HANDLE],
        ).fetchone()
    assert found is not None
    return int(str(found[0]))
