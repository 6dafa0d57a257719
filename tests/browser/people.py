"""People before the dashboard: how they come in, and what they click."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Locator, Page
from pyipp.enums import IppOperation

from controller import processes
from controller.state import State
from controller.store import Store
from tests.process.fleet import Fleet, encode

ADMINISTRATORS_PAGES = ("fleet", "node", "jobs", "costs", "events", "scaling")


@contextmanager
def open_as(
    browser: Browser, fleet: Fleet, user: str, path: str = "", headers: Mapping[str, str] | None = None, **options: Any
) -> Iterator[Page]:
    """A page of the dashboard in a browser of its own, opened by somebody who logs in."""
    context = browser.new_context(
        ignore_https_errors=True,
        http_credentials={"username": user, "password": fleet.password(user)},
        extra_http_headers=dict(headers or {}),
        **options,
    )
    page = context.new_page()
    page.goto(address(fleet, path))
    try:
        yield page
    finally:
        context.close()


def address(fleet: Fleet, path: str = "") -> str:
    return f"https://localhost:{fleet.port}/fleet/{path}"


def row(page: Page, node: str) -> Locator:
    """A node's row."""
    return page.locator(f".st-key-row-{node}")


def choose(page: Page, menu: str, action: str) -> None:
    """Choose an action from the menu of a node (by name) or a job (by uuid), which opens its dialog."""
    page.locator(f".st-key-manage-{menu} button").click()
    page.get_by_text(action, exact=True).first.click()


def post(fleet: Fleet, title: str, user: str = "demo", pages: int = 1, **options: str) -> None:
    """Print a document. options: of the job, with underscores, such as job_hold_until="indefinite"; queue and password
    as Fleet.ipp takes them."""
    told = {name: options.pop(name) for name in ("queue", "password") if name in options}
    attributes = {"job-name": title, "printer-uri": f"ipp://localhost/printers/{told.get('queue', 'office')}"}
    job = {name.replace("_", "-"): value for name, value in options.items()}
    body = "".join(f"%%Page: {number} {number}\nshowpage\n" for number in range(1, pages + 1))
    document = f"%!PS-Adobe-3.0\n%%Pages: {pages}\n{body}%%EOF\n".encode()
    status, _ = fleet.ipp(encode(IppOperation.PRINT_JOB, attributes, job) + document, user, **told)
    assert status == 200


def commands(fleet: Fleet) -> list[dict[str, Any]]:
    """What was asked for, the newest first."""
    with Store(fleet.state / "cupsfleet.db") as store:
        return store.commands()


def newest(fleet: Fleet) -> int:
    """The number of what was asked for last, 0 for nothing yet."""
    return next((int(one["id"]) for one in commands(fleet)), 0)


def kill_dashboard(fleet: Fleet) -> None:
    (record,) = State(fleet.state).processes.glob("dashboard-*.json")
    pid = processes.recorded_pid(record)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def connected(page: Page) -> Locator:
    """The page, while it has its connection."""
    return page.locator(".stApp[data-test-connection-state=CONNECTED]")
