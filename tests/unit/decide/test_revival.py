"""Servers that can't be started, or answer and never prove themselves: their jobs get to others, and others come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.config import Scaling
from controller.snapshot import Node, NodeState
from tests.unit.decide.machines import HELD, Machine
from tests.unit.decide.world import World

TIME = 300
"""Passes, of a second each, within which everything must have found its end."""


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    for _ in range(10):
        found.step()
    yield found
    found.close()


def pass_time(world: World, passes: int = TIME) -> None:
    for _ in range(passes):
        world.step()


def nodes(world: World) -> dict[str, Node]:
    return {node.name: node for node in world.store.nodes()}


def held_on(world: World, machine: Machine) -> None:
    """It gets a job that ends by nobody's work."""
    world.accept(machine, HELD)


def held_elsewhere(world: World, machine: Machine) -> bool:
    return any(HELD in other.jobs.values() for other in world.serving() if other is not machine)


class TestStart:
    @pytest.mark.parametrize("retired", [False, True])
    def test_a_stopped_server_that_can_not_be_started_is_given_up(self, world: World, retired: bool) -> None:
        first = world.machines["node-1"]
        held_on(world, first)
        world.stop()
        first.broken = True
        if retired:
            world.store.ask("retire", "node-1", "admin")
        pass_time(world)
        assert "node-1" not in nodes(world)
        assert held_elsewhere(world, first)
        assert [node.state for node in nodes(world).values()] == [NodeState.READY] * 2

    def test_its_deaths_are_counted_and_the_failure_is_named(self, world: World) -> None:
        world.stop()
        world.machines["node-1"].broken = True
        pass_time(world, 3)
        node = nodes(world)["node-1"]
        assert (node.state, node.failure.partition(":")[0]) == (NodeState.DEAD, "start failed")
        assert node.deaths >= 1

    def test_a_new_server_that_can_not_be_started_makes_room_for_another(self, world: World) -> None:
        world.bad_disks = {"node-3"}
        world.store.ask("add", "", "admin")
        pass_time(world)
        assert sorted(nodes(world)) == ["node-1", "node-2"]
        starts = sum(step.node == "node-3" for plan in world.history for step in plan.steps)
        assert starts < 15

    def test_one_that_is_being_emptied_goes_on_with_it_after_a_stop(self, world: World) -> None:
        first = world.machines["node-1"]
        for _ in range(3):
            held_on(world, first)
        first.runs, first.broken = False, True
        while nodes(world)["node-1"].state is not NodeState.RESCUING:
            world.step()
        world.stop()
        assert nodes(world)["node-1"].state is NodeState.RESCUING
        pass_time(world)
        assert "node-1" not in nodes(world)
        assert held_elsewhere(world, first)


def unproved(world: World, name: str = "node-1") -> Machine:
    """It dies with a held job, is started again, answers, and every proof fails."""
    machine = world.machines[name]
    held_on(world, machine)
    machine.runs, machine.unprovable = False, True
    return machine


class TestProof:
    def test_the_jobs_of_one_that_answers_and_is_never_proved_move_and_another_comes(self, world: World) -> None:
        first = unproved(world)
        pass_time(world)
        assert sorted(nodes(world)) == ["node-2", "node-3"]
        assert held_elsewhere(world, first)

    def test_it_can_be_retired(self, world: World) -> None:
        first = unproved(world)
        pass_time(world, 5)
        assert nodes(world)["node-1"].state is NodeState.STARTING
        world.store.ask("retire", "node-1", "admin")
        pass_time(world, 100)
        assert "node-1" not in nodes(world)
        assert held_elsewhere(world, first)

    @pytest.mark.parametrize("drained", [False, True])
    def test_it_serves_only_after_a_proof(self, world: World, drained: bool) -> None:
        first = unproved(world)
        if drained:
            world.store.ask("drain", "node-1", "admin")
        while nodes(world)["node-1"].state is not (NodeState.DRAINING if drained else NodeState.UNHEALTHY):
            world.step()
        if drained:
            world.store.ask("resume", "node-1", "admin")
        for _ in range(15):
            world.step()
            assert first not in world.serving()
        first.unprovable = False
        pass_time(world, 70)
        assert first in world.serving()
        assert world.history[-1].notes == ()

    def test_one_that_answers_again_by_itself_is_treated_alike(self, world: World) -> None:
        first = world.machines["node-1"]
        held_on(world, first)
        world.deaf.add("node-1")
        first.hung = first.broken = first.unprovable = True
        while nodes(world)["node-1"].state is not NodeState.DEAD:
            world.step()
        world.deaf.clear()
        first.hung = False
        pass_time(world)
        assert "node-1" not in nodes(world)
        assert held_elsewhere(world, first)

    def test_a_fleet_that_can_not_be_proved_as_a_whole_is_left_alone_and_says_why(self, world: World) -> None:
        for machine in world.machines.values():
            held_on(world, machine)
            machine.runs = False
        world.unprovable = True
        pass_time(world)
        before = nodes(world)
        pass_time(world)
        assert set(nodes(world)) == set(before) >= {"node-1", "node-2"}
        assert len(before) <= 2 * world.settings.nodes.min
        assert any("look bad at once" in note for note in world.history[-1].notes)
        assert all("can't be declared" in node.failure for node in nodes(world).values())
        world.unprovable = False
        pass_time(world)
        assert sorted(nodes(world)) == ["node-1", "node-2"]
        assert world.history[-1].notes == ()

    def test_servers_that_come_in_vain_come_no_more_than_twice(self, world: World) -> None:
        world.settings = world.settings.model_copy(update={"scaling": Scaling(cool_down=86400)})  # all are wanted
        world.unprovable = True
        world.store.ask("add", "", "admin")
        pass_time(world, 2 * TIME)
        assert sorted(nodes(world)) == ["node-1", "node-2", "node-4"]
        assert any("node-4 came in place of another and can't be proved" in note for note in world.history[-1].notes)
        world.unprovable = False
        pass_time(world)
        assert [node.state for node in nodes(world).values()] == [NodeState.READY] * len(nodes(world))
