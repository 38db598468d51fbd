"""Campaigns in the browser: tag Tweets on the dashboard, open the campaign, see who is shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from metrics.vocabulary.events import snowflake_at
from tests.browser.conftest import Studio

if TYPE_CHECKING:
    from tests.browser.conftest import Visit
    from tests.stack import Stack

TAG = "春 sale/2026"
CROWDS = (range(1, 9), range(5, 13), range(20, 22))


@pytest.fixture(scope="module")
def shop(live_stack: Stack) -> Studio:
    """@shop with three Tweets, seen by people 1 to 8, 5 to 12, and 20 and 21."""
    made = Studio(live_stack, "shop")
    events = []
    for number, crowd in enumerate(CROWDS):
        tweet_id = snowflake_at(made.created_at, sequence=100 + number)
        made.tell(f"Beans {number}", tweet_id)
        for person in crowd:
            events.append(made.event("impressions", 1, 5, tweet_id) | {"user_id": str(person)})
        events.append(made.event("favorites", 1, 4, tweet_id) | {"user_id": str(crowd[0])})
    made.send_all(events)
    return made


def tag(visit: Visit, shop: Studio, name: str, *texts: str) -> None:
    page = visit.open(f"{shop.path}?range=24h&sort=impressions")
    for text in texts:
        page.get_by_role("checkbox", name=f"Choose this Tweet: {text}").check()
    expect(page.locator("[data-picked]")).to_have_text(f"{len(texts)} Tweet{'' if len(texts) == 1 else 's'} chosen")
    page.get_by_label("chosen").fill(name)
    page.get_by_role("button", name="Add tag").click()
    expect(page.get_by_role("status").first).to_contain_text("tagged")
    expect(page.locator("[data-tweets] [data-tags] a", has_text=name)).to_have_count(len(texts))


@pytest.fixture
def tagged(visit: Visit, shop: Studio, live_stack: Stack) -> str:
    """The address of a campaign of the first two Tweets, whose people are counted."""
    page = visit.open(f"{shop.path}?range=24h", drawn=False)
    if not page.locator("[data-tags] a").count():
        tag(visit, shop, TAG, "Beans 0", "Beans 1")
        tag(visit, shop, "summer", "Beans 1", "Beans 2")
    page.goto(f"{shop.path}?range=24h")
    address = page.locator("[data-tags] a", has_text=TAG).first.get_attribute("href")
    assert address

    def is_counted() -> bool:
        page.goto(address)
        return page.locator("[data-tile=reach] .tile__value").inner_text() == "12"

    live_stack.eventually(is_counted, 30, "the people are counted")
    return address


def test_it_leads_from_tagging_to_the_overlap(visit: Visit, tagged: str) -> None:
    page = visit.open(tagged)
    expect(page.get_by_role("heading", level=1)).to_have_text(TAG)
    expect(page.locator("[data-tile=reach]")).to_contain_text("exact")
    expect(page.locator("[data-chart=growth] .bars path")).to_have_count(2)
    expect(page.locator(".heat__cell.heat--5")).to_contain_text("4")
    page.locator("[data-chart=growth]").focus()
    page.keyboard.press("End")
    expect(page.locator("[data-chart=growth] .tip")).to_contain_text("Everybody so far12")
    page.locator("[data-twin-toggle=overlap]").click()
    expect(page.locator("#twin-overlap tbody tr")).to_contain_text(["1 and 2"])
    expect(page.locator("#twin-overlap tbody")).to_contain_text("exact")


def test_it_compares_what_is_chosen(visit: Visit, tagged: str) -> None:
    page = visit.open("/campaigns/")
    for name in (TAG, "summer"):
        page.get_by_role("checkbox", name=f"Compare {name}").check()
    page.get_by_role("button", name="Compare audiences").click()
    expect(page.locator(".heat__cell.heat--8")).to_contain_text("8")
    expect(page.locator(".upset tbody tr")).to_have_count(3)


def test_it_filters_the_table_by_tag(visit: Visit, shop: Studio, tagged: str) -> None:
    page = visit.open(f"{shop.path}?range=24h")
    expect(page.locator("[data-tweets] tbody tr")).to_have_count(3)
    page.locator(".menu summary", has_text="Tag").last.click()
    page.get_by_role("link", name="summer", exact=True).first.click()
    expect(page.locator("[data-tweets] tbody tr")).to_have_count(2)
    shop.send("favorites", 2)
    expect(page.locator("[data-tile=engagements] [data-value]")).to_have_text("5")
    expect(page.locator("[data-tweets] tbody tr")).to_have_count(2)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_it_can_be_used_by_everybody(
    visit: Visit, shop: Studio, tagged: str, axe: str, scheme: str, width: int
) -> None:
    page = visit.blank(color_scheme=scheme, viewport={"width": width, "height": 900})
    both = f"/campaigns/?compare=summer&compare={TAG}"
    for path in (tagged, "/campaigns/", both, "/campaigns/nothing/", f"{shop.path}?range=24h&tag=summer"):
        page.goto(path)
        page.wait_for_selector("[data-drawn]", state="attached")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        serious = [(path, it["id"], it["nodes"][0]["html"]) for it in found if it["impact"] in {"serious", "critical"}]
        assert not serious


def test_it_tags_without_scripts(visit: Visit, shop: Studio, tagged: str) -> None:
    page = visit.open(f"{shop.path}?range=24h", drawn=False, java_script_enabled=False)
    page.get_by_role("checkbox", name="Choose this Tweet: Beans 2").check()
    page.locator("#tagging-tag").fill("plain")
    page.get_by_role("button", name="Add tag").click()
    expect(page.locator("[data-tags] a", has_text="plain")).to_have_count(1)
    page.get_by_role("checkbox", name="Choose this Tweet: Beans 2").check()
    page.locator("#tagging-tag").fill("plain")
    page.get_by_role("button", name="Remove tag").click()
    expect(page.locator("[data-tags] a", has_text="plain")).to_have_count(0)


def test_it_holds_the_rows_while_some_are_ticked(visit: Visit, shop: Studio, tagged: str) -> None:
    page = visit.open(f"{shop.path}?range=24h&sort=engagements")
    last = page.locator("[data-tweets] tbody tr").last
    tweet_id = last.get_attribute("data-tweet")
    assert tweet_id
    last.locator("[data-pick]").check()
    page.locator("h1").click()
    shop.send("favorites", 50, tweet_id=int(tweet_id))
    expect(page.locator("[data-rerank]")).to_be_visible()
    expect(page.locator("[data-tweets] tbody tr").last.locator("[data-pick]")).to_be_checked()
    page.locator("[data-rerank]").click()
    expect(page.locator("[data-tweets] tbody tr").first.locator("[data-pick]")).to_be_checked()
