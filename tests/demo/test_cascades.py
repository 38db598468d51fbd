"""Reading cascade files: what counts as a Retweet, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics.demo.cascades import Cascade, CascadeError, read_cascade, read_cascades


def test_it_counts_every_line_after_the_authors(cascades_dir: Path, cascades: list[Cascade]) -> None:
    for cascade in cascades:
        lines = (cascades_dir / f"RT{cascade.number}.txt").read_text().splitlines()
        assert len(cascade.ages) == len(lines) - 2 == int(lines[0].split()[0])
        assert cascade.author_followers == int(lines[1].split()[1])
        assert cascade.ages[-1] == int(lines[-1].split()[0])


def test_it_reads_a_directory_by_number(cascades: list[Cascade]) -> None:
    numbers = [cascade.number for cascade in cascades]
    assert numbers == sorted(numbers)
    assert len(numbers) in {2, 50}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 2 must be the author"),
        ("2 0.5\n", "line 2 must be the author"),
        ("1 0.5\n7 100\n9 3\n", "line 2 must be the author"),
        ("3 0.5\n0 100\n9 3\n", "line 1 states 3 Retweets, 1 follow"),
        ("2 0.5\n0 100\n9 3\n8 3\n", "in order of time"),
        ("1 0.5\n0 100\nnine 3\n", "line 3 is not two numbers"),
        ("1 0.5\n0 100\n9\n", "line 3 is not two numbers"),
    ],
)
def test_it_refuses_a_broken_file_and_names_it(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "RT1.txt"
    path.write_text(text)
    with pytest.raises(CascadeError, match=rf"RT1\.txt.*{complaint}"):
        read_cascade(path)


def test_it_refuses_a_directory_without_cascades(tmp_path: Path) -> None:
    with pytest.raises(CascadeError, match="no RT<number>"):
        read_cascades(tmp_path)
    with pytest.raises(CascadeError, match="no RT<number>"):
        read_cascades(tmp_path / "missing")
