"""The Import page in a browser: files that are chosen or dropped, looked at, imported, cut off, refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Studio, sign_in
from tests.cast import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

    from tests.browser.conftest import Visit
    from tests.stack import Stack

EXPORTS = Path(__file__).parent.parent / "ingest" / "files" / "data"
DAYS = "account_overview_analytics.csv"
BAD_ROWS = "x_tweet_activity_bad_rows.csv"
PHONE = {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror=alert(1)>\u202egnp" & ’s.csv'


@pytest.fixture(scope="module")
def importer(live_stack: Stack) -> Studio:
    """@importer, whose files nobody else counts."""
    return Studio(live_stack, "importer")


def open_page(visit: Visit, importer: Studio, **options: Any) -> Page:
    """The Import page, once its socket speaks."""
    page = visit.blank(**options)
    with page.expect_websocket() as socket:
        page.goto(f"{importer.path}import/")
    socket.value.wait_for_event("framereceived")
    return page


def card(page: Page, name: str) -> Locator:
    """The newest card of a file of this name."""
    return page.locator(".import", has=page.get_by_role("heading", name=name, exact=True)).first


def choose(page: Page, *files: Any) -> None:
    """Choose files in the dialogue."""
    page.get_by_label("Choose files").set_input_files(list(files))


def in_memory(name: str, body: bytes) -> dict[str, Any]:
    """A file that exists only here."""
    return {"name": name, "mimeType": "text/csv", "buffer": body}


def ndjson(importer: Studio, lines: int) -> bytes:
    """So many events of the handle's, a line each."""
    at = datetime.now(UTC).isoformat()
    line = '{{"id": "line-{}", "tweet_id": "{}", "type": "impressions", "occurred_at": "{}"}}\n'.format
    return "".join(line(number, importer.tweet_id, at) for number in range(lines)).encode()


def test_it_goes_from_a_file_to_its_report(visit: Visit, importer: Studio) -> None:
    page = open_page(visit, importer)
    watching = open_page(visit, importer)
    choose(page, EXPORTS / DAYS)
    shown = card(page, DAYS)
    expect(shown).to_have_attribute("data-state", "ready")
    expect(shown).to_contain_text("X: account overview, by day")
    expect(shown).to_contain_text("4 Feb 2026 – 6 Feb 2026")
    expect(shown.get_by_role("columnheader", name="Likes → Likes")).to_be_visible()
    expect(shown.locator("tbody tr")).to_have_count(3)
    expect(card(watching, DAYS)).to_have_attribute("data-state", "ready")
    shown.get_by_role("button", name="Import").click()
    for other in (page, watching):
        expect(card(other, DAYS)).to_have_attribute("data-state", "done", timeout=30_000)
        expect(card(other, DAYS).locator("dd").first).to_have_text("3")
    card(page, DAYS).get_by_role("link", name="See the figures").click()
    beside = page.locator(".beside")
    expect(beside.get_by_role("heading", name="X’s dashboard beside InsightsTrack")).to_be_visible()
    expect(beside).to_contain_text("2,100")
    beside.get_by_text("Day by day").click()
    expect(beside.get_by_role("row", name=re.compile("Fri 6 Feb 2026"))).to_be_visible()


def test_it_takes_files_that_are_dropped_and_imports_them_all(visit: Visit, importer: Studio) -> None:
    page = open_page(visit, importer)
    script = """(files) => {
        const dataTransfer = new DataTransfer();
        for (const [name, text] of files) dataTransfer.items.add(new File([text], name));
        const happen = (kind) => dispatchEvent(new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true}));
        const isOver = () => document.querySelector("[data-drop]").classList.contains("is-over");
        happen("dragenter");
        happen("dragover");
        const wasOver = isOver();
        happen("drop");
        return wasOver && !isOver();
    }"""
    text = (EXPORTS / DAYS).read_text()
    names = [f"dropped-{number}.csv" for number in range(3)]
    assert page.evaluate(script, [[name, f"{text}\n"] for name in names])
    for name in names:
        expect(card(page, name)).to_have_attribute("data-state", "ready")
    page.get_by_role("button", name="Import all").click()
    for name in names:
        expect(card(page, name)).to_have_attribute("data-state", "done", timeout=30_000)
    expect(page.get_by_role("button", name="Import all")).to_be_hidden()


def test_it_shows_problems_before_and_after(visit: Visit, importer: Studio) -> None:
    page = open_page(visit, importer)
    choose(page, EXPORTS / BAD_ROWS)
    shown = card(page, BAD_ROWS)
    expect(shown).to_contain_text("This file is of @northwind, and it would be imported into @importer")
    expect(shown).to_contain_text("“viele” is not a whole number")
    shown.get_by_label("Counts as of").fill("2999-01-01T00:00")
    shown.get_by_role("button", name="Import").click()
    expect(card(page, BAD_ROWS).get_by_role("alert")).to_contain_text("lies in the future")
    card(page, BAD_ROWS).get_by_label("Counts as of").fill("2026-01-01T09:00")
    visit.forgiven = ("status of 400",)
    card(page, BAD_ROWS).get_by_role("button", name="Import").click()
    done = card(page, BAD_ROWS)
    expect(done).to_have_attribute("data-state", "done", timeout=30_000)
    with page.expect_download() as download:
        done.get_by_role("link", name="CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0] == "line,column,reason,detail"
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("empty.csv", b"", "“empty.csv” is empty"),
        ("page.csv", b"<!doctype html><html><body>Sign in</body></html>", ""),
        ("book.xlsx", b"PK\x03\x04" + b"\x00" * 500, "This is an Excel workbook"),
    ],
)
def test_it_says_in_one_sentence_why_a_file_cannot_be_used(
    visit: Visit, importer: Studio, name: str, body: bytes, told: str
) -> None:
    visit.forgiven = ("status of 422",)
    page = open_page(visit, importer)
    choose(page, in_memory(name, body))
    shown = card(page, name)
    expect(shown).to_have_attribute("data-state", re.compile("failed|refused"))
    expect(shown).to_contain_text(told)
    if not body:
        shown.get_by_role("button", name="Close").click()
        expect(shown).to_have_count(0)


def test_it_goes_on_after_the_connection_was_cut(visit: Visit, importer: Studio) -> None:
    visit.forgiven = ("Failed to load resource", "ERR_CONNECTION_RESET")
    page = open_page(visit, importer)
    offsets: list[str] = []

    def cut_once(route: Route) -> None:
        offset = route.request.url.rpartition("=")[2]
        offsets.append(offset)
        if offset != "0" and offsets.count(offset) == 1:
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/pieces/?offset=*", cut_once)
    choose(page, in_memory("cut.ndjson", ndjson(importer, 6_000)))
    expect(card(page, "cut.ndjson")).to_have_attribute("data-state", "ready", timeout=30_000)
    expect(card(page, "cut.ndjson")).to_contain_text("6,000")
    assert len(offsets) > len(set(offsets))


def test_it_resumes_an_upload_after_a_reload(visit: Visit, importer: Studio) -> None:
    page = open_page(visit, importer)
    page.on("dialog", lambda dialog: dialog.accept())
    page.route("**/pieces/?offset=*", lambda route: route.continue_() if route.request.url.endswith("=0") else None)
    path = EXPORTS.parent / "resumed.ndjson"
    body = ndjson(importer, 6_000)
    path.write_bytes(body)
    try:
        choose(page, path)
        expect(card(page, path.name).locator("[data-words]")).to_contain_text("256.0 KB of")
        page.reload()
        page.unroute_all(behavior="ignoreErrors")
        left = card(page, path.name)
        expect(left).to_contain_text("Choose the same file again, and it goes on from here.")
        choose(page, path)
        expect(card(page, path.name)).to_have_attribute("data-state", "ready", timeout=30_000)
        expect(page.get_by_role("heading", name=path.name, exact=True)).to_have_count(1)
    finally:
        path.unlink()


def test_it_moves_on_without_its_socket(visit: Visit, importer: Studio) -> None:
    page = visit.blank()
    page.route_web_socket("**/ws/live/**", lambda socket: socket.close())
    page.goto(f"{importer.path}import/")
    choose(page, in_memory("alone.csv", (EXPORTS / DAYS).read_bytes() + b"\n"))
    expect(card(page, "alone.csv")).to_have_attribute("data-state", "ready")
    card(page, "alone.csv").get_by_role("button", name="Import").click()
    expect(card(page, "alone.csv")).to_have_attribute("data-state", "done", timeout=30_000)


def test_it_discards(visit: Visit, importer: Studio) -> None:
    page = open_page(visit, importer)
    choose(page, in_memory("unwanted.csv", (EXPORTS / DAYS).read_bytes()))
    card(page, "unwanted.csv").get_by_role("button", name="Discard").click()
    expect(card(page, "unwanted.csv")).to_have_attribute("data-state", "cancelled")
    expect(card(page, "unwanted.csv")).to_contain_text("Nothing was imported.")
    page.reload()
    expect(page.locator(".former")).to_contain_text("unwanted.csv")


def test_it_shows_hostile_names_as_text(visit: Visit, importer: Studio) -> None:
    page = open_page(visit, importer)
    alerts: list[str] = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    choose(page, in_memory(HOSTILE, (EXPORTS / DAYS).read_bytes()))
    shown = page.locator(".import", has_text="onerror=alert").first
    expect(shown).to_have_attribute("data-state", "ready")
    shown.get_by_role("button", name="Discard").click()
    expect(shown).to_have_attribute("data-state", "cancelled")
    assert not alerts
    assert page.locator("img").count() == 0
    assert "\u202e" not in page.content()


@pytest.mark.parametrize("options", [{"viewport": PHONE}, {"color_scheme": "dark"}, {}])
def test_it_is_accessible_and_fits(visit: Visit, importer: Studio, axe: str, options: dict[str, Any]) -> None:
    page = open_page(visit, importer, **options)
    name = f"{'long name ' * 20}{len(options)}{''.join(options)}.csv"
    choose(page, in_memory(name, (EXPORTS / BAD_ROWS).read_bytes()))
    shown = page.locator(".import", has_text="long name long name").first
    expect(shown).to_have_attribute("data-state", "ready")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice']})")
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown.get_by_role("button", name="Discard").click()
    expect(shown).to_have_attribute("data-state", "cancelled")


def test_it_says_what_to_do_without_scripts(visit: Visit, importer: Studio) -> None:
    page = visit.open(f"{importer.path}import/", drawn=False, java_script_enabled=False)
    expect(page.get_by_text("Choosing files here needs JavaScript.")).to_be_visible()
    expect(page.get_by_text("Choose files", exact=True)).to_be_hidden()


def test_it_lets_viewers_follow(chromium: Browser, live_stack: Stack, importer: Studio, visit: Visit) -> None:
    live_stack.add_handle("importer", email="bob@northwind.example", role="viewer", password=PASSWORD)
    context = chromium.new_context(base_url=live_stack.url)
    theirs = context.new_page()
    sign_in(theirs, "bob@northwind.example")
    theirs.goto(f"{importer.path}import/")
    expect(theirs.get_by_text("Editors and owners of Northwind import files")).to_be_visible()
    page = open_page(visit, importer)
    choose(page, in_memory("followed.csv", (EXPORTS / DAYS).read_bytes()))
    expect(card(theirs, "followed.csv")).to_have_attribute("data-state", "ready")
    expect(card(theirs, "followed.csv").get_by_role("button")).to_have_count(0)
    card(page, "followed.csv").get_by_role("button", name="Discard").click()
    expect(card(theirs, "followed.csv")).to_have_attribute("data-state", "cancelled")
    context.close()
