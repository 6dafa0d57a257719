"""Costs, events, scaling and a node, each page alone, on tables filled by hand."""

from __future__ import annotations

import time
from datetime import date
from decimal import Decimal

import pytest
import streamlit as st

from controller.decide import decide
from controller.diary import Diary
from controller.jobs.table import JobTable
from controller.load import STARTS
from controller.state import State
from controller.store import Store
from controller.users import Users
from controller.views.thresholds import publish_thresholds
from dashboard import viewer
from dashboard.charts import with_gaps
from dashboard.components import plain, verbatim
from dashboard.costs_page import period
from dashboard.fleet_page import peaks
from dashboard.tables import _table
from dashboard.tasks import Asked
from tests.builders import printed_at_one_device, settings, sight, snapshot
from tests.unit.pages.opening import limited, look_as, opened, page, tables, words


def test_costs_name_the_currency_and_show_quotas_and_accounts(state: State) -> None:
    limited(state)
    app = opened("costs")
    assert {metric.label: metric.value for metric in app.metric}["Charged"] == "0.85 CHF"
    sums, quotas, accounts = tables(app)
    assert sums["amount, CHF"] == ["0.70", "0.15"]
    assert quotas["each of"] == ["everybody", "everybody"]
    assert accounts == {"name": ["lab"], "who": ["physics"], "balance, CHF": ["0.00"]}


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


@pytest.mark.parametrize(
    "name", ["[log in](https://evil)", "![x](https://evil/x.png)", "node-1\n# x", "node-1x", "..", ""]
)
def test_a_link_puts_no_words_into_a_page(state: State, name: str) -> None:
    app = page("node")
    app.query_params["name"] = name
    app.run()
    assert [title.value for title in app.title] == ["Server"]
    assert words(app) == ""


def test_a_table_holds_what_others_wrote_as_text() -> None:
    made = _table(
        [{"name": "<b>x</b>", "amount": Decimal("1234.5"), "at": None}], '"', {"name": "a&b", "amount": "amount"}
    )
    assert "&lt;b&gt;x&lt;/b&gt;" in made
    assert 'aria-label="&quot;"' in made
    assert '<td class="number" data-title="amount">1,234.5</td>' in made


def test_a_node_shows_its_jobs(state: State) -> None:
    app = page("node")
    app.query_params["name"] = "node-1"
    text = words(app.run())
    assert "job 1000001" in text
    assert "hers" not in text
    app.query_params["name"] = "node-77"
    assert "node-77 is not in the fleet any more" in app.run().info[0].value


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
    assert "Done: nothing, for nodes.min is 2" in words(app)
    with Store(state.database) as store, store.transaction():
        Diary(store).keep(decide(snapshot(sight(1), sight(2), sight(3, alive=False)), settings()))
    assert "Done: node-3 is dead, gets no new jobs: its server process is gone" in words(app.run())
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
        JobTable(store).put(printed_at_one_device(int(time.time()) - 1800))
    app.slider[0].set_range(1, 3)
    app.button[-1].click().run()
    told = tables(app)[-1]
    assert [column[0] for column in told.values()] == ["jobs", "30", "30"]
    assert any("jobs of office wait for each other at one device" in one.value.lower() for one in app.warning)


def test_the_simulator_begins_with_what_a_start_takes_here(state: State) -> None:
    with Store(state.database) as store, store.transaction():
        publish_thresholds(store, settings())
    assert opened("scaling").slider(key="starts").value == 5
    with Store(state.database) as store, store.transaction():
        store.put_fact(STARTS, {"process": [12.3]})
    app = opened("scaling")
    assert app.slider(key="starts").value == 13
    assert "at most 10 times what a server starts in" in app.slider(key="cool").help


def test_what_the_simulator_is_asked_stands_in_the_url(state: State) -> None:
    with Store(state.database) as store, store.transaction():
        publish_thresholds(store, settings())
    asked = {"jobs": "the last day", "policy": "threshold", "servers": ["3", "5"], "target": "120", "step": "999"}
    app = page("scaling")
    for name, value in asked.items():
        app.query_params[name] = value
    app.run()
    assert (app.selectbox(key="jobs").value, app.selectbox(key="policy").value) == ("the last day", "threshold")
    assert (app.slider(key="servers").value, app.slider(key="target").value) == ((3, 5), 120)
    assert app.slider(key="step").value == settings().scaling.step, "what is not offered is as configured"


def test_a_download_asks_once_more_who_it_is_for(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    written = viewer.download(state, lambda views: str(len(views.nodes())))
    assert written() == "2"
    Users(state.users).remove("admin")
    with pytest.raises(viewer.Refused, match="admin is no user any more"):
        written()


def test_what_was_the_worst_is_no_mean() -> None:
    assert peaks([0.0] * 199 + [45.0] + [0.0] * 200)[19:21] == [45.0, 0.0]
    assert peaks([3.0] * 199 + [1.0] + [3.0] * 200, min)[19:21] == [1.0, 3.0]
    assert peaks([1.0, 2.0]) == [1.0, 2.0]
    assert peaks([]) == []


def test_a_line_does_not_lead_over_what_nobody_saw() -> None:
    samples = [{"at": at, "ready": 1} for at in (0, 10, 20, 90, 100)]
    assert [row["at"] for row in with_gaps(samples)] == [0, 10, 20, 30, 90, 100]
