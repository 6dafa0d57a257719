"""Nodes that are replaced, spares that go again, and what becomes of the jobs of a node that leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide import decide
from controller.decide.leaving import jobs
from controller.plan import Admit, Aim, Drain, Evacuate, Leave, Order, Plan
from controller.snapshot import SLOT_RESERVE, Cause, Goal, NodeSight, NodeState
from tests.builders import command, reading, settings, sight, snapshot


def plan(*sights: NodeSight, **rest) -> Plan:
    return decide(snapshot(*sights, **rest), settings())


def kinds(found: Plan) -> list[type]:
    return [type(step) for step in found.steps]


def unwell(goal: Goal = Goal.SERVE, **seen) -> NodeSight:
    return sight(1, NodeState.UNHEALTHY, goal, tls_error="over TLS: broken", **{"in_state": 301.0, **seen})


class TestUnhealthyForLong:
    def test_a_new_node_is_ordered_and_takes_its_place(self) -> None:
        found = plan(unwell(), sight(2), sight(3))
        assert kinds(found) == [Order, Aim]
        assert (found.steps[0].node, found.steps[1].node) == ("node-4", "node-1")
        assert found.steps[1].reason.startswith("it did not recover within 301 s")
        assert found.steps[1].reason.endswith("node-4 takes its place")

    def test_it_has_its_time(self) -> None:
        assert plan(unwell(in_state=299.0), sight(2), sight(3)).steps == ()

    def test_not_while_there_is_doubt(self) -> None:
        assert plan(unwell(), sight(2), sight(3), canary=None).steps == ()
        most = plan(unwell(), sight(2, error="timed out", up=False, silent_for=60.0), sight(3, up=False))
        assert kinds(most) == [Order]  # a spare, for nobody's place

    def test_nor_without_a_slot(self) -> None:
        found = plan(unwell(), sight(2), sight(3), free_slots=())
        assert found.steps == ()
        assert "node-1 can't be replaced" in found.notes[0]

    def test_someone_elses_server_is_named_only(self) -> None:
        found = plan(unwell(driver="existing"), sight(2), sight(3))
        assert found.steps == ()
        assert "is someone else's server and is not replaced" in found.notes[0]

    def test_its_jobs_move_at_once(self) -> None:
        leaving = unwell(Goal.RETIRE, goal_by=Cause.HEALTH)
        assert kinds(plan(leaving, sight(2), sight(4, NodeState.PROVING, up=False))) == [Drain]
        draining = sight(1, NodeState.DRAINING, Goal.RETIRE, jobs=2, goal_by=Cause.HEALTH, in_state=2.0)
        (step,) = plan(draining, sight(2), sight(3)).steps
        assert step == Evacuate("node-1", "it is not well, and is not empty: 2 jobs left")


class TestRenewal:
    @pytest.mark.parametrize(
        ("seen", "cause", "why"),
        [
            ({"ids_left": SLOT_RESERVE}, Cause.IDS, f"slot 1 has {SLOT_RESERVE} ids left"),
            ({"outdated": True}, Cause.SETTINGS, "changed the settings"),
        ],
    )
    def test_a_node_that_serves_well_is_replaced_in_time(self, seen, cause: Cause, why: str) -> None:
        order, aim = plan(sight(1, **seen), sight(2)).steps
        assert isinstance(order, Order)
        assert isinstance(aim, Aim)
        assert (aim.node, aim.goal, aim.by) == ("node-1", Goal.RETIRE, cause)
        assert why in aim.reason

    def test_one_by_one(self) -> None:
        old = [sight(slot, outdated=True) for slot in (1, 2, 3)]
        assert kinds(plan(*old)) == [Order, Aim]
        first = sight(1, outdated=True, goal=Goal.RETIRE, goal_by=Cause.SETTINGS)
        coming = sight(4, NodeState.PROVING, up=False)
        assert plan(first, *old[1:], coming).steps == ()
        assert kinds(plan(first, *old[1:], sight(4))) == [Drain]
        draining = replace(first, node=replace(first.node, state=NodeState.DRAINING), in_state=0.5)
        assert kinds(plan(replace(draining, idle_readings=0), *old[1:], sight(4))) == []
        assert kinds(plan(replace(draining, idle_readings=0, in_state=1.5), *old[1:], sight(4))) == [Order, Aim]

    @pytest.mark.parametrize(
        "other",
        [
            sight(2, error="timed out"),
            sight(2, up=False),
            sight(2, NodeState.STARTING, error="refused", in_state=1.0),
            sight(2, NodeState.DEAD, alive=False, error="refused", deaths=3, in_state=0.0),
        ],
    )
    def test_not_while_anything_else_is_the_matter(self, other: NodeSight) -> None:
        assert plan(sight(1, outdated=True), other, sight(3)).steps == ()

    def test_it_serves_until_its_replacement_does(self) -> None:
        """Not only until `nodes.min` others do."""
        leaving = sight(1, goal=Goal.RETIRE, goal_by=Cause.IDS)
        found = plan(leaving, sight(2), sight(3), sight(4, NodeState.PROVING, up=False))
        assert found.steps == ()
        assert found.notes == ("node-1 serves on: 2 others are ready and 3 are needed",)


class TestSpares:
    def test_a_spare_goes_when_all_are_well_again(self) -> None:
        spare = sight(3, goal_by=Cause.SPARE, in_state=301.0)
        (step,) = plan(sight(1), sight(2), spare).steps
        expected = Aim("node-3", "every server is well again, no spare is needed", Goal.RETIRE, Cause.SCALING)
        assert step == expected

    def test_two_go_one_after_the_other(self) -> None:
        spares = [sight(slot, goal_by=Cause.SPARE, in_state=301.0) for slot in (3, 4)]
        assert len(plan(sight(1), sight(2), *spares).steps) == 1

    def test_it_stays_while_it_is_needed(self) -> None:
        spare = sight(3, goal_by=Cause.SPARE, in_state=301.0)
        assert plan(sight(2), spare).steps == ()
        assert plan(sight(1, error="timed out"), sight(2), spare).steps == ()
        assert plan(sight(1), sight(2), replace(spare, in_state=299.0)).steps == ()


class TestBringingBack:
    @pytest.mark.parametrize("cause", [Cause.SCALING, Cause.HEALTH])
    def test_a_draining_node_comes_back_before_a_new_one_is_ordered(self, cause: Cause) -> None:
        draining = sight(1, NodeState.DRAINING, Goal.RETIRE, jobs=1, goal_by=cause)
        aim, admit = plan(draining, sight(2)).steps
        assert isinstance(aim, Aim)
        assert (aim.goal, aim.by) == (Goal.SERVE, Cause.ORDER)
        assert isinstance(admit, Admit)

    @pytest.mark.parametrize("cause", [Cause.ADMINISTRATOR, Cause.IDS, Cause.SETTINGS])
    def test_one_that_has_to_go_does_not(self, cause: Cause) -> None:
        draining = sight(1, NodeState.DRAINING, Goal.RETIRE, jobs=1, goal_by=cause)
        assert kinds(plan(draining, sight(2))) == [Order]

    @pytest.mark.parametrize("seen", [{"error": "timed out"}, {"tls_error": "over TLS: broken"}, {"up": False}])
    def test_nor_does_one_that_is_not_well(self, seen) -> None:
        draining = sight(1, NodeState.DRAINING, Goal.RETIRE, goal_by=Cause.SCALING, idle_readings=0, **seen)
        assert kinds(plan(draining, sight(2))) == [Order]

    def test_it_answers_a_command_too(self) -> None:
        draining = sight(1, NodeState.DRAINING, Goal.RETIRE, jobs=1, goal_by=Cause.SCALING)
        found = plan(draining, sight(2), sight(3), commands=(command("add"),))
        assert kinds(found) == [Aim, Admit]
        assert found.answers[0].node == "node-1"


class TestDrainDeadline:
    def drained(self, **seen) -> NodeSight:
        return sight(1, NodeState.DRAINING, Goal.RETIRE, jobs=2, goal_by=Cause.ADMINISTRATOR, **seen)

    def test_jobs_move_then_and_nothing_is_killed(self) -> None:
        assert plan(self.drained(in_state=3599.0), sight(2), sight(3)).steps == ()
        found = plan(self.drained(in_state=3600.0), sight(2), sight(3))
        assert kinds(found) == [Evacuate]
        assert found.notes == ("node-1 has drained for 60 min and its jobs go to others: 2 jobs left",)

    def test_they_are_told_once_and_once_more_after_a_while(self) -> None:
        told = self.drained(in_state=3660.0, evacuated_ago=59.0)
        assert plan(told, sight(2), sight(3)).steps == ()
        assert kinds(plan(replace(told, evacuated_ago=60.0), sight(2), sight(3))) == [Evacuate]

    def test_there_must_be_somebody_to_take_them(self) -> None:
        found = plan(self.drained(in_state=3660.0), sight(2, goal=Goal.RETIRE), sight(3, goal=Goal.RETIRE))
        assert Evacuate not in kinds(found)
        assert "the jobs of node-1 stay there: no other server is ready to take them" in found.notes

    def test_one_that_is_only_drained_keeps_its_jobs(self) -> None:
        kept = sight(1, NodeState.DRAINING, Goal.DRAIN, jobs=2, in_state=9999.0, goal_by=Cause.ADMINISTRATOR)
        assert plan(kept, sight(2), sight(3)).steps == ()

    def test_an_empty_one_just_leaves(self) -> None:
        empty = sight(1, NodeState.DRAINING, Goal.RETIRE, in_state=9999.0)
        assert kinds(plan(empty, sight(2), sight(3))) == [Leave]


@pytest.mark.parametrize(
    ("states", "finished", "said"),
    [
        ((3,), 0, "1 job left"),
        ((3, 5, 4), 0, "3 jobs left, 1 of them held or stopped"),
        ((3, 5, 4, 6), 4, "4 jobs left, 2 of them held or stopped, about 30 s"),
        ((4,), 4, "1 job left, 1 of them held or stopped"),
    ],
)
def test_what_is_left_in_words(states: tuple[int, ...], finished: int, said: str) -> None:
    """60 s in this state."""
    open_jobs = tuple(
        replace(job, state=state) for job, state in zip(reading("node-1", len(states)).jobs, states, strict=True)
    )
    seen = sight(1, NodeState.DRAINING, finished=finished)
    assert seen.reading is not None
    assert jobs(replace(seen, reading=replace(seen.reading, jobs=open_jobs))) == said
