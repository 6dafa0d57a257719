"""Everybody's jobs, and one's own, on tables filled by hand."""

from __future__ import annotations

import re

import pytest

from controller.config import Costs
from controller.costs import rules
from controller.costs.people import site_of
from controller.decide import decide
from controller.jobs.table import Job, JobTable
from controller.snapshot import Command
from controller.state import State
from controller.store import Store
from controller.users import Users
from controller.views import publish
from dashboard.components import verbatim
from dashboard.jobs import FEWEST
from dashboard.tasks import Asked
from tests.builders import queue, reading, settings, sight, snapshot
from tests.unit.pages.opening import NASTY, limited, look_as, opened, words


def asked(state: State) -> list[Command]:
    with Store(state.database) as store:
        return [command for command in store.open_commands() if command.verb.endswith("-job")]


def test_jobs_come_oldest_first_with_what_others_wrote_as_text(state: State) -> None:
    text = words(opened("jobs"))
    assert text.index("hers") < text.index("job 1000001")
    assert verbatim(NASTY) in text
    assert "ancient" not in text


def test_jobs_can_be_narrowed_to_a_printer_and_a_person(state: State) -> None:
    assert "hers" not in words(opened("jobs", printer="office"))
    assert "hers" in words(opened("jobs", user="alice"))
    assert "No job fits" in opened("jobs", user="nobody").info[0].value


def test_a_move_goes_where_one_wants_it(state: State) -> None:
    app = opened("jobs", asked=Asked("move-job", "uuid-1"))
    assert "Now node-2 has the fewest: no open jobs." in words(app)
    assert app.selectbox(key="target").options == [FEWEST, "node-2"]
    app.selectbox(key="target").select("node-2").run()
    app.button(key="confirmed").click().run()
    assert [one.argument for one in asked(state)] == ["uuid-1 node-2"]


@pytest.mark.parametrize("verb", ["cancel-job", "move-job"])
def test_a_job_is_asked_about_before_it_is_changed(state: State, verb: str) -> None:
    app = opened("jobs", asked=Asked(verb, "uuid-1"))
    assert asked(state) == []
    app.button(key="confirmed").click().run()
    assert [(one.verb, one.argument, one.asked_by) for one in asked(state)] == [(verb, "uuid-1", "admin")]


def test_a_job_that_ended_meanwhile_is_left_alone(state: State) -> None:
    app = opened("jobs", asked=Asked("cancel-job", "uuid-1"))
    with Store(state.database) as store, store.transaction():
        JobTable(store).put([Job("uuid-1", 1_000_001, "node-1", "office", "demo", state="completed")])
    app.button(key="confirmed").click().run()
    assert asked(state) == []


def test_people_see_their_own_jobs_and_cost(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "demo")
    app = opened("my_jobs")
    assert "job 1000001" in words(app)
    assert "hers" not in words(app)
    assert {metric.label: metric.value for metric in app.metric}["Cost this month"] == "0.15 EUR"
    ended = words(opened("my_jobs", which="ended"))
    assert "ancient" in ended
    assert "hers" not in ended


def test_people_see_what_they_may_still_print(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(state)
    look_as(monkeypatch, "demo")
    shown = {metric.label: metric.value for metric in opened("my_jobs").metric}
    assert shown["You may still print this month"] == "3 pages"  # 3 charged, 4 under way
    assert shown["You may still print this year"] == "0.15 CHF"
    assert shown["Left of what was paid in"] == "0.85 CHF"
    limited_again = Costs(prepaid=True)
    with Store(state.database) as store:
        rules.publish(store, rules.Rules(limited_again, site_of(limited_again, {})))
    shown = {metric.label: metric.value for metric in opened("my_jobs").metric}
    assert shown["You may still print for"] == "0.65 EUR"


def test_a_held_job_says_that_its_account_has_reached_its_limit(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(state)
    assert "the limit of the account that pays is reached" in words(opened("jobs"))
    Users(state.users).add("bob", "password")
    look_as(monkeypatch, "bob")
    assert "the limit of the account that pays is reached" in words(opened("my_jobs"))


def test_people_cancel_their_own_jobs_and_nobody_elses(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "demo")
    opened("my_jobs", asked=Asked("cancel-job", "uuid-1")).button(key="confirmed").click().run()
    assert [(one.verb, one.argument, one.asked_by) for one in asked(state)] == [("cancel-job", "uuid-1", "demo")]
    strange = opened("my_jobs", asked=Asked("cancel-job", "uuid-2"))
    assert [button.key for button in strange.button] == []
    assert "hers" not in words(strange)


def test_my_jobs_say_of_when_they_are(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "demo")
    assert words(opened("my_jobs")).startswith(":green[:material/check_circle:] You can print")
    monkeypatch.setattr(State, "controller", lambda self: None)
    assert re.match(r":orange\[:material/warning:\] As of \d\d:\d\d:\d\d: You can print", words(opened("my_jobs")))


def test_people_read_that_a_printer_does_not_print(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "demo")
    with Store(state.database) as store:
        seen = snapshot(sight(1, reading=reading("node-1", queues=(queue(state=5, reasons=("paused",)),))))
        publish(store, seen, decide(seen, settings()), settings(), [])
    assert "What is printed to `office` waits" in (said := words(opened("my_jobs")))
    assert said.startswith(":orange[:material/warning:] You can print")


def test_why_a_job_waits_is_said_in_words(state: State) -> None:
    with Store(state.database) as store, store.transaction():
        held = Job("uuid-2", 2_000_001, "node-2", "lab", "alice", "hers", "held", "job-hold-until-specified odd-reason")
        JobTable(store).put([held])
    assert r"until it is released\, odd\-reason" in words(opened("jobs"))
