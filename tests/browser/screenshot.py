"""`make screenshot`: takes the README's picture of the live dashboard of the `make run` beside it.

    PORT=8000 python -m tests.browser.screenshot [URL]

Signs in with the demo login under VAR_DIR and chooses the busiest handle of the last hour.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Error, Page, sync_playwright

BASE = Path(__file__).resolve().parent.parent.parent
PICTURE = BASE / "static" / "img" / "dashboard.png"
LOGIN = "demo@insightstrack.example"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE = {"width": 1440, "height": 1230}


def main() -> str:
    """Take the picture; returns what to tell."""
    url = sys.argv[1] if len(sys.argv) > 1 else f"http://localhost:{os.environ.get('PORT', '8000')}"
    password = Path(os.environ.get("VAR_DIR", BASE / "var")) / "demo_password"
    named = os.environ.get("CHROMIUM", "")
    program = next((found for name in (named, *BROWSERS) if name and (found := shutil.which(name))), None)
    if program is None:
        return "No browser found: install chromium, or set CHROMIUM to its path."
    if not password.exists():
        return "No demo login found: start the demo with `make run` first, with the same VAR_DIR."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(base_url=url, viewport=SIZE, device_scale_factor=1, color_scheme="light")
        try:
            take(page, password.read_text().strip())
        except Error as failed:
            return f"{url}: {failed.message.splitlines()[0]} Is `make run` running there?"
        finally:
            browser.close()
    return f"Saved {PICTURE.relative_to(BASE)}."


def take(page: Page, password: str) -> None:
    """Sign in, open the busiest handle, wait until it is live, and take the picture."""
    page.goto("/accounts/login/")
    page.locator("input[name=login]").fill(LOGIN)
    page.locator("input[name=password]").fill(password)
    page.locator("main button[type=submit]").first.click()
    page.wait_for_selector("[data-handle-card]")
    script = """() => {
        const shown = card => Number(card.querySelector("[data-value]")?.textContent.replaceAll(",", "") ?? 0);
        const cards = [...document.querySelectorAll("[data-handle-card]")];
        return cards.sort((left, right) => shown(right) - shown(left))[0].dataset.handleCard;
    }"""
    page.goto(f"/h/{page.evaluate(script)}/?range=24h")
    page.wait_for_selector("#report[data-drawn]", state="attached")
    page.wait_for_selector("[data-badge][data-state=live] [data-badge-more]:not(:empty)", timeout=60_000)
    page.wait_for_timeout(2_000)
    page.screenshot(path=PICTURE)


if __name__ == "__main__":
    told = main()
    print(told)  # noqa: T201  this is a command
    sys.exit(not told.startswith("Saved"))
