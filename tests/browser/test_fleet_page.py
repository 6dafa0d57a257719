"""The page in a real browser, through the front door, on a real fleet."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from ssl import CERT_NONE, create_default_context

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from controller.store import Store
from tests.process.fleet import Fleet, eventually

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, fleet: Fleet) -> Iterator[Page]:
    credentials = {"username": "admin", "password": fleet.password("admin")}
    context = browser.new_context(ignore_https_errors=True, http_credentials=credentials)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"https://localhost:{fleet.port}/fleet/")
    expect(page.get_by_text("servers ready")).to_be_visible(timeout=30_000)
    yield page
    context.close()


def manage(page: Page, node: str, action: str) -> None:
    """Choose an action from a node's menu, which opens its dialog."""
    page.locator(f".st-key-manage-{node} button").click(timeout=15_000)
    page.get_by_text(f"{action} {node}").click()


def test_a_node_is_added_and_retired_by_click(page: Page, fleet: Fleet) -> None:
    before = {node["name"] for node in fleet.status()["nodes"]}
    page.get_by_role("button", name="Add a node").click()
    page.get_by_role("dialog").get_by_role("button", name="Add", exact=True).click()
    (name,) = eventually(lambda: {node["name"] for node in fleet.nodes()} - before)
    manage(page, name, "Retire")
    expect(page.get_by_text("It has no open jobs.")).to_be_visible()
    page.get_by_role("button", name=f"Retire {name}").click()
    eventually(lambda: name not in {node["name"] for node in fleet.status()["nodes"]}, deadline=30)
    expect(page.locator(f".st-key-manage-{name}")).to_have_count(0, timeout=10_000)
    assert {node["name"] for node in fleet.nodes()} == before
    asked = [(row["asked_by"], row["verb"]) for row in commands(fleet)]
    assert asked[:2] == [("admin", "retire"), ("admin", "add")]


def test_a_dialog_survives_the_refresh(page: Page, fleet: Fleet) -> None:
    name = fleet.nodes()[0]["name"]
    manage(page, name, "Retire")
    confirm = page.get_by_role("button", name=f"Retire {name}")
    expect(confirm).to_be_visible()
    page.wait_for_timeout(5_000)  # two refreshes of the page
    expect(confirm).to_be_visible()
    page.keyboard.press("Escape")
    expect(confirm).to_have_count(0)


def test_who_is_removed_gets_the_page_no_more(browser: Browser, fleet: Fleet) -> None:
    """What becomes of a page that is still open is tested in tests/unit/test_dashboard.py: a reload of the proxy may
    also cut its connection, and then nothing new is shown in it. (A connection kept alive may have one answer more.)"""
    fleet.done("user", "add", "boss", "--admin", stdin="a password\n")
    credentials = {"username": "boss", "password": "a password"}
    context = browser.new_context(ignore_https_errors=True, http_credentials=credentials)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"https://localhost:{fleet.port}/fleet/")
    expect(page.get_by_text("servers ready")).to_be_visible(timeout=30_000)
    context.close()
    fleet.done("user", "remove", "boss")
    again = browser.new_context(ignore_https_errors=True, http_credentials=credentials)  # type: ignore[arg-type]
    answer = again.new_page().goto(f"https://localhost:{fleet.port}/fleet/")
    assert answer is not None
    assert answer.status == 401
    again.close()


def test_a_user_sees_no_administrators_page(browser: Browser, fleet: Fleet) -> None:
    credentials = {"username": "demo", "password": fleet.password()}
    forged = {"X-Fleet-User": "admin", "X-Fleet-Secret": "guess"}
    context = browser.new_context(
        ignore_https_errors=True,
        http_credentials=credentials,  # type: ignore[arg-type]
        extra_http_headers=forged,
    )
    page = context.new_page()
    page.goto(f"https://localhost:{fleet.port}/fleet/")
    expect(page.get_by_role("heading", name="My jobs")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("servers ready")).to_have_count(0)
    expect(page.get_by_role("button", name="Add a node")).to_have_count(0)
    context.close()


def test_nobody_sees_it_without_a_login(fleet: Fleet) -> None:
    context = create_default_context()
    context.check_hostname, context.verify_mode = False, CERT_NONE
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    forged = urllib.request.Request(f"https://localhost:{fleet.port}/fleet/", headers={"X-Fleet-User": "admin"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(forged, timeout=10)
    assert caught.value.code == 401
    caught.value.close()


def commands(fleet: Fleet) -> list[dict[str, str]]:
    store = Store(fleet.state / "cupsfleet.db")
    found = store.commands()
    store.close()
    return found
