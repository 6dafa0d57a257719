"""Each accepted job is printed once, whoever dies between any two steps of a move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from controller.jobs.moves import MoveTable
from controller.jobs.table import JobTable
from controller.snapshot import Node, NodeState
from tests.unit.jobs.servers import HELD, Server, World

pytestmark = pytest.mark.timeout(600)  # seconds of work, on a machine that may be busy
GOING = (NodeState.RESCUING, NodeState.LEAVING)
ROUNDS = 40
"""Of the controller's work within which everything is over, once the fleet is left in peace."""
number = st.integers(0, 1000)
crash = st.integers(0, 14)
"""Moments of death in the middle of a move, and 0 for none."""
SPOOL_LOST, SILENT = "its spool is lost", "it is silent"
ENDS = st.tuples(
    st.sampled_from([None, *GOING, SPOOL_LOST]), st.sampled_from([None, SILENT, SPOOL_LOST]), st.integers(0, 4)
)
"""What becomes of a server, and of the one from which a job is moved there; how often its end is pursued meanwhile."""
Ends = tuple[NodeState | str | None, str | None, int]


class Moves(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def teardown(self) -> None:
        try:
            self.calm_down()
        finally:
            self.world.close()

    def node(self, number: int) -> Node:
        nodes = self.world.nodes()
        return nodes[number % len(nodes)]

    def server(self, number: int) -> Server:
        return self.world.servers[self.node(number).name]

    # People

    @rule(at=number, hold=st.booleans())
    def somebody_prints(self, at: int, hold: bool) -> None:
        node, server = self.node(at), self.server(at)
        if node.state is NodeState.READY and server.runs:
            self.world.accept(server, hold)
            self.world.work(self.world.look)

    @rule(which=number)
    def somebody_cancels(self, which: int) -> None:
        if self.world.accepted:
            self.world.cancel(self.world.accepted[which % len(self.world.accepted)])

    @rule(which=number, then=st.sampled_from([World.hold, World.release]), ends=ENDS)
    def somebody_holds_or_releases(self, which: int, then: Callable[[World, str], None], ends: Ends) -> None:
        """And what becomes of the job's server before anything is moved."""
        if not self.world.accepted:
            return
        uuid = self.world.accepted[which % len(self.world.accepted)]
        then(self.world, uuid)
        job = JobTable(self.world.store).by_uuid(uuid)
        names = [node.name for node in self.world.nodes()]
        if job and job.node in names:
            self.end(names.index(job.node), *ends)

    # The controller

    @rule(at=number, crash_at=crash, ends=ENDS)
    def one_is_evacuated(self, at: int, crash_at: int, ends: Ends) -> None:
        """And, where it stops halfway, what becomes of the two servers before it goes on."""
        with_jobs = [node for node in self.world.nodes() if JobTable(self.world.store).open_on(node.name)]
        if with_jobs:
            self.world.custody.evacuate(with_jobs[at % len(with_jobs)], "a test")
        self.world.work(self.world.move, crash_at=crash_at)
        self.end(at, *ends)

    @rule(crash_at=crash)
    def jobs_are_moved(self, crash_at: int) -> None:
        self.world.work(self.world.move, crash_at=crash_at)

    @rule(crash_at=crash)
    def nodes_are_looked_at(self, crash_at: int) -> None:
        self.world.work(self.world.look, crash_at=crash_at)

    @rule(crash_at=crash)
    def nodes_that_go_are_tended(self, crash_at: int) -> None:
        self.world.work(self.world.act, crash_at=crash_at)

    # Servers

    @rule(at=number, whole=st.booleans(), filters_fail=st.booleans())
    def one_prints(self, at: int, whole: bool, filters_fail: bool) -> None:
        self.world.print_on(self.server(at), whole, filters_fail)

    @rule(at=number)
    def one_dies_or_comes_back(self, at: int) -> None:
        if self.server(at).runs:
            self.world.die(self.server(at))
        elif self.node(at).state is not NodeState.RESCUING:
            self.server(at).runs = True

    @rule(at=number, ends=ENDS)
    def something_becomes_of_one(self, at: int, ends: Ends) -> None:
        self.end(at, *ends)

    def end(self, at: int, fate: NodeState | str | None, of_source: str | None, tended: int) -> None:
        """A server goes, one that a job is moved to if there is any; the mover may be slow."""
        moves = [move for move in MoveTable(self.world.store).open() if move.target in self.world.servers]
        move = moves[at % len(moves)] if moves else None
        nodes = {node.name: node for node in self.world.nodes()}
        self.meet(nodes[move.target] if move else self.node(at), fate)
        if move and move.source in nodes:
            self.meet(nodes[move.source], of_source)
        for _ in range(tended if fate else 0):
            self.world.work(self.world.act)

    def meet(self, node: Node, fate: NodeState | str | None) -> None:
        if fate is SPOOL_LOST:
            self.lose_spool(node)
        elif fate is SILENT:
            self.world.die(self.world.servers[node.name])
        elif isinstance(fate, NodeState) and node.state is NodeState.READY:
            self.world.add()
            if fate is NodeState.RESCUING:
                self.world.die(self.world.servers[node.name])
            self.world.become(node, fate)

    def lose_spool(self, node: Node) -> None:
        """Not while a job there that is moved prints, or ends: then two things would go wrong at once."""
        moved = {move.uuid for move in MoveTable(self.world.store).open()}
        jobs = self.world.servers[node.name].jobs.values()
        if node.state is NodeState.READY and not any(job.uuid in moved and job.state != HELD for job in jobs):
            self.world.servers[node.name].runs = True
            self.world.collect(node)  # what it has was seen there
            self.world.lose_spool(node)

    def calm_down(self) -> None:
        world = self.world
        for _ in range(ROUNDS):
            for node in world.nodes():
                if node.state is not NodeState.RESCUING:
                    world.servers[node.name].runs = True
            world.work(world.look, world.act, world.move)
            for server in world.servers.values():
                world.print_on(server)
            if not MoveTable(world.store).open() and all(node.state is NodeState.READY for node in world.nodes()):
                break
        world.work(world.look)
        standing = [(node.name, node.state.value) for node in world.nodes()], MoveTable(world.store).open()
        assert not MoveTable(world.store).open(), standing
        assert all(node.state is NodeState.READY for node in world.nodes()), standing
        waiting = world.held - world.cancelled
        due = {uuid: int(uuid not in waiting | world.cancelled) for uuid in world.accepted}
        for uuid in world.accepted:
            assert world.printed[uuid] == due[uuid] or (uuid in world.lost and not world.printed[uuid]), uuid
        left = [job.uuid for server in world.servers.values() for job in server.jobs.values() if job.open]
        assert sorted(set(left) - world.lost) == sorted(waiting - world.lost)
        assert len(left) == len(set(left))
        self.the_table_knows(waiting)

    def the_table_knows(self, waiting: set[str]) -> None:
        rows: dict[str, Any] = {job.uuid: job for job in JobTable(self.world.store).search("all")}
        for uuid in self.world.accepted:
            ended = "canceled" if uuid in self.world.cancelled else "completed"
            assert (
                rows[uuid].state in (("held", "stopped") if uuid in waiting else (ended,)) or uuid in self.world.lost
            ), rows[uuid]
        assert set(rows) == set(self.world.accepted)


TestMoves = Moves.TestCase
TestMoves.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
