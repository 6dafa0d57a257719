"""Nothing flashes: a page that refreshes itself shows in each frame what it showed before, unless something changed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.dashboard import Site, dashboard
from benchmarks.dashboard_data import Passes
from controller.jobs.table import Job, JobTable
from controller.state import State
from controller.store import Store
from controller.users import Users
from tests.process.fleet import stopped

TIMES, STOPPED_FOR, RUNNING_FOR = 5, 1_200, 2_200
"""How often the dashboard is stopped, and milliseconds: each part of a page refreshes itself at least once in 15 s, the
first lines twice a second."""
LANDMARKS = (
    ".stMain :is(h1, h2, p, .figures > div, img, canvas, button, input, table.rows, tr, [class*=st-key-row-], "
    "[data-testid=stMetric], .stAlert)"
)
WATCH = Path(__file__).with_name("calm.js").read_text()
PAGES = ("", "node?name=node-1", "jobs", "costs", "events", "scaling", "my-jobs", "?kiosk")
FLASHING = {
    "goes": "p.textContent = on ? 'All servers ready.' : ''",
    "greys": "p.style.opacity = on ? 1 : 0.33",
    "greys from without": "document.body.style.opacity = on ? 1 : 0.33",
    "shrinks": "p.style.fontSize = on ? '20px' : '10px'",
    "moves": "p.style.paddingTop = on ? 0 : '8px'",
    "is hidden": "document.body.style.visibility = on ? '' : 'hidden'",
    "is taken out": "on ? document.body.prepend(p) : p.remove()",
}


def seen(page: Page) -> dict[str, Any]:
    """frames; flashes: what was otherwise for less than a second, and how; moved: what changed its place, as browsers
    see it for their layout-shift entries."""
    found: dict[str, Any] = page.evaluate("window.calm.seen")
    return found


@pytest.fixture
def blank(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.mark.parametrize("how", FLASHING)
def test_what_flashes_is_noticed(blank: Page, how: str) -> None:
    script = (
        f"const p = document.querySelector('p'); let on = true; setInterval(() => {{ on = !on; {FLASHING[how]} }}, 150)"
    )
    blank.set_content(f"<body class=stMain><p>All servers ready.</p><p>Below it.</p><script>{script}</script></body>")
    blank.evaluate(WATCH, LANDMARKS)
    blank.wait_for_function("window.calm.seen.flashes.length > 1")


def test_what_changes_for_good_is_no_flash(blank: Page) -> None:
    blank.set_content("<body class=stMain><p>3 jobs waiting.</p><p>Below it.</p></body>")
    blank.evaluate(WATCH, LANDMARKS)
    blank.evaluate(
        "let down = 0; setInterval(() => document.querySelector('p').style.paddingTop = `${(down += 8)}px`, 1500)"
    )
    blank.wait_for_function("window.calm.seen.frames > 100 && window.calm.seen.moved.length > 0")
    assert seen(blank)["flashes"] == []


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """The real dashboard behind the real front door, before a fleet on paper: nothing changes there but the time."""
    state, stop = State(tmp_path / "state"), threading.Event()
    state.prepare()
    Users(state.users).begin([("admin", "admin", True)])
    lock = state.lock()  # the dashboard is told by it that a controller runs
    Store(state.database, create=True).close()
    writer = threading.Thread(target=passes, args=(state, stop))
    writer.start()
    try:
        with dashboard(state, tmp_path) as site:
            yield site
    finally:
        stop.set()
        writer.join()
        os.close(lock)


def passes(state: State, stop: threading.Event) -> None:
    """A pass each second, as a controller would write it."""
    with Store(state.database) as store:
        made = Passes(store, nodes=4, open_jobs=0)
        job = Job("held", 1_000_001, "node-1", "queue0", "admin", "a letter", "held", created=int(time.time()) - 300)
        with store.transaction():
            JobTable(store).put([job])
            store.event("proved", "its proof job ran", "node-1")
        made.write()
        while not stop.wait(1.0):
            made.write()


def test_no_page_flashes_when_it_refreshes_itself(browser: Browser, site: Site) -> None:
    """All of them at a time, since each has to be watched for as long as its slowest part takes. Now and then a refresh
    takes more than a second, as on a busy machine: then Streamlit itself would let the page fade."""
    login = {"username": "admin", "password": "admin"}
    with closing(browser.new_context(ignore_https_errors=True, http_credentials=login)) as context:  # type: ignore[arg-type]
        opened = {path: context.new_page() for path in PAGES}
        for path, page in opened.items():
            page.goto(site.url + path)
        for page in opened.values():
            settled(page)
            page.evaluate(WATCH, LANDMARKS)
        for _ in range(TIMES):
            with stopped(site.pid):
                page.wait_for_timeout(STOPPED_FOR)
            page.wait_for_timeout(RUNNING_FOR)
        found = {path: seen(page) for path, page in opened.items()}
    assert {path: one["flashes"] for path, one in found.items() if one["flashes"]} == {}
    assert {path: one["moved"] for path, one in found.items() if one["moved"]} == {}
    assert all(one["frames"] > TIMES for one in found.values())


def settled(page: Page) -> None:
    """Wait until all of it is there: for two seconds it is as high as before."""
    expect(page.locator(".stApp h1")).to_be_visible(timeout=60_000)
    expect(page.locator(".stVegaLiteChart:not(:has(canvas, svg))")).to_have_count(0)
    heights: list[int] = []
    while len(heights) < 5 or len(set(heights[-5:])) > 1:
        heights.append(page.get_by_test_id("stMainBlockContainer").evaluate("one => one.scrollHeight"))
        page.wait_for_timeout(500)
