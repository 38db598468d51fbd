"""Tags as one text: what was written is read again, and plain words are tags as ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.vocabulary import tags

_tags = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)


@given(st.lists(_tags))
def test_it_reads_what_it_wrote(given: list[str]) -> None:
    assert tags.read(tags.written(given)) == given


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("coffee beans", ["coffee", "beans"]),
        ("  coffee   beans ", ["coffee", "beans"]),
        ('coffee "spring sale"', ["coffee", "spring sale"]),
        ('"never closed', ["never closed"]),
        ("a\rb c", ["a", "b", "c"]),
        ("x" * 200_000, ["x" * 200_000]),
    ],
)
def test_it_reads_any_text(text: str, found: list[str]) -> None:
    assert tags.read(text) == found
