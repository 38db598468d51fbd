"""The pages move by themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import Studio, sign_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.browser.conftest import Visit
    from tests.stack import Stack

TILE = "[data-tile='{}'] [data-value]"
DRAWN = """document.querySelector("[data-chart=activity] .js-plotly-plot").data
    .find(({type, meta}) => type === "bar" && meta.metric === metric).y.reduce((sum, value) => sum + value, 0)"""


def figure(page: Page, name: str) -> int:
    """What a tile says."""
    return int(page.locator(TILE.format(name)).inner_text().replace(",", ""))


def bars(page: Page, metric: str) -> float:
    """The sum of a metric's values in the drawn activity chart."""
    return float(page.evaluate(f"metric => {DRAWN}", metric))


def expect_bars(page: Page, metric: str, value: float) -> None:
    """Wait until that sum is this."""
    page.wait_for_function(f"([metric, value]) => {DRAWN} === value", arg=[metric, value])


def badge(page: Page, word: str) -> None:
    """Wait until the badge says so."""
    expect(page.locator("[data-badge-word]")).to_have_text(word, timeout=20_000)


def test_it_signs_in_and_moves_the_tile_and_the_chart_without_reload(
    chromium: Browser, live_stack: Stack, studio: Studio
) -> None:
    context = chromium.new_context(base_url=live_stack.url)
    page = context.new_page()
    sign_in(page)
    page.get_by_role("link", name="Roastery", exact=True).click()
    page.wait_for_selector("[data-drawn]", state="attached")
    page.evaluate("window.unbroken = true")
    engagements, social = figure(page, "engagements"), bars(page, "social")
    studio.send("favorites", 7)
    expect(page.locator(TILE.format("engagements"))).to_have_text(f"{engagements + 7:,}")
    expect_bars(page, "social", social + 7)
    badge(page, "Live")
    expect(page.locator("[data-badge-more]")).to_have_text(re.compile(r"^[\d,]+ ms$"))
    assert page.evaluate("window.unbroken")
    context.close()


def test_it_moves_every_range_tweet_and_card(visit: Visit, studio: Studio) -> None:
    pages = [visit.open(f"{studio.path}?range={name}") for name in ("30m", "7d")]
    pages.append(visit.open(f"{studio.path}t/{studio.tweet_id}/"))
    before = [figure(page, "url_clicks") for page in pages]
    cards = visit.open("/", drawn=False)
    today = cards.locator("[data-handle-card=roastery] [data-figure=engagements] [data-value]")
    then = int(today.inner_text().replace(",", ""))
    for page in (*pages, cards):
        expect(page.locator("[data-badge-word]")).not_to_have_text("Connecting")
    studio.send("url_clicks", 4)
    for page, value in zip(pages, before, strict=True):
        expect(page.locator(TILE.format("url_clicks"))).to_have_text(f"{value + 4:,}")
    expect(today).to_have_text(f"{then + 4:,}")


def test_it_reads_lifetimes_when_asked_for_the_periods_tweets(visit: Visit, studio: Studio) -> None:
    page = visit.open(f"{studio.path}?range=24h&reading=tweets")
    value = figure(page, "engagements")
    studio.send("replies", 5)
    expect(page.locator(TILE.format("engagements"))).to_have_text(f"{value + 5:,}")


def test_it_fetches_a_snapshot_when_a_frame_is_lost(visit: Visit, studio: Studio) -> None:
    page = visit.blank()
    lost: list[str] = []

    def lossy(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def forward(message: str | bytes) -> None:
            if '"frame"' in str(message) and not lost:
                lost.append(str(message))
            else:
                socket.send(message)

        server.on_message(forward)

    page.route_web_socket("**/ws/live/**", lossy)
    page.goto(studio.path)
    page.wait_for_selector("[data-drawn]", state="attached")
    badge(page, "Live")
    before = figure(page, "engagements")
    studio.send("retweets", 2)
    page.wait_for_timeout(600)
    assert lost
    assert figure(page, "engagements") == before
    with page.expect_response("**/live.json**"):
        studio.send("retweets", 3)
    expect(page.locator(TILE.format("engagements"))).to_have_text(f"{before + 5:,}")


def test_it_rests_while_hidden_and_catches_up(visit: Visit, studio: Studio) -> None:
    page = visit.open(studio.path)
    badge(page, "Live")
    before = figure(page, "engagements")
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    badge(page, "Paused")
    studio.send("favorites", 6)
    assert figure(page, "engagements") == before
    page.evaluate(hide, False)
    expect(page.locator(TILE.format("engagements"))).to_have_text(f"{before + 6:,}")
    badge(page, "Live")


def test_it_holds_the_order_while_somebody_reads(visit: Visit, studio: Studio) -> None:
    other = studio.tweet_id + 1
    studio.tell("Our farmers in Huila, in their own words", other)
    studio.send("favorites", 1, tweet_id=other)
    page = visit.open(f"{studio.path}?sort=engagements")
    rows = page.locator("[data-tweets] tbody tr")
    expect(rows).to_have_count(2)
    first = rows.first.get_attribute("data-tweet")
    rows.first.hover()
    studio.send("favorites", 5_000, tweet_id=other)
    expect(page.locator("[data-rerank]")).to_be_visible()
    assert rows.first.get_attribute("data-tweet") == first
    page.locator("[data-rerank]").click()
    expect(rows.first).to_have_attribute("data-tweet", str(other))


def test_it_comes_alive_with_the_first_event(visit: Visit, live_stack: Stack, studio: Studio) -> None:
    fresh = Studio(live_stack, "brand_new")
    page = visit.open(fresh.path, drawn=False)
    expect(page.get_by_role("heading", name="Nothing has been counted for @brand_new yet")).to_be_visible()
    badge(page, "Waiting")
    fresh.send("impressions", 12)
    expect(page.locator(TILE.format("impressions"))).to_have_text("12")
