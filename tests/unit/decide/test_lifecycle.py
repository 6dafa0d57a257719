"""What is decided, situation by situation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide import decide
from controller.plan import (
    Admit,
    Aim,
    Answer,
    Declare,
    Drain,
    GiveUp,
    Leave,
    Order,
    Prove,
    Remove,
    Restart,
    Start,
    Step,
    TakeOut,
)
from controller.snapshot import Goal, NodeState
from tests.builders import command, settings, sight, snapshot


def steps(*sights, **rest):
    return decide(snapshot(*sights, **rest), settings()).steps


def kinds(found: tuple[Step, ...]) -> list[type[Step]]:
    return [type(step) for step in found]


def test_an_empty_fleet_orders_its_minimum_in_different_slots() -> None:
    found = steps()
    assert kinds(found) == [Order, Order]
    assert [(step.node, step.slot) for step in found] == [("node-1", 8), ("node-2", 9)]


def test_a_healthy_fleet_is_left_alone_and_says_why() -> None:
    plan = decide(snapshot(sight(1), sight(2)), settings())
    assert plan.idle
    assert "nodes.min is 2" in plan.sentence()


def test_no_slot_left_is_a_note_not_an_error() -> None:
    plan = decide(snapshot(sight(1), free_slots=()), settings())
    assert plan.steps == ()
    assert "no slot is free" in plan.notes[0]


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (sight(1, NodeState.ORDERED), Start),
        (sight(1, NodeState.ORDERED, goal=Goal.RETIRE), Leave),
        (sight(1, NodeState.LEAVING, goal=Goal.RETIRE), Remove),
        (sight(1, NodeState.DEAD, deaths=5, in_state=9.0), Prove),
        (sight(1, NodeState.DRAINING, goal=Goal.RETIRE, queues="older"), Leave),
        (sight(1, NodeState.STOPPED), Start),
        (sight(1, NodeState.STOPPED, goal=Goal.RETIRE), Start),
        (sight(1, NodeState.STARTING), Prove),
        (sight(1, NodeState.PROVING), Admit),
        (sight(1, NodeState.READY, alive=False, error="refused"), TakeOut),
        (sight(1, NodeState.DRAINING, goal=Goal.DRAIN, alive=False, error="refused"), TakeOut),
        (sight(1, NodeState.STARTING, error="refused", in_state=31.0), TakeOut),
        (sight(1, NodeState.DEAD, alive=False, error="refused", deaths=1, in_state=0.0), Restart),
        (sight(1, NodeState.DEAD, alive=False, error="refused", deaths=8, in_state=60.0), Restart),
        (sight(1, NodeState.DEAD, alive=False, error="refused", deaths=9, in_state=0.0), GiveUp),
        (sight(1, NodeState.READY, queues="older"), Declare),
    ],
)
def test_the_next_step_of_a_life(node, expected) -> None:
    assert kinds(steps(node, sight(2), sight(3))) == [expected]


@pytest.mark.parametrize(
    "node",
    [
        sight(1, NodeState.STARTING, error="refused", in_state=3.0),
        sight(1, NodeState.PROVING, up=False),
        sight(1, NodeState.PROVING, proxies=()),
        sight(1, NodeState.READY, busy=True, alive=False),
        sight(1, NodeState.DEAD, alive=False, error="refused", deaths=4, in_state=3.9),
        sight(1, NodeState.DEAD, alive=False, error="refused", deaths=8, in_state=59.0),
        sight(1, NodeState.LEAVING, goal=Goal.RETIRE, alive=False, error="refused", retry_in=2.0),
        sight(1, NodeState.STARTING, retry_in=0.5),
    ],
)
def test_waiting_is_a_decision_too(node) -> None:
    assert steps(node, sight(2), sight(3)) == ()


class TestSilence:
    """A process that runs and does not answer."""

    def test_one_silent_look_takes_nothing_out(self) -> None:
        assert steps(sight(1, error="timed out", up=False, silent_for=3.0), sight(2)) == ()

    def test_the_prober_alone_is_not_believed(self) -> None:
        assert steps(sight(1, error="timed out", up=True, silent_for=600.0), sight(2)) == ()

    def test_no_proxy_to_ask_proves_nothing(self) -> None:
        assert steps(sight(1, error="timed out", proxies=(), silent_for=600.0), sight(2)) == ()

    def test_both_views_for_long_enough_are_proof(self) -> None:
        found = steps(sight(1, error="timed out", up=False, silent_for=11.0), sight(2))
        assert kinds(found) == [TakeOut]
        assert "silent to the prober and to every proxy" in found[0].reason


def test_deaths_are_counted_until_a_node_served_for_a_while() -> None:
    dying = sight(1, alive=False, error="refused", deaths=3, in_state=10.0)
    assert steps(dying, sight(2)) == (TakeOut("node-1", "its server process is gone", deaths=4),)
    assert steps(replace(dying, in_state=301.0), sight(2)) == (
        TakeOut("node-1", "its server process is gone", deaths=1),
    )


class TestRetire:
    def test_the_replacement_comes_before_the_node_goes(self) -> None:
        plan = decide(snapshot(sight(1), sight(2), commands=(command("retire", "node-1"),)), settings())
        assert kinds(plan.steps) == [Aim, Order]
        assert plan.answers == (Answer(7, "running", "node-1: retire begun", "node-1"),)

    def test_it_serves_on_until_enough_others_are_ready(self) -> None:
        leaving = sight(1, goal=Goal.RETIRE)
        coming = sight(3, NodeState.PROVING, up=False)
        plan = decide(snapshot(leaving, sight(2), coming), settings())
        assert plan.steps == ()
        assert "node-1 serves on" in plan.notes[0]

    def test_it_drains_when_they_are(self) -> None:
        assert kinds(steps(sight(1, goal=Goal.RETIRE), sight(2), sight(3))) == [Drain]

    @pytest.mark.parametrize(
        "node",
        [
            sight(1, NodeState.DRAINING, goal=Goal.RETIRE, jobs=1),
            sight(1, NodeState.DRAINING, goal=Goal.RETIRE, idle_readings=1),
            sight(1, NodeState.DRAINING, goal=Goal.RETIRE, sessions=1),
            sight(1, NodeState.DRAINING, goal=Goal.RETIRE, error="timed out"),
            sight(1, NodeState.DRAINING, goal=Goal.RETIRE, sessions=None),
            sight(1, NodeState.DRAINING, goal=Goal.RETIRE, proxies=()),
        ],
    )
    def test_it_stays_while_it_may_have_work(self, node) -> None:
        assert steps(node, sight(2), sight(3)) == ()

    def test_it_leaves_with_nothing_left(self) -> None:
        assert kinds(steps(sight(1, NodeState.DRAINING, goal=Goal.RETIRE), sight(2), sight(3))) == [Leave]

    def test_its_server_is_ended_only_when_every_proxy_knows(self) -> None:
        leaving = sight(1, NodeState.LEAVING, goal=Goal.RETIRE)
        plan = decide(snapshot(leaving, sight(2), sight(3), proxies_obey=False), settings())
        assert plan.steps == ()
        assert "a proxy could not be told" in plan.notes[0]

    def test_one_that_leaves_is_not_brought_back(self) -> None:
        leaving = sight(1, NodeState.LEAVING, goal=Goal.RETIRE)
        plan = decide(snapshot(leaving, sight(2), sight(3), commands=(command("resume", "node-1"),)), settings())
        assert kinds(plan.steps) == [Remove]
        assert plan.answers[0].outcome == "node-1 is leaving already"

    def test_resume_brings_it_back(self) -> None:
        found = steps(sight(1, NodeState.DRAINING, goal=Goal.RETIRE), sight(2), commands=(command("resume", "node-1"),))
        assert kinds(found) == [Aim, Admit]


class TestCommands:
    def answer(self, *sights, **rest):
        (found,) = decide(snapshot(*sights, **rest), settings(maximum=2)).answers
        return found

    def test_a_late_one_is_refused(self) -> None:
        found = self.answer(sight(1), sight(2), commands=(command("retire", "node-1", age=61.0),))
        assert found.state == "refused"
        assert "waited 61 s" in found.outcome

    def test_add_stops_at_the_maximum(self) -> None:
        found = self.answer(sight(1), sight(2, NodeState.DEAD), commands=(command("add"),))
        why = "nodes.max is 2, and 2 servers are meant to serve: 1 ready, 1 dead; retire one first, or raise nodes.max"
        assert (found.state, found.outcome) == ("refused", why)

    def test_an_unknown_node_is_named_with_the_known_ones(self) -> None:
        found = self.answer(sight(1), sight(2), commands=(command("retire", "node-9"),))
        assert found.outcome == "there is no server node-9; known are node-1, node-2"

    @pytest.mark.parametrize("address", ["print2.example.org", "host:99999", "http://host:631", "a b:631", ":631"])
    def test_what_is_no_address_is_refused(self, address) -> None:
        found = self.answer(sight(1), commands=(command("add", address),))
        assert (found.state, "HOST:PORT" in found.outcome) == ("refused", True)

    def test_an_unknown_verb_is_refused(self) -> None:
        assert self.answer(sight(1), sight(2), commands=(command("explode"),)).state == "refused"

    @pytest.mark.parametrize(
        ("verb", "node", "state"),
        [
            ("retire", None, "done"),
            ("retire", sight(1, NodeState.READY), "failed"),
            ("add", sight(1, NodeState.READY), "done"),
            ("add", None, "failed"),
            ("drain", sight(1, NodeState.DRAINING, goal=Goal.DRAIN), "done"),
            ("drain", sight(1, NodeState.READY, goal=Goal.SERVE), "failed"),
        ],
    )
    def test_a_running_one_ends_with_its_node(self, verb, node, state) -> None:
        others = [sight(2), sight(3), *([node] if node else [])]
        running = command(verb, "node-1", state="running", node="node-1", age=4000.0)
        assert self.answer(*others, commands=(running,)).state == state


def test_servers_named_in_the_configuration_join() -> None:
    plan = decide(snapshot(sight(1), sight(2)), settings(existing=("print3.example.org:631",)))
    (order,) = plan.steps
    assert isinstance(order, Order)
    assert order.address == "print3.example.org:631"


def test_someone_elses_absent_server_does_not_count_for_the_minimum() -> None:
    absent = sight(1, NodeState.DEAD, driver="existing", error="refused", deaths=1)
    assert kinds(steps(absent, sight(2))) == [Order]
    assert kinds(steps(sight(1, driver="existing"), sight(2))) == []


def test_someone_elses_dead_server_is_never_restarted() -> None:
    silent = sight(1, NodeState.DEAD, driver="existing", error="refused", deaths=1)
    assert steps(silent, sight(2), sight(3)) == ()
    assert kinds(steps(sight(1, NodeState.DEAD, driver="existing", deaths=1), sight(2), sight(3))) == [Prove]
