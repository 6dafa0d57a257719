"""What an administrator sees and does, on a real fleet, through the front door."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.people import address, choose, commands, connected, kill_dashboard, newest, open_as, post, row
from tests.process.fleet import Fleet, eventually

SEEN_WITHIN = 3.0
"""Seconds in which a page must show what has died."""
KILLS = 2
TRIES = 5


def add(page: Page, fleet: Fleet) -> str:
    """Add a node by click; its name, once it is ready and has its row."""
    before = {node["name"] for node in fleet.status()["nodes"]}
    page.get_by_role("button", name="Add a server").click()
    page.get_by_role("dialog").get_by_role("button", name="Add", exact=True).click()
    (name,) = eventually(lambda: {node["name"] for node in fleet.nodes()} - before)
    expect(row(page, name)).to_contain_text(re.compile("ready.*gets", re.DOTALL))
    return str(name)


def share(progress: Locator) -> int:
    """How far a progress bar is, of 100."""
    return int(progress.get_by_role("progressbar").get_attribute("aria-valuenow") or 0)


def jobs(fleet: Fleet, node: str, which: str = "all") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.done("jobs", "--json", "--which", which, "--node", node))
    return found


def test_a_node_is_added_prints_and_is_retired_while_it_is_busy(page: Page, fleet: Fleet) -> None:
    name = add(page, fleet)
    for number in range(15):
        post(fleet, f"job {number}", pages=5)
    expect(row(page, name)).to_contain_text(re.compile(r"\d open jobs"))
    eventually(lambda: len(jobs(fleet, name, "open")) >= 3)
    choose(page, name, f"Retire {name}")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("will finish first")).to_be_visible()
    dialog.get_by_role("button", name=f"Retire {name}").click()
    expect(page.get_by_text(f"retire {name}, asked by admin").first).to_be_visible()
    progress = page.get_by_test_id("stProgress")
    expect(progress).to_contain_text(re.compile(r"\d+ finished, \d+ jobs left"))
    begun, left = share(progress), int(progress.inner_text().split(" finished, ")[1].split()[0])
    fewer = "|".join(map(str, range(1, left)))
    expect(progress).to_contain_text(re.compile(rf"\d+ finished, ({fewer}) jobs? left"), timeout=60_000)
    assert begun < share(progress) < 100
    expect(row(page, name)).to_have_count(0, timeout=90_000)
    assert name not in {node["name"] for node in fleet.status()["nodes"]}
    ended = jobs(fleet, name)
    assert len(ended) >= 3
    assert {job["state"] for job in ended} == {"completed"}
    assert [(one["verb"], one["asked_by"], one["state"]) for one in commands(fleet)[:2]] == [
        ("retire", "admin", "done"),
        ("add", "admin", "done"),
    ]


def test_a_dialog_acts_on_the_node_it_named_when_rows_move(page: Page, fleet: Fleet) -> None:
    name = add(page, fleet)
    first = fleet.status()["nodes"][0]["name"]
    assert first != name
    choose(page, name, f"Evacuate {name}")
    confirm = page.get_by_role("dialog").get_by_role("button", name=f"Evacuate {name}")
    expect(confirm).to_be_visible()
    fleet.done("retire", first)
    expect(row(page, first)).to_have_count(0, timeout=60_000)  # what was the second row is the first one now
    expect(confirm).to_be_visible()
    confirm.click()
    eventually(lambda: commands(fleet)[0]["verb"] == "evacuate")
    last = commands(fleet)[0]
    assert (last["argument"], last["asked_by"]) == (name, "admin")


def test_the_last_nodes_want_their_name_typed(page: Page, fleet: Fleet) -> None:
    eventually(lambda: len(fleet.nodes()) == 2)
    name = fleet.nodes()[0]["name"]
    before = newest(fleet)
    choose(page, name, f"Retire {name}")
    dialog = page.get_by_role("dialog")
    confirm = dialog.get_by_role("button", name=f"Retire {name}")
    expect(dialog.get_by_text("Ready besides it: 1 server")).to_be_visible()
    expect(confirm).to_be_disabled()
    dialog.get_by_role("textbox").press_sequentially(name)
    expect(confirm).to_be_enabled()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert newest(fleet) == before


def test_what_dies_shows_at_once(browser: Browser, own_fleet: Fleet) -> None:
    fleet = own_fleet
    fleet.up()
    with open_as(browser, fleet, "admin") as page:
        well = page.get_by_text("All 2 servers ready")
        expect(well).to_be_visible()
        names = cycle(node["name"] for node in fleet.nodes())  # one that dies often is started later each time
        for _ in range(KILLS):
            shown_at_once(
                (lambda: fleet.pid_of(next(names))),
                page.get_by_text("1 of 2 servers"),
                lambda: expect(well).to_be_visible(timeout=60_000),
            )
        gone = page.get_by_role("heading", name="No controller runs")

        def start() -> None:
            fleet.up()
            expect(gone).to_have_count(0)

        for _ in range(KILLS):
            shown_at_once(fleet.controller, gone, start)
        os.kill(fleet.controller(), signal.SIGKILL)
        expect(page.get_by_role("heading", level=1)).to_contain_text("As of ")
        expect(page.locator(".st-key-stale-nodes")).to_be_visible()
        kill_dashboard(fleet)
        expect(connected(page)).to_have_count(0)
        assert "what you see is old" in page.locator(".stApp").evaluate(
            "one => getComputedStyle(one, '::after').content"
        )
        fleet.up()
        expect(page.locator(".st-key-fresh-nodes")).to_be_visible(timeout=60_000)


def shown_at_once(whom: Callable[[], int], sign: Locator, mend: Callable[[], object]) -> None:
    """What is killed shows in time, by the clock on the wall; it usually takes half a second.

    A machine where many wait for each processor makes a browser, a proxy, a dashboard and a controller late one after
    the other. So one that was late while something waited for a processor for half of the time is tried again; in the
    end it must have shown in time.
    """
    for _ in range(TRIES):
        pid = whom()  # which may ask a command, and that takes longer than all the rest
        begun, waited = time.monotonic(), starved()
        os.kill(pid, signal.SIGKILL)
        expect(sign).to_be_visible()
        took, late = time.monotonic() - begun, starved() - waited
        mend()
        if took < SEEN_WITHIN:
            return
        assert late > took / 2, f"it took {took:.1f} s, in {late:.1f} of which something waited for a processor"
    pytest.fail(f"it was never shown within {SEEN_WITHIN} s")


def starved() -> float:
    """Seconds since the machine's start in which at least one process waited for a processor."""
    return int(Path("/proc/pressure/cpu").read_text().split("total=")[1].split()[0]) / 1e6


def test_ranges_filters_and_the_clock_stand_in_the_url(browser: Browser, fleet: Fleet) -> None:
    name = fleet.nodes()[0]["name"]
    with open_as(browser, fleet, "admin", f"?range=24h&state=dead&node={name}&utc=true") as page:
        expect(page.get_by_text("No server fits the filters")).to_be_visible(timeout=30_000)
        expect(page.get_by_role("radio", name="24h")).to_be_checked()
        expect(page.get_by_role("searchbox", name="Search servers")).to_have_value(name)
        page.get_by_role("button", name="dead").click()
        expect(row(page, name)).to_be_visible()
        expect(page).not_to_have_url(re.compile("state="))
        assert parse_qs(urlparse(page.url).query) == {"range": ["24h"], "node": [name], "utc": ["true"]}


def test_a_wall_screen_shows_how_it_is_and_nothing_to_click(browser: Browser, fleet: Fleet) -> None:
    with open_as(browser, fleet, "admin", "?kiosk") as page:
        expect(page.get_by_role("heading", name="servers ready")).to_be_visible(timeout=30_000)
        expect(page.get_by_text("Queue depth")).to_be_visible()
        expect(page.get_by_role("button", name="Add a server")).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1360])
def test_nothing_is_wider_than_the_screen(browser: Browser, fleet: Fleet, width: int) -> None:
    with open_as(browser, fleet, "admin", viewport={"width": width, "height": 844}) as page:
        expect(page.get_by_role("heading", name="servers ready")).to_be_visible(timeout=30_000)
        expect(row(page, fleet.nodes()[0]["name"])).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
        assert levels[0] == 1
        assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_the_keyboard_is_enough_and_a_refresh_takes_nothing_away(page: Page, fleet: Fleet) -> None:
    """A dialog is reached, filled in and confirmed by keys alone, while what is around it changes."""
    first = row(page, fleet.nodes()[0]["name"])
    first.evaluate("one => one.kept = true")
    tab_to(page, page.get_by_role("button", name="Add a server"))
    page.keyboard.press("Enter")
    address = page.get_by_role("dialog").get_by_role("textbox")
    expect(address).to_be_visible()
    tab_to(page, address)
    page.keyboard.type("no address")
    figures = page.locator("dl.figures")
    before = figures.inner_text()
    post(fleet, "printed while somebody types")
    expect(figures).not_to_have_text(before)
    expect(figures).to_contain_text(re.compile(r"Jobs today\s*[1-9]"))
    expect(address).to_have_value("no address")
    expect(address).to_be_focused()
    assert first.evaluate("one => one.kept"), "what did not change is the very same, so it can't have flashed"
    tab_to(page, page.get_by_role("dialog").get_by_role("button", name="Add", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    eventually(lambda: commands(fleet)[0]["state"] == "refused")
    last = commands(fleet)[0]
    assert (last["verb"], last["argument"], last["asked_by"]) == ("add", "no address", "admin")


def tab_to(page: Page, wanted: Locator) -> None:
    """Go there by the tabulator key."""
    for _ in range(60):
        if wanted.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"no key leads to {wanted}")


@pytest.mark.parametrize("path", ["costs", "events", "scaling"])
def test_a_phone_shows_every_table_whole(browser: Browser, fleet: Fleet, path: str) -> None:
    post(fleet, "in a table")
    with open_as(browser, fleet, "admin", path, viewport={"width": 390, "height": 844}) as page:
        cells = page.locator("table.rows td:visible")
        expect(cells.first).to_be_visible(timeout=30_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        beyond = cells.evaluate_all("all => Math.max(...all.map(one => one.getBoundingClientRect().right))")
        inside = cells.evaluate_all("all => Math.max(...all.map(one => one.scrollWidth - one.clientWidth))")
        assert (beyond <= 390, inside <= 1) == (True, True)


def test_nothing_is_asked_from_elsewhere(browser: Browser, fleet: Fleet) -> None:
    asked: list[str] = []
    with open_as(browser, fleet, "admin") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        expect(page.get_by_role("heading", name="servers ready")).to_be_visible(timeout=30_000)
        expect(page.get_by_role("button", name="Add a server")).to_be_visible()
    own = (f"https://localhost:{fleet.port}/", f"wss://localhost:{fleet.port}/", "data:", "blob:")
    assert asked
    assert [url for url in asked if not url.startswith(own)] == []


def test_whether_people_can_print_needs_no_program(browser: Browser, fleet: Fleet) -> None:
    eventually(lambda: fleet.status()["sentence"].startswith("All 2 servers ready"))  # such a page stays as it came
    with open_as(browser, fleet, "admin", java_script_enabled=False) as page:
        expect(page.get_by_role("heading", level=1)).to_contain_text("All 2 servers ready")
    with open_as(browser, fleet, "demo", java_script_enabled=False) as page:
        expect(page.get_by_text("servers ready")).to_have_count(0)


def test_the_first_page_has_one_address(browser: Browser, fleet: Fleet) -> None:
    with open_as(browser, fleet, "admin", "fleet?range=24h") as page:
        expect(page.locator(".stApp h1")).to_contain_text("servers ready", timeout=30_000)
        assert page.url == address(fleet, "?range=24h")
        expect(page.locator("#first-words")).to_have_count(0)
        expect(page.get_by_text("Page not found")).to_have_count(0)
