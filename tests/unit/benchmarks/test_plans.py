"""What a controller is in the middle of, as a campaign sees it: only what is written down and not at its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.plans import KINDS, MOVES, Plans
from controller.jobs.moves import MoveTable
from controller.jobs.table import Job
from controller.plan import Admit, Plan, Scale
from controller.snapshot import Goal, Node, NodeState, Snapshot
from controller.store import Store
from haproxy.install import LOADED

NODE = Node("node-1", 1, "process", "127.0.0.1", 7000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "proxy-1").mkdir()
    with Store(tmp_path / "cupsfleet.db", create=True) as made:
        yield made


@pytest.fixture
def plans(store: Store, tmp_path: Path) -> Iterator[Plans]:
    made = Plans(tmp_path)
    assert made.open() == frozenset()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("state", "lives", "goal", "kind"),
    [
        (NodeState.PROVING, 0, Goal.SERVE, "add"),
        (NodeState.PROVING, 1, Goal.SERVE, "restart"),
        (NodeState.DEAD, 1, Goal.SERVE, "restart"),
        (NodeState.DRAINING, 0, Goal.DRAIN, "drain"),
        (NodeState.DRAINING, 0, Goal.RETIRE, "retire"),
        (NodeState.LEAVING, 0, Goal.RETIRE, "retire"),
        (NodeState.RESCUING, 3, Goal.SERVE, "rescue"),
    ],
)
def test_what_happens_to_a_node(
    store: Store, plans: Plans, state: NodeState, lives: int, goal: Goal, kind: str
) -> None:
    with store.transaction():
        store.put_node(replace(NODE, state=state, lives=lives, goal=goal))
    assert plans.open() == {kind} <= set(KINDS)
    with store.transaction():
        store.put_node(replace(NODE, state=NodeState.READY, lives=lives))
    assert plans.open() == frozenset()


def test_how_far_a_job_has_moved(store: Store, plans: Plans) -> None:
    moves = MoveTable(store)
    with store.transaction():
        moves.order(Job("uuid", 1_000_001, "node-1", "office", "demo"), "it died")
    for kind in MOVES:
        with store.transaction():
            moves.put(moves.open_of("uuid")[0], phase=kind.removeprefix("move, "))
        assert plans.open() == {kind}
    with store.transaction():
        moves.put(moves.open_of("uuid")[0], phase="done")
    assert plans.open() == frozenset()


def test_a_pass_that_gives_work_to_a_node_is_under_way_until_it_is_published(store: Store, plans: Plans) -> None:
    def record(*steps: Admit) -> None:
        with store.transaction():
            store.record(Snapshot(()), Plan(Scale(1, 1, ""), steps))

    def publish(at: float) -> None:
        with store.transaction():
            store.put_fact("sight", {"at": at})

    publish(1.0)
    record(Admit("node-1", "it is well"))
    assert plans.open() == frozenset()  # of the first it is not known when it was recorded
    record(Admit("node-1", "it is well"))
    assert plans.open() == {"weight"}
    assert plans.open() == {"weight"}
    publish(2.0)
    assert plans.open() == frozenset()


def test_a_reload_is_under_way_until_it_is_told(store: Store, plans: Plans, tmp_path: Path) -> None:
    loaded = tmp_path / "proxy-1" / LOADED
    loaded.write_text("1")
    assert plans.open() == frozenset()
    loaded.unlink()
    loaded.write_text("2")
    assert plans.open() == {"reload"}
    with store.transaction():
        store.event("proxy", "proxy 1: reloaded, for the users changed")
    assert plans.open() == frozenset()


def test_a_database_that_can_t_be_read_shows_nothing(tmp_path: Path) -> None:
    assert Plans(tmp_path).open() == frozenset()
