"""One fleet and one browser for all tests here; a test that breaks a fleet makes its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.people import open_as
from tests.fleets import made, running
from tests.process.fleet import Fleet

SETTINGS = {
    "CUPSFLEET_NODES__MIN": "2",
    "CUPSFLEET_SCALING__QUEUE_DEPTH_PER_NODE": "50",  # so that only clicks change the fleet's size
    "CUPSFLEET_VIRTUAL_PRINTER__PAGES_PER_MINUTE": "60",
    "CUPSFLEET_VIRTUAL_PRINTER__PARALLEL": "one",
}
expect.set_options(timeout=20_000)  # milliseconds; what a busy machine does late is no mistake of the page
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="package")
def fleet() -> Iterator[Fleet]:
    """Two nodes whose printers take a second for each page, for tests that leave them so."""
    with running(SETTINGS) as fleet:
        yield fleet


@pytest.fixture
def own_fleet() -> Iterator[Fleet]:
    """The same, not started, for a test that breaks it."""
    with made(SETTINGS) as fleet:
        yield fleet


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        with closing(browser):
            yield browser


@pytest.fixture
def page(browser: Browser, fleet: Fleet) -> Iterator[Page]:
    """The first page, open for an administrator."""
    with open_as(browser, fleet, "admin") as page:
        expect(page.get_by_role("heading", name="servers ready")).to_be_visible(timeout=30_000)
        yield page
