"""What share of new work a node gets, in HAProxy's weights (0…256)."""

from __future__ import annotations

from controller.snapshot import Node, NodeState

FULL = 100
"""Weight of a serving node; leaves room to say both half and double."""


def weight(node: Node) -> int:
    """0 for all but a serving node: its own jobs are still served, new ones go elsewhere."""
    return FULL if node.state is NodeState.READY else 0
