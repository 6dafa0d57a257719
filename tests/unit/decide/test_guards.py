"""When nothing is taken away, whatever the verdicts say; and how a node that is not well leaves service and returns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.config import Health, Nodes, Printer, Settings
from controller.decide import decide
from controller.plan import Admit, Declare, Drain, Leave, Order, Plan, Restart, Suspend, TakeOut
from controller.snapshot import Goal, NodeSight, NodeState
from tests.builders import queue, reading, settings, sight, snapshot


def sick(slot: int = 1, state: NodeState = NodeState.READY, bad: int = 3, **seen) -> NodeSight:
    return sight(slot, state, tls_error="over TLS: broken", bad_readings=bad, **seen)


def silent(slot: int = 1, state: NodeState = NodeState.READY, **seen) -> NodeSight:
    return sight(slot, state, error="timed out", up=False, silent_for=60.0, **seen)


def plan(*sights: NodeSight, **rest) -> Plan:
    return decide(snapshot(*sights, **rest), settings())


def kinds(found: Plan) -> list[type]:
    return [type(step) for step in found.steps]


class TestIllness:
    def test_enough_bad_answers_in_a_row_end_new_work(self) -> None:
        assert plan(sick(bad=2), sight(2), sight(3)).steps == ()
        assert plan(sick(), sight(2), sight(3)).steps == (Suspend("node-1", "over TLS: broken"),)

    def test_enough_good_answers_in_a_row_bring_it_back(self) -> None:
        assert plan(sight(1, NodeState.UNHEALTHY, good_readings=4), sight(2), sight(3)).steps == ()
        assert kinds(plan(sight(1, NodeState.UNHEALTHY, good_readings=5), sight(2), sight(3))) == [Admit]

    def test_a_queue_that_runs_elsewhere_is_started_here(self) -> None:
        stopped = reading("node-1", queues=(queue(state=5),))
        fault = "the queue office is stopped here and runs elsewhere"
        assert plan(sight(1, reading=stopped, bad_readings=3), sight(2), sight(3)).steps == (Suspend("node-1", fault),)
        unhealthy = sight(1, NodeState.UNHEALTHY, reading=stopped, bad_readings=3)
        assert plan(unhealthy, sight(2), sight(3)).steps == (Declare("node-1", fault),)
        assert plan(replace(unhealthy, declared_ago=59.0), sight(2), sight(3)).steps == ()
        assert kinds(plan(replace(unhealthy, declared_ago=60.0), sight(2), sight(3))) == [Declare]

    def test_a_queue_that_waits_for_its_driverless_printer_is_declared_again_now_and_then(self) -> None:
        waiting = [sight(slot, reading=reading(f"node-{slot}", queues=(queue(accepting=False),))) for slot in (1, 2)]
        printers = (Printer(name="office", device="ipp://10.0.0.1/ipp/print", model="everywhere"),)
        driverless = settings().model_copy(update={"printers": printers})
        assert plan(*waiting).steps == ()
        step = Declare("node-1", "the queue office waits for its printer")
        assert decide(snapshot(*waiting), driverless).steps == (step, replace(step, node="node-2"))
        asked = [replace(one, declared_ago=59.0) for one in waiting]
        assert decide(snapshot(*asked), driverless).steps == ()

    def test_it_dies_as_any_other(self) -> None:
        assert kinds(plan(sight(1, NodeState.UNHEALTHY, alive=False), sight(2), sight(3))) == [TakeOut]

    def test_one_at_a_time(self) -> None:
        found = plan(sick(1), sick(2), sight(3), sight(4), sight(5))
        assert [step.node for step in found.steps] == ["node-1"]
        just_now = sick(1, NodeState.UNHEALTHY, in_state=0.5)
        assert plan(just_now, sick(2), sight(3), sight(4), sight(5)).steps == ()
        a_while_ago = replace(just_now, in_state=1.5)
        assert kinds(plan(a_while_ago, sick(2), sight(3), sight(4), sight(5))) == [Suspend]

    def test_the_last_one_serves_on(self) -> None:
        found = plan(sick(1), sight(2, NodeState.PROVING, up=False), sight(3, NodeState.PROVING, up=False))
        assert found.steps == ()
        assert "1 of 1 servers look bad at once" in found.notes[0]

    def test_it_serves_on_while_the_others_are_meant_to_leave(self) -> None:
        found = plan(sick(1), sight(2, goal=Goal.RETIRE), sight(3, NodeState.PROVING, up=False))
        assert found.steps == ()
        assert found.notes[0] == "node-1 serves on, although over TLS: broken: no other server is ready"

    def test_it_may_be_drained_without_waiting_for_a_replacement(self) -> None:
        leaving = sight(1, NodeState.UNHEALTHY, goal=Goal.RETIRE)
        assert kinds(plan(leaving, sight(2), sight(3, NodeState.PROVING, up=False))) == [Drain]


DOUBTS = [
    ({"canary": None}, "could not be set up"),
    ({"canary": reading("canary", error="no answer within 3 s")}, "canary, which must always answer, does not"),
    ({"canary": reading("canary", latency=1.5)}, "canary answered after 1.5 s"),
    ({"gap": 9.5}, "the controller stood still for 10 s"),
]


class TestDoubt:
    @pytest.mark.parametrize(("doubt", "said"), DOUBTS)
    @pytest.mark.parametrize(
        "node",
        [
            sick(),
            silent(),
            sight(1, NodeState.DRAINING, goal=Goal.RETIRE),
        ],
    )
    def test_a_prober_in_trouble_takes_nothing_away(self, node: NodeSight, doubt, said: str) -> None:
        others = (sight(2), sight(3), sight(4))
        assert kinds(plan(node, *others)) in ([Suspend], [TakeOut], [Leave])
        found = plan(node, *others, **doubt)
        assert found.steps == ()
        assert said in found.notes[0]

    @pytest.mark.parametrize("doubt", [doubt for doubt, _ in DOUBTS])
    def test_a_process_that_is_gone_is_gone_nevertheless(self, doubt) -> None:
        assert kinds(plan(sight(1, alive=False), sight(2), **doubt)) == [TakeOut]
        dead = sight(1, NodeState.DEAD, alive=False, error="refused", deaths=1)
        assert kinds(plan(dead, sight(2), **doubt)) == [Restart]

    def test_one_that_is_slow_to_come_up_has_time_while_nobody_can_see_it(self) -> None:
        coming = sight(1, NodeState.STARTING, error="timed out", in_state=31.0)
        assert kinds(plan(coming, sight(2), sight(3))) == [TakeOut]
        assert plan(coming, sight(2), sight(3), canary=None).steps == ()

    def test_old_readings_decide_nothing(self) -> None:
        idle = sight(1, NodeState.DRAINING, goal=Goal.RETIRE, reading_age=10.0)
        sick_once = sick(2, reading_age=10.0)
        well_once = sight(3, NodeState.UNHEALTHY, good_readings=9, reading_age=10.0)
        assert plan(idle, sick_once, well_once, sight(4), sight(5), sight(6), sight(7)).steps == ()

    def test_an_old_reading_is_no_silence(self) -> None:
        assert plan(silent(1, reading_age=10.0), sight(2), sight(3)).steps == ()


class TestMassFailure:
    """More than half look bad: the nodes are hardly the reason."""

    def test_all_are_kept(self) -> None:
        found = plan(silent(1), silent(2), sick(3), sight(4), sight(5))
        assert found.steps == ()
        expected = "nothing is taken away: 3 of 5 servers look bad at once (node-1 dead, node-2 dead, node-3 unhealthy)"
        assert found.notes[0].startswith(expected)

    def test_exactly_half_is_believed(self) -> None:
        assert kinds(plan(silent(1), silent(2), sight(3), sight(4))) == [TakeOut, TakeOut]

    def test_what_can_be_done_in_place_is_done(self) -> None:
        stopped = [
            sight(slot, bad_readings=3, reading=reading(f"node-{slot}", queues=(queue(state=5),))) for slot in (1, 2)
        ]
        found = plan(*stopped, sight(3))
        assert kinds(found) == [Order, Declare, Declare]

    def test_spares_are_added_until_the_bad_are_the_fewer(self) -> None:
        found = plan(silent(1), silent(2))
        assert kinds(found) == [Order, Order]
        assert found.steps[0].reason == "0 servers are well or coming, nodes.min is 2"
        assert kinds(plan(silent(1), silent(2), sight(3, NodeState.PROVING, up=False))) == [Order]
        assert kinds(plan(silent(1), silent(2), sight(3), sight(4))) == [TakeOut, TakeOut]

    def test_late_answers_alone_order_no_spare(self) -> None:
        late = sight(1, error="timed out", up=False, silent_for=4.0)
        full = sight(2, bad_readings=2, free_bytes=0, disk_bytes=2**40)
        assert plan(late, sight(2, up=False)).steps == ()
        assert plan(late, full).steps == ()
        assert kinds(plan(late, replace(full, bad_readings=3))) == [Order]

    def test_spares_have_a_limit(self) -> None:
        fixed = Settings(nodes=Nodes(min=2, max=2))
        nodes = [silent(slot) for slot in (1, 2, 3)]
        assert [type(step) for step in decide(snapshot(*nodes), fixed).steps] == [Order]
        assert decide(snapshot(*nodes, silent(4)), fixed).steps == ()

    def test_a_prober_in_trouble_adds_nothing_either(self) -> None:
        assert plan(silent(1), silent(2), canary=None).steps == ()

    def test_the_share_is_a_setting(self) -> None:
        brave = Settings(health=Health(max_removed_share=0.9))
        found = decide(snapshot(silent(1), silent(2), silent(3), silent(4), sight(5)), brave)
        assert [type(step) for step in found.steps] == [TakeOut] * 4
