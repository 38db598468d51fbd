"""A client of the InsightsTrack stream: opens it again whenever it breaks, and asks for what it missed meanwhile."""

from __future__ import annotations

import http.client
import math
import random
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import msgspec

from metrics.demo.sender import RefusedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

# A stream says something every three seconds.
SILENCE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 5.0
MOST_BACKFILL_MINUTES = 5
_SAYS_WHY = {
    401: "the token is unknown, expired or revoked",
    403: "the token may not read",
    404: "there is no such stream, or the token is of another team",
    429: "the token has as many open streams as it may",
}
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class Address:
    """Which stream, and with which token: `url` is where the server is, such as http://127.0.0.1:8000."""

    url: str
    token: str
    team: str
    label: str

    @property
    def path(self) -> str:
        """The stream's path on the server."""
        parts = urlsplit(self.url).path.rstrip("/"), quote(self.team, safe=""), quote(self.label, safe="")
        return "{}/stream/insightstrack/accounts/{}/publishers/twitter/{}.json".format(*parts)


class Follower:
    """One stream, for one thread; `state` says in words how it stands, and `notice` is told when that changes.

    Raises ValueError for a bad address.
    """

    def __init__(
        self, address: Address, stop: threading.Event, notice: Callable[[str], object] = lambda state: None
    ) -> None:
        parts = urlsplit(address.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url: “{address.url}” is not of the form http://host:port.")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._place = (parts.hostname, parts.port)
        self._address, self._stop, self._notice = address, stop, notice
        self._heard_at: float | None = None
        self.state = "connecting"
        self.opened = 0
        """How often the stream has been opened."""

    def messages(self) -> Iterator[dict[str, Any]]:
        """What comes, until `stop` is set. Raises RefusedError for what trying again cannot mend."""
        failures = 0
        while not self._stop.is_set():
            opened = self.opened
            try:
                yield from self._read()
            except (OSError, http.client.HTTPException) as error:
                self._say(f"reconnecting ({str(error) or type(error).__name__})")
            failures = failures + 1 if self.opened == opened else 1
            # With jitter, so that the readers of a server that comes back do not march in step.
            pause = min(LONGEST_PAUSE_SECONDS, 0.2 * 2 ** min(failures, 10))
            self._stop.wait(pause * random.uniform(0.5, 1))  # noqa: S311  no secret

    def _read(self) -> Iterator[dict[str, Any]]:
        query = f"?backfillMinutes={self._missed_minutes()}"
        headers = {"Authorization": f"Bearer {self._address.token}"}
        with closing(self._kind(*self._place, timeout=SILENCE_SECONDS)) as connection:
            connection.request("GET", self._address.path + query, headers=headers)
            with connection.getresponse() as response:
                self._check(response)
                self.opened += 1
                self._say("open")
                while line := response.readline():
                    self._heard_at = time.monotonic()
                    if self._stop.is_set():
                        return
                    if line := line.strip():
                        yield _decode(line)
        self._say("reconnecting (the server ended the stream)")

    def _check(self, response: http.client.HTTPResponse) -> None:
        if response.status == 200:
            return
        detail = response.read(300).decode("utf-8", "replace")
        # The server may take a while to notice that our last connection is gone.
        if response.status < 500 and not (response.status == 429 and self.opened):
            raise RefusedError(response.status, _SAYS_WHY.get(response.status, detail))
        raise http.client.HTTPException(f"the server answered {response.status}")

    def _missed_minutes(self) -> int:
        if self._heard_at is None:
            return MOST_BACKFILL_MINUTES
        return min(MOST_BACKFILL_MINUTES, 1 + math.ceil((time.monotonic() - self._heard_at) / 60))

    def _say(self, state: str) -> None:
        if state != self.state:
            self.state = state
            self._notice(state)
