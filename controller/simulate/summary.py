"""What a simulation has come to, in numbers and as a plot of letters."""

from __future__ import annotations

import math
from typing import Any

from controller.config import Settings
from controller.shares import percentile
from controller.simulate.world import Outcome, first_size

BARS = " ▁▂▃▄▅▆▇█"
WIDTH = 100


def summary(outcome: Outcome, settings: Settings) -> dict[str, Any]:
    """waits in seconds by percentile, over: share of jobs beyond target_wait, hours: how long it lasted, node_hours,
    cost in the site's currency, actions: nodes ordered and retired, undone: those taken back within a start-up time."""
    waits, target = sorted(outcome.waits), settings.scaling.target_wait
    hours = outcome.node_seconds / 3600
    return {
        "jobs": len(waits),
        "p50": percentile(waits, 0.50),
        "p95": percentile(waits, 0.95),
        "p99": percentile(waits, 0.99),
        "max": waits[-1] if waits else 0.0,
        "over": sum(wait > target for wait in waits) / max(1, len(waits)),
        "hours": outcome.seconds / 3600,
        "node_hours": hours,
        "cost": float(settings.nodes.price_per_hour) * hours,
        "actions": outcome.ordered + outcome.retired,
        "undone": outcome.undone,
        "most_nodes": max([first_size(settings), *(size for _, size in outcome.sizes)]),
    }


def plot(outcome: Outcome, first: int, begin: float, end: float) -> str:
    """The size over time: one column for each hundredth of it, its height the most nodes in that time."""
    width = max(1.0, (end - begin) / WIDTH)
    columns, size, changes = [], first, list(outcome.sizes)
    for number in range(WIDTH):
        most = size
        while changes and changes[0][0] < begin + (number + 1) * width:
            size = changes.pop(0)[1]
            most = max(most, size)
        columns.append(most)
    top = max(columns)
    return "".join(BARS[math.ceil(count / top * (len(BARS) - 1))] for count in columns) + f"  at most {top} nodes"
