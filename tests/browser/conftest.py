"""A real browser against the running installation: fixtures, and how tests send events."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from metrics.vocabulary.events import snowflake_at
from tests.cast import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Stack

ALICE = "alice@northwind.example"
AXE = "axe-core@4.14.1"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_numbers = count(1)


class Studio:
    """A handle of alice's, and a hand that sends its events."""

    def __init__(self, stack: Stack, username: str) -> None:
        stack.add_handle(username)
        self.stack, self.username = stack, username
        self.token = stack.token(username)
        self.created_at = datetime.now(UTC) - timedelta(hours=3)
        self.tweet_id = snowflake_at(self.created_at, sequence=next(_numbers))

    @property
    def path(self) -> str:
        """The address of its dashboard."""
        return f"/h/{self.username}/"

    def call(self, method: str, path: str, body: Any) -> httpx.Response:
        """Ask the API with the handle's token."""
        answer = httpx.request(
            method, self.stack.url + path, json=body, headers={"Authorization": f"Bearer {self.token}"}, timeout=10
        )
        answer.raise_for_status()
        return answer

    def tell(self, text: str, tweet_id: int | None = None) -> None:
        """Say what the Tweet says."""
        self.call("PUT", "/api/v1/tweets", [{"id": str(tweet_id or self.tweet_id), "text": text, "media": "video"}])

    def send(self, kind: str, times: int = 1, ago: float = 0, tweet_id: int | None = None) -> None:
        """Send so many events of a type that happened some minutes ago, as one event with a count."""
        self.send_all([self.event(kind, times, ago, tweet_id)])

    def event(self, kind: str, times: int = 1, ago: float = 0, tweet_id: int | None = None) -> dict[str, Any]:
        """An event with a count, some minutes ago."""
        return {
            "id": f"browser-{next(_numbers)}",
            "tweet_id": str(tweet_id or self.tweet_id),
            "type": kind,
            "occurred_at": (datetime.now(UTC) - timedelta(minutes=ago)).isoformat(),
            "count": times,
        }

    def send_all(self, events: list[dict[str, Any]]) -> None:
        """Send events in one body, and wait until they are counted."""
        receipt = self.call("POST", "/api/v1/events", events).json()["receipt"]
        self.stack.eventually(lambda: self._is_applied(receipt), 20, "the events are applied")

    def _is_applied(self, receipt: str) -> bool:
        return bool(self.call("GET", f"/api/v1/receipts/{receipt}", None).json()["status"] == "applied")

    def live_a_little(self) -> None:
        """Two hours of a Tweet's life."""
        self.tell("Winter roast is here. 400 bags, first come first served")
        events = [self.event("unfavorites", 3, 20)]
        for ago, shown in ((110, 400), (95, 260), (60, 120), (31, 80), (12, 40), (3, 30)):
            events += [
                self.event("impressions", shown, ago),
                self.event("favorites", shown // 20, ago),
                self.event("url_clicks", max(1, shown // 40), ago),
                self.event("video_starts", shown // 2, ago),
                self.event("video_views", shown // 4, ago),
            ]
        self.send_all(events)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The system's browser; ended with this package, because its event loop would be in the way of others."""
    named = os.environ.get("CHROMIUM", "")
    program = next((found for name in (named, *BROWSERS) if name and (found := shutil.which(name))), None)
    assert program, "no browser found: install chromium, or set CHROMIUM to its path"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def studio(live_stack: Stack) -> Studio:
    """@roastery with a little history, shared by tests that only look or only add."""
    made = Studio(live_stack, "roastery")
    made.live_a_little()
    return made


@pytest.fixture(scope="package")
def signed_in(chromium: Browser, live_stack: Stack, studio: Studio) -> dict[str, Any]:
    """The cookies of alice's session."""
    context = chromium.new_context(base_url=live_stack.url)
    page = context.new_page()
    sign_in(page)
    state = context.storage_state()
    context.close()
    return dict(state)


def sign_in(page: Page, email: str = ALICE) -> None:
    """Fill in the form, as alice unless told otherwise."""
    page.goto("/accounts/login/")
    page.get_by_label("E-mail").first.fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")


class Visit:
    """Opens pages as alice; afterwards nothing may have been written to the console as an error."""

    def __init__(self, browser: Browser, url: str, state: dict[str, Any]) -> None:
        self.browser, self.url, self.state = browser, url, state
        self.contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.forgiven: tuple[str, ...] = ()

    def open(self, path: str, drawn: bool = True, **options: Any) -> Page:
        """A page in a context of its own; waits until its charts are drawn."""
        page = self.blank(**options)
        page.goto(path)
        if drawn:
            page.wait_for_selector("[data-drawn]", state="attached")
        return page

    def blank(self, **options: Any) -> Page:
        """An empty page in a context of its own."""
        context = self.browser.new_context(base_url=self.url, storage_state=self.state, **options)
        self.contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        return page

    def close(self) -> None:
        """Close all contexts, and complain if the console did."""
        for context in self.contexts:
            context.close()
        left = [text for text in self.complaints if not any(known in text for known in self.forgiven)]
        assert not left, left


@pytest.fixture
def visit(chromium: Browser, live_stack: Stack, signed_in: dict[str, Any]) -> Iterator[Visit]:
    """Alice's visits of one test."""
    visit = Visit(chromium, live_stack.url, signed_in)
    yield visit
    visit.close()


@pytest.fixture(scope="package")
def axe() -> str:
    """The accessibility checker's source, fetched with npm on first use and kept beside pytest's cache."""
    kept = Path(settings.BASE_DIR) / ".pytest_cache" / f"{AXE}.js"
    if not kept.exists():
        npm = shutil.which("npm")
        assert npm, "the accessibility tests fetch axe-core with npm: install npm"
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, check=True, capture_output=True)
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
                source = archive.extractfile("package/axe.min.js")
                assert source
                kept.parent.mkdir(exist_ok=True)
                kept.write_bytes(source.read())
    return kept.read_text()
