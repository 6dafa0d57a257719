"""The other pages, each alone, on tables filled by hand."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from html import unescape
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from controller.config import Costs, Quota, SharedAccount
from controller.costs import rules
from controller.costs.ledger import Entry, Ledger
from controller.costs.people import site_of
from controller.costs.sums import number
from controller.decide import decide
from controller.diary import Diary
from controller.jobs.table import Job, JobTable
from controller.snapshot import Command
from controller.state import State
from controller.store import Store
from controller.users import Users
from controller.views import publish
from controller.views.thresholds import publish_thresholds
from dashboard import viewer
from dashboard.charts import with_gaps
from dashboard.components import plain, verbatim
from dashboard.costs_page import period
from dashboard.fleet_page import peaks
from dashboard.jobs import FEWEST
from dashboard.tables import _table
from dashboard.tasks import Asked
from tests.builders import queue, reading, settings, sight, snapshot

NASTY = "**bold** :material/delete: [x](http://y) $5 <b>"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A fleet of two, with jobs of demo and of alice; who looks is an administrator."""
    state = State(tmp_path)
    state.prepare()
    Users(state.users).add("admin", "password", admin=True)
    Users(state.users).add("demo", "password")
    monkeypatch.setenv("CUPSFLEET_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(State, "controller", lambda self: 1)
    look_as(monkeypatch, "admin")
    now = int(time.time())
    with Store(state.database, create=True) as store:
        seen = snapshot(sight(1), sight(2))
        publish(store, seen, decide(seen, settings()), settings(), [])
        with store.transaction():
            JobTable(store).put(
                [
                    Job("uuid-1", 1_000_001, "node-1", "office", "demo", NASTY, created=now - 300),
                    Job("uuid-2", 2_000_001, "node-2", "lab", "alice", "hers", state="held", created=now - 600),
                    Job("uuid-3", 1_000_002, "node-1", "office", "demo", "ancient", "completed", created=now - 900),
                ]
            )
            today = number(datetime.now(UTC).date())
            Ledger(store).write(
                [
                    Entry("job:uuid-3", "job", now, today, "demo", printer="office", pages=3, amount=150_000),
                    Entry("job:x", "job", now, today, "alice", "physics", printer="lab", pages=7, amount=700_000),
                ]
            )
            store.event("scaling", "more work came", "")
        store.ask("drain", "node-1", "admin")
    return state


def look_as(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(viewer, "authenticated", lambda headers, state: name)


def opened(name: str, **kept) -> AppTest:
    """A page on its own; `kept` is what the session remembers, such as a click or a filter."""

    def script(name: str) -> None:
        import os
        from importlib import import_module
        from pathlib import Path

        from controller.state import State

        import_module(f"dashboard.{name}_page").show(State(Path(os.environ["CUPSFLEET_STATE_DIR"])))

    app = AppTest.from_function(script, args=(name,), default_timeout=20)
    for key, value in kept.items():
        app.session_state[key] = value
    return app.run()


def words(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(element.value for element in app.markdown)


def tables(app: AppTest) -> list[dict[str, list[str]]]:
    """The page's tables, each as its columns by title."""
    assert not app.exception
    bodies = [piece.proto.body for piece in app.get("html")]
    return [_columns(body) for body in bodies if body.startswith("<table")]


def _columns(body: str) -> dict[str, list[str]]:
    titles = [unescape(title) for title in re.findall(r"<th(?: [^>]*)?>(.*?)</th>", body)]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)[1:]]
    return {title: [unescape(row[place]) for row in rows] for place, title in enumerate(titles)}


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


LIMITS = Costs(
    currency="CHF",
    quotas=(Quota(pages=10), Quota(amount=Decimal("0.50"), per="year")),
    shared_accounts=(SharedAccount(name="lab", departments=("physics",)),),
)


def limited(state: State, costs: Costs = LIMITS) -> None:
    """As a controller with these rules would leave it: bob's only job is held for its account's sake."""
    with Store(state.database) as store:
        rules.publish(store, rules.Rules(costs, site_of(costs, {})))
        held = {"event": "held", "run": "r", "at": 1.0, "uuid": "uuid-4", "job": 1_000_003, "user": "bob"}
        held |= {"queue": "office", "title": "t", "driver": False, "options": {}, "separately": 0, "copies": 1}
        held |= {"reason": "account-limit-reached", "count": ["counted", [["", False, 8]], 1, "", ""]}
        with store.transaction():
            JobTable(store).put([Job("uuid-4", 1_000_003, "node-1", "office", "bob", "t", state="held", created=1)])
            store.execute("insert into attempts values ('r', 'uuid-4', 'node-1', 1.0, ?)", [json.dumps([held])])
            store.execute("insert into let_through values ('uuid-1', 'demo', '', 4, 200000, 1.0)")
            Ledger(store).deposit("a", "demo", 1_000_000, date(2026, 1, 1))


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


def test_costs_name_the_currency_and_show_quotas_and_accounts(state: State) -> None:
    limited(state)
    app = opened("costs")
    assert {metric.label: metric.value for metric in app.metric}["Charged"] == "0.85 CHF"
    sums, quotas, accounts = tables(app)
    assert sums["amount, CHF"] == ["0.70", "0.15"]
    assert quotas["each of"] == ["everybody", "everybody"]
    assert accounts == {"name": ["lab"], "who": ["physics"], "balance, CHF": ["0.00"]}


def test_people_cancel_their_own_jobs_and_nobody_elses(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "demo")
    opened("my_jobs", asked=Asked("cancel-job", "uuid-1")).button(key="confirmed").click().run()
    assert [(one.verb, one.argument, one.asked_by) for one in asked(state)] == [("cancel-job", "uuid-1", "demo")]
    strange = opened("my_jobs", asked=Asked("cancel-job", "uuid-2"))
    assert [button.key for button in strange.button] == []
    assert "hers" not in words(strange)


@pytest.mark.parametrize("name", ["fleet", "node", "jobs", "costs", "events", "scaling"])
def test_no_page_of_administrators_shows_anything_to_others(
    state: State, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever leads a session to such a page: each look of it asks who looks. The page that is run again then is the
    viewer's own; here it ends instead."""
    look_as(monkeypatch, "demo")
    monkeypatch.setattr(st, "rerun", lambda *scope: st.stop())
    app = opened(name, asked=Asked("retire", "node-1"))
    assert words(app) == ""
    assert not tables(app)
    assert not app.metric
    assert "confirmed" not in [button.key for button in app.button]


def test_costs_lead_from_a_sum_to_its_jobs(state: State) -> None:
    app = opened("costs")
    figures = {metric.label: metric.value for metric in app.metric}
    assert (figures["Charged"], figures["Pages"]) == ("0.85 EUR", "10")
    sums = tables(app)[0]
    assert list(sums)[:2] == ["user", "amount, EUR"]
    assert sums["user"] == ['<a href="?one-user=alice">alice</a>', '<a href="?one-user=demo">demo</a>']
    behind = tables(opened("costs", **{"one-user": "alice"}))[1]
    assert behind["printer"] == ["lab"]
    nobody = tables(opened("costs", by="department", **{"one-department": "(none)"}))[1]
    assert nobody["user"] == ["demo"]


def test_what_is_no_month_is_nobodys_mistake(state: State) -> None:
    app = opened("costs", by="month", **{"one-month": "last year"})
    assert len(tables(app)) == 1


def test_costs_of_a_period_without_any_say_so(state: State) -> None:
    assert "Nothing was charged" in opened("costs", period="last year").info[0].value


def test_periods_are_whole() -> None:
    today = date(2026, 3, 31)
    assert period("this month", today) == (date(2026, 3, 1), date(2026, 4, 1))
    assert period("last month", today) == (date(2026, 2, 1), date(2026, 3, 1))
    assert period("last year", today) == (date(2025, 1, 1), date(2026, 1, 1))


def test_events_are_decisions_and_clicks(state: State) -> None:
    (rows,) = tables(opened("events"))
    assert set(rows["who"]) == {"cupsfleet", "admin"}
    assert tables(opened("events", clicks=True))[0]["why"] == ["drain node-1"]
    assert tables(opened("events", page=3)) == [rows], "behind the last page stands the first"
    assert "Nothing happened" in opened("events", text="no such thing").info[0].value


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


@pytest.mark.parametrize(
    "name", ["[log in](https://evil)", "![x](https://evil/x.png)", "node-1\n# x", "node-1x", "..", ""]
)
def test_a_link_puts_no_words_into_a_page(state: State, name: str) -> None:
    app = AppTest.from_function(_node, default_timeout=20)
    app.query_params["name"] = name
    app.run()
    assert [title.value for title in app.title] == ["Server"]
    assert words(app) == ""


def test_why_a_job_waits_is_said_in_words(state: State) -> None:
    with Store(state.database) as store, store.transaction():
        held = Job("uuid-2", 2_000_001, "node-2", "lab", "alice", "hers", "held", "job-hold-until-specified odd-reason")
        JobTable(store).put([held])
    assert r"until it is released\, odd\-reason" in words(opened("jobs"))


def test_a_table_holds_what_others_wrote_as_text() -> None:
    made = _table(
        [{"name": "<b>x</b>", "amount": Decimal("1234.5"), "at": None}], '"', {"name": "a&b", "amount": "amount"}
    )
    assert "&lt;b&gt;x&lt;/b&gt;" in made
    assert 'aria-label="&quot;"' in made
    assert '<td class="number" data-title="amount">1,234.5</td>' in made


def test_a_node_shows_its_jobs(state: State) -> None:
    app = AppTest.from_function(_node, default_timeout=20)
    app.query_params["name"] = "node-1"
    text = words(app.run())
    assert "job 1000001" in text
    assert "hers" not in text
    app.query_params["name"] = "node-77"
    assert "node-77 is not in the fleet any more" in app.run().info[0].value


def _node() -> None:
    import os
    from pathlib import Path

    from controller.state import State
    from dashboard import node_page

    node_page.show(State(Path(os.environ["CUPSFLEET_STATE_DIR"])))


def test_what_others_wrote_is_no_markdown() -> None:
    assert verbatim("a\nb\x1b[1m") == r"a b \[1m"
    assert plain("see http://x") == r"see http\://x"


def test_scaling_says_what_it_goes_by_and_why(state: State) -> None:
    with Store(state.database) as store, store.transaction():
        publish_thresholds(store, settings())
        Diary(store).keep(decide(snapshot(sight(1), sight(2)), settings()))
    app = opened("scaling")
    assert "2 servers take jobs, as many as should: nodes.min is 2" in words(app)
    assert "nodes.min" in tables(app)[1]["rule"]
    app.button(key="pause").click().run()
    with Store(state.database) as store:
        assert ("pause", "scaling") in [(one.verb, one.argument) for one in store.open_commands()]


def test_the_simulator_compares_what_is_with_what_could_be(state: State) -> None:
    with Store(state.database) as store, store.transaction():
        publish_thresholds(store, settings())
    app = opened("scaling")
    app.selectbox[0].select("the last day")
    app.button[-1].click().run()
    assert "there is no printed job to simulate with" in app.warning[0].value
    with Store(state.database) as store, store.transaction():
        now = int(time.time())
        JobTable(store).put(
            Job(f"p-{n}", 1_000_100 + n, "node-1", "office", "demo", "", "completed", "", "", 1, 1, *[now - 99 + n] * 3)
            for n in range(60)
        )
    app.slider[0].set_range(1, 3)
    app.button[-1].click().run()
    told = tables(app)[-1]
    assert [column[0] for column in told.values()] == ["jobs", "60", "60"]


def test_what_the_simulator_is_asked_stands_in_the_url(state: State) -> None:
    with Store(state.database) as store, store.transaction():
        publish_thresholds(store, settings())
    asked = {"jobs": "the last day", "policy": "threshold", "servers": ["3", "5"], "target": "120", "step": "999"}
    app = AppTest.from_function(_scaling, default_timeout=20)
    for name, value in asked.items():
        app.query_params[name] = value
    app.run()
    assert (app.selectbox(key="jobs").value, app.selectbox(key="policy").value) == ("the last day", "threshold")
    assert (app.slider(key="servers").value, app.slider(key="target").value) == ((3, 5), 120)
    assert app.slider(key="step").value == settings().scaling.step, "what is not offered is as configured"


def _scaling() -> None:
    import os
    from pathlib import Path

    from controller.state import State
    from dashboard import scaling_page

    scaling_page.show(State(Path(os.environ["CUPSFLEET_STATE_DIR"])))


def test_a_download_asks_once_more_who_it_is_for(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    written = viewer.download(state, lambda views: str(len(views.nodes())))
    assert written() == "2"
    Users(state.users).remove("admin")
    with pytest.raises(viewer.Refused, match="admin is no user any more"):
        written()


def test_what_was_the_most_is_no_mean() -> None:
    assert peaks([0.0] * 199 + [45.0] + [0.0] * 200)[19:21] == [45.0, 0.0]
    assert peaks([1.0, 2.0]) == [1.0, 2.0]
    assert peaks([]) == []


def test_a_line_does_not_lead_over_what_nobody_saw() -> None:
    samples = [{"at": at, "ready": 1} for at in (0, 10, 20, 90, 100)]
    assert [row["at"] for row in with_gaps(samples)] == [0, 10, 20, 30, 90, 100]
