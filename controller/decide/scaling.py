"""How many nodes should serve."""

from __future__ import annotations

from controller.config import Nodes
from controller.plan import Scale
from controller.snapshot import Goal, Node, NodeState, Snapshot

_ABSENT = {NodeState.ORDERED, NodeState.STARTING, NodeState.STOPPED, NodeState.DEAD}


def counts(node: Node, goal: Goal) -> bool:
    """Whether a node is one of those that serve or will soon. Someone else's server counts while it is there: nobody
    here can start it."""
    gone = node.state is NodeState.RESCUING or (node.driver == "existing" and node.state in _ABSENT)
    return goal is Goal.SERVE and not gone


def scale(snapshot: Snapshot, nodes: Nodes) -> Scale:
    """Those that are meant to serve, but never fewer than `nodes.min`. Nothing is taken away here."""
    meant = sum(1 for sight in snapshot.nodes if counts(sight.node, sight.node.goal))
    serving = sum(1 for sight in snapshot.nodes if sight.node.state is NodeState.READY)
    if meant < nodes.min:
        return Scale(nodes.min, serving, f"nodes.min is {nodes.min} and {meant} {'is' if meant == 1 else 'are'} there")
    return Scale(meant, serving, f"{meant} nodes are meant to serve, nodes.min is {nodes.min}")
