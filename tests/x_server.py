"""X's API on this machine: the timeline, Tweets with their metric blocks, and analytics, as the contract writes them.

    with x_server.running() as x:
        x.add(XTweet(id=…, organic={"like_count": 3}))
        x.faults.append(Fault(503))

Who may ask is `x.oauth`'s affair: its grants' access tokens are good here, and it renews them.

Faults are answered to the next requests (of a path, where one is named). Limits count down as X's do, by endpoint.
"""

from __future__ import annotations

import json
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from metrics.vocabulary.events import tweet_created_at
from tests import x_oauth

PROBLEMS = "https://api.twitter.com/2/problems"
USER_ID, USERNAME = "2244994945", "northwind"
PRIVATE = ("non_public_metrics", "organic_metrics", "promoted_metrics")
SOCIAL = ("impression_count", "like_count", "reply_count", "retweet_count")
CLICKS = ("url_link_clicks", "user_profile_clicks")
Params = dict[str, str]


@dataclass
class XTweet:
    """A Tweet as X holds it: organic and promoted counts by X's names; `extra` overrides fields of an answer."""

    id: int
    organic: dict[str, int] = field(default_factory=dict)
    promoted: dict[str, int] | None = None
    quotes: int = 0
    videos: list[dict[str, int]] = field(default_factory=list)
    analytics: dict[str, int | None] = field(default_factory=dict)
    text: str = "Fresh beans &amp; bread #coffee"
    is_retweet: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def created_at(self) -> datetime:
        return tweet_created_at(self.id)

    def shown(self, fields: set[str]) -> dict[str, Any]:
        """The Tweet with these fields."""
        every = {
            "text": self.text,
            "created_at": f"{self.created_at:%Y-%m-%dT%H:%M:%S.000Z}",
            "entities": {"hashtags": [{"start": 20, "end": 27, "tag": "coffee"}]},
            "public_metrics": self._public(),
            "non_public_metrics": {name: self._sum(name) for name in ("impression_count", *CLICKS)},
            "organic_metrics": {name: self.organic.get(name, 0) for name in (*SOCIAL, *CLICKS)},
            "promoted_metrics": {name: (self.promoted or {}).get(name, 0) for name in (*SOCIAL, *CLICKS)},
        } | self.extra
        shown = {name: value for name, value in every.items() if name in fields | {"text"} and value is not None}
        keys = [f"13_{self.id}{place}" for place in range(len(self.videos))]
        return {"id": str(self.id), **shown, **({"attachments": {"media_keys": keys}} if keys else {})}

    def media(self, fields: set[str]) -> list[dict[str, Any]]:
        """Its videos, of which all plays are organic."""
        return [
            {"media_key": f"13_{self.id}{place}", "type": "video"}
            | {name: counts for name in ("organic_metrics", "non_public_metrics") if name in fields}
            for place, counts in enumerate(self.videos)
        ]

    def _public(self) -> dict[str, int]:
        return {name: self._sum(name) for name in SOCIAL} | {"quote_count": self.quotes, "bookmark_count": 1}

    def _sum(self, name: str) -> int:
        return self.organic.get(name, 0) + (self.promoted or {}).get(name, 0)


@dataclass
class Fault:
    """What a request is answered instead: a status, or 0 to hang up; once, to the path that begins so."""

    status: int
    body: bytes | dict[str, Any] = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/"
    seconds: float = 0.0


class X:
    """The state of the server, which tests look at and change."""

    def __init__(self) -> None:
        self.url = ""
        self.oauth = x_oauth.X()
        self.tweets: dict[int, XTweet] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, Params]] = []
        self.limits: dict[str, list[int]] = {}
        self.ahead = timedelta()
        """By how much its clock is ahead of ours."""
        self.page = 100
        self.forbidden: set[int] = set()
        self.lock = threading.Lock()

    def add(self, *tweets: XTweet) -> None:
        self.tweets |= {tweet.id: tweet for tweet in tweets}

    def limit(self, endpoint: str, limit: int, remaining: int | None = None, seconds: int = 900) -> None:
        """So many calls until so many seconds from now; endpoints are `timeline`, `tweets`, `analytics`."""
        self.limits[endpoint] = [
            limit,
            limit if remaining is None else remaining,
            int(self.now().timestamp()) + seconds,
        ]

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def asked(self, path: str) -> list[Params]:
        """The parameters of the requests for a path."""
        return [params for found, params in self.requests if found == path]

    # --- answers: (status, body) ---

    def answer(self, path: str, params: Params) -> tuple[int, dict[str, Any]]:
        if path == "/2/users/me":
            return 200, {"data": {"id": USER_ID, "name": "Northwind Coffee", "username": USERNAME}}
        if path == "/2/tweets/analytics":
            return self._analytics(params)
        if path == "/2/tweets":
            return self._lookup(params)
        if path == f"/2/users/{USER_ID}/tweets":
            return self._timeline(params)
        return 404, problem(404, "about:blank", "Not Found")

    def _timeline(self, params: Params) -> tuple[int, dict[str, Any]]:
        since, token = int(params.get("since_id", 0)), params.get("pagination_token", "0")
        if not token.isdigit():
            return 400, problem(400, "invalid-request", "The `pagination_token` is not valid.")
        own = [one for one in self.tweets.values() if one.id > since]
        own = [one for one in own if not (one.is_retweet and "retweets" in params.get("exclude", ""))]
        own.sort(key=lambda one: -one.id)
        size, start = min(self.page, int(params["max_results"])), int(token)
        page = own[start : start + size]
        meta = {"result_count": len(page)}
        body = self._shown(page, params)
        if start + size < len(own):
            meta["next_token"] = str(start + size)
        return 200, {**(body if page else {}), "meta": meta}

    def _lookup(self, params: Params) -> tuple[int, dict[str, Any]]:
        ids = params["ids"].split(",")
        if not 1 <= len(ids) <= 100:
            return 400, problem(400, "invalid-request", f"The number of values [{len(ids)}] is not between 1 and 100")
        asked = [name for name in params.get("tweet.fields", "").split(",") if name in PRIVATE]
        told, errors = [], []
        for number in map(int, ids):
            left_out = self._left_out(number, asked)
            errors += left_out
            if not left_out:
                told.append(self.tweets[number])
        return 200, self._shown(told, params) | ({"errors": errors} if errors else {})

    def _left_out(self, number: int, asked: list[str]) -> list[dict[str, Any]]:
        if number in self.forbidden:
            return [missing(number, "not-authorized-for-resource", "Authorization Error")]
        if (tweet := self.tweets.get(number)) is None:
            return [missing(number, "resource-not-found", "Not Found Error")]
        is_old = self.now() - tweet.created_at > timedelta(days=30)
        closed = [name for name in asked if is_old or (name == "promoted_metrics" and tweet.promoted is None)]
        return [
            missing(number, "not-authorized-for-field", "Field Authorization Error") | {"field": f"{name}.like_count"}
            for name in closed
        ]

    def _shown(self, tweets: list[XTweet], params: Params) -> dict[str, Any]:
        fields = set(params.get("tweet.fields", "").split(","))
        body: dict[str, Any] = {"data": [tweet.shown(fields) for tweet in tweets]} if tweets else {}
        media = [item for tweet in tweets for item in tweet.media(set(params.get("media.fields", "").split(",")))]
        return body | ({"includes": {"media": media}} if media and "expansions" in params else {})

    def _analytics(self, params: Params) -> tuple[int, dict[str, Any]]:
        start, end = (datetime.fromisoformat(params[name]) for name in ("start_time", "end_time"))
        if end > self.now():
            return 400, problem(400, "invalid-request", "end_time: lies in the future")
        found = [self.tweets[number] for number in map(int, params["ids"].split(",")) if number in self.tweets]
        stamp = f"{start:%Y-%m-%dT%H:%M:%SZ}"
        data = [
            {"id": str(one.id), "timestamped_metrics": [{"timestamp": stamp, "metrics": one.analytics}]}
            for one in found
        ]
        return 200, {"data": data, "errors": []}


def problem(status: int, kind: str, detail: str) -> dict[str, Any]:
    """An RFC 7807 problem."""
    return {"title": "Problem", "detail": detail, "type": f"{PROBLEMS}/{kind}", "status": status}


def missing(number: int, kind: str, title: str) -> dict[str, Any]:
    """Why a Tweet is not in an answer."""
    detail = f"Could not show tweet with ids: [{number}]."
    where = {"resource_type": "tweet", "parameter": "ids", "resource_id": str(number), "value": str(number)}
    return {**where, "detail": detail, "title": title, "type": f"{PROBLEMS}/{kind}"}


class _Door(x_oauth.Handler):
    api: ClassVar[X]

    def do_GET(self) -> None:  # noqa: N802  # the server calls it so
        address = urlsplit(self.path)
        path, params = address.path, dict(parse_qsl(address.query))
        with self.api.lock:
            self.api.requests.append((path, params))
            fault = next((one for one in self.api.faults if path.startswith(one.path)), None)
            tokens = {f"Bearer {grant.access_token}" for grant in self.x.grants}
            if fault:
                self.api.faults.remove(fault)
                self._fail(fault)
            elif self.headers["Authorization"] not in tokens:
                self._send(401, problem(401, "about:blank", "Unauthorized"), {})
            else:
                self._serve(path, params)

    def _fail(self, fault: Fault) -> None:
        # Silent for so long, or until who asked hangs up.
        select.select([self.connection], [], [], fault.seconds)
        if fault.status == 0:
            self.close_connection = True
        else:
            with suppress(BrokenPipeError):  # who asked may have lost patience
                self._send(fault.status, fault.body, fault.headers)

    def _serve(self, path: str, params: Params) -> None:
        name = "timeline" if path.startswith("/2/users/2") else path.rsplit("/", 1)[-1]
        limit = self.api.limits.get(name)
        if limit and self.api.now().timestamp() >= limit[2]:
            limit[1:] = [limit[0], limit[2] + 900]
        headers = {}
        if limit:
            is_over, limit[1] = limit[1] < 1, max(0, limit[1] - 1)
            names = ("x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset")
            headers = dict(zip(names, map(str, limit), strict=True))
            if is_over:
                self._send(429, problem(429, "about:blank", "Too Many Requests"), headers)
                return
        self._send(*self.api.answer(path, params), headers)

    def _send(self, status: int, body: bytes | dict[str, Any], headers: dict[str, str]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response_only(status)
        dated = {"Date": format_datetime(self.api.now(), usegmt=True), "Content-Type": "application/json"}
        for name, value in {**dated, "Content-Length": str(len(content)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running() -> Iterator[X]:
    """A fresh X; `url` is its address."""
    x = X()
    door = type("Door", (_Door,), {"x": x.oauth, "api": x})
    with ThreadingHTTPServer(("127.0.0.1", 0), door) as server:
        server.daemon_threads = True
        x.url = x.oauth.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield x
        finally:
            server.shutdown()
            thread.join()
