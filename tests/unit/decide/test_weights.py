"""Where new work goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.decide.weights import FULL, weights
from controller.decide.weights import given as given_weight
from controller.snapshot import Backlog, NodeSight, NodeState, QueueWork
from tests.builders import sight


def with_work(slot: int, seconds: float, state: NodeState = NodeState.READY) -> NodeSight:
    return sight(slot, state, backlog=Backlog((QueueWork("office", 1, seconds),)))


def test_twice_the_work_is_a_quarter_of_the_share() -> None:
    found = weights([with_work(1, 7.0), with_work(2, 17.0), with_work(3, 10_000.0)])
    assert found == {"node-1": 100, "node-2": 25, "node-3": 3}


def test_work_that_stands_still_counts_too() -> None:
    """A node that can't reach the printer has no work to do; what it is given waits behind what stands there."""
    assert weights([sight(1, backlog=Backlog(stuck=2, blocked=900.0)), with_work(2, 0.0)])["node-1"] == 3


def test_idle_and_unknown_nodes_get_all() -> None:
    assert weights([with_work(1, 0.0), with_work(2, 0.0), sight(3, error="timed out")]) == {
        "node-1": 100,
        "node-2": 100,
        "node-3": 100,
    }


def test_only_serving_nodes_get_any() -> None:
    assert weights([with_work(1, 50.0), with_work(2, 0.0, NodeState.DRAINING)]) == {"node-1": 100, "node-2": 0}


def test_one_that_got_ready_since_begins_with_all() -> None:
    assert given_weight(sight(1).node, {"node-1": 0}) == FULL
    assert given_weight(sight(1).node, {"node-1": 25}) == 25
    assert given_weight(sight(1, NodeState.DRAINING).node, {"node-1": 25}) == 0


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=8))
def test_more_work_never_gets_more_and_somebody_gets_all(seconds) -> None:
    found = weights([with_work(slot, left) for slot, left in enumerate(seconds, 1)])
    by_work = [found[f"node-{slot}"] for slot in sorted(range(1, len(seconds) + 1), key=lambda slot: seconds[slot - 1])]
    assert by_work == sorted(by_work, reverse=True)
    assert by_work[0] == FULL
    assert by_work[-1] > 0
