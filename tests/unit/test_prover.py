"""Nodes that serve prove themselves again, each in its turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controller.nodes.driver import NodeError
from controller.prover import Prover
from controller.snapshot import SLOT_RESERVE, Node, NodeSight, NodeState
from controller.store import Store
from tests.builders import sight

INTERVAL = 600.0


class Fleet:
    """Nodes that prove themselves as the test wants it, and a clock."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.now = 1000.0
        self.proved: list[str] = []
        self.failing: dict[str, str] = {}
        self.sights = {one.node.name: one for one in (sight(1), sight(2), sight(3, NodeState.DRAINING))}
        self.prover = Prover(lambda: Store(database), self.work, lambda: self.sights, lambda: INTERVAL)
        with Store(database, create=True) as store, store.transaction():
            for one in self.sights.values():
                store.put_node(one.node)

    def work(self, node: Node, store: Store) -> Callable[[], int]:
        def prove() -> int:
            self.proved.append(node.name)
            if why := self.failing.get(node.name):
                raise NodeError(why)
            return node.slot * 1_000_000 + len(self.proved)

        return prove

    def change(self, seen: NodeSight) -> None:
        self.sights[seen.node.name] = seen
        with Store(self.database) as store, store.transaction():
            store.put_node(seen.node)

    def after(self, seconds: float) -> list[str]:
        """Who proves itself then."""
        self.now += seconds
        self.proved = []
        self.prover.prove()
        return sorted(self.proved)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    made = Fleet(tmp_path / "db")
    monkeypatch.setattr("controller.prover.time.monotonic", lambda: made.now)
    return made


def test_each_one_that_serves_has_its_turn_once_in_an_interval(fleet: Fleet) -> None:
    assert fleet.after(0) == []  # they have proved themselves before they were let in
    turns = [fleet.after(1) for _ in range(2 * int(INTERVAL))]
    assert [len([one for one in turns if name in one]) for name in ("node-1", "node-2", "node-3")] == [2, 2, 0]
    assert max(map(len, turns)) == 1  # not all at once
    with Store(fleet.database) as store:
        assert store.next_id(1) == 1_000_002


def test_one_that_fails_is_tried_until_it_does_not(fleet: Fleet) -> None:
    node = fleet.sights["node-1"].node
    fleet.after(0)
    fleet.failing = {"node-1": "it did not print a proof"}
    fleet.after(INTERVAL)
    assert [fleet.after(1) for _ in range(3)] == [["node-1"]] * 3
    assert fleet.prover.failure(node) == "it did not print a proof"
    assert fleet.prover.failure(replace(node, lives=1)) == ""  # another life has proved itself before it came in
    fleet.change(replace(fleet.sights["node-1"], node=replace(node, state=NodeState.UNHEALTHY)))
    fleet.failing = {}
    assert [fleet.after(1) for _ in range(3)] == [["node-1"], [], []]
    assert fleet.prover.failure(node) == ""


def test_what_failed_is_forgotten_with_the_life_that_did(fleet: Fleet) -> None:
    node = fleet.sights["node-1"].node
    fleet.after(0)
    fleet.failing = {"node-1": "it did not print a proof"}
    fleet.after(INTERVAL)
    fleet.change(replace(fleet.sights["node-1"], node=replace(node, state=NodeState.DEAD)))
    assert fleet.after(1) == []
    assert fleet.prover.failure(node) == ""


def test_one_that_is_silent_or_near_the_end_of_its_ids_is_left_alone(fleet: Fleet) -> None:
    fleet.after(0)
    fleet.sights = {"node-1": sight(1, error="no answer"), "node-2": sight(2, ids_left=SLOT_RESERVE)}
    assert fleet.after(INTERVAL) == []
    fleet.sights = {"node-1": sight(1), "node-2": sight(2, ids_left=SLOT_RESERVE + 1)}
    assert fleet.after(1) == ["node-1", "node-2"]
