"""What a file holds, read without a database, in a form that can be compared and kept as JSON.

python -m tests.ingest.files.reading PATH…      writes PATH.json for each: look at it before you keep it
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metrics.ingest.files.batches import Batch, Counted

DATA = Path(__file__).parent / "data"
EXPORTED_AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


class Bytes:
    """A file that exists nowhere, in chunks as given."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks, self.size = chunks, sum(map(len, chunks))

    def chunks(self, since: int = 0) -> Iterator[bytes]:
        """The chunks; from another offset than the first, all at once."""
        if since:
            yield b"".join(self._chunks)[since:]
        else:
            yield from self._chunks


def found_in(content: Any, filename: str) -> dict[str, Any]:
    """Everything that is read of the file, as JSON: snapshots by line, with the types that were said."""
    from metrics.ingest.files import previews
    from metrics.ingest.files.cells import micros
    from metrics.ingest.files.formats import Frame

    frame = Frame(micros(EXPORTED_AT), micros(datetime(2026, 3, 2, tzinfo=UTC)), 7, "northwind")
    preview = previews.examine(content, filename, frame).told()
    found, rows, _ = previews.opened(content, filename)
    batch = found.read(list(rows), frame)
    told = {name: preview[name] for name in ("format", "handle", "is_of_other", "period", "rows", "notes")}
    uncounted = [column["column"] for column in preview["columns"] if not column["to"]]
    return told | {"uncounted": uncounted} | _told(batch)


def _told(batch: Batch) -> dict[str, Any]:
    return {
        "tweets": [[tweet.line, str(tweet.tweet_id), _at(tweet.created_us), *_facts(tweet)] for tweet in batch.tweets],
        "snapshots": list(_snapshots(batch.counted)),
        "events": [[event.line, _at(event.occurred_us)] for event in batch.events],
        "days": [[day.line, str(day.day), day.counts] for day in batch.days],
        "problems": [list(problem) for problem in sorted(batch.problems)],
    }


def _facts(tweet: Any) -> list[Any]:
    more = [] if tweet.media is None and tweet.tags is None else [tweet.media, tweet.tags]
    return [tweet.text, tweet.link, *more]


def _snapshots(counted: Counted) -> Iterator[list[Any]]:
    from metrics.vocabulary.engagements import NAMES
    from metrics.vocabulary.snapshots import UNSAID, Part

    for place, line in enumerate(counted.lines.tolist()):
        counts = counted.counts[place].tolist()
        said = {name: number for name, number in zip(NAMES, counts, strict=True) if number != UNSAID}
        part = Part(int(counted.parts[place])).name.lower()
        yield [line, str(counted.tweet_ids[place]), part, _at(int(counted.as_of_us[place])), said]


def _at(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat()


def _main(paths: list[str]) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "insightstrack_site.settings")
    django.setup()
    from metrics.ingest.files.contents import LocalContent

    for path in map(Path, paths):
        found = found_in(LocalContent(path), path.name)
        lines = [f"{json.dumps(key)}: {_pretty(value)}" for key, value in found.items()]
        path.with_name(f"{path.name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _pretty(value: Any) -> str:
    if isinstance(value, list) and value and not isinstance(value[0], str):
        return "[\n  " + ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    _main(sys.argv[1:])
