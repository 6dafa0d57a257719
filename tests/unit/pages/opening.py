"""Pages, each alone, run by Streamlit's own test harness."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from html import unescape
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from controller.config import Costs, Quota, SharedAccount
from controller.costs import rules
from controller.costs.ledger import Ledger
from controller.costs.people import site_of
from controller.jobs.table import Job, JobTable
from controller.state import State
from controller.store import Store
from controller.users import Users
from dashboard import viewer

NASTY = "**bold** :material/delete: [x](http://y) $5 <b>"
"""A title that would be a lot, were it taken for Markdown."""


def look_as(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(viewer, "authenticated", lambda headers, state: name)


def begun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A fleet with an administrator and an ordinary user, of which nothing is known yet; a controller seems to run."""
    state = State(folder)
    state.prepare()
    Users(state.users).add("admin", "password", admin=True)
    Users(state.users).add("demo", "password")
    monkeypatch.setattr(State, "controller", lambda self: 1)
    return state


def page(name: str) -> AppTest:
    """A page on its own, not run yet."""

    def script(name: str) -> None:  # it is run on its own: nothing that is imported above is known there
        import os
        from importlib import import_module
        from pathlib import Path

        from controller.state import State

        import_module(f"dashboard.{name}_page").show(State(Path(os.environ["CUPSFLEET_STATE_DIR"])))

    return AppTest.from_function(script, args=(name,), default_timeout=20)


def opened(name: str, **kept) -> AppTest:
    """A page after its first run; `kept` is what the session remembers, such as a click or a filter."""
    app = page(name)
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
            store.execute("insert into let_through values ('uuid-1', 'demo', '', 4, 200000, 1.0, 0)")
            Ledger(store).deposit("a", "demo", 1_000_000, date(2026, 1, 1))
