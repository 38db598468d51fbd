"""Our own files back in: all of it on an empty installation, nothing twice on the one that wrote them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from datetime import UTC, timedelta
from pathlib import Path

import numpy as np
import pytest
from django.utils import timezone

from accounts.models import Handle
from metrics import stream
from metrics.ingest.files.formats import Glimpse
from metrics.ingest.files.own_tables import OwnTweets
from metrics.ingest.intake import Delivery, take
from metrics.ingest.sources import known
from metrics.ingest.tweets import IncomingTweet, add_tag, remove_tag
from metrics.ingest.validation import IncomingEvent
from metrics.models import DroppedDay, EngagementEvent, ImportState, TweetRollup
from metrics.present.columns import COLUMNS, PEOPLE
from metrics.present.exports import encoded, tweet_rows, tweet_series_rows
from metrics.query import params, series, story
from metrics.vocabulary.engagements import CODE, ORGANIC, PROMOTED, UNDO_OF, Counts
from metrics.vocabulary.events import snowflake_at
from tests.ingest.files.conftest import Count, Import

NOW = timezone.now().replace(microsecond=0)
BORN = NOW - timedelta(days=3)
TWEET = snowflake_at(BORN, 7)


def event(number: int, kind: str, hours: float, count: int = 1, promoted: bool = False) -> IncomingEvent:
    return IncomingEvent(f"e{number}", TWEET, kind, BORN + timedelta(hours=hours), promoted, None, count)


EVENTS = (
    event(1, "impressions", 0.5, 1_000),
    event(2, "favorites", 1.2, 40),
    event(3, "favorites", 1.3, 10, promoted=True),
    event(4, "unfavorites", 2.1, 5),
    event(5, "retweets", 5.9, 3),
    event(6, "url_clicks", 30.0, 8),
    event(7, "unfavorites", 47.5, 2),
    event(8, "impressions", 70.0, 500),
)


@pytest.fixture
def happened(northwind: Handle, count: Count) -> None:
    """Events of one Tweet over three days, counted."""
    told = IncomingTweet(
        str(TWEET), "-10 % on beans &amp; more", BORN, "photo", "https://a.example/b", ["sale", "spring sale"]
    )
    take(known(northwind, "api", "api"), Delivery(events=EVENTS, tweets=[told]))
    count()


def written(folder: Path, name: str, kind: str, rows: Iterable[list[object]]) -> Path:
    path = folder / name
    path.write_bytes(b"".join(encoded(COLUMNS[kind], rows, bom=True)))
    return path


def tweets_csv(handle: Handle, folder: Path) -> Path:
    query = params.parse({"range": "7d"}, handle, NOW)
    return written(folder, "northwind_tweets_20260101_20260108.csv", "tweets", tweet_rows(query))


def series_csv(handle: Handle, folder: Path, grain: str) -> Path:
    tweet = story.find_tweet(handle, TWEET)
    assert tweet is not None
    query = story.parse_tweet({"grain": grain, "zone": "Asia/Kathmandu"}, tweet, NOW, 10_000)
    name = f"northwind_tweet_{TWEET}_20260101_20260108.csv"
    return written(folder, name, "tweet_series", tweet_series_rows(query))


def lifetime(handle: Handle) -> Counts:
    return series.tweet_lifetimes(handle.pk, [TWEET])[TWEET]


def net(counts: Counts) -> Counts:
    """int64[2, 26] with what was taken back taken off."""
    left = counts.copy()
    for gained, lost in UNDO_OF.items():
        left[:, CODE[gained]] -= left[:, CODE[lost]]
        left[:, CODE[lost]] = 0
    return left


def empty(handle: Handle, username: str = "restored") -> Handle:
    """Another handle stands for an empty installation."""
    handle.pk, handle.username = None, username
    handle._state.adding = True
    handle.save()
    return handle


def count_of(handle: Handle) -> None:
    from metrics.aggregate import partitions, rollups

    partitions.forget()
    writer = rollups.Writer(stream.shard_of(handle.pk))
    while writer.step(1):
        pass
    partitions.forget()


@pytest.mark.usefixtures("happened")
def test_its_tweets_come_back_on_an_empty_installation(imported: Import, northwind: Handle, tmp_path: Path) -> None:
    path, before = tweets_csv(northwind, tmp_path), lifetime(northwind)
    restored = empty(northwind)
    file = imported(path, NOW, restored)
    assert (file.state, file.imported, file.refused) == (ImportState.DONE, 1, 0)
    count_of(restored)
    assert lifetime(restored).tolist() == net(before).tolist()
    tweet = story.find_tweet(restored, TWEET)
    assert tweet is not None
    assert (tweet.text, tweet.media, tweet.link, tweet.tags, tweet.created_at) == (
        "-10 % on beans &amp; more",
        "photo",
        "https://a.example/b",
        ["sale", "spring sale"],
        BORN,
    )
    again = imported(path, NOW, restored)
    assert (again.imported, again.unchanged) == (0, 1)


@pytest.mark.usefixtures("happened")
def test_it_leaves_tags_alone_that_the_team_changed(imported: Import, northwind: Handle, tmp_path: Path) -> None:
    path = tweets_csv(northwind, tmp_path)
    remove_tag(northwind, [TWEET], "sale")
    add_tag(northwind, [TWEET], "winter")
    assert imported(path, NOW, northwind).state == ImportState.DONE
    tweet = story.find_tweet(northwind, TWEET)
    assert tweet is not None
    assert tweet.tags == ["spring sale", "winter"]


def test_it_passes_over_how_many_people_there_were() -> None:
    table = OwnTweets.of(Glimpse("northwind_tweets_20260101_20260108.csv", ",", list(COLUMNS["tweets"]), []))
    assert table is not None
    notes = {each["column"]: each["note"] for each in table.columns() if each["to"] is None}
    assert {notes[name] for name in PEOPLE} == {"not counted: a number of people does not say who they are"}


@pytest.mark.usefixtures("happened")
@pytest.mark.parametrize("late", [timedelta(0), timedelta(hours=5)])
def test_its_tweets_change_nothing_where_they_were_written(
    imported: Import, northwind: Handle, count: Count, tmp_path: Path, late: timedelta
) -> None:
    path = tweets_csv(northwind, tmp_path)
    # What happens, or is taken back, after the export makes no fall of what the export says.
    later = [event(20, "favorites", 71.5, 6), event(21, "unfavorites", 71.9, 9)]
    take(known(northwind, "api", "api"), Delivery(events=later))
    count()
    before = lifetime(northwind)
    for number in range(3):
        file = imported(path, NOW - late + timedelta(seconds=number))
        count()
        assert lifetime(northwind).tolist() == before.tolist()
    assert (file.imported, file.unchanged, file.refused) == (0, 1, 0)


@pytest.mark.usefixtures("happened")
@pytest.mark.parametrize("grain", ["quarter", "hour", "day"])
def test_a_tweets_series_comes_back_bucket_by_bucket(
    imported: Import, northwind: Handle, tmp_path: Path, grain: str
) -> None:
    path = series_csv(northwind, tmp_path, grain)
    restored = empty(northwind)
    file = imported(path, NOW, restored)
    assert (file.state, file.refused) == (ImportState.DONE, 0)
    count_of(restored)
    assert net(lifetime(restored)).tolist() == net(_told()).tolist()
    again = series_csv(restored, tmp_path, grain)
    for before, after in zip(rows_of(path), rows_of(again), strict=True):
        for name in ("start", "until", "impressions", "retweets", "url_clicks", "cumulative_impressions"):
            assert after[name] == before[name], (name, before["start"])
        assert _kept(after) == _kept(before), before["start"]


def _told() -> Counts:
    counts = np.zeros((2, 26), dtype=np.int64)
    for one in EVENTS:
        counts[PROMOTED if one.promoted else ORGANIC, CODE[one.type]] += one.count
    return counts


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def _kept(row: dict[str, str]) -> int:
    return int(row["favorites"]) - int(row["unfavorites"])


@pytest.mark.usefixtures("happened")
def test_a_tweets_series_changes_nothing_where_it_was_written(
    imported: Import, northwind: Handle, count: Count, tmp_path: Path
) -> None:
    path = series_csv(northwind, tmp_path, "hour")
    # One that arrives late makes every bucket after it larger than the file says.
    take(known(northwind, "api", "api"), Delivery(events=[event(30, "favorites", 1.5, 4)]))
    count()
    before = lifetime(northwind)
    file = imported(path, NOW)
    count()
    assert (file.imported, file.refused) == (0, 0)
    assert lifetime(northwind).tolist() == before.tolist()


@pytest.mark.usefixtures("happened")
def test_a_tweets_series_fills_what_is_missing(imported: Import, northwind: Handle, tmp_path: Path) -> None:
    path = series_csv(northwind, tmp_path, "hour")
    restored = empty(northwind)
    take(known(restored, "api", "api"), Delivery(events=EVENTS[:3]))
    count_of(restored)
    imported(path, NOW, restored)
    count_of(restored)
    expected = net(_told())
    expected[ORGANIC, CODE["favorites"]] = 40  # what was taken back later is not: our own files only add
    assert net(lifetime(restored)).tolist() == expected.tolist()


# --- events -----------------------------------------------------------------------------------------------------------


def ndjson(folder: Path, events: Iterable[dict[str, object]]) -> Path:
    path = folder / "events.ndjson"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in events))
    return path


def some_events(number: int) -> list[dict[str, object]]:
    at = BORN.astimezone(UTC)
    return [
        {
            "id": f"n{place}",
            "tweet_id": str(TWEET),
            "type": "favorites",
            "occurred_at": (at + timedelta(seconds=place)).isoformat(),
        }
        for place in range(number)
    ]


def test_events_count_once(imported: Import, northwind: Handle, count: Count, tmp_path: Path) -> None:
    first = imported(ndjson(tmp_path, some_events(50)))
    count()
    more = imported(ndjson(tmp_path, some_events(80)))
    count()
    assert (first.imported, first.unchanged) == (50, 0)
    assert (more.imported, more.unchanged, more.refused) == (30, 50, 0)
    assert EngagementEvent.objects.count() == 80
    assert TweetRollup.objects.get(tweet_id=TWEET, grain=4).favorites == 80


def test_events_of_a_day_that_was_dropped_are_refused(
    imported: Import, northwind: Handle, count: Count, tmp_path: Path
) -> None:
    DroppedDay.objects.create(day=BORN.astimezone(UTC).date())
    file = imported(ndjson(tmp_path, some_events(3)))
    assert (file.imported, file.refused, file.report["reasons"]) == (0, 3, {"day_closed": 3})
    assert "nobody can tell" in file.problems.first().detail


def test_a_series_is_read_in_any_batches(
    happened: None, imported: Import, northwind: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metrics.ingest.files import previews

    monkeypatch.setattr(previews, "BATCH_ROWS", 2)
    path = series_csv(northwind, tmp_path, "hour")
    restored = empty(northwind)
    imported(path, NOW, restored)
    count_of(restored)
    assert net(lifetime(restored)).tolist() == net(_told()).tolist()


def test_nothing_is_before_tracking_in_a_series(
    happened: None, imported: Import, northwind: Handle, tmp_path: Path
) -> None:
    from metrics.models import InferredCount

    restored = empty(northwind)
    restored_path = series_csv(Handle.objects.get(username="northwind"), tmp_path, "hour")
    imported(restored_path, NOW, restored)
    count_of(restored)
    rows = InferredCount.objects.filter(handle=restored)
    assert rows.exists()
    assert not rows.filter(is_history=True).exists()
