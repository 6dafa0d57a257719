"""The page, run by Streamlit's own test harness on a published fleet."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from controller.decide import decide
from controller.snapshot import NodeState
from controller.state import State
from controller.store import Store
from controller.views import publish
from dashboard import fleet_page, viewer
from tests.builders import settings, sight, snapshot

APP = Path(fleet_page.__file__).with_name("app.py")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    state = State(tmp_path)
    state.prepare()
    Store(state.database, create=True).close()
    monkeypatch.setenv("CUPSFLEET_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(viewer, "authenticated", lambda headers, state: "admin")
    monkeypatch.setattr(State, "controller", lambda self: 1)
    return state


def see(state: State, *sights) -> None:
    store = Store(state.database)
    seen = snapshot(*sights)
    publish(store, seen, decide(seen, settings()), settings(), [])
    store.close()


def page() -> AppTest:
    return AppTest.from_file(str(APP), default_timeout=20).run()


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in app.markdown)


def test_nodes_stand_there_with_state_work_and_reason(state: State) -> None:
    see(state, sight(1, jobs=3), sight(2, NodeState.DEAD, alive=False, error="refused"))
    app = page()
    assert not app.exception
    text = words(app)
    assert "People can print: 1 of 2 nodes are ready, 3 open jobs." in text
    for part in ("**node-1**", "**node-2**", "127.0.0.1:6001", "ready]", "dead]"):
        assert part in text
    assert any("node-2 is dead" in warning.value for warning in app.warning)


def test_add_asks_the_controller_in_the_viewers_name(state: State) -> None:
    see(state, sight(1), sight(2))
    page().button(key="add").click().run()
    (asked,) = Store(state.database).open_commands()
    assert (asked.verb, asked.asked_by) == ("add", "admin")


def test_retire_wants_a_confirmation_that_names_the_node(state: State) -> None:
    see(state, sight(1), sight(2, jobs=7))
    app = page().button(key="retire-node-2").click().run()
    assert Store(state.database).open_commands() == ()
    assert "7 jobs will finish first." in words(app)
    app.button(key="retire-confirmed").click().run()
    (asked,) = Store(state.database).open_commands()
    assert (asked.verb, asked.argument) == ("retire", "node-2")


def test_a_dialog_that_outlived_its_node_asks_for_nothing(state: State) -> None:
    see(state, sight(1), sight(2))
    app = page().button(key="retire-node-2").click().run()
    see(state, sight(1), sight(3))
    app.button(key="retire-confirmed").click().run()
    assert Store(state.database).open_commands() == ()


def test_an_empty_fleet_names_the_next_command(state: State) -> None:
    app = page()
    assert "Nobody can print" in words(app)
    assert "./cupsfleet up" in app.info[0].value


def test_who_did_not_come_through_the_door_sees_nothing(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    see(state, sight(1), sight(2))
    monkeypatch.undo()
    monkeypatch.setenv("CUPSFLEET_STATE_DIR", str(state.folder))
    app = page()
    assert "front door only" in app.error[0].value
    assert words(app) == ""


class TestAuthenticated:
    def test_only_the_doors_secret_makes_a_name_true(self, tmp_path: Path) -> None:
        state = State(tmp_path)
        good = {"X-Fleet-User": "admin", "X-Fleet-Secret": state.secret()}
        assert viewer.authenticated(good, state) == "admin"
        assert viewer.authenticated({**good, "X-Fleet-Secret": "guess"}, state) is None
        assert viewer.authenticated({"X-Fleet-User": "admin"}, state) is None
        assert viewer.authenticated({"X-Fleet-Secret": state.secret()}, state) is None
