"""The promises of `decide`, whatever happens: random worlds, and crashes of the controller between any two writes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.plan import Aim, Drain, Leave, Order, Plan, Remove, Suspend, TakeOut
from controller.snapshot import Cause, Goal, NodeState, Snapshot
from haproxy.model import SLOT_IDS
from tests.unit.decide.machines import HELD, PENDING, STOPPED, Machine
from tests.unit.decide.stand_ins import Crash
from tests.unit.decide.world import SLOTS, World

pytestmark = pytest.mark.timeout(600)  # half a minute of work, on a machine that may be busy
IN_SERVICE = (NodeState.READY, NodeState.UNHEALTHY, NodeState.DRAINING)
CALM_DOWN = 400
"""Passes within which everything must be over: the longest time in the settings is 30 s, and there are few nodes."""
GIVEN_UP = 80
"""Passes within which a server that can't be started, or proved, has been given up and emptied."""
QUIET = 30
"""Passes at the end of these in which nothing may be done any more."""
ACTIONS = 300
"""Steps that calming down may take at most, all nodes together."""

AILMENTS: dict[str, Any] = {
    "tls_error": "over TLS: broken",
    "proof_error": "it did not print a proof",
    "latency": 2.0,
    "free": 0,
    "stuck": True,
    "queue_stopped": True,
}
chance = st.integers(0, 10_000)


class Watched(World):
    """A world in which each plan is held against the promises."""

    def check(self, snapshot: Snapshot, plan: Plan) -> None:
        sights = {sight.node.name: sight for sight in snapshot.nodes}
        taken = [step for step in plan.steps if isinstance(step, Suspend | Drain | Leave | TakeOut | Remove)]
        doubted = self.blind or not self.canary or self.stale > 9.0 or self.gap > 9.0
        verdicts = 0
        for step in taken:
            sight, machine = sights[step.node], self.machines.get(step.node)
            by_verdict = sight.node.goal_by not in (Cause.ADMINISTRATOR, Cause.ORDER)
            gone = sight.alive is False
            if doubted and sight.node.state in IN_SERVICE and not gone:
                assert isinstance(step, Drain), f"{step} although nothing could be known"
                assert not by_verdict, f"{step} although nothing could be known"
            if isinstance(step, TakeOut) and not gone and sight.node.state in IN_SERVICE:
                assert machine is not None
                assert not machine.answers or step.node in self.deaf, f"{step}, and it answered"
            if isinstance(step, Suspend):
                assert machine is not None
                assert not machine.well or not sight.node.proved, f"{step}, and it was well"  # who fails proofs is not
            if isinstance(step, Suspend | Drain):
                self._others_serve(snapshot, plan, step)
                verdicts += isinstance(step, Suspend) or by_verdict
        assert verdicts <= 1, f"more than one was taken at once: {plan.sentence()}"
        self._enough_are_meant_to_serve(snapshot, plan)

    def _enough_are_meant_to_serve(self, snapshot: Snapshot, plan: Plan) -> None:
        """The floor is nodes.min: the size is never decided to be less, and whatever goes, by whose word ever, so many
        are meant to serve after each plan, unless every slot is taken."""
        floor, meant = self.settings.nodes.min, _meant(snapshot, plan)
        assert plan.scale.desired >= floor, plan.scale
        full = sum(isinstance(step, Order) for step in plan.steps) == len(snapshot.free_slots)
        assert meant >= floor or full, f"{meant} are meant to serve: {plan.sentence()}"

    def _others_serve(self, snapshot: Snapshot, plan: Plan, step: Suspend | Drain) -> None:
        """The floor of those that do serve: a verdict, or an administrator's drain, leaves one. What is retired while
        it serves, by whomever, leaves as many as nodes.min, or as are meant to serve when no slot was free for so many;
        what is replaced though it is well leaves all that are meant to serve."""
        left = {
            sight.node.name for sight in snapshot.nodes if sight.node.state is NodeState.READY and sight.answers
        } - {other.node for other in plan.steps if isinstance(other, Suspend | Drain | TakeOut)}
        assert left, f"{step} leaves nobody"
        (node,) = (sight.node for sight in snapshot.nodes if sight.node.name == step.node)
        if (
            isinstance(step, Drain)
            and node.state is NodeState.READY
            and _goals(snapshot, plan)[step.node] is Goal.RETIRE
        ):
            renewed, meant = node.goal_by in (Cause.IDS, Cause.SETTINGS), _meant(snapshot, plan)
            floor = meant if renewed else min(self.settings.nodes.min, meant)
            assert len(left) >= floor, f"{step} leaves {len(left)} of at least {floor}"


def _goals(snapshot: Snapshot, plan: Plan) -> dict[str, Goal]:
    """What each node is meant for after the plan."""
    goals = {sight.node.name: sight.node.goal for sight in snapshot.nodes}
    return goals | {step.node: Goal(step.goal) for step in plan.steps if isinstance(step, Aim)}


def _meant(snapshot: Snapshot, plan: Plan) -> int:
    """How many are meant to serve after the plan, those that it orders too."""
    goals, gone = _goals(snapshot, plan), (NodeState.RESCUING, NodeState.LEAVING)
    staying = (sight.node for sight in snapshot.nodes if sight.node.state not in gone)
    ordered = sum(isinstance(step, Order) for step in plan.steps)
    return ordered + sum(goals[node.name] is Goal.SERVE for node in staying)


class Fleet(RuleBasedStateMachine):
    """Anything may happen at any time, and the controller may die at any write."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Watched()
        self.chance = random.Random(0)
        self.load = 0
        """Jobs that are open at every look, once the fleet is left in peace."""

    def teardown(self) -> None:
        try:
            self.leave_the_bad_ones()
            self.calm_down()
        finally:
            self.world.close()

    @initialize(others=st.integers(0, 2), load=st.integers(0, 30))
    def the_fleet_is_up(self, others: int, load: int) -> None:
        self.load = load
        for _ in range(others):
            self.world.store.ask("add", "", "admin")
        for _ in range(10):
            self.world.step()

    # Time passes

    @rule(passes=st.integers(1, 12))
    def time(self, passes: int) -> None:
        for _ in range(passes):
            self.one_pass()

    def one_pass(self) -> Plan | None:
        try:
            return self.world.step()
        except Crash:
            self.world.kill_controller(self.chance)
            return None

    @rule(writes=st.integers(1, 12), seed=chance)
    def the_controller_dies_at_a_write(self, writes: int, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world.store.writes_left = writes

    @rule(seed=chance)
    def the_controller_dies_between_two_passes(self, seed: int) -> None:
        self.world.kill_controller(random.Random(seed))

    @rule(gap=st.sampled_from([0.2, 3.0, 8.0, 30.0]))
    def the_loop_stands_still(self, gap: float) -> None:
        self.world.gap = gap
        self.one_pass()
        self.world.gap = 1.0

    # Servers

    def machine(self, number: int) -> Machine:
        machines = sorted(self.world.machines.values(), key=lambda machine: machine.slot)
        return machines[number % len(machines)]

    def any_machine(self) -> bool:
        return bool(self.world.machines)

    @precondition(any_machine)
    @rule(number=chance, how=st.sampled_from(["killed", "hung", "unable to start", "unprovable"]))
    def one_goes(self, number: int, how: str) -> None:
        machine = self.machine(number)
        machine.hung = machine.hung or how == "hung"
        machine.runs = machine.runs and how == "hung"
        machine.broken = machine.broken or how == "unable to start"
        machine.unprovable = machine.unprovable or how == "unprovable"

    @rule(passes=st.integers(1, 30))
    def none_can_be_proved(self, passes: int) -> None:
        self.world.unprovable = True
        self.time(passes)
        self.world.unprovable = False

    @rule(how=st.sampled_from(["", "broken", "unprovable"]), seed=chance)
    def the_fleet_is_stopped_and_started(self, how: str, seed: int) -> None:
        """And one of its servers may not come up again, with a job that nobody ends."""
        self.world.store.writes_left = None
        if how and (serving := self.world.serving()):
            machine = serving[seed % len(serving)]
            self.world.accept(machine, HELD)
            setattr(machine, how, True)
        self.world.stop()

    @precondition(any_machine)
    @rule(number=chance, ailment=st.sampled_from(list(AILMENTS)), passes=st.integers(1, 30))
    def one_falls_ill(self, number: int, ailment: str, passes: int) -> None:
        setattr(self.machine(number), ailment, AILMENTS[ailment])
        self.time(passes)

    @precondition(any_machine)
    @rule(number=chance)
    def one_is_mended(self, number: int) -> None:
        self.machine(number).mend()

    @rule()
    def a_release_changes_the_settings_of_nodes(self) -> None:
        for machine in self.world.machines.values():
            machine.outdated = True

    # Witnesses

    @rule(passes=st.integers(1, 15))
    def the_prober_lies_about_all(self, passes: int) -> None:
        self.world.blind = True
        self.time(passes)
        self.world.blind = False

    @rule(passes=st.integers(1, 15))
    def the_canary_does_not_answer(self, passes: int) -> None:
        self.world.canary = False
        self.time(passes)
        self.world.canary = True

    @rule(passes=st.integers(1, 15))
    def readings_are_old(self, passes: int) -> None:
        self.world.stale = 10.0
        self.time(passes)
        self.world.stale = 0.0

    @precondition(any_machine)
    @rule(number=chance, passes=st.integers(1, 15))
    def the_proxy_can_not_reach_one(self, number: int, passes: int) -> None:
        self.world.deaf.add(self.machine(number).name)
        self.time(passes)
        self.world.deaf.clear()

    # People and administrators

    @precondition(lambda self: self.world.serving())
    @rule(number=chance, state=st.sampled_from([PENDING, HELD, STOPPED]))
    def somebody_prints(self, number: int, state: int) -> None:
        serving = self.world.serving()
        self.world.accept(serving[number % len(serving)], state)

    @precondition(any_machine)
    @rule(number=chance)
    def one_finishes_its_jobs(self, number: int) -> None:
        machine = self.machine(number)
        if machine.answers:
            self.world.finish(machine)

    @rule(verb=st.sampled_from(["add", "retire", "drain", "resume"]), number=chance)
    def an_administrator_asks(self, verb: str, number: int) -> None:
        nodes = self.world.store.nodes()
        if verb == "add" or nodes:
            self.world.store.ask(verb, "" if verb == "add" else nodes[number % len(nodes)].name, "admin")

    # Promises

    @invariant()
    def no_slot_and_no_address_is_given_twice(self) -> None:
        nodes = self.world.store.nodes()
        assert len({node.slot for node in nodes}) == len(nodes)
        rows = self.world.store.rows("select name, host, port from nodes")
        assert len({(row["host"], row["port"]) for row in rows}) == len(rows)  # all of them within the quarantine

    def leave_the_bad_ones(self) -> None:
        """Who broke stays so, and whoever looks can be believed: every job ends on a server that serves or comes back,
        unless none is left, or something says why it does not."""
        self.world.store.writes_left = None
        for _ in range(GIVEN_UP):
            plan = self.world.step()
        for node in self.world.store.nodes():
            machine = self.world.machines.get(node.name)
            if machine and machine.jobs and (machine.broken or machine.unprovable):
                stays = node.state in (NodeState.READY, NodeState.DRAINING) and machine.answers  # it was proved before
                named = plan.notes or node.failure or node.state in (NodeState.DEAD, NodeState.RESCUING)
                assert stays or named, f"{node} keeps {machine.jobs}, and nothing says so"
                assert node.state not in (NodeState.STOPPED, NodeState.STARTING, NodeState.ORDERED), node
                assert node.state is not NodeState.RESCUING or not self.world.serving(), node

    def calm_down(self) -> None:
        """Everybody is mended, as many jobs print all the time, nobody asks for anything: the fleet comes to rest."""
        self.world.store.writes_left = None
        steps, quiet, plan = 0, 0, None
        for _ in range(CALM_DOWN):
            for machine in self.world.machines.values():
                machine.mend()
                if machine.answers:
                    machine.jobs = dict.fromkeys(machine.jobs, PENDING)
                    self.world.finish(machine)
            self.print_on()
            plan = self.world.step()
            steps, quiet = steps + len(plan.steps), 0 if plan.steps else quiet + 1
            if quiet >= QUIET:
                break
        nodes = self.world.store.nodes()
        standing = [(node.name, node.state.value, node.goal.value, node.reason) for node in nodes]
        assert quiet >= QUIET, f"it does not come to rest: {standing}"
        assert plan is not None
        assert plan.notes == (), (plan.notes, standing)
        at_rest = {Goal.SERVE: NodeState.READY, Goal.DRAIN: NodeState.DRAINING}
        assert all(node.state is at_rest.get(node.goal) for node in nodes), standing
        ready = sum(node.state is NodeState.READY for node in nodes)
        assert ready >= self.world.settings.nodes.min, standing
        assert steps <= ACTIONS, f"{steps} steps to come to rest"
        open_jobs = sum(len(machine.jobs) for machine in self.world.machines.values())
        assert open_jobs == self.load

    def print_on(self) -> None:
        """The constant load, dealt out to those that serve."""
        serving = self.world.serving()
        for place in range(self.load if serving else 0):
            self.world.accept(serving[place % len(serving)])


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


def test_a_fleet_that_hangs_as_a_whole_is_served_by_others() -> None:
    """And nothing that hangs is touched before."""
    world = Watched()
    try:
        for _ in range(10):
            world.step()
        hung = list(world.machines.values())
        for machine in hung:
            machine.hung = True
        while len(world.serving()) < world.settings.nodes.min:
            assert world.now < 1100.0
            assert all(machine.hung for machine in hung)
            world.step()
        for _ in range(60):
            world.step()
        assert not any(machine.hung for machine in hung)
        assert len(world.store.nodes()) == 2  # the spares have gone again
    finally:
        world.close()


def test_ids_of_a_slot_go_on_where_its_last_node_ended() -> None:
    world = Watched()
    try:
        for _ in range(10):
            world.step()
        for round_trip in range(2 * SLOTS):
            machine = world.serving()[0]
            world.accept(machine)
            world.finish(machine)
            world.store.ask("retire", machine.name, "admin")
            for _ in range(20):
                world.step()
            assert machine.name not in world.machines, f"round {round_trip}"
        assert max(number % SLOT_IDS for number in world.given) > 4
    finally:
        world.close()


def test_a_crash_at_each_single_write_leads_to_the_same_end() -> None:
    """From an empty fleet to one that has replaced a node which did not recover and had a job."""
    crashes = 0
    while _replaced_although_it_crashes_at(crashes + 1):
        crashes += 1
    assert crashes > 25


def _replaced_although_it_crashes_at(write: int) -> bool:
    """Whether there was a write of this number."""
    world, crashed, had_job = Watched(), False, False
    world.store.writes_left = write
    try:
        for _ in range(90):
            try:
                world.step()
            except Crash:
                crashed = True
                world.kill_controller(random.Random(write))
            first = world.machines.get("node-1")
            if first and world.now > 1020.0:
                first.tls_error = "over TLS: broken"
                had_job = had_job or bool(world.accept(first))
        assert had_job
        standing = [(node.name, node.state) for node in world.store.nodes()]
        assert standing == [("node-2", NodeState.READY), ("node-3", NodeState.READY)], f"crash at write {write}"
        assert world.history[-1].notes == ()
    finally:
        world.close()
    return crashed
