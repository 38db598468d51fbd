"""A local HTTP server that takes what the ingest API takes, writes it down, and can be told to misbehave."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


class Peer(BaseHTTPRequestHandler):
    """`answers` are (status, headers) for the next requests; after them everything is taken."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[list[tuple[int, dict[str, str]]]]
    events: ClassVar[dict[str, dict[str, Any]]]
    tweets: ClassVar[dict[str, dict[str, Any]]]
    times: ClassVar[Counter[str]]
    requests: ClassVar[list[tuple[str, str, str | None]]]

    def do_POST(self) -> None:
        body = self.body()
        if not self.misbehaves():
            for event in body:
                self.times[event["id"]] += 1
                assert self.events.setdefault(event["id"], event) == event
            self.answer(202, {"accepted": len(body), "rejected": [], "receipt": "r1"})

    def do_PUT(self) -> None:
        body = self.body()
        if not self.misbehaves():
            self.tweets.update({tweet["id"]: tweet for tweet in body})
            self.answer(200, {"accepted": len(body), "rejected": []})

    def do_GET(self) -> None:
        if not self.misbehaves():
            self.answer(200, {"path": self.path})

    def body(self) -> list[dict[str, Any]]:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        zipped = self.headers.get("Content-Encoding") == "gzip"
        self.requests.append((self.command, self.path, self.headers.get("Authorization")))
        found: list[dict[str, Any]] = json.loads(gzip.decompress(raw) if zipped else raw)
        return found

    def misbehaves(self) -> bool:
        """Answer as told; status 0 hangs up without a word."""
        if not self.answers:
            return False
        status, headers = self.answers.pop(0)
        if status == 0:
            self.close_connection = True
        else:
            self.answer(status, {"error": "told to"}, headers)
        return True

    def answer(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def running() -> Iterator[tuple[type[Peer], str]]:
    """A fresh peer and its address."""

    class Fresh(Peer):
        answers: ClassVar[list[tuple[int, dict[str, str]]]] = []
        events: ClassVar[dict[str, dict[str, Any]]] = {}
        tweets: ClassVar[dict[str, dict[str, Any]]] = {}
        times: ClassVar[Counter[str]] = Counter()
        requests: ClassVar[list[tuple[str, str, str | None]]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Fresh) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Fresh, f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
