"""What share of new work a node gets, in HAProxy's weights (0…256)."""

from __future__ import annotations

from collections.abc import Iterable

from controller.snapshot import Node, NodeSight, NodeState

FULL = 100
"""Weight of a serving node; leaves room to say both half and double."""
LEAST = 5
"""Weight of the node with the most work: it still gets some, for what is known of it is a look old."""
STEP = 5
"""Weights are multiples of this, so that small differences change nothing."""
EVEN = 3.0
"""Seconds of work by which nodes may differ without a difference in weight."""


def weight(node: Node) -> int:
    """0 for all but a serving node: its own jobs are still served, new ones go elsewhere."""
    return FULL if node.state is NodeState.READY else 0


def weights(sights: Iterable[NodeSight]) -> dict[str, int]:
    """By the nodes' names: the more work a node has left, the less of the new it gets.

    Always shares, never all to one: new jobs that come before the next look spread over the nodes all the same. What is
    not known counts as the mean.
    """
    seen = tuple(sights)
    serving = [sight for sight in seen if sight.node.state is NodeState.READY]
    known = [sight.backlog.seconds for sight in serving if sight.backlog]
    mean = sum(known) / len(known) if known else 0.0
    least = min(known, default=0.0)
    found = {sight.node.name: weight(sight.node) for sight in seen}
    for sight in serving:
        left = sight.backlog.seconds if sight.backlog else mean
        share = (least + EVEN) / max(left, least + EVEN)
        found[sight.node.name] = max(LEAST, round(FULL * share / STEP) * STEP)
    return found
