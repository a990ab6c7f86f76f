"""A tab of a real browser, and what it complains of: errors in the console, refusals of the policy, uncaught errors."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

WIDTHS = (360, 768, 1440)
SCHEMES = ("light", "dark")
FILLED = re.compile(r"(\d+) of \1 filled")
"""What a group of fields says of itself when all are."""
LOOKS = [
    pytest.param(width, scheme, marks=[pytest.mark.soak] if (place + dark) % 2 else [])
    for place, width in enumerate(WIDTHS)
    for dark, scheme in enumerate(SCHEMES)
]
"""Width and colours; each width with one of the two in `make test-slow`, with the other in `make soak`."""


class Visit:
    """A page in a context of its own; `check` at the end fails for complaints that nobody expected."""

    def __init__(self, browser: Browser, url: str, width: int = 1440, scheme: Any = "light") -> None:
        self.url = url
        self._context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            locale="en-GB",
            timezone_id="Europe/Berlin",
            reduced_motion="reduce",
        )
        self._complaints: list[str] = []
        self._expected: list[str] = []
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self._complaints.append(f"uncaught: {error}"))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def open(self, view: str) -> Page:
        """A view, mounted, of a gateway that is ready."""
        self.page.goto(f"{self.url}/#/{view}")
        expect(self.page.locator(f"[data-view={view}] h1")).to_be_visible()
        expect(self.page.locator("#status")).to_contain_text("Ready")
        return self.page

    def expect_complaint(self, pattern: str) -> None:
        """Chromium itself writes every answer of 400 or more, and every broken connection, into the console."""
        self._expected.append(pattern)

    def picture(self, path: Path) -> None:
        self.page.screenshot(path=path, full_page=True)

    def check(self) -> None:
        rest = [said for said in self._complaints if not any(re.search(known, said) for known in self._expected)]
        self._context.close()
        assert rest == [], rest
