"""Who a handle of Bluesky is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync

from metrics.ingest.bluesky import accounts
from metrics.ingest.connectors import DisconnectedError, SourceError
from tests.ingest.connectors.jetstream import OURS, encoded


class AppView(BaseHTTPRequestHandler):
    """Answers com.atproto.identity.resolveHandle as the public one does."""

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)["handle"][0]
        status, answer = {
            "name.bsky.social": (200, {"did": OURS}),
            "nobody.bsky.social": (400, {"error": "InvalidRequest", "message": "Unable to resolve handle"}),
            "odd.bsky.social": (200, {"did": "nonsense"}),
        }.get(asked, (502, {}))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(encoded(answer))

    def log_message(self, *_arguments: object) -> None: ...


@pytest.fixture
def appview(settings: Any) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), AppView) as server:
        threading.Thread(target=server.serve_forever).start()
        settings.BLUESKY_APPVIEW_URL = f"http://127.0.0.1:{server.server_port}"
        yield settings.BLUESKY_APPVIEW_URL
        server.shutdown()


def test_it_finds_the_did_of_a_handle(appview: str) -> None:
    assert async_to_sync(accounts.resolve)("name.bsky.social") == OURS


def test_it_asks_nobody_about_a_did(settings: Any) -> None:
    settings.BLUESKY_APPVIEW_URL = "http://127.0.0.1:1"
    assert async_to_sync(accounts.resolve)(OURS) == OURS


@pytest.mark.parametrize(
    ("account", "error", "said"),
    [
        ("nobody.bsky.social", DisconnectedError, "There is no @nobody.bsky.social on Bluesky"),
        ("odd.bsky.social", SourceError, "answered 200 and named no account"),
        ("down.bsky.social", SourceError, "answered 502 and named no account"),
    ],
)
def test_it_says_when_a_handle_is_nobody(appview: str, account: str, error: type[SourceError], said: str) -> None:
    with pytest.raises(error, match=said):
        async_to_sync(accounts.resolve)(account)


def test_it_says_when_nobody_can_tell(settings: Any) -> None:
    settings.BLUESKY_APPVIEW_URL = "http://127.0.0.1:1"
    with pytest.raises(SourceError, match=r"Cannot look up @name\.bsky\.social"):
        async_to_sync(accounts.resolve)("name.bsky.social")
