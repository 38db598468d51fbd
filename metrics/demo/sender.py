"""A small client of the ingest API: it keeps trying until a batch is taken, so nothing is lost or sent twice.

Sending again is harmless, as events carry ids. Only a refusal that trying again cannot mend is an error.
"""

from __future__ import annotations

import gzip
import http.client
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import msgspec

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from metrics.demo.events import Event

TIMEOUT_S = 15.0
LONGEST_PAUSE_S = 5.0
ZIP_FROM_BYTES = 16_384
TRY_AGAIN = {429, 500, 502, 503, 504}


class RefusedError(Exception):
    """The server will not take this, however often it is sent; `status` is its HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the server answered {status}: {detail}")
        self.status = status


class StoppedError(Exception):
    """The stop event was set before the server took the request."""


class Rejected(msgspec.Struct):
    """One event or Tweet that was not taken."""

    index: int
    field: str | None = None
    reason: str = ""
    detail: str = ""


class Answer(msgspec.Struct):
    """What became of a batch: `accepted` of them were taken, and `receipt` tells later whether they are
    applied.
    """

    accepted: int = 0
    rejected: list[Rejected] = []
    receipt: str = ""


class Sender:
    """One connection to one server, kept open; not for several threads.

    url: where the server is, such as http://127.0.0.1:8000. stop: set it to end every wait at once.
    notice: is told, in a line, when the server is away.
    """

    def __init__(
        self, url: str, token: str, stop: threading.Event, notice: Callable[[str], object] = lambda line: None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url: “{url}” is not of the form http://host:port.")
        self._https = parts.scheme == "https"
        self._place = (parts.hostname, parts.port)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._stop, self._notice = stop, notice
        self._connection: http.client.HTTPConnection | None = None

    def events(self, events: Sequence[Event]) -> Answer:
        """Send events, at most 10,000. Raises RefusedError (also when none is valid) and StoppedError."""
        body = self._send("POST", "/api/v1/events", msgspec.json.encode(events))
        return msgspec.json.decode(body, type=Answer)

    def tweets(self, tweets: Sequence[dict[str, Any]]) -> Answer:
        """Create or renew Tweets. Raises RefusedError and StoppedError."""
        body = self._send("PUT", "/api/v1/tweets", msgspec.json.encode(tweets))
        return msgspec.json.decode(body, type=Answer)

    def read(self, path: str, **params: Any) -> Any:
        """The decoded JSON of a GET. Raises RefusedError and StoppedError."""
        query = f"?{urlencode(params)}" if params else ""
        return msgspec.json.decode(self._send("GET", path + query, None))

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, method: str, path: str, body: bytes | None) -> bytes:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
            if len(body) >= ZIP_FROM_BYTES:
                body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        failures = 0
        while not self._stop.is_set():
            pause = self._try(method, path, body, headers)
            if isinstance(pause, bytes):
                return pause
            failures += 1
            self._wait(pause, failures)
        raise StoppedError

    def _try(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes | float:
        """The answer's body, or the seconds that the server asks to wait (0 when it does not say)."""
        try:
            connection = self._connection = self._connection or self._connect()
            connection.request(method, self._prefix + path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self._notice(f"the server is away ({type(error).__name__}); trying again")
            return 0.0
        if response.status < 300:
            return content
        if response.status not in TRY_AGAIN:
            raise RefusedError(response.status, content.decode("utf-8", "replace")[:300])
        self._notice(f"the server is busy ({response.status}); trying again")
        asked = response.headers.get("Retry-After", "")
        return float(asked) if asked.isdigit() else 0.0

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        host, port = self._place
        return kind(host, port, timeout=TIMEOUT_S)

    def _wait(self, asked: float, failures: int) -> None:
        """As long as the server asks, else ever longer; with jitter, so that senders do not march in step."""
        jitter = random.uniform(0.5, 1)  # noqa: S311  no secret
        backoff: float = min(LONGEST_PAUSE_S, 0.1 * 2 ** min(failures, 10)) * jitter
        self._stop.wait(max(asked, backoff))
