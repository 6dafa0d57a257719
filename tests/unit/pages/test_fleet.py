"""The page, run by Streamlit's own test harness on a published fleet."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from controller.config import Nodes, Settings
from controller.decide import decide
from controller.load import PAUSED
from controller.snapshot import Backlog, Goal, NodeSight, NodeState, ProxySight
from controller.state import State
from controller.store import Store
from controller.users import Users
from controller.views import publish
from dashboard import fleet_page, viewer
from dashboard.tasks import Asked
from tests.builders import queue, reading, settings, sight, snapshot

APP = Path(fleet_page.__file__).with_name("app.py")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    state = State(tmp_path)
    state.prepare()
    Store(state.database, create=True).close()
    for name in ("admin", "boss"):
        Users(state.users).add(name, "password", admin=True)
    monkeypatch.setenv("CUPSFLEET_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(viewer, "authenticated", lambda headers, state: "admin")
    monkeypatch.setattr(State, "controller", lambda self: 1)
    return state


def see(state: State, *sights) -> None:
    store = Store(state.database)
    seen = snapshot(*sights)
    publish(store, seen, decide(seen, settings()), settings(), [])
    store.close()


def asked(state: State):
    with Store(state.database) as store:
        return store.open_commands()


def page() -> AppTest:
    return AppTest.from_file(str(APP), default_timeout=20).run()


def top(app: AppTest) -> str:
    return app.title[0].value


def linked(app: AppTest) -> list[str]:
    return [link.proto.label for link in app.get("page_link")]


def figures(app: AppTest) -> str:
    return "".join(piece.proto.body for piece in app.get("html"))


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in app.markdown)


def test_nodes_stand_there_with_state_work_and_reason(state: State) -> None:
    see(state, sight(1, jobs=3), sight(2, NodeState.DEAD, alive=False, error="refused"))
    app = page()
    assert not app.exception
    assert "People can print: 1 of 2 servers ready; node-2 is dead. At least 2 jobs waiting" in top(app)
    assert "the last will start in about 10 s." in top(app)
    text = words(app)
    assert linked(app) == ["Scaling", "**node-2**", "**node-1**"], "what needs a look comes first"
    for part in (" ready]", "dead]", "1 ready]", "1 dead]"):
        assert part in text
    assert any("node-2 is dead" in warning.value for warning in app.warning)
    assert "<dt>Ready servers</dt><dd>1 of 2</dd>" in figures(app)


def test_where_all_look_bad_people_print_on(state: State) -> None:
    see(state, sight(1, tls_error="over TLS: broken"), sight(2, error="timed out", silent_for=1.0))
    said = "People can print, though no server looks well: 2 servers still take jobs; node-1 is unhealthy, node-2 is"
    assert said in top(page())
    see(state, sight(1, up=False), sight(2, NodeState.DEAD, alive=False))
    assert "Nobody can print: none of 2 servers takes jobs; node-1 is unknown, node-2 is dead." in top(page())


def test_what_the_fleet_is_about_stands_under_the_sentence(state: State) -> None:
    see(state, sight(1), sight(2))
    assert "2 servers take jobs, as many as should: nodes.min is 2" in words(page())
    see(state, sight(1, jobs=80))
    assert "1 server takes jobs, 5 should: scaling.step is 4 and 1 are on their way" in words(page())
    with Store(state.database) as store:
        store.put_fact(PAUSED, "[boss](x)")
        seen = snapshot(sight(1), sight(2))
        publish(store, seen, decide(seen, settings()), settings(), [])
    assert r"Scaling is paused by \[boss\](x). 2 servers take jobs" in words(page())


def test_a_node_is_described_in_words(state: State) -> None:
    silent, deaf = reading("node-2", error="no answer within 3 s"), ProxySight(1, False, 0, "L7TOUT")
    see(state, sight(1), sight(2, NodeState.DEAD, reading=silent, proxies=(deaf,)), sight(3))
    text = words(page())
    assert "HAProxy: down, no answer in time  \nCUPS: no answer within 3 s" in text
    assert "gets 50 % of new jobs" in text
    assert "gets no new jobs" in text


def test_how_a_node_is_seen_stands_beside_what_it_is(state: State) -> None:
    see(state, sight(1, up=False), sight(2, NodeState.UNHEALTHY, tls_error="over TLS: broken"), sight(3))
    app = page()
    text = words(app)
    for part in (" ready] :violet-badge[:material/contrast: disputed]", ":red-badge[:material/sick: unhealthy]"):
        assert part in text
    assert text.count("sick: unhealthy]") == 1
    assert any("node-2 is unhealthy: over TLS: broken" in warning.value for warning in app.warning)


def test_what_the_fleet_costs_is_shown_where_a_price_is_set(state: State) -> None:
    see(state, sight(1), sight(2))
    assert "Cost per hour" not in figures(page())
    with Store(state.database) as store:
        priced = Settings(nodes=Nodes(price_per_hour=Decimal("0.35")))
        seen = snapshot(sight(1), sight(2), sight(3, NodeState.ORDERED))
        publish(store, seen, decide(seen, priced), priced, [])
    assert "<dt>Cost per hour, EUR</dt><dd>0.70</dd>" in figures(page())


def test_add_asks_the_controller_in_the_viewers_name(state: State) -> None:
    see(state, sight(1), sight(2))
    app = page().button(key="add").click().run()
    app.button(key="confirmed").click().run()
    (command,) = asked(state)
    assert (command.verb, command.asked_by) == ("add", "admin")


def confirming(verb: str, name: str) -> AppTest:
    """The page with the dialog that a click on this node's menu opens."""
    app = AppTest.from_file(str(APP), default_timeout=20)
    app.session_state["asked"] = Asked(verb, name)
    return app.run()


def test_retire_wants_a_confirmation_that_says_what_follows(state: State) -> None:
    see(state, sight(1), sight(2, jobs=7), sight(3))
    app = confirming("retire", "node-2")
    assert asked(state) == ()
    assert "7 jobs will finish first, about 35 s." in words(app)
    app.button(key="confirmed").click().run()
    (command,) = asked(state)
    assert (command.verb, command.argument) == ("retire", "node-2")


def test_what_follows_is_said_as_it_will_be(state: State) -> None:
    see(state, sight(1), sight(2, jobs=7, backlog=Backlog(stuck=2)), sight(3))
    assert "takes no new jobs from now on, and leaves" in words(confirming("retire", "node-2"))
    assert "Of them 2 are held or stopped. What is still there after 60 min goes" in words(
        confirming("retire", "node-2")
    )
    assert "goes to other servers" not in words(confirming("drain", "node-2"))
    see(state, sight(1), sight(2))
    assert "takes no new jobs once 2 other servers are ready, and leaves" in words(confirming("retire", "node-2"))
    assert "takes no new jobs from now on, until it is resumed" in words(confirming("drain", "node-2"))
    see(state, sight(2))
    assert "takes no new jobs once another server is ready, until" in words(confirming("drain", "node-2"))
    assert "No other server is ready to take them now." in words(confirming("evacuate", "node-2"))


def test_a_node_that_is_to_leave_can_be_kept_until_it_does(state: State) -> None:
    see(state, sight(1), sight(2, NodeState.DRAINING, goal=Goal.RETIRE), sight(3, NodeState.LEAVING, goal=Goal.RETIRE))
    offered = {menu.proto.label: list(menu.proto.options) for menu in page().get("menu_button")}
    assert offered == {
        "Manage node-1": ["Drain node-1", "Retire node-1", "Evacuate node-1"],
        "Manage node-2": ["Resume node-2", "Evacuate node-2"],
    }


@pytest.mark.parametrize(
    "sights",
    [
        (sight(1), sight(2)),
        (sight(1, NodeState.DEAD), sight(2)),
        (sight(2, NodeState.UNHEALTHY),),
        (sight(1, goal=Goal.RETIRE), sight(2), sight(3, NodeState.DRAINING)),
    ],
)
def test_the_last_nodes_want_their_name_typed(state: State, sights) -> None:
    see(state, *sights)
    app = confirming("retire", "node-2")
    assert app.button(key="confirmed").disabled
    app.text_input(key="typed").input("node-1").run()
    assert app.button(key="confirmed").disabled
    app.text_input(key="typed").input("node-2").run()
    app.button(key="confirmed").click().run()
    assert [command.argument for command in asked(state)] == ["node-2"]


def test_a_dialog_that_outlived_its_node_asks_for_nothing(state: State) -> None:
    see(state, sight(1), sight(2), sight(3))
    app = confirming("retire", "node-2")
    see(state, sight(1), sight(3))
    app.button(key="confirmed").click().run()
    assert asked(state) == ()


def test_an_empty_fleet_names_the_next_command(state: State) -> None:
    app = page()
    assert "Nobody can print" in top(app)
    assert any("./cupsfleet up" in info.value for info in app.info)


def test_who_did_not_come_through_the_door_sees_nothing(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    see(state, sight(1), sight(2))
    monkeypatch.undo()
    monkeypatch.setenv("CUPSFLEET_STATE_DIR", str(state.folder))
    app = page()
    assert "front door only" in app.error[0].value
    assert words(app) == ""


def test_who_was_removed_keeps_no_open_tab(state: State) -> None:
    see(state, sight(1), sight(2))
    app = page()
    assert "node-1" in words(app) + "".join(linked(app))
    Users(state.users).remove("admin")
    app.button(key="add").click().run()
    assert "admin is no user any more" in app.error[0].value
    assert words(app) == ""
    assert asked(state) == ()


def test_a_user_has_one_page(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    see(state, sight(1), sight(2))
    Users(state.users).add("demo", "password")
    monkeypatch.setattr(viewer, "authenticated", lambda headers, state: "demo")
    app = page()
    assert [title.value for title in app.title] == ["My jobs"]
    assert (list(app.button), linked(app)) == ([], [])


def test_an_administrator_who_is_one_no_more_keeps_no_open_tab(state: State) -> None:
    see(state, sight(1), sight(2))
    app = page()
    Users(state.users).remove("admin")
    Users(state.users).add("admin", "password")
    app.button(key="add").click().run()
    assert "node-1" not in words(app) + "".join(linked(app))
    assert asked(state) == ()


def test_a_user_list_that_cannot_be_read_lets_nobody_in(state: State) -> None:
    see(state, sight(1), sight(2))
    state.users.write_text("nonsense\n")
    assert "line 1" in page().error[0].value


def test_a_controller_that_fails_is_named_with_its_log(state: State) -> None:
    see(state, sight(1), sight(2))
    with Store(state.database) as store:
        sighted = store.fact("sight")
        store.put_fact("failing", "a pass could not be finished: the disk is full")
    assert not page().warning, "a pass was finished since"
    with Store(state.database) as store:
        store.put_fact("sight", {**sighted, "at": sighted["at"] - 60})
    app = page()
    assert "As of " in top(app)
    said = [warning.value for warning in app.warning]
    assert any("has not reported for 6" in text and "controller.log" in text for text in said)
    assert "The controller says: a pass could not be finished: the disk is full" in said


def test_the_first_sentence_says_that_a_printer_does_not_print(state: State) -> None:
    jam = queue(state=5, reasons=("media-jam-error",))
    see(state, *(sight(slot, reading=reading(f"node-{slot}", queues=(jam,))) for slot in (1, 2)))
    app = page()
    assert "Printer office does not print (media jam). All 2 servers ready. No job waits." in top(app)
    assert "Printer office: media jam, says node-1, node-2" in app.warning[0].value


def test_what_nobody_can_know_is_not_none(state: State) -> None:
    see(state, sight(1, NodeState.DEAD, alive=False, error="refused"), sight(2, NodeState.STARTING, error="refused"))
    app = page()
    assert "takes jobs; node-1 is dead, node-2 is starting. How many jobs wait is not known." in top(app)
    assert "No servers take jobs, 2 should" in words(app)


def test_a_server_that_is_doubted_says_why(state: State) -> None:
    see(state, sight(1), sight(2), sight(3, error="timed out", up=False))
    assert "No answer for 0 s (timed out)" in words(page())


def test_a_reason_that_all_share_is_said_once(state: State) -> None:
    def because(slot: int, reason: str) -> NodeSight:
        found = sight(slot)
        return replace(found, node=replace(found.node, reason=reason))

    see(state, because(1, "it proved itself"), because(2, "it proved itself"))
    app = page()
    assert "Of all that are ready: it proved itself." in [caption.value for caption in app.caption]
    assert "t proved itself" not in words(app)
    see(state, because(1, "it proved itself"), because(2, "it was resumed"))
    assert "It proved itself" in words(page())


def test_text_is_shown_as_it_is(state: State) -> None:
    see(state, sight(1), sight(2, error="[x](http://y) costs $5 or *more*, write `ServerAlias *`\n  1. a_b"))
    (said,) = (warning.value for warning in page().warning)
    assert r"\[x\](http\://y) costs \$5 or \*more\*, write `ServerAlias *`" in said
    assert "\n  1. a\\_b" in said


class TestAuthenticated:
    def test_only_the_doors_secret_makes_a_name_true(self, tmp_path: Path) -> None:
        state = State(tmp_path)
        good = {"X-Fleet-User": "admin", "X-Fleet-Secret": state.secret()}
        assert viewer.authenticated(good, state) == "admin"
        assert viewer.authenticated({**good, "X-Fleet-Secret": "guess"}, state) is None
        assert viewer.authenticated({"X-Fleet-User": "admin"}, state) is None
        assert viewer.authenticated({"X-Fleet-Secret": state.secret()}, state) is None
