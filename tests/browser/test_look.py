"""What a demanding reader would notice: whole words, aligned edges, plain units, room on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from metrics.vocabulary.events import snowflake_at
from tests.browser.conftest import Studio

if TYPE_CHECKING:
    from tests.browser.conftest import Visit
    from tests.stack import Stack

PHONE = {"width": 390, "height": 844}
LEFT = "element => element.getBoundingClientRect().left"


def test_it_shows_a_tweets_whole_text_on_a_phone(visit: Visit, studio: Studio) -> None:
    tweet_id = snowflake_at(studio.created_at, sequence=900)
    studio.tell("x" * 280, tweet_id)
    page = visit.open(f"{studio.path}t/{tweet_id}/", viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("h1").evaluate("element => element.scrollHeight <= element.clientHeight + 1")


def test_it_writes_a_thousand_million_as_b(visit: Visit, live_stack: Stack) -> None:
    studio = Studio(live_stack, "enormous")
    studio.send_all([studio.event("impressions", 1_000_000, ago=60) for _ in range(1_000)])
    page = visit.open(f"{studio.path}t/{studio.tweet_id}/")
    expect(page.locator("[data-tile=impressions] [data-value]")).to_have_text("1,000,000,000")
    expect(page.locator("[data-chart=clock] .y2tick").last).to_have_text("1B")


@pytest.mark.parametrize("path", ["/settings/tokens/", "/settings/", "/accounts/password/change/"])
def test_it_lines_fields_up_with_their_heading(visit: Visit, path: str) -> None:
    page = visit.open(path, drawn=False)
    card = page.locator("main .card:has(form .field)").first
    heading = card.locator("h1, h2").first.evaluate(LEFT)
    assert card.locator(".field").first.evaluate(LEFT) == pytest.approx(heading, abs=0.5)


def test_it_brings_the_net_figures_first_on_a_phone(visit: Visit, studio: Studio) -> None:
    page = visit.open(f"{studio.path}?range=24h", viewport=PHONE)
    row = page.locator("[data-breakdown] tr[data-type=favorites]")
    for key in ("gained", "lost", "net"):
        box = row.locator(f"[data-cell={key}]").bounding_box()
        assert box
        assert box["x"] + box["width"] <= PHONE["width"], key
