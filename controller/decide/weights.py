"""What share of new work a node gets, in HAProxy's weights (0…256)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from controller.snapshot import Node, NodeSight, NodeState

FULL = 100
"""Weight of the serving node with the least work; leaves room to say both half and double."""
HALVINGS = 5
"""How often that is halved at most: every node gets some, for what is known of its work is a look old."""
POWER = 2
"""Shares go by the work to this power: by benchmarks/scaling.py 95 % of the jobs then wait for a tenth less than with
the first, and a third brings nothing more."""
EVEN = 1.0
"""Seconds of work that are added to each node's before they are compared, so that small numbers don't differ much."""


def weight(node: Node) -> int:
    """0 for all but a serving node: its own jobs are still served, new ones go elsewhere."""
    return FULL if node.state is NodeState.READY else 0


def weights(sights: Iterable[NodeSight]) -> dict[str, int]:
    """By the nodes' names: a node with twice the work of the least loaded one gets a quarter of its share.

    Always shares, never all to one: new jobs that come before the next look spread over the nodes all the same. Only
    halves, so that a weight changes rarely: each change rewrites the proxies' files. What is not known changes nothing.
    """
    seen = tuple(sights)
    left = {
        sight.node.name: sight.backlog.seconds + sight.backlog.blocked + EVEN
        for sight in seen
        if sight.node.state is NodeState.READY and sight.backlog is not None
    }
    least = min(left.values(), default=EVEN)
    found = {sight.node.name: weight(sight.node) for sight in seen}
    for name, seconds in left.items():
        found[name] = round(FULL / 2 ** min(HALVINGS, round(POWER * math.log2(seconds / least))))
    return found


def given(node: Node, shares: Mapping[str, int]) -> int:
    """The weight of a node as it is recorded now. shares: what `weights` made of it when it was last seen; one that got
    ready since begins with all that a node can have."""
    return min(weight(node), shares.get(node.name) or FULL)
