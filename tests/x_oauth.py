"""X's OAuth 2 endpoints on 127.0.0.1, as its manual describes them: authorise, token, revoke, users/me. With faults.

A code is good once and only with the verifier of its PKCE challenge; a refresh token is good once; access tokens end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import select
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = "an app", "the app's secret"
SCOPES = {"tweet.read", "users.read", "offline.access"}
LIFE = 7200


@dataclass
class Grant:
    """What one person has allowed, with the tokens that are good now."""

    user: dict[str, str]
    scope: str
    access_token: str = ""
    refresh_token: str = ""

    def renew(self) -> dict[str, Any]:
        """New tokens; the old ones are good no longer."""
        self.access_token, self.refresh_token = secrets.token_urlsafe(30), secrets.token_urlsafe(30)
        return {
            "token_type": "bearer",
            "expires_in": LIFE,
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "scope": self.scope,
        }


@dataclass
class X:
    """The platform: who is signed in to it in the browser, what has been allowed, and how it misbehaves.

    `faults` maps a path to the answers for its next requests: (status, body[, headers]), or seconds
    to be silent for before hanging up.
    """

    url: str = ""
    user: dict[str, str] = field(
        default_factory=lambda: {"id": "2244994945", "name": "Northwind", "username": "Northwind"}
    )
    grants: list[Grant] = field(default_factory=list)
    codes: dict[str, tuple[Grant, str, str]] = field(default_factory=dict)
    faults: dict[str, list[tuple[Any, ...] | float]] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    allows: bool = True

    def withdraw(self) -> None:
        """The person removes the app on X."""
        self.grants.clear()

    def authorise(self, asked: dict[str, str]) -> str:
        """Where the person's browser is sent after they have answered; ValueError for what X would refuse."""
        missing = {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge"} - set(asked)
        if missing or asked["client_id"] != CLIENT_ID or asked["code_challenge_method"] != "S256":
            raise ValueError(f"missing: {missing}")
        if not self.allows:
            return f"{asked['redirect_uri']}?{urlencode({'error': 'access_denied', 'state': asked['state']})}"
        code = secrets.token_urlsafe(20)
        self.codes[code] = (Grant(self.user, asked["scope"]), asked["code_challenge"], asked["redirect_uri"])
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str]) -> tuple[int, Any]:
        """The token endpoint's answer."""
        refused = 400, {"error": "invalid_request", "error_description": "Value passed for the token was invalid."}
        if form.get("grant_type") == "refresh_token":
            found = [grant for grant in self.grants if grant.refresh_token == form.get("refresh_token")]
            return (200, found[0].renew()) if found else refused
        grant, challenge, redirect_uri = self.codes.pop(form.get("code", ""), (None, "", ""))
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if grant is None or redirect_uri != form.get("redirect_uri"):
            return refused
        if base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() != challenge:
            return refused
        self.grants.append(grant)
        return 200, grant.renew()

    def revoke(self, form: dict[str, str]) -> tuple[int, Any]:
        """The revocation endpoint's answer."""
        self.grants = [one for one in self.grants if form["token"] not in {one.access_token, one.refresh_token}]
        return 200, {"revoked": True}

    def me(self, token: str) -> tuple[int, Any]:
        """Who holds the access token."""
        for grant in self.grants:
            if grant.access_token == token:
                return 200, {"data": grant.user}
        return 401, {"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}


class Handler(BaseHTTPRequestHandler):
    """Answers for `x`."""

    protocol_version = "HTTP/1.1"
    x: ClassVar[X]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if self.misbehaves(address.path):
            return
        if address.path == "/i/oauth2/authorize":
            self.answer(302, {}, {"Location": self.x.authorise(asked)})
        elif address.path == "/2/users/me":
            self.answer(*self.x.me(self.headers.get("Authorization", "").removeprefix("Bearer ")))
        else:
            self.answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if self.misbehaves(self.path):
            return
        basic = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if self.headers.get("Authorization") != basic:
            self.answer(
                401, {"error": "unauthorized_client", "error_description": "Missing valid authorization header"}
            )
        elif self.path == "/2/oauth2/token":
            self.answer(*self.x.token(form))
        elif self.path == "/2/oauth2/revoke":
            self.answer(*self.x.revoke(form))
        else:
            self.answer(404, {})

    def misbehaves(self, path: str) -> bool:
        self.x.requests[path] += 1
        faults = self.x.faults.get(path)
        if not faults:
            return False
        fault = faults.pop(0)
        if isinstance(fault, tuple):
            self.answer(*fault)
        else:
            # Silent until who asked hangs up, or for so long.
            select.select([self.connection], [], [], fault)
            self.close_connection = True
        return True

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        for name, value in given.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def running() -> Iterator[X]:
    """A fresh X that listens."""
    x = X()
    handler = type("Handler", (Handler,), {"x": x})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        x.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield x
        server.shutdown()
        thread.join()
