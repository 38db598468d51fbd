"""NDJSON of events, one a line, as `POST /api/v1/events` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from metrics.ingest.files.batches import Batch, ToldEvent
from metrics.ingest.files.formats import Brings, Format, Frame
from metrics.ingest.files.problems import FileError, RowError, RowReason, problem_of
from metrics.ingest.files.tables import text_lines
from metrics.ingest.validation import IncomingEvent, Reason, Refusal, pack, refusal_of

_decode = msgspec.json.Decoder(IncomingEvent).decode
_KEY: Final = slice(24, 40)
_FIELDS: Final = {
    "id": "tells events apart: a resend counts once",
    "tweet_id": "names the Tweet",
    "type": "one of the 26 types",
    "occurred_at": "when it happened",
    "promoted": "false where it is left out",
    "user_id": "hashed at once, never kept",
    "count": "1 where it is left out",
    "handle": "must be this handle's, where it is said",
}


class OwnEvents(Format):
    """Events, each of which counts once however often it comes."""

    name = "events"
    label = "InsightsTrack: events (NDJSON)"
    brings = Brings.EVENTS
    source = "insightstrack"

    @classmethod
    def of(cls, head: str) -> OwnEvents | None:
        """The format, where the file begins with an object; raises FileError when that is no event."""
        if not head.lstrip().startswith("{"):
            return None
        first = head.lstrip().partition("\n")[0]
        if '"tweet_id"' not in first or '"type"' not in first:
            raise FileError(
                "This file holds JSON objects, but its first line is no event. "
                "A line needs id, tweet_id, type and occurred_at."
            )
        return cls()

    def rows(self, lines: Iterable[str]) -> Iterator[tuple[int, str]]:
        """Each line."""
        return text_lines(lines)

    def read(self, rows: Sequence[tuple[int, str]], frame: Frame) -> Batch:
        """The lines' events."""
        batch = Batch(rows=len(rows))
        handles = {frame.username.lower(): frame.handle_id}
        for line, text in rows:
            try:
                event = _event(text)
                self._refuse_others(event, handles)
                _, occurred_us, packed = pack(event, handles, frame.now_us)
            except (RowError, Refusal) as error:
                batch.problems.append(problem_of(line, error))
            else:
                batch.events.append(ToldEvent(line, packed, occurred_us, packed[_KEY]))
        return batch

    def _refuse_others(self, event: IncomingEvent, handles: dict[str, int]) -> None:
        name = (event.handle or "").removeprefix("@")
        if name and not self.handle:
            self.handle = name
        if name and name.lower() not in handles:
            raise Refusal("handle", Reason.UNKNOWN_HANDLE, f"handle: the event is of @{name[:64]}, not of this handle.")

    def span(self, batch: Batch) -> tuple[int, int] | None:
        """From the first event to the last."""
        instants = [event.occurred_us for event in batch.events]
        return (min(instants), max(instants)) if instants else None

    def columns(self) -> list[dict[str, Any]]:
        """The fields of an event."""
        return [{"column": name, "to": None, "label": "", "part": "", "note": note} for name, note in _FIELDS.items()]

    def shown(self, row: Any) -> list[str]:
        """The line as it is."""
        return [str(row).strip()]


def _event(text: str) -> IncomingEvent:
    try:
        return _decode(text)
    except msgspec.ValidationError as error:
        raise refusal_of(error) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise RowError("", RowReason.NOT_JSON, f"The line is not valid JSON: {error}.") from error
