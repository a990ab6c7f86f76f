"""A headless Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.support.machine import missing

_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The shell draws no window around the page: tests take two thirds of the processor that they take in Chromium."""


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """One of its own, until the end of the block."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        missing("Chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--disable-dev-shm-usage"])
        yield launched
        launched.close()
