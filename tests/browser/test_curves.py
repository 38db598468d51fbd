"""Real Retweets in a real browser: the drawn curve of a replayed Tweet is its file's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import sign_in
from tests.replayed import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.replayed import Replayed
    from tests.stack import Stack

# Of the engagements, which here are Retweets alone.
CURVE = """() => {
    const {data} = document.querySelector("[data-chart=clock] .js-plotly-plot");
    const {x, y} = data.find(({meta}) => meta.metric === "engagements" && meta.of === "current");
    return {x: Array.from(x, Number), y: Array.from(y, Number)};
}"""
PAGE_DATA = "() => JSON.parse(document.getElementById('page-data').textContent)"


@pytest.fixture(scope="module")
def page(chromium: Browser, live_stack: Stack) -> Iterator[Page]:
    """The owner of @cascades in the browser."""
    context = chromium.new_context(base_url=live_stack.url)
    page = context.new_page()
    page.set_default_timeout(15_000)
    sign_in(page, OWNER)
    yield page
    context.close()


@pytest.mark.parametrize("span", ["life", "1h"])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_it_draws_the_curve_of_the_file(replayed: Replayed, page: Page, place: int, span: str) -> None:
    cascade = replayed.cascades[place]
    page.goto(f"{replayed.page(cascade)}?range={span}")
    page.wait_for_selector("[data-drawn]", state="attached")
    drawn: dict[str, Any] = page.evaluate(CURVE)
    edges = page.evaluate(PAGE_DATA)["edges"][1:]
    assert drawn["y"] == replayed.in_file(cascade, edges)
    assert drawn["x"][:-1] == [edge * 1000 for edge in edges[:-1]]
    expect(page.locator("[data-breakdown] [data-type=retweets] [data-cell=net]")).to_have_text(f"{len(cascade.ages):,}")
