"""What is said of a node that does not answer is true of its state."""

from __future__ import annotations

import pytest

from controller.snapshot import Node, NodeState
from controller.whole_queue import silence

RESTARTED, NOW = "does not answer; it is being restarted", "does not answer now"


def node(state: NodeState, driver: str = "process") -> Node:
    return Node("node-1", 1, driver, "127.0.0.1", 1, state)


@pytest.mark.parametrize(
    ("state", "said", "down"),
    [
        (NodeState.DEAD, RESTARTED, True),
        (NodeState.STARTING, RESTARTED, True),
        (NodeState.PROVING, RESTARTED, False),  # it has answered, and may print
        (NodeState.RESCUING, "does not answer; its jobs are being moved to others", True),
        (NodeState.READY, NOW, False),
        (NodeState.UNHEALTHY, NOW, False),
        (NodeState.DRAINING, NOW, False),
    ],
)
def test_a_silent_node_is_what_its_state_says(state: NodeState, said: str, down: bool) -> None:
    assert silence.plight([node(state)]) == said
    assert silence.is_down(node(state)) is down
    foreign = node(state, "existing")
    assert (silence.plight([foreign]), silence.is_down(foreign)) == (NOW, False)


def test_of_several_is_said_what_they_have_in_common() -> None:
    dead = node(NodeState.DEAD)
    assert silence.of_one_of("jobs", [dead, dead]) == f"a print server that has one of these jobs {RESTARTED}"
    assert silence.plight([dead, node(NodeState.READY)]) == silence.plight([]) == NOW
    assert silence.sentence(silence.of_a_job(None)) == "The print server that has this job does not answer now."
