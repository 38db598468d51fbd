"""A reader's end of an InsightsTrack stream, without a network; and what the writers do meanwhile."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import datetime
from typing import Any

from asgiref.testing import ApplicationCommunicator

from accounts.models import Handle
from metrics.aggregate import rollups
from metrics.models import StreamCursor
from metrics.present.announce import Announcer
from metrics.present.insightstrack import StreamDoor
from tests.aggregate.events import NOW, Event, entries

PATH = "/stream/insightstrack/accounts/northwind/publishers/twitter/prod.json"
_entries = iter(range(1, 1_000_000))


class Stream:
    """One request to the stream, and what comes of it."""

    def __init__(
        self, door: StreamDoor, token: str | None, query: str = "", path: str = PATH, method: str = "GET"
    ) -> None:
        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        self._asgi = ApplicationCommunicator(
            door,
            {
                "type": "http",
                "method": method,
                "path": path,
                "query_string": query.encode(),
                "headers": headers,
                "client": ("127.0.0.1", 4711),
            },
        )
        self._text = b""

    async def open(self) -> int:
        """The answer's status."""
        await self._asgi.send_input({"type": "http.request", "body": b""})
        return int((await self._asgi.receive_output(10))["status"])

    async def refusal(self) -> dict[str, Any]:
        """The body of an answer that opens no stream."""
        return dict(json.loads((await self._asgi.receive_output(10))["body"]))

    async def line(self) -> bytes:
        """The next line, empty for a keep-alive. Raises EOFError at the proper end of the body."""
        while b"\r\n" not in self._text:
            part = await self._asgi.receive_output(10)
            self._text += part["body"]
            if not part.get("more_body"):
                raise EOFError
        line, _, self._text = self._text.partition(b"\r\n")
        return line

    async def message(self) -> dict[str, Any]:
        """The next message of any kind; keep-alives are passed over, for ten seconds at most."""
        async with asyncio.timeout(10):
            while not (line := await self.line()):
                pass
        return dict(json.loads(line))

    async def summary(self) -> dict[str, Any]:
        """The next summary; other messages are passed over."""
        while "summary_event" not in (message := await self.message()):
            pass
        return dict(message["summary_event"])

    async def end(self) -> None:
        """Wait for the proper end of the body."""
        try:
            while True:
                await self.line()
        except EOFError:
            await self._asgi.wait(5)

    async def give_up(self) -> None:
        """Cancel the request, as a server does that has waited long enough."""
        self._asgi.future.cancel()
        await asyncio.wait([self._asgi.future], timeout=5)

    async def close(self) -> None:
        """Leave."""
        await self._asgi.send_input({"type": "http.disconnect"})
        await self._asgi.wait(5)


def commit(handle: Handle, *events: Event) -> rollups.Applied:
    """Count the events."""
    StreamCursor.objects.get_or_create(shard=0)
    return rollups.apply(0, entries(handle.pk, [list(events)], next(_entries)))


def announce(*commits: rollups.Applied) -> None:
    """Tell the streams of what was counted."""
    announcer = Announcer()
    for applied in commits:
        announcer.note(applied)
    announcer.send_due()
    announcer.close()


def happen(handle: Handle, *events: Event) -> None:
    """Count the events and tell of them."""
    announce(commit(handle, *events))


def ago(moment: datetime) -> int:
    """The `seconds` of an event of this moment: events count them from when the tests began."""
    return math.floor((NOW - moment).total_seconds())


def impressions(summary: dict[str, Any]) -> int:
    """How often the summary says that its Tweet was shown."""
    return int(summary["metrics"]["impressions"]["total"]["count"])
