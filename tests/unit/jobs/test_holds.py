"""What a moved job is held for is what its owner said last, whichever server dies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.jobs.moves import MoveTable
from controller.snapshot import Node, NodeState
from tests.unit.jobs.servers import COMPLETED, HELD, PENDING, Kept, World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def where(world: World, uuid: str) -> tuple[Node, Kept]:
    """The node that has the job, and the job there."""
    found = [
        (node, job)
        for node in world.nodes()
        for job in world.servers[node.name].jobs.values()
        if job.uuid == uuid and job.open
    ]
    assert len(found) == 1, found
    return found[0]


def accepted(world: World, hold: bool) -> str:
    world.accept(world.servers["node-1"], hold)
    world.look()
    return world.accepted[0]


def moved(world: World, uuid: str, until: str = "done") -> None:
    """On its way to another node, as far as this phase."""
    world.custody.evacuate(where(world, uuid)[0], "a test")
    phases: list[str] = []
    while until not in phases:
        assert len(phases) < 20, phases
        world.work(world.move, crash_at=2)  # after the next thing that is written down
        world.look()
        phases += [move.phase for move in [MoveTable(world.store).last_of(uuid)] if move]


def given_up(world: World, name: str) -> None:
    """A node dies for good, and all there was on it is moved from its spool."""
    node = next(one for one in world.nodes() if one.name == name)
    world.die(world.servers[name])
    world.become(node, NodeState.RESCUING)
    for _ in range(3):
        world.work(world.look, world.act, world.move)
    assert name not in world.servers


@pytest.mark.parametrize(("held_at_first", "then"), [(False, World.hold), (True, World.release)])
def test_what_its_owner_said_after_a_move_is_heeded_by_a_rescue(world: World, held_at_first: bool, then) -> None:
    uuid = accepted(world, held_at_first)
    moved(world, uuid)
    then(world, uuid)
    given_up(world, where(world, uuid)[0].name)
    assert where(world, uuid)[1].state == (PENDING if held_at_first else HELD)


@pytest.mark.parametrize("held_at_first", [False, True])
def test_a_copy_that_was_not_released_yet_is_held_for_what_the_job_was(world: World, held_at_first: bool) -> None:
    uuid = accepted(world, held_at_first)
    moved(world, uuid, "ended")
    node, copy = where(world, uuid)
    assert copy.state == HELD
    given_up(world, node.name)
    assert where(world, uuid)[1].state == (HELD if held_at_first else PENDING)


@pytest.mark.parametrize("phase", ["holding", "copied", "ending"])
def test_a_job_that_is_released_while_it_is_moved_prints(world: World, phase: str) -> None:
    uuid = accepted(world, hold=True)
    moved(world, uuid, phase)
    world.release(uuid)
    for _ in range(3):
        world.work(world.look, world.move)
    for server in world.servers.values():
        world.print_on(server)
    assert world.printed == {uuid: 1}
    assert [job.state for job in world.servers["node-2"].jobs.values()] == [COMPLETED]
