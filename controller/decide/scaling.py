"""How many nodes should serve."""

from __future__ import annotations

from controller.config import Nodes
from controller.plan import Scale
from controller.snapshot import Goal, NodeState, Snapshot


def scale(snapshot: Snapshot, nodes: Nodes) -> Scale:
    """Those that are meant to serve, but never fewer than `nodes.min`. Nothing is taken away here."""
    meant = sum(1 for sight in snapshot.nodes if sight.node.goal is Goal.SERVE)
    serving = sum(1 for sight in snapshot.nodes if sight.node.state is NodeState.READY)
    if meant < nodes.min:
        return Scale(nodes.min, serving, f"nodes.min is {nodes.min} and {meant} {'is' if meant == 1 else 'are'} there")
    return Scale(meant, serving, f"{meant} nodes are meant to serve, nodes.min is {nodes.min}")
