"""What has come of a stream: the snapshots that wait for their writer, the source's state, what was passed over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from metrics import stream
from metrics.models import Source, SourceState
from metrics.stream import Cargo
from metrics.vocabulary import snapshots as vocabulary
from metrics.vocabulary.engagements import NAMES
from metrics.vocabulary.snapshots import Part
from tests.stack import eventually

if TYPE_CHECKING:
    pass


def taken(source: Source) -> list[dict[str, Any]]:
    """The snapshots that wait for their writer: what each says, by type, and of which part and when."""
    rows: Any = stream.client().xrange(stream.stream_key(stream.shard_of(source.handle_id)))
    found = []
    for _, fields in rows:
        for one in vocabulary.unpack(fields[Cargo.SNAPSHOTS.encode()]):
            counts = {name: int(count) for name, count in zip(NAMES, one["counts"], strict=True) if count >= 0}
            as_of = datetime.fromtimestamp(int(one["as_of"]) / 1e6, UTC)
            found.append({"tweet": int(one["tweet_id"]), "part": Part(one["part"]), "as_of": as_of, **counts})
    return found


def takes(source: Source, number: int) -> list[dict[str, Any]]:
    eventually(lambda: len(taken(source)) >= number, 10, f"{number} snapshots are taken")
    assert len(taken(source)) == number
    return taken(source)


def becomes(source: Source, state: SourceState) -> None:
    eventually(lambda: Source.objects.get(pk=source.pk).state == state, 10, f"the source is {state.label}")


def ignores(source: Source, **kinds: int) -> None:
    def told() -> bool:
        day = source.days.first()
        return day is not None and day.ignored == {name.replace("_", " "): number for name, number in kinds.items()}

    eventually(told, 10, f"{kinds} are ignored")
