"""A file from its last byte to its report: claimed by one worker, resumed by another, cancelled, given up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts.models import Handle, Platform
from metrics import stream
from metrics.ingest.files import engine, previews
from metrics.ingest.files.contents import LocalContent
from metrics.models import AccountDay, FileImport, ImportPiece, ImportProblem, ImportState, Source, SourceNote, Tweet
from tests.ingest.files.conftest import EXPORTED_AT, Count, Import, silent
from tests.ingest.files.reading import DATA
from tests.ingest.files.writing import many_posts, tweet_activity

ACTIVITY = DATA / "tweet_activity_metrics_northwind_20161201_20170101_en.csv"
OVERVIEW = DATA / "account_overview_analytics.csv"
BAD_ROWS = DATA / "x_tweet_activity_bad_rows.csv"


def uploaded(handle: Handle, path: Path, piece: int = 300, **more: object) -> FileImport:
    """The file in pieces, as the page leaves it."""
    data = path.read_bytes()
    file = FileImport.objects.create(handle=handle, filename=path.name, size=len(data), received=len(data), **more)
    ImportPiece.objects.bulk_create(
        ImportPiece(file=file, offset=at, data=data[at : at + piece]) for at in range(0, len(data), piece)
    )
    return file


def asked() -> int:
    """How many times the workers have been asked for a file."""
    return int(stream.client().llen("imports"))


def large(folder: Path, rows: int) -> Path:
    """A file of so many rows."""
    path = folder / "large.csv"
    path.write_bytes(b"".join(tweet_activity(many_posts(rows))))
    return path


def figures(file: FileImport) -> tuple[str, int, int, int, int]:
    file.refresh_from_db()
    return file.state, file.read, file.imported, file.unchanged, file.refused


# --- from the upload to the report ------------------------------------------------------------------------------------


def test_it_goes_from_the_upload_to_the_report(northwind: Handle, django_capture_on_commit_callbacks: object) -> None:
    file = uploaded(northwind, ACTIVITY)
    with django_capture_on_commit_callbacks(execute=True):
        engine.finish_upload(file)
    assert (file.state, asked()) == (ImportState.READING, 1)
    told: list[tuple[str, int]] = []
    engine.work(file.pk, lambda now: told.append((now.state, now.read)))
    file.refresh_from_db()
    assert (file.state, file.format, file.rows) == (ImportState.READY, "x_tweet_activity", 4)
    assert file.preview["handle"] == "northwind"
    assert (Tweet.objects.count(), stream.backlog(stream.shard_of(northwind.pk))) == (0, 0)
    with django_capture_on_commit_callbacks(execute=True):
        engine.start(file)
    assert asked() == 2
    engine.work(file.pk, lambda now: told.append((now.state, now.read)))
    assert figures(file) == (ImportState.DONE, 4, 4, 0, 0)
    assert told == [
        (ImportState.READING, 0),
        (ImportState.READY, 0),
        (ImportState.RUNNING, 0),
        (ImportState.DONE, 4),
    ]
    assert (file.pieces.count(), file.ended_at is not None, file.runner) == (0, True, "")
    assert "dial phone 2" in file.report["notes"][1]
    source = Source.objects.get(handle=northwind, kind="file", name="x")
    assert source.days.get().snapshots == 5
    assert SourceNote.objects.filter(source=source, text__contains="4 rows imported, 0 unchanged, 0 refused").exists()


def test_it_says_why_a_file_cannot_be_used_before_anything_is_written(northwind: Handle, tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("<html>")
    file = uploaded(northwind, path, state=ImportState.READING)
    engine.work(file.pk, silent)
    assert figures(file)[0] == ImportState.FAILED
    assert "web page" in file.error
    assert file.pieces.count() == 0


def test_it_takes_no_export_of_x_into_a_handle_elsewhere(northwind: Handle) -> None:
    northwind.platform = Platform.BLUESKY
    northwind.save()
    file = uploaded(northwind, ACTIVITY, state=ImportState.READING)
    engine.work(file.pk, silent)
    assert figures(file)[0] == ImportState.FAILED
    assert file.error.startswith("This is an export of X, and @northwind is not on X.")


def test_it_fails_in_a_sentence_when_a_piece_is_missing(northwind: Handle) -> None:
    file = uploaded(northwind, ACTIVITY, state=ImportState.READING)
    file.pieces.filter(offset=600).delete()
    engine.work(file.pk, silent)
    assert figures(file)[0] == ImportState.FAILED
    assert "upload is incomplete" in file.error


def test_it_tells_each_refused_row_and_counts_those_it_does_not_keep(
    imported: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PROBLEMS_KEPT", 4)
    monkeypatch.setattr(previews, "BATCH_ROWS", 3)
    file = imported(BAD_ROWS)
    assert figures(file) == (ImportState.DONE, 10, 3, 0, 7)
    assert file.report["reasons"] == {
        "bad_number": 3,
        "bad_tweet_id": 1,
        "no_tweet": 1,
        "wrong_columns": 1,
        "in_the_future": 1,
    }
    kept = ImportProblem.objects.filter(file=file).values_list("line", "reason")
    assert list(kept) == [(3, "bad_number"), (5, "bad_tweet_id"), (6, "no_tweet"), (7, "bad_number")]


# --- again, and newer -------------------------------------------------------------------------------------------------


def test_importing_again_changes_nothing(imported: Import, count: Count) -> None:
    imported(ACTIVITY)
    count()
    before = list(Tweet.objects.values_list("tweet_id", "changed_at"))
    again = imported(ACTIVITY)
    assert figures(again) == (ImportState.DONE, 4, 0, 4, 0)
    assert stream.backlog(stream.shard_of(again.handle_id)) == 0
    assert list(Tweet.objects.values_list("tweet_id", "changed_at")) == before


def test_the_same_file_keeps_its_time(imported: Import, northwind: Handle) -> None:
    imported(ACTIVITY)
    again = uploaded(northwind, ACTIVITY, state=ImportState.READING, modified_at=timezone.now())
    engine.work(again.pk, silent)
    again.refresh_from_db()
    assert (again.exported_at, again.preview["exported_at_from"]) == (EXPORTED_AT, "earlier")


@pytest.mark.parametrize(
    ("modified_at", "expected"),
    [
        (datetime(2017, 1, 2, tzinfo=UTC), "file"),
        (datetime(2016, 12, 20, tzinfo=UTC), "upload"),  # before the last Tweet: it cannot be the export's
        (datetime(2099, 1, 1, tzinfo=UTC), "upload"),
        (None, "upload"),
    ],
)
def test_counts_are_as_of_when_the_file_was_exported(
    northwind: Handle, modified_at: datetime | None, expected: str
) -> None:
    file = uploaded(northwind, ACTIVITY, state=ImportState.READING, modified_at=modified_at)
    engine.work(file.pk, silent)
    file.refresh_from_db()
    assert file.preview["exported_at_from"] == expected
    assert file.exported_at == (modified_at if expected == "file" else file.created_at)


def test_it_takes_no_time_in_the_future(northwind: Handle) -> None:
    file = uploaded(northwind, ACTIVITY, state=ImportState.READY)
    with pytest.raises(ValueError, match="exported_at: lies in the future"):
        engine.start(file, timezone.now() + timedelta(hours=1))
    assert figures(file)[0] == ImportState.READY


def test_it_refuses_counts_that_are_older_than_their_tweet(imported: Import) -> None:
    file = imported(ACTIVITY, datetime(2016, 12, 13, tzinfo=UTC))
    assert figures(file) == (ImportState.DONE, 4, 2, 0, 2)
    assert set(file.problems.values_list("line", "reason")) == {(2, "before_the_tweet"), (6, "before_the_tweet")}


def test_days_of_the_account_are_kept_and_the_latest_export_wins(
    imported: Import, northwind: Handle, tmp_path: Path
) -> None:
    assert figures(imported(OVERVIEW)) == (ImportState.DONE, 3, 3, 0, 0)
    assert figures(imported(OVERVIEW)) == (ImportState.DONE, 3, 0, 3, 0)
    newer, older = tmp_path / "newer.csv", tmp_path / "older.csv"
    newer.write_text(OVERVIEW.read_text().replace("1200,30,77", "1250,31,80"))
    older.write_text(OVERVIEW.read_text().replace("1200,30,77", "1,1,1"))
    assert figures(imported(newer, EXPORTED_AT + timedelta(days=1)))[2:4] == (1, 2)
    assert figures(imported(older, EXPORTED_AT - timedelta(days=1)))[2:4] == (0, 3)
    day = AccountDay.objects.get(handle=northwind, day="2026-02-06")
    assert (day.counts["impressions"], day.counts["favorites"], day.counts["engagements"]) == (1250, 31, 80)
    assert day.exported_at == EXPORTED_AT + timedelta(days=1)
    assert not Tweet.objects.exists()


def test_what_another_export_says_of_a_day_is_added_to_it(imported: Import, northwind: Handle) -> None:
    AccountDay.objects.create(
        handle=northwind, day="2026-02-06", counts={"impressions": 1, "url_clicks": 9}, exported_at=EXPORTED_AT
    )
    imported(OVERVIEW)
    counts = AccountDay.objects.get(handle=northwind, day="2026-02-06").counts
    assert (counts["impressions"], counts["url_clicks"], counts["bookmarks"]) == (1200, 9, 4)


# --- workers come and go ----------------------------------------------------------------------------------------------


class Dying(LocalContent):
    """A worker's machine that ends after so many chunks."""

    def __init__(self, path: Path, chunks: int) -> None:
        super().__init__(path)
        self._left = chunks

    def chunks(self, since: int = 0) -> Iterator[bytes]:
        for number, chunk in enumerate(super().chunks(since)):
            for at in range(0, len(chunk), 20_000):
                if number * 100 + at // 20_000 >= self._left:
                    raise KeyboardInterrupt
                yield chunk[at : at + 20_000]


def test_another_worker_goes_on_where_one_died(
    northwind: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "BATCH_ROWS", 100)
    path = large(tmp_path, 1_000)
    file = uploaded(northwind, path, 50_000, state=ImportState.RUNNING, exported_at=EXPORTED_AT)
    with pytest.raises(KeyboardInterrupt):
        engine.work(file.pk, silent, Dying(path, 12))
    file.refresh_from_db()
    done = file.read
    assert 0 < done < 1_000
    assert engine.work(file.pk, silent) is None  # the one that died is not known to be gone yet
    FileImport.objects.update(seen_at=timezone.now() - engine.GONE, asked_at=timezone.now() - engine.ASK_AGAIN)
    engine.ask_for_waiting()
    engine.ask_for_waiting()
    assert asked() == 1
    engine.work(file.pk, silent)
    assert figures(file) == (ImportState.DONE, 1_000, 1_000, 0, 0)
    assert Tweet.objects.count() == 1_000


def test_one_that_was_taken_over_stops(northwind: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "BATCH_ROWS", 100)
    file = uploaded(northwind, large(tmp_path, 500), 50_000, state=ImportState.RUNNING, exported_at=EXPORTED_AT)

    def stands_still(now: FileImport) -> None:
        FileImport.objects.filter(pk=now.pk).update(runner="another")

    assert engine.work(file.pk, stands_still) is None
    assert figures(file)[0] == ImportState.RUNNING
    assert file.runner == "another"


def test_a_file_at_which_workers_die_is_given_up(northwind: Handle) -> None:
    file = uploaded(northwind, ACTIVITY, state=ImportState.RUNNING, attempts=engine.ATTEMPTS, exported_at=EXPORTED_AT)
    engine.work(file.pk, silent)
    assert figures(file)[0] == ImportState.FAILED
    assert "stopped at this file 4 times" in file.error


def test_a_worker_that_is_to_stop_leaves_the_file_to_the_next(northwind: Handle, tmp_path: Path) -> None:
    file = uploaded(northwind, large(tmp_path, 200), 50_000, state=ImportState.RUNNING, exported_at=EXPORTED_AT)
    assert engine.work(file.pk, silent, is_stopping=lambda: True) is None
    assert figures(file)[0] == ImportState.RUNNING
    assert (file.seen_at, file.attempts) == (None, 0)
    engine.ask_for_waiting()
    assert asked() == 1
    engine.work(file.pk, silent)
    assert figures(file)[:3] == (ImportState.DONE, 200, 200)


# --- cancelled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [ImportState.UPLOADING, ImportState.READING, ImportState.READY, ImportState.RUNNING])
def test_it_ends_at_once_where_nobody_is_at_it(northwind: Handle, state: ImportState) -> None:
    file = uploaded(northwind, ACTIVITY, state=state)
    engine.cancel(file)
    assert (file.state, file.pieces.count()) == (ImportState.CANCELLED, 0)
    assert engine.work(file.pk, silent) is None


@pytest.mark.parametrize("state", [ImportState.DONE, ImportState.FAILED, ImportState.CANCELLED])
def test_what_has_ended_stays(northwind: Handle, state: ImportState) -> None:
    file = uploaded(northwind, ACTIVITY, state=state)
    engine.cancel(file)
    assert (file.state, file.is_cancel_asked) == (state, False)


def test_a_worker_stops_after_its_batch(northwind: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "BATCH_ROWS", 100)
    monkeypatch.setattr(engine, "TELL_SECONDS", 0.0)
    file = uploaded(northwind, large(tmp_path, 1_000), 50_000, state=ImportState.RUNNING, exported_at=EXPORTED_AT)
    engine.work(file.pk, lambda now: engine.cancel(FileImport.objects.get(pk=now.pk)) if now.read == 300 else None)
    state, read, imported_rows, *_ = figures(file)
    assert (state, read) == (ImportState.CANCELLED, 400)
    assert imported_rows == Tweet.objects.count() == 400
    assert file.pieces.count() == 0


# --- the writers ------------------------------------------------------------------------------------------------------


def test_it_waits_while_too_much_waits_to_be_counted(
    northwind: Handle, settings: LazySettings, count: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BACKLOG_LIMIT = 150
    monkeypatch.setattr(previews, "BATCH_ROWS", 100)
    monkeypatch.setattr(engine, "TELL_SECONDS", 0.0)
    file = uploaded(northwind, large(tmp_path, 500), 50_000, state=ImportState.RUNNING, exported_at=EXPORTED_AT)
    most = 0

    def counts_when_it_waits(now: FileImport) -> None:
        nonlocal most
        waiting = stream.backlog(stream.shard_of(now.handle_id))
        most = max(most, waiting)
        if waiting > 150:
            count()

    engine.work(file.pk, counts_when_it_waits)
    assert figures(file)[:3] == (ImportState.DONE, 500, 500)
    assert 150 < most <= 150 + 110


def test_it_is_done_when_its_counts_show(northwind: Handle, count: Count, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TELL_SECONDS", 0.0)
    file = uploaded(northwind, ACTIVITY, state=ImportState.RUNNING, exported_at=EXPORTED_AT)
    lease = stream.lease(stream.shard_of(northwind.pk))
    assert lease.acquire(token=stream.lease_token())
    states = []

    def counts_after_a_look(now: FileImport) -> None:
        states.append(now.state)
        if len(states) == 4:
            count()

    engine.work(file.pk, counts_after_a_look)
    assert states[3:] == [ImportState.RUNNING, ImportState.DONE]
    file.refresh_from_db()
    assert "is_waiting" not in file.report


def test_it_says_when_nobody_counts(imported: Import) -> None:
    assert imported(ACTIVITY).report["is_waiting"] is True
