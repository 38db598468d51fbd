"""Files that cannot be used get one clear sentence; rows that cannot be used get one each, and the others are kept."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.ingest.files.problems import FileError
from tests.ingest.files.reading import DATA, Bytes, found_in
from tests.ingest.files.writing import content, many_posts, tweet_activity

GOOD = b"".join(content(many_posts(3)))
QUOTED = b"".join(tweet_activity(many_posts(3)))


def workbook() -> bytes:
    """What a spreadsheet saves by itself."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


UNUSABLE = {
    "empty": (b"", "The file is empty"),
    "only a mark": (b"\xef\xbb\xbf", "none that can be imported"),
    "blank": (b"\r\n  \n", "The file is empty"),
    "zeros": (bytes(500), "The file is empty"),
    "HTML": (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "web page"),
    "XLSX": (workbook(), "Excel workbook"),
    "XLS": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Excel workbook"),
    "gzip": (gzip.compress(GOOD), "compressed"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
    "binary": (bytes(range(256)) * 4, "binary file"),
    "UTF-16 without a mark": (GOOD.decode().encode("utf-16-le"), "UTF-16"),
    "UTF-16 the other way round": (GOOD.decode().encode("utf-16-be"), "UTF-16"),
    "Latin-1": (GOOD.decode().replace("Tweet 1", "Café 1").encode("latin-1"), "not in UTF-8: near line"),
    "JSON array": (b'[{"id": "a"}]', "one event a line"),
    "other JSON": (b'{"name": "a"}\n', "its first line is no event"),
    "another table": (b"name,colour\nbeans,brown\n", "begins with \u201cname,colour\u201d"),
    "prose": (b"Dear all, \nhere are the numbers.", "none that can be imported"),
    "a header alone": (GOOD.splitlines(keepends=True)[0], "a header and no rows"),
    "a quotation mark that is never closed": (GOOD + b'1,"Mon Feb 03 2025,x', "was never closed"),
    "cut off in a cell": (QUOTED[:-700], "cut off"),
    "cut off in a character": (
        GOOD.replace(b"Tweet 2", "Tweet \u2026".encode())[: GOOD.index(b"Tweet 2") + 8],
        "cut off",
    ),
    "a cell of 10 MB": (GOOD + b'1,"Mon Feb 03 2025","' + b"x" * 10_000_000 + b'"', "longer than|more than 2 MB"),
    "a cell of 10 MB in lines": (GOOD + b'1,"' + b"text and more\n" * 700_000 + b'"', "is longer than 131,072"),
    "a line that does not end": (GOOD + b"x," * 3_000_000, "more than 2 MB"),
    "a first line that does not end": (b"x," * 3_000_000, "none that can be imported"),
    "a handle's series": (b"start,until,unfinished,impressions\n2026-01-01T00:00:00Z,,0,1\n", "handle's series"),
    "columns without names": (b",,\n1,2,3\n", "begins with"),
    "a breakdown": (b"type,label,organic,promoted,gained,lost,net\nfavorites,Likes,1,0,1,0,1\n", "breakdown"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_it_says_in_a_sentence_why_a_file_cannot_be_used(what: str) -> None:
    data, told = UNUSABLE[what]
    chunks = [data[at : at + 70_000] for at in range(0, len(data), 70_000)]
    with pytest.raises(FileError, match=told) as refused:
        found_in(Bytes(*chunks), "export.csv")
    assert len(str(refused.value)) < 330
    assert str(refused.value).endswith((".", "?"))


def test_it_says_when_a_tweets_series_has_lost_its_name() -> None:
    data = next(DATA.glob("northwind_tweet_*.csv")).read_bytes()
    with pytest.raises(FileError, match="no longer says of which"):
        found_in(Bytes(data), "export.csv")


def test_it_keeps_the_rows_around_one_that_cannot_be_understood() -> None:
    rows = GOOD.splitlines(keepends=True)
    broken = b'1886331338093494273,"Mon Feb 03 2025","He said "hi" to me",https://x.com/a/status/1' + b",1" * 13 + b"\n"
    short = b"1886331338093494273,Mon Feb 03 2025\n"
    long = b"1886331338093494273,Mon Feb 03 2025,hi,https://x.com/a/status/1886331338093494273" + b",1" * 14 + b"\n"
    found = found_in(Bytes(b"".join([rows[0], broken, *rows[1:], short, b"\n", long])), "export.csv")
    assert [(line, reason) for line, _, reason, _ in found["problems"]] == [
        (2, "broken_quotes"),
        (9, "wrong_columns"),
        (11, "wrong_columns"),
    ]
    assert [tweet[0] for tweet in found["tweets"]] == [3, 5, 7]
    assert found["rows"] == 6


@settings(max_examples=40)
@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_it_never_fails_otherwise(data: bytes) -> None:
    for content_of in (data, GOOD[:200] + data, QUOTED[:-100] + data):
        try:
            found_in(Bytes(content_of), "export.csv")
        except FileError as refused:
            assert str(refused)


def test_it_leaves_the_csv_modules_limit_alone() -> None:
    assert csv.field_size_limit() == 131_072
