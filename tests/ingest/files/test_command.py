"""`manage.py import_file`: the same engine, on files of this machine."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Handle
from metrics.models import AccountDay, FileImport, ImportState, Tweet
from tests.ingest.files.reading import DATA

ACTIVITY = DATA / "tweet_activity_metrics_northwind_20161201_20170101_en.csv"
BAD_ROWS = DATA / "x_tweet_activity_bad_rows.csv"


def run(*arguments: str | Path) -> tuple[str, str]:
    """What it says on stdout and on stderr."""
    out, err = StringIO(), StringIO()
    call_command("import_file", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_it_imports_several_files_and_reports(northwind: Handle) -> None:
    told, progress = run(
        BAD_ROWS,
        DATA / "account_overview_analytics.csv",
        "--handle",
        "@Northwind",
        "--exported-at",
        "2026-03-01T10:30:00+01:00",
    )
    assert "counts as of 2026-03-01 09:30 UTC: 10 rows, 3 imported, 0 unchanged, 7 refused." in told
    assert "\n  line 3: bad_number: impressions: “viele” is not a whole number from 0 up.\n" in told
    assert "account_overview_analytics.csv (X: account overview, by day) into @northwind" in told
    assert "x_tweet_activity_bad_rows.csv: 100%, 10 rows" in progress
    assert (Tweet.objects.count(), AccountDay.objects.count()) == (3, 3)
    assert set(FileImport.objects.values_list("state", flat=True)) == {ImportState.DONE}


def test_it_previews_and_writes_nothing(northwind: Handle) -> None:
    told, _ = run(ACTIVITY, "--handle", "northwind", "--preview")
    preview = json.loads(told)
    assert (preview["label"], preview["rows"]) == ("X: Tweet activity, a row a Tweet", 4)
    assert {
        "column": "app installs",
        "to": "app_install_attempts",
        "label": "App installs",
        "part": "organic",
    }.items() <= (next(column for column in preview["columns"] if column["column"] == "app installs").items())
    assert preview["exported_at"]
    assert not Tweet.objects.exists()
    assert not FileImport.objects.exists()


def test_it_says_when_a_file_is_of_another_handle(northwind: Handle) -> None:
    told, _ = run(DATA / "tweet_activity_metrics_Northwind_Cafe_20140601_20140701_en.csv", "--handle", "northwind")
    assert "The file says that it is of @Northwind_Cafe." in told


def test_it_goes_on_after_a_file_that_cannot_be_used(northwind: Handle, tmp_path: Path) -> None:
    page = tmp_path / "page.csv"
    page.write_text("<html>")
    with pytest.raises(CommandError, match="1 of 2 files could not be imported"):
        run(page, ACTIVITY, "--handle", "northwind")
    assert Tweet.objects.count() == 4
    states = FileImport.objects.order_by("pk").values_list("filename", "state")
    assert list(states) == [("page.csv", ImportState.FAILED), (ACTIVITY.name, ImportState.DONE)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((ACTIVITY, "--handle", "nobody"), "--handle: there is no @nobody"),
        ((Path("/nowhere.csv"), "--handle", "northwind"), "/nowhere.csv: No such file"),
        ((ACTIVITY, "--handle", "northwind", "--exported-at", "today"), "an instant with an offset"),
        ((ACTIVITY, "--handle", "northwind", "--exported-at", "2099-01-01T00:00:00Z"), "lies in the future"),
        ((ACTIVITY,), "--handle"),
    ],
)
def test_it_says_what_is_wrong(northwind: Handle, arguments: tuple[str | Path, ...], told: str) -> None:
    with pytest.raises(CommandError, match=told):
        run(*arguments)
    assert not Tweet.objects.exists()
    assert not FileImport.objects.filter(state=ImportState.RUNNING).exists()
