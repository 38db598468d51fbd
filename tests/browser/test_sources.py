"""The Sources page and the way to a first event, in a browser."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Studio
from tests.stack import free_port

if TYPE_CHECKING:
    from tests.browser.conftest import Visit
    from tests.stack import Stack


def connect(page: Page, name: str) -> None:
    """Connect a stream that nobody serves."""
    offer = page.locator(".offer", has=page.get_by_role("heading", name="InsightsTrack stream"))
    offer.locator("summary").click()
    offer.get_by_label("Address").first.fill(f"http://127.0.0.1:{free_port()}/stream/prod.json")
    offer.locator("input[type=password]").fill("a-secret-token")
    offer.get_by_label("Name").fill(name)
    offer.get_by_role("button", name="Connect").click()
    expect(page.get_by_text(f"{name} is connected")).to_be_visible(timeout=15_000)


def card(page: Page, name: str) -> Any:
    """The source's card."""
    return page.locator(".source", has=page.get_by_role("heading", name=name))


def test_a_source_is_connected_fails_visibly_is_paused_and_removed(visit: Visit, live_stack: Stack) -> None:
    studio = Studio(live_stack, "wired")
    studio.live_a_little()
    dashboard = visit.open(studio.path)
    page = visit.open(f"{studio.path}sources/", drawn=False)
    connect(page, "Agency")
    # It says by itself what is wrong, and so does the dashboard.
    expect(card(page, "Agency")).to_contain_text(re.compile("Failing since"), timeout=20_000)
    expect(dashboard.locator(".trouble")).to_contain_text("Agency", timeout=30_000)
    dashboard.reload()
    expect(dashboard.locator("[data-band-legend=down]")).to_be_visible()
    expect(dashboard.locator("#activity-words")).to_contain_text("Agency was down since")
    page.reload()
    card(page, "Agency").get_by_role("button", name="Pause").click()
    expect(card(page, "Agency")).to_contain_text("Paused since")
    card(page, "Agency").get_by_text("What happened").click()
    expect(card(page, "Agency").locator("li").first).to_contain_text("paused")
    card(page, "Agency").get_by_role("button", name="Resume").click()
    expect(page.get_by_text("starts within a few seconds")).to_be_visible()
    card(page, "Agency").locator("summary", has_text="Remove").click()
    card(page, "Agency").get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("What it brought stays counted")).to_be_visible()
    expect(card(page, "Agency")).to_have_count(0)


def test_it_needs_no_scripts(visit: Visit, live_stack: Stack) -> None:
    studio = Studio(live_stack, "unscripted")
    page = visit.open(f"{studio.path}sources/", drawn=False, java_script_enabled=False)
    connect(page, "Agency")
    card(page, "Agency").get_by_role("button", name="Pause").click()
    expect(card(page, "Agency")).to_contain_text("Paused since")


def test_it_leads_from_no_data_to_a_live_chart(visit: Visit, live_stack: Stack) -> None:
    studio = Studio(live_stack, "first_steps")
    page = visit.open(studio.path, drawn=False)
    page.get_by_role("button", name="Make a token and fill it in").click()
    command = page.locator("#first-curl").inner_text()
    assert "Bearer it_" in command
    told = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert '"accepted":1' in told.stdout
    page.wait_for_url(f"**{studio.path}")
    expect(page.locator("[data-tile=impressions] [data-value]")).to_have_text("1")
