"""No job goes with a server that is given up, leaves, or comes back without its disk."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from pyipp.enums import IppOperation

from controller.jobs.collect import Incomplete
from controller.jobs.custody import Custody
from controller.jobs.journey import Journey
from controller.jobs.moves import MoveTable
from controller.jobs.spool import Spool
from controller.snapshot import NodeState
from tests.process.nodes.conftest import eventually
from tests.process.nodes.moves.conftest import Crash, Mortal, Pair, advance


@pytest.mark.parametrize("life", range(1, 18, 2))
def test_the_spool_of_a_node_that_is_given_up_is_rescued_once(clean: Pair, life: int) -> None:
    """Killed with a waiting and a held job, of which the controller has not heard yet; it dies in the middle too."""
    source = clean.nodes["node-3"]
    mark = os.urandom(4).hex()
    source.lp("bob", "-t", f"waits {mark}", text=f"waits {mark}\n")
    source.lp("carol", "-t", f"held {mark}", "-H", "indefinite", text=f"held {mark}\n")
    source.kill()
    source.driver.stop(source.spec)
    clean.set_state("node-3", NodeState.RESCUING)
    Mortal.life = life
    for _ in range(3):
        custody = clean.custody()
        try:
            advance(custody, lambda made=custody: not made.rescue(clean.record("node-3"), "a test"))  # type: ignore[misc]
        except Crash:
            Mortal.life = 10_000
    assert not [one for one in clean.table() if one.open and one.node == "node-3"]
    eventually(lambda: f"waits {mark}\n" in clean.texts())
    eventually(lambda: len(clean.nodes["node-4"].jobs()) == 1)
    (held,) = clean.nodes["node-4"].jobs().values()
    assert (held.owner, held.state) == ("carol", 4)
    clean.nodes["node-4"].ask("carol", IppOperation.RELEASE_JOB, job_id=held.id)
    eventually(lambda: len(clean.texts()) == 2)
    eventually(lambda: not clean.nodes["node-4"].jobs())
    assert sorted(clean.texts()) == sorted([f"waits {mark}\n", f"held {mark}\n"])
    assert Spool(source.spec.folder).jobs("node-3")[1] == []
    clean.set_state("node-3", NodeState.READY)
    source.start()
    assert source.jobs() == {}  # even if somebody starts it again
    assert sorted(clean.texts()) == sorted([f"waits {mark}\n", f"held {mark}\n"])


PHASES = {
    4: "copying",
    5: "copying, the copy stands",
    6: "copied",
    8: "ending",
    9: "ending, the old job is no more",
    10: "ended",
}
"""How far a move has come when its controller dies at the n-th moment."""


def moves_in_every_phase(pair: Pair) -> list[str]:
    """A waiting job on node-3 for each phase of a move to node-4; the documents."""
    mark, custody = os.urandom(4).hex(), pair.custody()
    return [moved_until(pair, custody, life, mark) for life in PHASES]


def moved_until(pair: Pair, custody: Custody, life: int, mark: str) -> str:
    """One such job; its document."""
    phase = PHASES[life]
    pair.nodes["node-3"].lp("alice", text=f"{phase} {mark}\n")
    pair.look(custody.collector)
    custody.collector.collect()
    custody.evacuate(pair.record("node-3"), "a test")
    with Mortal(pair.database) as store:
        move = MoveTable(store).open()[-1]
        Mortal.life = life
        with pytest.raises(Crash):
            Journey(custody.mover, store, {node.name: node for node in store.nodes()}, move).go()
        Mortal.life = 10_000
        assert phase.startswith(MoveTable(store).open()[-1].phase)
    return f"{phase} {mark}\n"


def let_go(pair: Pair, gone: Callable[[Custody], bool]) -> None:
    """Until node-4 may be removed, which is asked before any move goes on; with its folder go the copies in there."""
    custody = pair.custody()

    def may_be_removed() -> bool:
        if gone(custody):
            return True
        custody.mover.advance()
        return False

    eventually(may_be_removed, 30)
    assert not [one for one in pair.table() if one.open and one.node == "node-4"]
    pair.replace("node-4")
    pair.set_state("node-3", NodeState.READY)


def all_print_once(pair: Pair, texts: list[str]) -> None:
    custody = pair.custody()

    def printed() -> bool:
        pair.look(custody.collector)
        custody.collector.collect()
        custody.evacuate(pair.record("node-3"), "a test")
        custody.mover.advance()
        return not pair.open_moves() and not pair.nodes["node-3"].jobs() and len(pair.texts()) >= len(texts)

    eventually(printed, 30)
    eventually(lambda: not pair.nodes["node-4"].jobs())
    assert sorted(pair.texts()) == sorted(texts)


def test_no_job_goes_with_the_node_that_it_is_moved_to_when_that_is_given_up(clean: Pair) -> None:
    texts = moves_in_every_phase(clean)
    target = clean.nodes["node-4"]
    target.kill()
    target.driver.stop(target.spec)
    clean.set_state("node-4", NodeState.RESCUING)
    let_go(clean, lambda custody: not custody.rescue(clean.record("node-4"), "a test"))
    all_print_once(clean, texts)


def test_no_job_goes_with_the_node_that_it_is_moved_to_when_that_leaves(clean: Pair) -> None:
    texts = moves_in_every_phase(clean)
    clean.set_state("node-4", NodeState.LEAVING)

    def gone(custody: Custody) -> bool:
        try:
            custody.finish(clean.record("node-4"), runs=True)
        except Incomplete:
            return False
        return True

    let_go(clean, gone)
    all_print_once(clean, texts)


@pytest.mark.parametrize(("life", "name"), [(6, "node-3"), (8, "node-3"), (6, "node-4"), (8, "node-4")])
def test_what_one_disk_takes_with_it_is_printed_from_the_other(clean: Pair, life: int, name: str) -> None:
    text = moved_until(clean, clean.custody(), life, os.urandom(4).hex())
    clean.replace(name)
    clean.stop_queue("node-3")
    custody = clean.custody()
    custody.collector.collect()
    advance(custody, lambda: not clean.open_moves())
    eventually(lambda: clean.texts() == [text])
    eventually(lambda: not clean.nodes["node-4"].jobs())
    assert clean.nodes["node-3"].jobs() == {}
    assert clean.texts() == [text]
