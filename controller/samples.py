"""The fleet over time: a sample every ten seconds, beside it ever coarser ones that are kept longer, and what each node
lately answered. They are written together with a pass, and need no memory of their own: a coarser sample is a sum that
each of the finer ones is added to.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from controller.config import Settings
from controller.costs.rates import MICROS, micros
from controller.jobs.table import WAITS_SINCE
from controller.shares import percentile
from controller.snapshot import NodeSight, NodeState, Snapshot
from controller.store import Store

EVERY = 10
"""Seconds between two samples."""
KEPT = {EVERY: 6 * 3600, 60: 3 * 86_400, 600: 40 * 86_400, 3600: 5 * 366 * 86_400}
"""Seconds of which a sample tells, and for how long it is kept."""
WAITS_OF = 300
"""Seconds in which those jobs began to print whose waiting times count."""
SHARE = 0.95
PROBES_KEPT = 900
"""Seconds for which a node's answers are kept; those that failed are all among them, of the others one each sample."""

_ADD = (
    "insert into samples (resolution, at, count, queue_depth, ready, nodes, wait, cost) "
    "values (?, ?, 1, ?, ?, ?, ?, ?) "
    "on conflict (resolution, at) do update set count = count + 1, queue_depth = queue_depth + excluded.queue_depth, "
    "ready = ready + excluded.ready, nodes = nodes + excluded.nodes, cost = cost + excluded.cost, "
    "wait = max(coalesce(wait, excluded.wait), coalesce(excluded.wait, wait))"
)
_PROBED = (
    "insert or replace into probes (node, at, latency, open_jobs, error, tls_error, up, proxies) "
    "values (:node, :at, :latency, :open_jobs, :error, :tls_error, :up, :proxies)"
)


@dataclass
class Samples:
    store: Store
    _due: float = float("-inf")
    """When the next one is to be written, in monotonic seconds."""
    _failed: list[dict[str, Any]] = field(default_factory=list)
    """Answers that failed since the last one."""

    def keep(self, snapshot: Snapshot, settings: Settings) -> bool:
        """Take in a pass; whether a sample was written. Within a transaction."""
        now = time.time()
        probes = [_probe(sight, now) for sight in snapshot.nodes if sight.reading]
        if time.monotonic() < self._due:
            self._failed += [probe for probe in probes if probe["error"]]
            return False
        self._due = time.monotonic() + EVERY
        self._add(now, snapshot, settings)
        self.store.execute_many(_PROBED, [*self._failed, *probes])
        self.store.execute("delete from probes where at < ?", [now - PROBES_KEPT])
        self._failed.clear()
        return True

    def _add(self, now: float, snapshot: Snapshot, settings: Settings) -> None:
        nodes = sum(sight.node.state.costs for sight in snapshot.nodes)
        values = [
            sum(sight.open_jobs or 0 for sight in snapshot.nodes),
            sum(sight.node.state is NodeState.READY for sight in snapshot.nodes),
            nodes,
            waited(self.store, now - WAITS_OF),
            micros(settings.nodes.price_per_hour * nodes),
        ]
        for resolution, kept in KEPT.items():
            self.store.execute(_ADD, [resolution, int(now // resolution * resolution), *values])
            self.store.execute("delete from samples where resolution = ? and at < ?", [resolution, now - kept])


def waited(store: Store, since: float) -> float | None:
    """Seconds that 95 % of the jobs waited at most, of those that began to print since then. Being held is no wait."""
    waits = f"select processing - {WAITS_SINCE} as waited from jobs where processing >= ? order by 1"
    found = store.rows(waits, [int(since)])
    return float(max(0, percentile([row["waited"] for row in found], SHARE))) if found else None


def _probe(sight: NodeSight, now: float) -> dict[str, Any]:
    reading = sight.reading
    assert reading is not None
    return {
        "node": sight.node.name,
        "at": round(now - sight.reading_age, 3),
        "latency": reading.latency,
        "open_jobs": sight.open_jobs,
        "error": reading.error or "",
        "tls_error": sight.tls_error,
        "up": sum(proxy.up for proxy in sight.proxies),
        "proxies": len(sight.proxies),
    }


def probes(store: Store, node: str, limit: int) -> list[dict[str, Any]]:
    """What a node lately answered, newest first: at, latency (s, None without an answer), open_jobs, error, tls_error,
    up (proxies whose check passed) of proxies (that could be asked)."""
    columns = "at, latency, open_jobs, error, tls_error, up, proxies"
    return store.rows(f"select {columns} from probes where node = ? order by at desc limit ?", [node, limit])


def series(store: Store, since: float, until: float, points: int) -> list[dict[str, Any]]:
    """About so many samples: at (its beginning), queue_depth, ready, nodes, cost_per_hour on average, and wait_p95, the
    longest in it (None where no job began). Times in which no controller ran are missing."""
    resolution, width = _grain(store, since, until, max(1, points))
    rows = store.rows(
        "select at / :width * :width as at, sum(queue_depth) * 1.0 / sum(count) as queue_depth, "
        "sum(ready) * 1.0 / sum(count) as ready, sum(nodes) * 1.0 / sum(count) as nodes, max(wait) as wait_p95, "
        "sum(cost) / sum(count) as cost_per_hour from samples "
        "where resolution = :resolution and at >= :since and at < :until group by 1 order by 1",
        {"width": width, "resolution": resolution, "since": int(since // width * width), "until": until},
    )
    return [{**row, "cost_per_hour": Decimal(row["cost_per_hour"]) / MICROS} for row in rows]


def _grain(store: Store, since: float, until: float, points: int) -> tuple[int, int]:
    """Seconds of the samples to read, and of those to make of them. A young fleet's are not spread over years."""
    first = store.rows("select min(at) as at from samples where resolution = ?", [max(KEPT)])[0]["at"]
    each = max(1.0, until - max(since, first or 0)) / points
    age = time.time() - max(since, first or 0)
    fit = [resolution for resolution, kept in KEPT.items() if age <= kept]
    resolution = max((one for one in fit if one <= each), default=min(fit, default=max(KEPT)))
    return resolution, max(1, math.ceil(each / resolution)) * resolution
