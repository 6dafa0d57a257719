"""Pictures of each page for docs/screenshots: light, dark, on a phone, empty, and while things fail.

    python -m tests.browser.screenshots [FOLDER]

They come from a real fleet, which is made for this and ended again; look at each before it is kept.
"""

from __future__ import annotations

import io
import os
import random
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, SETTINGS
from tests.browser.people import choose, connected, kill_dashboard, open_as, post
from tests.fleets import running
from tests.process.fleet import Fleet, eventually

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
PAGES = ("fleet", "node", "jobs", "costs", "events", "scaling", "my-jobs")
DESK, PHONE, WALL = {"width": 1280, "height": 800}, {"width": 390, "height": 844}, {"width": 1920, "height": 1080}
TALLEST = 5000
PRICES = '[{"printers": ["lab"], "per_page": "0.12"}, {"per_page": "0.05"}]'
PRINTERS = '[{"name": "office", "device": "virtual"}, {"name": "lab", "device": "virtual"}]'
TITLES = ("Thesis, chapter 3", "Invoice 2026-11", "Lab report", "Poster", "Minutes", "Timetable", "Exam sheets")
FEW = {"events": "text=node-2"}
"""What is looked for where a picture would be too tall."""
PEOPLE = ("demo", "ada", "grace", "edsger")
PASSWORD = "of everybody but the first"
COLOURS = 128
"""Of a picture: enough for a page, and a fifth of the bytes."""


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **SETTINGS,
        "CUPSFLEET_NODES__PRICE_PER_HOUR": "0.35",
        "CUPSFLEET_NODES__MIN": "3",
        "CUPSFLEET_SCALING__QUEUE_DEPTH_PER_NODE": "6",
        "CUPSFLEET_COSTS__PRICES": PRICES,
        "CUPSFLEET_PRINTERS": PRINTERS,
    }
    with running(environment) as fleet, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        for name in PEOPLE[1:]:
            fleet.done("user", "add", name, stdin=f"{PASSWORD}\n")
        take = _taker(browser, fleet, folder)
        for page in PAGES:
            take(page, "empty")
        _work(fleet)
        for page in PAGES:
            take(page, "light")
            take(page, "dark", color_scheme="dark")
            take(page, "phone", query=FEW.get(page, ""), viewport=PHONE)
        for page in ("fleet", "jobs"):
            take(page, "phone-dark", viewport=PHONE, color_scheme="dark")
        take("fleet", "kiosk", query="kiosk", viewport=WALL)
        take("fleet", "retire", before=_ask_to_retire(fleet))
        take("fleet", "draining", before=_drain(fleet))
        take("scaling", "simulator", before=_simulate, whole=True)
        _break(fleet)
        for page in PAGES:
            take(page, "failing")
        take("fleet", "lost", before=_lose(fleet))
        browser.close()


def _taker(browser: Browser, fleet: Fleet, folder: Path) -> Callable[..., None]:
    def take(
        path: str,
        kind: str,
        query: str = "",
        before: Callable[[Page], None] | None = None,
        whole: bool = False,
        **options: Any,
    ) -> None:
        node = f"name={fleet.status()['nodes'][0]['name']}" if path == "node" else ""
        user = "demo" if path == "my-jobs" else "admin"
        given = {"viewport": DESK, "timezone_id": "Europe/Berlin", **options}
        address = "" if path in ("fleet", "my-jobs") else path  # where each of these two arrives
        with open_as(browser, fleet, user, f"{address}?{query or node}", **given) as page:
            expect(page.locator(".stApp h1")).to_be_visible(timeout=30_000)
            page.evaluate("document.fonts.ready")
            page.wait_for_timeout(3_000)  # charts draw themselves
            if before:
                before(page)
            if whole or not before:
                _unroll(page, given["viewport"])
            _keep(page.screenshot(), folder / f"{path}-{kind}.png")
            print(f"{path}-{kind}.png", flush=True)

    return take


def _unroll(page: Page, size: dict[str, int]) -> None:
    """Make the window as high as the page, which may still be growing."""
    height = 0
    while (found := _height(page)) != height:
        height = found
        page.set_viewport_size({"width": size["width"], "height": min(TALLEST, max(size["height"], height))})
        page.wait_for_timeout(1_000)


def _height(page: Page) -> int:
    return int(page.get_by_test_id("stMainBlockContainer").evaluate("one => one.scrollHeight"))


def _keep(picture: bytes, path: Path) -> None:
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, kmeans=1).save(path, optimize=True)


def _work(fleet: Fleet) -> None:
    """People print: some is done, some waits, some is held."""
    chance = random.Random(7)
    for number in range(60):
        _print(fleet, chance, hold=number % 12 == 5)
    eventually(lambda: len(fleet.nodes()) >= 4, deadline=60)
    eventually(lambda: fleet.status()["queue_depth"] < 20, deadline=240)
    for _ in range(12):
        _print(fleet, chance, hold=False)


def _print(fleet: Fleet, chance: random.Random, hold: bool) -> None:
    who = chance.choice(PEOPLE)
    given = {"queue": chance.choice(("office", "office", "lab"))}
    given |= {"password": PASSWORD} if who != PEOPLE[0] else {}
    given |= {"job_hold_until": "indefinite"} if hold else {}
    post(fleet, chance.choice(TITLES), who, chance.choice((1, 1, 2, 3)), **given)


def _ask_to_retire(fleet: Fleet) -> Callable[[Page], None]:
    def ask(page: Page) -> None:
        name = fleet.nodes()[0]["name"]
        page.locator(f".st-key-manage-{name} button").click()
        page.get_by_text(f"Retire {name}", exact=True).first.click()
        expect(page.get_by_role("dialog").get_by_role("button", name=f"Retire {name}")).to_be_visible()
        page.wait_for_timeout(1_000)

    return ask


def _drain(fleet: Fleet) -> Callable[[Page], None]:
    def drain(page: Page) -> None:
        for _ in range(30):
            post(fleet, "Handout", pages=2)
        busy = eventually(lambda: [node["name"] for node in fleet.nodes() if (node["open_jobs"] or 0) >= 3])[0]
        choose(page, busy, f"Retire {busy}")
        page.get_by_role("dialog").get_by_role("button", name=f"Retire {busy}").click()
        begun = re.compile(r"[1-9] finished, \d+ jobs? left")
        progress = page.get_by_test_id("stProgress")
        expect(progress).to_contain_text(begun, timeout=120_000)
        page.get_by_test_id("stMain").evaluate("one => one.scrollTo(0, 0)")  # the click was further down
        page.wait_for_timeout(300)
        expect(progress).to_be_in_viewport()

    return drain


def _simulate(page: Page) -> None:
    page.get_by_role("button", name="Simulate").click()
    expect(page.get_by_text("servers that came or went")).to_be_visible(timeout=60_000)
    page.wait_for_timeout(2_000)


def _lose(fleet: Fleet) -> Callable[[Page], None]:
    def lose(page: Page) -> None:
        kill_dashboard(fleet)
        expect(connected(page)).to_have_count(0)
        page.wait_for_timeout(1_000)

    return lose


def _break(fleet: Fleet) -> None:
    """One node hangs, another one is dead, and then nobody looks after them."""
    hangs, dies = fleet.nodes()[:2]
    os.kill(fleet.pid_of(hangs["name"]), signal.SIGSTOP)
    eventually(lambda: len(fleet.nodes()) < 4 or fleet.status()["problems"], deadline=60)
    os.kill(fleet.pid_of(dies["name"]), signal.SIGKILL)
    eventually(lambda: any(node["state"] == "dead" for node in fleet.status()["nodes"]), deadline=60)
    os.kill(fleet.controller(), signal.SIGKILL)


if __name__ == "__main__":
    main()
