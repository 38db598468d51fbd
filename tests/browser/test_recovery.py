"""Open pages survive the loss of any part: they say so meanwhile, and are right again without a reload."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_live import TILE, bars, expect_bars, figure
from tests.stack import postgres_away, redis_away

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.browser.conftest import Studio, Visit
    from tests.stack import Stack

# What a browser's console says about a server that does not answer, or answers that it cannot.
OUTAGE = ("ERR_CONNECTION_REFUSED", "WebSocket connection", "500", "503")
AWAY = re.compile("reconnecting|stale")
CURRENT = re.compile("live|quiet")
RECOVERED_WITHIN_MS = 15_000
TILES = ("impressions", "engagements", "url_clicks", "video_views")


def state(page: Page, states: re.Pattern[str]) -> None:
    """Wait until the badge is in one of these states."""
    expect(page.locator("[data-badge]")).to_have_attribute("data-state", states, timeout=RECOVERED_WITHIN_MS)


@contextmanager
def web_away(stack: Stack) -> Iterator[None]:
    """Daphne is killed, and started again as its supervisor would."""
    stack.kill("web")
    try:
        yield
    finally:
        stack.tend()


def reported(studio: Studio) -> dict[str, int]:
    """What the JSON API tells of the page's period."""
    told = studio.call("GET", f"/api/v1/handles/{studio.username}/report?range=28h", None).json()["metrics"]
    return {name: told[name]["value"] for name in (*TILES, "social")}


@pytest.mark.parametrize("away", [web_away, redis_away, postgres_away])
def test_it_recovers_by_itself(
    away: Callable[[Stack], AbstractContextManager[None]], visit: Visit, studio: Studio, live_stack: Stack
) -> None:
    live_stack.wait_until_ready()
    page = visit.open(f"{studio.path}?range=28h")
    visit.forgiven = OUTAGE
    page.evaluate("window.unbroken = true")
    state(page, CURRENT)
    engagements, social = figure(page, "engagements"), bars(page, "social")
    with away(live_stack):
        state(page, AWAY)
    state(page, CURRENT)
    live_stack.wait_until_ready()
    studio.send("favorites", 7)
    expect(page.locator(TILE.format("engagements"))).to_have_text(f"{engagements + 7:,}", timeout=RECOVERED_WITHIN_MS)
    expect_bars(page, "social", social + 7)
    drawn = {name: figure(page, name) for name in TILES} | {"social": bars(page, "social")}
    assert drawn == reported(studio)
    assert page.evaluate("window.unbroken")
