"""Golden files: each format, variant and quirk, and all that is read of it (`reading.py` writes the expectations)."""

from __future__ import annotations

import json

import pytest

from metrics.ingest.files.columns import CONTENT, PROMOTED_TAIL, TAIL
from metrics.ingest.files.contents import LocalContent
from tests.ingest.files.reading import DATA, Bytes, found_in

FILES = sorted(path.name for path in DATA.iterdir() if path.suffix != ".json")


@pytest.mark.parametrize("name", FILES)
def test_it_reads(name: str) -> None:
    assert found_in(LocalContent(DATA / name), name) == json.loads((DATA / f"{name}.json").read_text())


@pytest.mark.parametrize("name", FILES)
def test_it_reads_the_same_byte_by_byte(name: str) -> None:
    content = (DATA / name).read_bytes()
    found = found_in(Bytes(*(content[at : at + 1] for at in range(len(content)))), name)
    assert found == json.loads((DATA / f"{name}.json").read_text())


@pytest.mark.parametrize("name", [name for name in FILES if "tweet_2009898000184246273" not in name])
def test_it_knows_the_format_whatever_the_file_is_called(name: str) -> None:
    expected = json.loads((DATA / f"{name}.json").read_text())
    found = found_in(LocalContent(DATA / name), "export (3).txt")
    assert (found["format"], found["snapshots"]) == (expected["format"], expected["snapshots"])


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("x_") or "metrics" in name])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_it_reads_whatever_encoding_says_what_it_is(name: str, encoding: str) -> None:
    text = LocalContent(DATA / name)
    held = b"".join(text.chunks())
    decoded = held.decode("utf-16" if held.startswith(b"\xff\xfe") else "utf-8")
    found = found_in(Bytes(decoded.encode(encoding)), name)
    assert found == json.loads((DATA / f"{name}.json").read_text())


def test_it_has_a_type_for_every_count_or_says_that_there_is_none() -> None:
    numbers = [column for column in (*TAIL, *PROMOTED_TAIL, *CONTENT) if column.is_number]
    assert {column.name for column in numbers if not column.type and not column.is_check} == {
        "dial phone",
        "promoted dial phone",
        "Bookmarks",
        "Shares",
    }
    assert len({column.type for column in TAIL if column.type}) == 15
