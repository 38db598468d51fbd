"""The Integrations page in a browser: rules, a stream that is open, requests that run, and all without scripts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import httpx
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from tests.browser.conftest import Studio, Visit

PATH = "/settings/integrations/"
OK = "200 OK"


def open_page(visit: Visit, studio: Studio, label: str, **options: bool) -> Page:
    """The page of a label, with a request about the studio's handle."""
    return visit.open(f"{PATH}?label={label}&about={studio.username}", drawn=False, **options)


def follow(page: Page, studio: Studio) -> None:
    """Add the rule for the studio's handle."""
    page.get_by_label("Handle", exact=True).first.select_option(label=f"@{studio.username}")
    page.get_by_label("Tag").fill("from a browser")
    page.get_by_role("button", name="Follow").click()
    expect(page.get_by_text(f"follows @{studio.username} from now on")).to_be_visible()
    expect(page.locator("#rules tbody tr")).to_contain_text(["from a browser"])


def unfollow(page: Page, studio: Studio) -> None:
    """Remove it."""
    page.get_by_role("button", name=f"Remove the rule for @{studio.username}").click()
    expect(page.get_by_text(f"no longer follows @{studio.username}")).to_be_visible()
    expect(page.locator("#rules")).to_contain_text("follows no handle yet")


def run(page: Page) -> str:
    """Run the request; what it was answered."""
    page.get_by_role("button", name="Run request").click()
    expect(page.locator("#answer .chip")).to_have_text(re.compile(r"\d{3} "))
    return page.locator("#answer pre").inner_text()


def test_it_shows_a_reader_while_its_stream_is_open(visit: Visit, studio: Studio) -> None:
    page = open_page(visit, studio, "browser")
    follow(page, studio)
    readers = page.locator("#readers")
    expect(readers).to_contain_text("Nobody reads this stream now")
    headers = {"Authorization": f"Bearer {studio.token}"}
    with httpx.stream("GET", page.locator("#stream-url").inner_text(), headers=headers, timeout=10) as stream:
        assert stream.status_code == 200
        lines = stream.iter_lines()
        next(lines)  # the first keep-alive
        expect(readers.locator("tbody tr")).to_have_count(1, timeout=15_000)
        expect(readers).to_contain_text("127.0.0.1")
        expect(readers).to_contain_text("1 connected")
        studio.send("favorites", 3)
        line = next(line for line in lines if line)
        assert json.loads(line)["summary_event"]["target"]["id_str"] == str(studio.tweet_id)
        expect(readers.locator("tbody tr")).not_to_contain_text(re.compile(r"\D0\sbytes"), timeout=15_000)
    expect(readers).to_contain_text("Nobody reads this stream now", timeout=20_000)
    unfollow(page, studio)


def test_it_runs_requests_in_the_page(visit: Visit, studio: Studio) -> None:
    page = open_page(visit, studio, "prod")
    told = json.loads(run(page))
    assert str(studio.tweet_id) in told["by_tweet"]
    page.get_by_role("link", name="Last 28 hours").click()
    expect(page.get_by_role("link", name="Last 28 hours")).to_have_attribute("aria-current", "true")
    expect(page.locator("#try-url")).to_contain_text("/insights/engagement/28hr")
    expect(page.locator("#answer")).to_contain_text("The answer appears here")
    # By keyboard alone: on from the request to its button.
    page.get_by_label("Request", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#answer .chip")).to_have_text(OK)
    assert "by_hour" in json.loads(page.locator("#answer pre").inner_text())
    page.get_by_label("Request", exact=True).fill("{")
    page.get_by_role("button", name="Run request").click()
    expect(page.locator("#answer .chip")).to_have_text("400 Bad Request")


def test_it_puts_addresses_and_commands_on_the_clipboard(visit: Visit, studio: Studio) -> None:
    page = open_page(visit, studio, "prod")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for name, place in (("Copy the stream’s address", "stream-url"), ("Copy the command", "stream-curl")):
        page.get_by_role("button", name=name).first.click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == page.locator(f"#{place}").inner_text().strip()
        expect(page.get_by_role("button", name="Copied")).to_be_hidden()
        expect(page.get_by_role("button", name=name).first).to_be_visible()


def test_it_needs_no_scripts(visit: Visit, studio: Studio) -> None:
    page = open_page(visit, studio, "plain", java_script_enabled=False)
    follow(page, studio)
    page.goto(f"{PATH}?label=plain&about={studio.username}")
    page.get_by_role("link", name="Any 28 days").click()
    assert "by_day" in json.loads(run(page))
    assert page.locator("#try-url").inner_text().endswith("/historical")
    page.goto(f"{PATH}?label=plain")
    unfollow(page, studio)


def test_it_makes_oauth_credentials_with_the_clients_file(visit: Visit, studio: Studio) -> None:
    page = open_page(visit, studio, "prod")
    page.get_by_role("link", name="Make OAuth credentials").click()
    form = page.locator("section", has=page.locator("#new-token"))
    form.get_by_label("Name").fill("Old scripts")
    form.get_by_label(f"@{studio.username}").check()
    expect(form.get_by_label("Also make OAuth 1.0a credentials")).to_be_checked()
    form.get_by_role("button", name="Make token").click()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy file").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    file = page.evaluate("navigator.clipboard.readText()")
    assert file.startswith("engagement:\n  url: http://")
    assert page.locator("#oauth-consumer_secret").inner_text() in file
