"""Who sees what: an ordinary user has their own jobs, an administrator the other pages, a stranger nothing."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from functools import partial
from ssl import CERT_NONE, create_default_context

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.people import ADMINISTRATORS_PAGES, address, choose, commands, newest, open_as, post
from tests.browser.wire import button, titles, wire
from tests.process.fleet import Fleet, eventually

FORGED = {"X-Fleet-User": "admin", "X-Fleet-Secret": "guess"}


def hold(fleet: Fleet, title: str, user: str) -> str:
    """A job that waits for its owner; its uuid."""
    post(fleet, title, user, job_hold_until="indefinite")

    def found() -> str:
        rows = json.loads(fleet.done("jobs", "--json", "--user", user))
        return next((str(row["uuid"]) for row in rows if row["title"] == title), "")

    return eventually(found)


def paused_by(fleet: Fleet, name: str) -> bool:
    """Whether it is told that this one, or nobody (''), has paused scaling."""
    return bool(fleet.status()["scaling"]["paused_by"] == name)


def shown(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name, exact=True, level=1)).to_be_visible(timeout=30_000)


def test_people_see_their_own_jobs_and_cancel_them(browser: Browser, fleet: Fleet) -> None:
    mine, other = hold(fleet, "my own thesis", "demo"), hold(fleet, "someone else's letter", "admin")
    with open_as(browser, fleet, "demo") as page:
        shown(page, "My jobs")
        expect(page.get_by_text("my own thesis")).to_be_visible()
        expect(page.get_by_text("someone else's letter")).to_have_count(0)
        choose(page, css(mine), f"Cancel job {job_id(fleet, mine)}")
        page.get_by_role("dialog").get_by_role("button", name="Cancel job").click()
        expect(page.get_by_text("my own thesis")).to_have_count(0, timeout=30_000)
    eventually(lambda: commands(fleet)[0]["state"] == "done")  # the job may be seen to have ended before
    asked = commands(fleet)[0]
    assert (asked["verb"], asked["asked_by"]) == ("cancel-job", "demo")
    with open_as(browser, fleet, "admin", "jobs") as page:
        shown(page, "Queues and jobs")
        expect(page.get_by_text("someone else's letter")).to_be_visible()
        choose(page, css(other), f"Release job {job_id(fleet, other)}")
        expect(page.get_by_text("someone else's letter")).to_have_count(0, timeout=30_000)


@pytest.mark.parametrize(("forged", "paths"), [({}, (*ADMINISTRATORS_PAGES, "?kiosk")), (FORGED, ("fleet", "jobs"))])
def test_no_url_and_no_header_leads_people_to_an_administrators_page(
    browser: Browser, fleet: Fleet, forged: dict[str, str], paths: tuple[str, ...]
) -> None:
    name = fleet.nodes()[0]["name"]
    with open_as(browser, fleet, "demo", f"node?name={name}", headers=forged) as page:
        shown(page, "My jobs")
        for path in paths:
            page.goto(address(fleet, path))
            shown(page, "My jobs")
            expect(page.get_by_role("heading", level=1)).to_have_count(1)
            expect(page.get_by_text(name)).to_have_count(0)
            expect(page.get_by_role("button", name="Add a server")).to_have_count(0)


@pytest.mark.parametrize("forged", [{}, FORGED, {"X-Fleet-User": "admin", "x-fleet-secret": ""}])
def test_no_forged_click_does_what_administrators_do(fleet: Fleet, forged: dict[str, str]) -> None:
    with wire(fleet, "admin") as boss, wire(fleet, "demo", forged) as demo:
        pause, page = button(boss.run("scaling"), "pause"), boss.page
        assert titles(demo.run()) == ["My jobs"]
        before = newest(fleet)
        for name, which in (("scaling", ""), ("", page)):
            assert "Scaling" not in titles(demo.run(name, which, clicked=pause))
        assert newest(fleet) == before
        for verb in ("pause", "resume"):  # the very same click of an administrator is carried out
            boss.run(page=page, clicked=button(boss.run(page=page), "pause"))
            last = commands(fleet)[0]
            assert (last["verb"], last["argument"], last["asked_by"]) == (verb, "scaling", "admin")
            eventually(partial(paused_by, fleet, "admin" if verb == "pause" else ""))  # the page goes by that


def test_what_the_server_knows_of_itself_is_for_nobody(browser: Browser, fleet: Fleet) -> None:
    with open_as(browser, fleet, "demo") as page:
        shown(page, "My jobs")
        for path in ("_stcore/metrics", "_stcore/%6detrics", "_stcore/metrics?families=active_sessions"):
            assert page.request.get(address(fleet, path)).status == 404, path


def test_an_administrator_gets_every_page(browser: Browser, fleet: Fleet) -> None:
    name = fleet.nodes()[0]["name"]
    with open_as(browser, fleet, "admin") as page:
        expect(page.get_by_role("heading", name="servers ready")).to_be_visible(timeout=30_000)
        page.get_by_role("link", name=name).first.click()
        shown(page, name)
        for title in ("Queues and jobs", "Costs", "Events", "Scaling", "My jobs"):
            page.get_by_role("link", name=title, exact=True).click()
            shown(page, title)
            expect(page.get_by_test_id("stException")).to_have_count(0)


def test_events_are_taken_away_as_a_file(browser: Browser, fleet: Fleet) -> None:
    with open_as(browser, fleet, "admin", "events?text=proof") as page:
        shown(page, "Events")
        with page.expect_download() as begun:
            page.get_by_role("button", name="JSON", exact=True).click()
        rows = json.loads(begun.value.path().read_text())
    assert rows
    assert all("proof" in json.dumps(row) for row in rows)


def test_who_is_removed_gets_the_page_no_more(browser: Browser, fleet: Fleet) -> None:
    """What becomes of a page that is still open is tested in tests/unit/pages/test_fleet.py: a reload of the proxy
    may also cut its connection, and then nothing new is shown in it. (One kept alive may have one more answer.)
    """
    fleet.done("user", "add", "boss", "--admin", stdin="a password\n")
    credentials = {"username": "boss", "password": "a password"}
    context = browser.new_context(ignore_https_errors=True, http_credentials=credentials)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(address(fleet))
    expect(page.get_by_role("heading", name="servers ready")).to_be_visible(timeout=30_000)
    context.close()
    fleet.done("user", "remove", "boss")
    again = browser.new_context(ignore_https_errors=True, http_credentials=credentials)  # type: ignore[arg-type]
    answer = again.new_page().goto(address(fleet))
    assert answer is not None
    assert answer.status == 401
    again.close()


def test_nobody_sees_it_without_a_login(fleet: Fleet) -> None:
    context = create_default_context()
    context.check_hostname, context.verify_mode = False, CERT_NONE
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(address(fleet), headers=FORGED)
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(request, timeout=10)
    assert caught.value.code == 401
    caught.value.close()


def css(uuid: str) -> str:
    """A job's uuid as it stands in a class name, escaped for a selector."""
    return uuid.replace(":", "-")


def job_id(fleet: Fleet, uuid: str) -> int:
    rows = json.loads(fleet.done("jobs", "--json"))
    return int(next(row["id"] for row in rows if row["uuid"] == uuid))
