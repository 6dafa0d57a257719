"""One job on its way: held for what its owner said last, and not lost by our own hand, whichever server dies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.jobs.collect import unattended
from controller.jobs.journey import TRIES
from controller.jobs.moves import Move, MoveTable
from controller.jobs.original import INDEFINITE
from controller.jobs.table import JobTable
from controller.snapshot import Node, NodeState
from probes.ipp import Server
from tests.unit.jobs.servers import COMPLETED, HELD, PENDING, STOPPED, Kept, Wire, World


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
        phases.append(its_move(world, uuid).phase)


def its_move(world: World, uuid: str) -> Move:
    found = MoveTable(world.store).last_of(uuid)
    assert found
    return found


def printed(world: World) -> dict[str, int]:
    """How often each job was, once the controller has done all there is to do."""
    for _ in range(5):
        world.work(world.look, world.act, world.move)
        for server in world.servers.values():
            world.print_on(server)
    assert not MoveTable(world.store).open()
    return dict(world.printed)


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
    assert printed(world) == {uuid: 1}
    assert [job.state for job in world.servers["node-2"].jobs.values()] == [COMPLETED]


@pytest.mark.parametrize("phase", ["copied", "ending"])
def test_the_only_whole_copy_is_kept_when_the_old_one_goes_with_its_disk(world: World, phase: str) -> None:
    uuid = accepted(world, hold=False)
    moved(world, uuid, phase)
    world.lose_spool(world.nodes()[0])
    world.work(world.move)  # before anybody has looked what became of the old one
    assert printed(world) == {uuid: 1}


@pytest.mark.parametrize("dies", [False, True])
def test_it_is_kept_when_its_own_server_goes_after_that(world: World, dies: bool) -> None:
    uuid = accepted(world, hold=False)
    moved(world, uuid, "copied")
    world.lose_spool(world.nodes()[0])
    target = next(node for node in world.nodes() if node.name == its_move(world, uuid).target)
    if dies:
        world.die(world.servers[target.name])
    world.become(target, NodeState.RESCUING if dies else NodeState.LEAVING)
    assert printed(world) == {uuid: 1}
    assert target.name not in world.servers


def test_a_job_that_its_owner_purges_while_it_is_copied_does_not_print(world: World) -> None:
    uuid = accepted(world, hold=False)
    moved(world, uuid, "copied")
    world.servers["node-1"].jobs.clear()
    assert printed(world) == {}
    assert its_move(world, uuid).phase == "abandoned"


@pytest.mark.parametrize("phase", ["copied", "ending"])
def test_the_old_one_is_not_ended_when_the_copy_went_with_its_disk(world: World, phase: str) -> None:
    uuid = accepted(world, hold=False)
    moved(world, uuid, phase)
    world.lose_spool(next(node for node in world.nodes() if node.name == its_move(world, uuid).target))
    assert printed(world) == {uuid: 1}


def test_a_job_that_goes_with_its_disk_before_it_was_copied_is_moved_no_more(world: World) -> None:
    uuid = accepted(world, hold=False)
    moved(world, uuid, "copying")
    world.lose_spool(world.nodes()[0])
    world.work(world.move)
    assert its_move(world, uuid).failure == "node-1 does not know it any more"
    assert printed(world) == {}


def test_a_job_that_goes_with_a_disk_where_nobody_had_seen_it_yet_is_lost_in_words(world: World) -> None:
    uuid = accepted(world, hold=True)
    world.custody.evacuate(where(world, uuid)[0], "a test")
    world.move()
    node, job = where(world, uuid)
    world.lose_spool(node)
    world.look()
    world.look()
    (said,) = unattended(JobTable(world.store), [one.name for one in world.nodes()])
    assert said.startswith(f"1 job is lost with {node.name}, though accepted: {job.id} of alice")


def test_a_move_without_a_source_that_fails_on_and_on_raises_nothing(world: World) -> None:
    uuid = accepted(world, hold=False)
    moved(world, uuid, "copying")
    source, target = world.nodes()[0], next(n for n in world.nodes() if n.name == its_move(world, uuid).target)
    world.become(target, NodeState.LEAVING)
    world.die(world.servers[target.name])
    with world.store.transaction():
        world.store.retire_node(source, "it was let go while it was silent")
    for _ in range(TRIES + 1):
        pauses = world.custody.mover._pauses
        pauses |= {move: (0.0, pause, count) for move, (_, pause, count) in pauses.items()}
        world.custody.mover.advance()
    assert its_move(world, uuid).failure == f"{target.name} is silent"


def test_a_move_that_goes_wrong_as_nobody_foresaw_holds_up_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        world.accept(world.servers["node-1"], hold=False)
    world.look()
    world.custody.evacuate(world.nodes()[0], "a test")
    hold = Wire.hold

    def fails(wire: Wire, server: Server, number: int, until: str = INDEFINITE) -> None:
        if number == 1_000_001:
            raise MemoryError("too large")
        hold(wire, server, number, until)

    monkeypatch.setattr(Wire, "hold", fails)
    world.move()
    assert [move.uuid for move in MoveTable(world.store).open()] == ["urn:uuid:0"]
    (said,) = world.custody.mover.problems()
    assert said == "job 1000001 of alice is not moved from node-1 yet: MemoryError: too large"


@pytest.mark.parametrize("rescued", [False, True])
def test_a_job_that_a_filter_stopped_is_moved_and_waits_for_its_owner(world: World, rescued: bool) -> None:
    uuid = accepted(world, hold=False)
    world.print_on(world.servers["node-1"], filters_fail=True)
    world.look()
    assert where(world, uuid)[1].state == STOPPED
    if rescued:
        given_up(world, "node-1")
    else:
        moved(world, uuid)
    node, job = where(world, uuid)
    assert (job.state, job.hold, node.name != "node-1") == (HELD, INDEFINITE, True)
    (said,) = unattended(JobTable(world.store), [one.name for one in world.nodes()])
    assert said.startswith(
        f"1 job is stopped on {node.name}, for a filter failed, until somebody cancels or releases: "
    )
    assert said.endswith(f"{job.id} of alice (held since it was moved)")
    world.release(uuid)
    assert printed(world) == {uuid: 1}
    assert unattended(JobTable(world.store), [one.name for one in world.nodes()]) == []
