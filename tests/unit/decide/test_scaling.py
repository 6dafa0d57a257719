"""How many nodes should serve: the bounds, and the first step towards it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time

import pytest

from controller.config import Schedule
from controller.decide.policies import runs
from controller.plan import Aim, Drain, Pause
from controller.snapshot import Cause, Demand, Goal, Load, NodeSight, NodeState, Wish
from tests.builders import command, reading, sight
from tests.unit.decide.loads import KNOWN, leaving, loaded, orders, plan, with_scaling


def going(slot: int, jobs: int, stuck: int = 0) -> NodeSight:
    """One that drains because there were too many."""
    told = {"goal": Goal.RETIRE, "goal_by": Cause.SCALING, "in_state": 60.0}
    return loaded(slot, jobs, None, stuck, state=NodeState.DRAINING, **told)


class TestGrowing:
    def test_more_jobs_than_each_node_should_have_order_nodes_at_once(self) -> None:
        found = plan(loaded(1, 6), loaded(2, 6))
        assert (orders(found), found.scale.desired, found.scale.rule) == (1, 3, "threshold")
        assert "12 open jobs for 2 servers, more than 4 each" in found.scale.reason

    def test_what_is_on_its_way_counts(self) -> None:
        assert orders(plan(loaded(1, 6), loaded(2, 6), sight(3, NodeState.STARTING, error="not yet"))) == 0

    def test_what_was_given_up_does_not(self) -> None:
        assert orders(plan(loaded(1, 1), loaded(2, 1), sight(3, NodeState.LEAVING), settings=with_scaling(3))) == 1

    def test_not_more_than_step_at_once(self) -> None:
        found = plan(loaded(1, 50), loaded(2, 50), settings=with_scaling(step=3))
        assert orders(found) == 3
        assert any("scaling.step is 3" in clamp for clamp in found.scale.clamps)
        assert (
            orders(plan(loaded(1, 50), loaded(2, 50), sight(3, NodeState.ORDERED), settings=with_scaling(step=1))) == 0
        )

    def test_never_beyond_max(self) -> None:
        found = plan(loaded(1, 50), loaded(2, 50), settings=with_scaling(maximum=3))
        assert (orders(found), found.scale.desired) == (1, 3)
        assert "3 instead of 25: nodes.max is 3" in found.scale.reason

    def test_a_drain_is_cancelled_before_a_node_is_ordered(self) -> None:
        drains = sight(3, NodeState.DRAINING, Goal.RETIRE, goal_by=Cause.SCALING)
        found = plan(loaded(1, 6), loaded(2, 6), drains)
        assert orders(found) == 0
        assert [(step.node, step.goal) for step in found.steps if isinstance(step, Aim)] == [("node-3", "serve")]

    def test_so_is_one_that_is_told_to_go_and_serves_yet(self) -> None:
        goes = loaded(3, 6, goal=Goal.RETIRE, goal_by=Cause.SCALING)
        found = plan(loaded(1, 6), loaded(2, 6), goes, settings=with_scaling(maximum=9))
        assert [(step.node, step.goal) for step in found.steps if isinstance(step, Aim)] == [("node-3", "serve")]
        assert orders(found) == 2
        assert not any(isinstance(step, Drain) for step in found.steps)

    def test_an_unwell_node_takes_no_work_and_is_none_of_those_that_are_enough(self) -> None:
        """Eighteen jobs want five servers; three of five serve."""
        unwell = [loaded(slot, 0, state=NodeState.UNHEALTHY, in_state=60.0) for slot in (4, 5)]
        found = plan(*(loaded(slot, 6) for slot in (1, 2, 3)), *unwell)
        assert (orders(found), found.scale.desired) == (2, 7)
        assert "2 servers beside them are not well" in found.scale.reason
        bounded = plan(*(loaded(slot, 6) for slot in (1, 2, 3)), *unwell, settings=with_scaling(maximum=6))
        assert (orders(bounded), bounded.scale.desired) == (1, 6), "nodes.max counts them"
        assert orders(plan(*(loaded(slot, 4) for slot in (1, 2, 3)), *unwell)) == 0, "three are enough"
        assert orders(plan(loaded(1, 0), unwell[0])) == 0, "nodes.min waits for it to recover or to be replaced"

    def test_what_only_people_can_further_is_no_reason(self) -> None:
        assert plan(loaded(1, 0, stuck=50), loaded(2, 0, stuck=50)).steps == ()


class TestShrinking:
    def test_the_node_with_the_least_work_goes_one_at_a_time(self) -> None:
        found = plan(loaded(1, 0, 0.0), loaded(2, 1, 9.0), loaded(3, 1, 4.0), loaded(4, 1, 7.0))
        assert leaving(found) == ["node-1"]
        going = sight(1, NodeState.DRAINING, Goal.RETIRE, goal_by=Cause.SCALING, jobs=1)
        assert leaving(plan(going, loaded(2, 0), loaded(3, 0), loaded(4, 0))) == []

    def test_one_with_a_held_job_stays(self) -> None:
        assert leaving(plan(loaded(1, 0, stuck=1), loaded(2, 0), loaded(3, 0, stuck=1))) == ["node-2"]

    def test_one_that_is_not_well_goes_first_and_its_jobs_to_others(self) -> None:
        unwell = loaded(3, 2, 90.0, state=NodeState.UNHEALTHY, in_state=60.0)
        found = plan(loaded(1, 0), loaded(2, 0), unwell)
        (aim,) = (step for step in found.steps if isinstance(step, Aim))
        assert (aim.node, aim.goal, aim.by) == ("node-3", "retire", "health")

    def test_one_with_jobs_that_wait_for_people_keeps_no_other_from_going(self) -> None:
        three = [loaded(slot, 0) for slot in (1, 2, 3)]
        assert leaving(plan(going(4, 1), *three)) == []
        assert leaving(plan(going(4, 0, stuck=1), *three)) == ["node-3"]

    def test_why_none_goes_although_fewer_are_enough_is_told(self) -> None:
        three = [loaded(slot, 0) for slot in (1, 2, 3)]

        def said(*sights, **rest) -> str:
            found = plan(*sights, **rest)
            assert not any("goes" in note for note in found.notes), "it takes a moment, and is no problem"
            return found.scale.reason.split("; ")[-1]

        assert said(*three, going(4, 1)) == "none goes yet: node-4 still goes"
        assert "node-4 is coming" in said(*three, sight(4, NodeState.STARTING, error="not yet"))
        ill = loaded(4, 0, reading=reading("node-4", latency=9.0))
        assert "node-4 is not well" in said(*three, ill)
        gone = loaded(4, 0, state=NodeState.DRAINING, goal=Goal.DRAIN, in_state=0.5)
        assert "node-4 was just taken from service" in said(*three, gone)
        assert "none goes yet: nothing is taken away: the prober" in said(*three, canary=None)

    @pytest.mark.parametrize(
        ("seen", "why"),
        [
            ({"busy": True}, "something is under way there"),
            ({"stuck": 1}, "it has jobs that wait for people"),
            ({"driver": "existing"}, "it is someone else's server"),
        ],
    )
    def test_why_each_must_stay_is_told(self, seen, why) -> None:
        stay = [loaded(slot, 0, **seen) for slot in (1, 2, 3)]
        assert f"no server can go, although 2 are enough: {why}" in plan(*stay).notes[-1]

    def test_the_most_that_was_asked_for_in_the_window_counts(self) -> None:
        asked = replace(KNOWN, wishes=(Wish(200.0, 4), Wish(10.0, 3)))
        four = [loaded(slot, 0) for slot in (1, 2, 3, 4)]
        found = plan(*four, load=asked)
        assert leaving(found) == []
        assert "so many were asked for in the last 300 s" in found.scale.reason

    def test_that_window_is_ten_starts_where_starts_are_quick(self) -> None:
        four, measured = [loaded(slot, 0) for slot in (1, 2, 3, 4)], with_scaling(policy="wait-target")
        asked = replace(KNOWN, wishes=(Wish(200.0, 4), Wish(60.0, 3)), start_up=5.0)
        assert leaving(plan(*four, load=asked, settings=measured)) == ["node-4"]
        assert leaving(plan(*four, load=replace(asked, start_up=40.0), settings=measured)) == [], "cool_down bounds it"
        always = with_scaling(policy="wait-target", cool_down_starts=0)
        assert leaving(plan(*four, load=asked, settings=always)) == []
        assert leaving(plan(*four, load=asked)) == [], "counted jobs get the whole time"
        assert leaving(plan(*four, load=replace(KNOWN, wishes=(Wish(301.0, 4), Wish(10.0, 3))))) == ["node-4"]

    @pytest.mark.parametrize("policy", ["threshold", "wait-target"])
    def test_that_window_lasts_for_a_start_at_least(self, policy) -> None:
        three, hasty = [loaded(slot, 0) for slot in (1, 2, 3)], with_scaling(policy=policy, cool_down=20)
        asked = replace(KNOWN, wishes=(Wish(90.0, 3),), start_up=100.0)
        assert leaving(plan(*three, load=asked, settings=hasty)) == []
        assert leaving(plan(*three, load=replace(asked, wishes=(Wish(101.0, 3),)), settings=hasty)) == ["node-3"]

    def test_what_is_said_of_it_is_what_it_goes_by(self) -> None:
        def seen(load: Load) -> dict[str, str]:
            found = plan(loaded(1, 0), loaded(2, 0), load=load, settings=with_scaling(policy="wait-target"))
            return {one.name: one.value for one in found.scale.inputs}

        asked = replace(KNOWN, wishes=(Wish(200.0, 7), Wish(10.0, 3)), start_up=2.0)
        assert seen(asked)["window"] == "at most 3 asked for in the last 20 s, known for 1000 s"
        assert seen(replace(asked, start_up=0.0))["window"].startswith("at most 7 asked for in the last 300 s")
        assert [seen(replace(asked, start_up=start))["start-up"] for start in (2.0, 0.0)] == [
            "2.0 s",
            "not measured yet",
        ]
        busy = Demand("office", 0.1, 0.5, 4.0, latest=0.5, burst=40.0, forecast=1.0)
        assert seen(replace(asked, demands=(busy,)))["demand of office"] == (
            "6.0 jobs a minute of 4.0 s, at most 30.0; 30.0 in the last minute, which have come for 40 s; "
            "60.0 at this time of earlier weeks"
        )

    def test_without_history_the_size_is_kept(self) -> None:
        found = plan(*(loaded(slot, 0) for slot in (1, 2, 3, 4)), load=Load(known_for=120.0))
        assert leaving(found) == []
        assert "the work is known for 120 s of 300 s only" in found.scale.reason

    def test_min_is_kept(self) -> None:
        assert plan(loaded(1, 0), loaded(2, 0)).steps == ()

    def test_not_while_anything_is_unknown(self) -> None:
        three = [loaded(1, 0), loaded(2, 0), sight(3, error="timed out", silent_for=2.0)]
        found = plan(*three)
        assert leaving(found) == []
        assert (found.scale.rule, found.scale.certain) == ("doubt", False)

    def test_nor_while_the_work_of_an_unwell_one_is(self) -> None:
        """Its work counts, so it is missing as much as a ready one's; not even a budget lets another node go then."""
        unseen = sight(3, NodeState.UNHEALTHY, error="timed out", silent_for=2.0)
        found = plan(loaded(1, 0), loaded(2, 0), unseen)
        assert (leaving(found), found.scale.rule, found.scale.certain) == ([], "doubt", False)
        poor, spent = with_scaling(max_node_hours_per_day=50), replace(KNOWN, node_hours=40.0)
        assert leaving(plan(*(loaded(slot, 0) for slot in (1, 2, 4)), unseen, load=spent, settings=poor)) == []

    def test_not_while_the_prober_is_in_doubt(self) -> None:
        assert leaving(plan(loaded(1, 0), loaded(2, 0), loaded(3, 0), canary=None)) == []

    def test_someone_elses_server_stays(self) -> None:
        others = [loaded(slot, 0, driver="existing") for slot in (1, 2, 3)]
        found = plan(*others)
        assert leaving(found) == []
        assert any("no server can go" in note for note in found.notes)


class TestAdministrators:
    def test_an_added_node_counts_as_a_wish_of_its_own(self) -> None:
        found = plan(loaded(1, 0), loaded(2, 0), commands=(command("add"),))
        assert (orders(found), found.scale.wanted, found.scale.rule) == (1, 3, "administrator")

    def test_an_added_node_stays_for_the_whole_cool_down(self) -> None:
        three = [loaded(slot, 0) for slot in (1, 2, 3)]
        added = replace(KNOWN, start_up=2.0, added=(Wish(290.0, 3),))
        measured = with_scaling(policy="wait-target")
        assert leaving(plan(*three, load=added, settings=measured)) == []
        later = replace(added, added=(Wish(301.0, 3),))
        assert leaving(plan(*three, load=later, settings=measured)) == ["node-3"]

    def test_a_retired_node_is_not_ordered_again_by_old_wishes(self) -> None:
        asked = replace(KNOWN, wishes=(Wish(10.0, 3),))
        found = plan(loaded(1, 0), loaded(2, 0), loaded(3, 0), load=asked, commands=(command("retire", "node-3"),))
        assert (orders(found), leaving(found)) == (0, ["node-3"])

    def test_scaling_can_be_paused(self) -> None:
        (pause, *_) = plan(loaded(1, 6), loaded(2, 6), commands=(command("pause", "scaling"),)).steps
        assert pause == Pause("", "admin asked to pause scaling", by="admin")
        paused = replace(KNOWN, paused_by="admin")
        found = plan(loaded(1, 6), loaded(2, 6), load=paused)
        assert (found.steps, found.scale.desired) == ((), 2)
        assert "admin paused scaling" in found.scale.reason
        assert leaving(plan(loaded(1, 0), loaded(2, 0), loaded(3, 0), load=paused)) == []
        assert orders(plan(loaded(1, 6), load=paused)) == 1, "nodes.min is kept"
        assert orders(plan(loaded(1, 6), loaded(2, 6), load=paused, commands=(command("resume", "scaling"),))) == 1

    def test_a_dry_run_only_tells(self) -> None:
        found = plan(loaded(1, 6), loaded(2, 6), settings=with_scaling(dry_run=True))
        assert (found.steps, found.scale.desired) == ((), 3)
        assert found.notes[0].startswith("dry run: 3 servers should be meant to serve, not 2")


class TestBudget:
    def test_when_it_is_used_up_only_min_serves(self) -> None:
        poor = with_scaling(max_node_hours_per_day=50)
        rich = replace(KNOWN, node_hours=20.0, hours_left=14.0)
        assert orders(plan(loaded(1, 6), loaded(2, 6), load=rich, settings=poor)) == 1
        spent = replace(rich, node_hours=22.0)
        found = plan(loaded(1, 6), loaded(2, 6), load=spent, settings=poor)
        assert orders(found) == 0
        assert "22.0 of 50 server-hours are used today" in found.scale.reason
        assert leaving(plan(loaded(1, 6), loaded(2, 7), loaded(3, 8), load=spent, settings=poor)) == ["node-1"]

    @pytest.mark.parametrize(("left", "more"), [(0.0, 0), (0.08, 0), (0.09, 1), (0.26, 3), (2.0, 7)])
    def test_a_node_more_must_be_paid_for_a_cool_down(self, left, more) -> None:
        """Five minutes are a twelfth of a node-hour; none is ordered that would have to go at once, and those that go
        have as much to be emptied in."""
        load = replace(KNOWN, node_hours=72.0 - left, hours_left=14.0)
        settings = with_scaling(max_node_hours_per_day=100, maximum=9, step=9)
        assert orders(plan(loaded(1, 50), loaded(2, 50), load=load, settings=settings)) == more


class TestTimetable:
    MONDAY_NOON = datetime(2027, 1, 4, 12, 0, tzinfo=UTC)

    def test_it_adds(self) -> None:
        day = Schedule(days=("mon",), start=time(8), end=time(18), min=4)
        noon = replace(KNOWN, local=self.MONDAY_NOON)
        found = plan(loaded(1, 0), loaded(2, 0), load=noon, settings=with_scaling(schedule=(day,)))
        assert (orders(found), found.scale.rule) == (2, "schedule")
        holiday = with_scaling(schedule=(day,), holidays=(date(2027, 1, 4),))
        assert orders(plan(loaded(1, 0), loaded(2, 0), load=noon, settings=holiday)) == 0

    @pytest.mark.parametrize(
        ("day", "hour", "inside"), [(3, 21, False), (4, 22, True), (5, 5, True), (5, 6, False), (5, 22, False)]
    )
    def test_one_may_last_beyond_midnight(self, day, hour, inside) -> None:
        night = Schedule(days=("mon",), start=time(22), end=time(6), min=4)
        assert runs(night, datetime(2027, 1, day, hour, tzinfo=UTC)) is inside

    @pytest.mark.parametrize(
        ("day", "hour", "inside"), [(4, 5, True), (4, 22, False), (5, 5, False), (5, 22, True), (6, 5, True)]
    )
    def test_the_day_on_which_it_begins_must_be_no_holiday(self, day, hour, inside) -> None:
        night = Schedule(start=time(22), end=time(6), min=4)
        assert runs(night, datetime(2027, 1, day, hour, tzinfo=UTC), holidays=(date(2027, 1, 4),)) is inside

    @pytest.mark.parametrize(("day", "hour", "inside"), [(4, 22, True), (5, 5, True), (5, 22, False), (11, 22, False)])
    def test_one_may_be_for_some_dates_holidays_too(self, day, hour, inside) -> None:
        exams = Schedule(dates=(date(2027, 1, 4),), start=time(22), end=time(6), min=4)
        at = datetime(2027, 1, day, hour, tzinfo=UTC)
        assert runs(exams, at, holidays=(date(2027, 1, 4),)) is inside
        noon = replace(KNOWN, local=datetime(2027, 1, 4, 12, tzinfo=UTC))
        day_off = with_scaling(
            schedule=(Schedule(dates=(date(2027, 1, 4),), start=time(8), end=time(18), min=3),),
            holidays=(date(2027, 1, 4),),
        )
        assert orders(plan(loaded(1, 0), loaded(2, 0), load=noon, settings=day_off)) == 1

    def test_dates_stand_beside_days_where_both_are_given(self) -> None:
        both = Schedule(days=("fri",), dates=(date(2027, 1, 4),), start=time(8), end=time(18), min=3)
        assert [runs(both, datetime(2027, 1, day, 12, tzinfo=UTC)) for day in (4, 5, 8)] == [True, False, True]


def test_a_node_that_goes_is_drained() -> None:
    assert any(isinstance(step, Drain) for step in plan(loaded(1, 0), loaded(2, 0), loaded(3, 0)).steps)
