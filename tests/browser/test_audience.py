"""People on pages, in a browser: figures that move by themselves, charts, and who can use them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

from metrics.vocabulary.events import snowflake_at
from tests.browser.conftest import Studio
from tests.browser.test_pages import go

if TYPE_CHECKING:
    from tests.browser.conftest import Visit
    from tests.stack import Stack

DAY = 24 * 60  # minutes
WATCH_JUMPS = """window.jumps = [];
new PerformanceObserver(list => list.getEntries().forEach(({value, sources, hadRecentInput}) => {
    if (value > 0.001 && !hadRecentInput) window.jumps.push([value, ...sources.map(({node}) => node?.className)]);
})).observe({type: "layout-shift", buffered: true});"""


def saw(studio: Studio, *people: int, ago: float = 0, tweet_id: int | None = None) -> None:
    """Let these people see the Tweet."""
    events = [{**studio.event("impressions", 1, ago, tweet_id), "user_id": f"person-{number}"} for number in people]
    studio.send_all(events)


def people(page: Page, name: str) -> Any:
    """One of the figures about people."""
    return page.locator(f"[data-people={name}]")


@pytest.fixture(scope="module")
def crowd(live_stack: Stack) -> Studio:
    """@crowd: two Tweets, whose five people share one, and one of last week."""
    studio = Studio(live_stack, "crowd")
    other = snowflake_at(studio.created_at, sequence=910)
    studio.tell("Winter roast is back")
    studio.tell("Unpronounceable" * 12, other)
    saw(studio, 1, 2, 3, ago=7 * DAY, tweet_id=snowflake_at(studio.created_at - timedelta(days=7)))
    saw(studio, 1, 2, 3, ago=100)
    saw(studio, 3, 4, 5, ago=50, tweet_id=other)
    return studio


def paths(studio: Studio) -> tuple[str, ...]:
    """Every page that tells of people."""
    return (studio.path, f"{studio.path}t/{studio.tweet_id}/", f"{studio.path}audience/")


@pytest.mark.parametrize("width", [390, 1440])
def test_reach_moves_while_somebody_looks(visit: Visit, live_stack: Stack, width: int) -> None:
    studio = Studio(live_stack, f"moving_{width}")
    saw(studio, 1)
    page = visit.blank(viewport={"width": width, "height": 900})
    page.add_init_script(WATCH_JUMPS)
    for round_, path in enumerate(paths(studio), start=1):
        go(page, path)
        expect(people(page, "reach")).to_have_text(str(round_), timeout=20_000)
        page.get_by_text("How we count people").click()
        saw(studio, 1, round_ + 1)
        expect(people(page, "reach")).to_have_text(str(round_ + 1), timeout=20_000)
        expect(page.get_by_role("heading", name="Privacy")).to_be_visible()  # what was opened stays open
        assert page.evaluate("window.jumps.filter(([, ...moved]) => String(moved).includes('people'))") == [], path


def test_it_asks_only_while_somebody_looks(visit: Visit, crowd: Studio) -> None:
    page = visit.open(crowd.path)
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => window.isAway, configurable: true})")
    page.evaluate("window.isAway = true")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/people/" in request.url else None)
    page.evaluate("document.querySelector('[data-people-poll]').dispatchEvent(new Event('refresh'))")
    assert not asked
    with page.expect_response("**/people/**"):
        page.evaluate("window.isAway = false; document.dispatchEvent(new Event('visibilitychange'))")


def test_a_reach_curve_begins_while_somebody_looks(visit: Visit, live_stack: Stack) -> None:
    studio = Studio(live_stack, "beginning")
    studio.send("impressions", 5, ago=100)
    page = visit.open(f"{studio.path}t/{studio.tweet_id}/")
    expect(page.get_by_text("No source named the people who saw this Tweet")).to_be_visible()
    saw(studio, 1, 2, ago=100)
    expect(people(page, "reach")).to_have_text("2", timeout=20_000)
    page.locator("[data-people-poll]").last.dispatch_event("refresh")
    chart = page.locator("[data-chart=reach]")
    expect(chart.locator(".scatterlayer path.js-line").first).to_be_visible()
    chart.focus()
    page.keyboard.press("End")
    expect(chart.locator(".tip")).to_contain_text("People so far")


def test_it_reads_weeks_and_shared_people(visit: Visit, crowd: Studio) -> None:
    page = visit.open(f"{crowd.path}audience/")
    page.locator("[data-chart=comers]").focus()
    page.keyboard.press("End")
    tip = page.locator("[data-chart=comers] .tip")
    expect(tip).to_contain_text("still running")
    page.locator("[data-twin-toggle=weekly]").click()
    expect(page.locator("#twin-weekly tbody tr").last).to_contain_text("exact")
    expect(page.locator(".heat__cell", has_text="1").first).to_be_visible()
    with page.expect_download() as told:
        page.get_by_role("link", name="Weeks, CSV").click()
    assert told.value.suggested_filename.startswith("crowd_audience_")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_everybody_can_use_it_on_any_screen(visit: Visit, crowd: Studio, axe: str, scheme: str, width: int) -> None:
    page = visit.blank(color_scheme=scheme, viewport={"width": width, "height": 900})
    for path in paths(crowd):
        go(page, path)
        page.get_by_text("How we count people").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert not [(path, it["id"], it["nodes"][0]["html"]) for it in found if it["impact"] in {"serious", "critical"}]


def test_it_needs_no_scripts(visit: Visit, crowd: Studio) -> None:
    page = visit.open(f"{crowd.path}audience/", drawn=False, java_script_enabled=False)
    expect(page.locator("#twin-comers")).to_be_visible()
    expect(people(page, "reach")).to_have_text("5")
