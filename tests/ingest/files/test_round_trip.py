"""Rows written in a format come back as what they were, wherever the file's pieces are cut."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.ingest.files import previews
from metrics.ingest.files.formats import Frame
from metrics.vocabulary.events import snowflake_at
from metrics.vocabulary.snapshots import MAX_TOTAL
from tests.ingest.files.reading import Bytes, found_in
from tests.ingest.files.writing import BORN, CONTENT_TYPES, TYPES, Post, content, many_posts, tweet_activity

counts = st.integers(0, 10**6) | st.integers(0, MAX_TOTAL)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
ids = st.builds(
    lambda minutes, sequence: snowflake_at(BORN + timedelta(minutes=minutes), sequence),
    st.integers(0, 4_000_000),
    st.integers(0, 4095),
)


def posts(types: Iterable[str], promoted: bool) -> st.SearchStrategy[list[Post]]:
    none = dict.fromkeys(types, 0)
    each = st.dictionaries(st.sampled_from(list(none)), counts, max_size=4).map(lambda some: none | some)
    parts = each | st.just({}) if promoted else st.just({})
    return st.lists(st.builds(Post, ids, texts, each, parts), min_size=1, max_size=6)


def cut(data: bytes, places: list[int]) -> Bytes:
    """The file in pieces."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return Bytes(*(data[since:until] for since, until in pairwise(edges)))


def held(given_posts: list[Post], part: str) -> list[list[object]]:
    return [
        [str(post.tweet_id), of, counts_]
        for post in given_posts
        for of, counts_ in ((part, post.organic), ("promoted", post.promoted))
        if counts_
    ]


@given(posts(TYPES.values(), promoted=True), st.lists(st.integers(0, 10**6), max_size=5))
def test_the_tweet_activity_file_comes_back(given_posts: list[Post], places: list[int]) -> None:
    _comes_back(tweet_activity, given_posts, places, "organic")


@given(posts(CONTENT_TYPES.values(), promoted=False), st.lists(st.integers(0, 10**6), max_size=5))
def test_the_content_file_comes_back(given_posts: list[Post], places: list[int]) -> None:
    _comes_back(content, given_posts, places, "both")


def _comes_back(
    write: Callable[[Iterable[Post]], Iterator[bytes]], given_posts: list[Post], places: list[int], part: str
) -> None:
    found = found_in(cut(b"".join(write(given_posts)), places), "export.csv")
    assert found["problems"] == []
    assert [[tweet_id, of, said] for _, tweet_id, of, _, said in found["snapshots"]] == held(given_posts, part)
    assert [tweet[3] for tweet in found["tweets"]] == [post.text for post in given_posts]
    assert [tweet[4] for tweet in found["tweets"]] == [post.link for post in given_posts]


class Generated:
    """A large file that exists nowhere."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.size = 10**12

    def chunks(self, since: int = 0) -> Iterator[bytes]:
        assert since == 0
        return tweet_activity(many_posts(self._rows))


def _peak(rows: int) -> int:
    tracemalloc.start()
    try:
        frame = Frame(1_790_000_000_000_000, 1_790_000_000_000_000, 1, "northwind")
        assert previews.examine(Generated(rows), "export.csv", frame, seconds=600).rows == rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_it_needs_no_more_memory_for_a_larger_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "BATCH_ROWS", 500)
    small = _peak(1_500)
    assert _peak(4_500) < small * 1.2


@pytest.mark.parametrize("write", [tweet_activity, content])
def test_it_estimates_how_many_rows_a_file_has_that_takes_long(write: Callable[..., Iterator[bytes]]) -> None:
    data = b"".join(write(many_posts(3 * previews.BATCH_ROWS)))
    chunks = Bytes(*(data[at : at + 100_000] for at in range(0, len(data), 100_000)))
    frame = Frame(1_790_000_000_000_000, 1_790_000_000_000_000, 1, "northwind")
    preview = previews.examine(chunks, "export.csv", frame, seconds=0)
    assert preview.is_estimate
    assert abs(preview.rows - 3 * previews.BATCH_ROWS) < previews.BATCH_ROWS
