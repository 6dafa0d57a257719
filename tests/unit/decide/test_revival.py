"""Servers that can't be started, or answer and never prove themselves: their jobs get to others, and others come."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.daemon import record_stop
from controller.snapshot import Node, NodeState
from tests.unit.decide.world import HELD, Machine, World

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


def down(world: World) -> None:
    for machine in world.machines.values():
        machine.runs = False
    record_stop(world.store)
    world.start_controller()


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
        down(world)
        first.broken = True
        if retired:
            world.store.ask("retire", "node-1", "admin")
        pass_time(world)
        assert "node-1" not in nodes(world)
        assert held_elsewhere(world, first)
        assert [node.state for node in nodes(world).values()] == [NodeState.READY] * 2

    def test_its_deaths_are_counted_and_the_failure_is_named(self, world: World) -> None:
        down(world)
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
        down(world)
        assert nodes(world)["node-1"].state is NodeState.RESCUING
        pass_time(world)
        assert "node-1" not in nodes(world)
        assert held_elsewhere(world, first)
