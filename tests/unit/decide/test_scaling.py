"""How many nodes should serve: what the rules ask, the bounds, and the first step towards it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from time import time as clock

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from controller.config import Nodes, Scaling, Schedule, Settings
from controller.decide import decide
from controller.decide.backlog import backlog
from controller.decide.policies import Fleet, runs, steady_nodes, threshold, wait_target, worth
from controller.decide.scaling import scale
from controller.jobs.demand import demands, measure
from controller.jobs.table import Job, JobTable
from controller.plan import Aim, Drain, Order, Pause, Plan
from controller.snapshot import Backlog, Cause, Demand, Goal, Load, NodeSight, NodeState, QueueWork, Wish
from controller.store import Store
from tests.builders import command, job, queue, reading, sight, snapshot

KNOWN = Load(known_for=1000.0)
"""Nothing was asked for in the whole window."""
FREE = tuple(range(20, 40))


@pytest.fixture
def store(tmp_path: Path):
    store = Store(tmp_path / "cupsfleet.db", create=True)
    yield store
    store.close()


def with_scaling(minimum: int = 2, maximum: int = 8, **scaling) -> Settings:
    """By counted jobs, unless another policy is named: what holds for any is easier to see there."""
    return Settings(nodes=Nodes(min=minimum, max=maximum), scaling=Scaling(**{"policy": "threshold", **scaling}))


def loaded(slot: int, jobs: int, seconds: float | None = None, stuck: int = 0, **seen) -> NodeSight:
    work = QueueWork("office", jobs, 5.0 * jobs if seconds is None else seconds)
    return sight(slot, backlog=Backlog((work,), stuck), **seen)


def plan(*sights: NodeSight, load: Load = KNOWN, settings: Settings | None = None, **rest) -> Plan:
    return decide(snapshot(*sights, load=load, free_slots=FREE, **rest), settings or with_scaling())


def orders(found: Plan) -> int:
    return sum(isinstance(step, Order) for step in found.steps)


def leaving(found: Plan) -> list[str]:
    return [step.node for step in found.steps if isinstance(step, Aim) and step.goal == "retire"]


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

    def test_what_only_people_can_further_is_no_reason(self) -> None:
        assert plan(loaded(1, 0, stuck=50), loaded(2, 0, stuck=50)).steps == ()


class TestBacklog:
    def test_jobs_that_can_print_are_work(self) -> None:
        found = backlog(reading("node-1", jobs=3), {"office": 7.0})
        assert found is not None
        assert (found.jobs, found.seconds, found.stuck) == (3, 21.0, 0)

    def test_held_and_stopped_jobs_are_not(self) -> None:
        jobs = [replace(job(0), state=4), replace(job(1), state=6), job(2)]
        assert backlog(replace(reading("node-1"), jobs=tuple(jobs)), {}) == Backlog((QueueWork("office", 1, 5.0),), 2)

    @pytest.mark.parametrize("blocked", [queue(state=5), queue(state=4, reasons=("media-empty-error",))])
    def test_nor_is_what_waits_for_paper_or_stands_in_a_stopped_queue(self, blocked) -> None:
        assert backlog(reading("node-1", jobs=3, queues=(blocked,)), {}) == Backlog((), 3, frozenset({"office"}))

    def test_one_that_has_printed_for_long_goes_on_for_as_long_again(self) -> None:
        jobs = (replace(job(0), state=5), job(1))
        found = backlog(replace(reading("node-1"), jobs=jobs), {"office": 7.0}, {jobs[0].id: 100.0})
        assert found == Backlog((QueueWork("office", 2, 107.0, current=100.0),))

    @pytest.mark.parametrize("blocked", [queue(state=5), queue(state=4, reasons=("media-empty-error",))])
    def test_what_comes_for_a_printer_that_stands_still_everywhere_is_no_reason(self, blocked, store) -> None:
        """Sixty jobs in a minute, and none of them can print before somebody looks after the printer."""
        now = int(clock())
        with store.transaction():
            JobTable(store).put(Job(f"u{n}", n, "node-1", "office", "a", created=now - 50 + n) for n in range(50))
        load = replace(KNOWN, demands=demands(store), start_up=2.0)
        assert load.demands[0].latest > 0
        stuck = [sight(slot, reading=reading(f"node-{slot}", jobs=30, queues=(blocked,))) for slot in (1, 2)]
        settings = with_scaling(policy="wait-target")
        found = plan(*stuck, load=load, settings=settings)
        assert (found.scale.wanted, orders(found)) == (2, 0)
        assert any("stands still on every server" in one.value for one in found.scale.inputs)
        assert orders(plan(stuck[0], loaded(2, 30), load=load, settings=settings)) > 0, "on one node it prints"

    def test_silence_is_not_emptiness(self) -> None:
        assert backlog(reading("node-1", error="refused"), {}) is None
        assert backlog(None, {}) is None


class TestShrinking:
    def test_the_node_with_the_least_work_goes_one_at_a_time(self) -> None:
        found = plan(loaded(1, 0, 0.0), loaded(2, 1, 9.0), loaded(3, 1, 4.0), loaded(4, 1, 7.0))
        assert leaving(found) == ["node-1"]
        going = sight(1, NodeState.DRAINING, Goal.RETIRE, goal_by=Cause.SCALING, jobs=1)
        assert leaving(plan(going, loaded(2, 0), loaded(3, 0), loaded(4, 0))) == []

    def test_one_with_a_held_job_stays(self) -> None:
        assert leaving(plan(loaded(1, 0, stuck=1), loaded(2, 0), loaded(3, 0, stuck=1))) == ["node-2"]

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


class TestWaitTarget:
    SCALING = Scaling(policy="wait-target")
    NOW = 1.8e9

    def fleet(
        self, rate: float, service: float = 10.0, work: float = 0.0, start_up: float = 2.0, ready: int = 2
    ) -> Fleet:
        load = Load((Demand("office", rate, 2 * rate, service),), start_up=start_up)
        return Fleet(ready, ready, (Backlog((QueueWork("office", 1, work),)),), load)

    def test_a_steady_stream_gets_more_nodes_than_it_keeps_busy(self) -> None:
        assert 6 <= wait_target(self.fleet(rate=0.5), self.SCALING).nodes <= 8

    def test_erlang(self) -> None:
        """Ten servers, eight busy on average: 40.9 % of the arrivals wait (Erlang C, from tables)."""
        assert steady_nodes(8.0, 1.0, 1.0, 1e-9, 1 - 0.410) == 10
        assert steady_nodes(8.0, 1.0, 1.0, 1e-9, 1 - 0.408) == 11

    def test_work_that_waits_is_begun_within_the_target(self) -> None:
        """300 s of work; two nodes do 102 of it in 51 s, the 1.7 waits that it may take, new ones 49 each."""
        assert wait_target(self.fleet(rate=0.0, work=300.0), self.SCALING).nodes == 2 + 5

    def test_between_what_orders_a_node_and_what_lets_one_go_nothing_changes(self) -> None:
        def nodes(work: float) -> int:
            fleet = Fleet(4, 4, self.fleet(rate=0.0, work=work).backlogs, self.fleet(rate=0.0).load)
            return wait_target(fleet, self.SCALING).nodes

        assert [nodes(work) for work in (60.0, 70.0, 100.0, 200.0, 210.0)] == [3, 4, 4, 4, 5]

    def test_queues_share_nodes_and_the_one_that_needs_most_counts(self) -> None:
        works = Backlog((QueueWork("office", 60, 300.0), QueueWork("lab", 1, 5.0), QueueWork("hall", 1, 5.0)))
        alone = Fleet(2, 2, (Backlog(works.work[:1]),), Load(start_up=2.0))
        together = Fleet(2, 2, (works,), Load(start_up=2.0))
        assert wait_target(together, self.SCALING) == wait_target(alone, self.SCALING)

    def test_a_job_without_end_takes_one_node_and_asks_for_no_second_one(self) -> None:
        endless = Backlog((QueueWork("office", 1, 5000.0, current=5000.0),))
        fleet = Fleet(2, 2, (endless, Backlog()), self.fleet(rate=0.0).load)
        assert wait_target(fleet, self.SCALING).nodes <= 2

    def test_a_job_that_prints_and_prints_where_none_ever_did_is_no_reason_for_another_node(self) -> None:
        """Two that hang at a printer which says nothing, in a queue whose jobs took half a second, or a new one."""
        hangs = (Backlog((QueueWork("office", 1, 200.0, current=200.0),)),) * 2

        def nodes(services: list[float], queue: str = "office") -> int:
            load = Load((measure(queue, [self.NOW - 200] * 2, services, self.NOW),), start_up=2.0)
            return wait_target(Fleet(2, 2, hangs, load), self.SCALING).nodes

        assert max(nodes([0.5] * 20), nodes([]), nodes([], "lab")) <= 2
        assert nodes([30.0] * 20) == 3, "here jobs are long at times, and the next one would wait"

    def test_a_few_quick_jobs_of_a_new_queue_ask_for_nothing(self) -> None:
        """As many as a handful of tests print, of which one stood still for a while."""
        arrivals = [self.NOW - 10 * number for number in range(30, 0, -1)]
        for services in ([], [0.5], [0.5] * 8 + [100.0], [0.1] * 4 + [60.0]):
            load = Load((measure("office", arrivals, services, self.NOW),), start_up=2.0)
            fleet = Fleet(2, 2, (Backlog((QueueWork("office", 2, 10.0, current=5.0),)), Backlog()), load)
            assert wait_target(fleet, self.SCALING).nodes <= 2, services

    def test_a_burst_is_taken_to_go_on_for_as_long_as_it_has_lasted(self) -> None:
        """Fifteen jobs that somebody sent at once, and none since: 75 s of work for two nodes, and no more to come."""
        arrivals = [self.NOW - 5 + number / 15 for number in range(15)]
        demand = measure("office", arrivals, [], self.NOW)
        fleet = Fleet(2, 2, (Backlog((QueueWork("office", 15, 75.0),)),), Load((demand,), start_up=2.0))
        assert wait_target(fleet, self.SCALING).nodes == 2
        lasts = replace(fleet, load=replace(fleet.load, demands=(replace(demand, burst=60.0),)))
        assert wait_target(lasts, self.SCALING).nodes > 2

    def test_where_jobs_wait_for_each_other_only_nodes_that_help_are_asked_for(self) -> None:
        fleet = self.fleet(rate=1.0, work=2000.0)
        (demand,) = fleet.load.demands
        shared = replace(fleet, load=replace(fleet.load, demands=(replace(demand, contention=0.5),)))
        ask = wait_target(shared, self.SCALING)
        assert (wait_target(fleet, self.SCALING).nodes > 20, ask.nodes) == (True, 2)
        assert "more than 2 would print hardly faster" in ask.reason
        told = plan(loaded(1, 1), loaded(2, 1), load=shared.load).scale.inputs
        assert any("each takes 50% longer for another one beside it" in one.value for one in told)

    @pytest.mark.parametrize(("contention", "most"), [(0.0, 16), (0.1, 10), (0.2, 5), (0.5, 2), (0.9, 1), (1.0, 1)])
    def test_a_node_is_worth_a_quarter_of_one(self, contention, most) -> None:
        assert worth(16, contention) == most

    def test_where_a_start_takes_longer_than_the_target_headroom_is_kept_and_told(self) -> None:
        slow, fast = self.fleet(rate=0.2, start_up=120.0), self.fleet(rate=0.2)
        ask = wait_target(slow, self.SCALING)
        assert ask.nodes > wait_target(fast, self.SCALING).nodes
        assert "for a server takes 120 s to start" in ask.reason


POLICIES = st.sampled_from(["wait-target", "threshold"])
AMOUNT = st.floats(0, 2000) | st.floats(0, 120)
WORKS = st.tuples(st.floats(0, 2), st.floats(0, 2), AMOUNT, AMOUNT)
"""Jobs a second over minutes and in the last one, seconds of work that wait, and of the job that prints."""


def asked_for(works, nodes: int, start_up: float, policy: str = "wait-target") -> int:
    """What the policy asks for where so many nodes serve."""
    rate, latest, waiting, current = works
    load = Load((Demand("office", rate, rate, 8.0, 1.5, latest=latest),), start_up=start_up)
    work = QueueWork("office", round((waiting + current) / 8.0), waiting + current, current)
    fleet = Fleet(nodes, nodes, (Backlog((work,)),), load)
    return (threshold if policy == "threshold" else wait_target)(fleet, Scaling()).nodes


@given(WORKS, WORKS, st.integers(1, 20), st.floats(0, 200), POLICIES)
@example((0.0, 0.0, 100.0, 47.0), (0.0, 0.0, 0.0, 10.0), 1, 2.0, "wait-target")
def test_more_load_never_asks_for_fewer(works, more, nodes, start_up, policy) -> None:
    larger = tuple(map(sum, zip(works, more, strict=True)))
    assert asked_for(larger, nodes, start_up, policy) >= asked_for(works, nodes, start_up, policy)


@given(st.lists(st.integers(0, 30), min_size=2, max_size=6), st.integers(0, 5), st.integers(0, 30), POLICIES)
def test_more_jobs_never_lower_desired(jobs, where, more, policy) -> None:
    larger = [count + more * (index == where % len(jobs)) for index, count in enumerate(jobs)]

    def desired(counts: list[int]) -> int:
        sights = (loaded(slot, count) for slot, count in enumerate(counts, 1))
        return plan(*sights, settings=with_scaling(policy=policy)).scale.desired

    assert desired(larger) >= desired(jobs)


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 30)), min_size=2, max_size=6),
    POLICIES,
    st.sampled_from([NodeState.READY, NodeState.UNHEALTHY]),
)
def test_missing_data_never_shrinks(jobs, policy, unwell) -> None:
    sights = [
        sight(slot, unwell, error="timed out", silent_for=1.0) if count is None else loaded(slot, count)
        for slot, count in enumerate([None, *jobs], 1)
    ]
    found = plan(*sights, settings=with_scaling(policy=policy))
    assert found.scale.desired >= len(sights)
    assert leaving(found) == []


PASS = 60.0
"""Seconds between two passes of `sizes`."""


def sizes(works, nodes: int, load: Load, settings: Settings, passes: int) -> list[int]:
    """A fleet over so many passes in which nothing changes but its size: all bounds hold, growth is there by the next
    pass, and one node goes at a time."""
    rate, latest, waiting, current = works
    work = Backlog((QueueWork("office", round((waiting + current) / 8.0), waiting + current, current),))
    demands = (Demand("office", rate, rate, 8.0, 1.5, latest=latest, forecast=latest / 2),)
    found = [nodes]
    wished: list[tuple[int, int]] = []
    for number in range(passes):
        seen = (sight(slot, backlog=work if slot == 1 else Backlog()) for slot in range(1, found[-1] + 1))
        wishes = tuple(Wish((number - then) * PASS, wanted) for then, wanted in wished)
        known = replace(load, demands=demands, wishes=wishes)
        decided = scale(snapshot(*seen, load=known), settings, found[-1], coming=0)
        wished.append((number, decided.wanted))
        found.append(max(decided.desired, found[-1] - 1))
    return found


@given(
    WORKS,
    st.integers(1, 20),
    st.floats(0, 200),
    POLICIES,
    st.sampled_from([1, 4, 20]),
    st.floats(0.5, 20),
    st.floats(0, 0.99),
    st.sampled_from([0.0, 60.0]),
    st.floats(0, 24),
    st.sampled_from([(), (Schedule(start=time(8), end=time(18), min=5),)]),
)
@hypothesis_settings(max_examples=60)
def test_a_constant_load_ends_in_a_constant_size(
    works, nodes, start_up, policy, step, up, share, budget, left, schedule
) -> None:
    scaling = {"policy": policy, "step": step, "schedule": schedule, "max_node_hours_per_day": budget}
    depths = {"queue_depth_per_node": up, "queue_depth_per_node_down": up * share}
    load = replace(KNOWN, start_up=start_up, local=TestTimetable.MONDAY_NOON, node_hours=30.0 - left, hours_left=12.0)
    found = sizes(works, nodes, load, with_scaling(1, 12, **scaling, **depths), passes=60)
    assert len(set(found[-20:])) == 1, found


@given(WORKS, st.integers(1, 20), st.floats(0, 200))
def test_so_does_one_by_measured_times(works, nodes, start_up) -> None:
    """At most one step up, and one back: those on their way were needed until they served."""
    sizes = [nodes]
    for _ in range(4):
        sizes.append(max(1, asked_for(works, sizes[-1], start_up)))
    assert sizes[3] == sizes[4], sizes


def test_a_node_that_goes_is_drained() -> None:
    assert any(isinstance(step, Drain) for step in plan(loaded(1, 0), loaded(2, 0), loaded(3, 0)).steps)
