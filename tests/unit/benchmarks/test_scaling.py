"""What the policies of scaling are compared with."""

from __future__ import annotations

from itertools import pairwise

from benchmarks.scaling import HOUR, SHARE_LATE, WAIT, Hpa, _plan, clairvoyant, late, one_slow_node, traces
from controller.config import Nodes, Settings
from controller.shares import percentile
from controller.simulate.trace import MONDAY, Arrival
from controller.simulate.world import World


def test_the_clairvoyant_plan_may_be_as_late_as_policies_may() -> None:
    trace = traces(1)["steady"].simulated[:2000]
    best, punctual = clairvoyant(trace, 2, 2.0), _plan(trace, 2, 2.0, WAIT)
    assert late(punctual) == 0.0 < late(best) <= SHARE_LATE
    assert best.node_seconds < 0.95 * punctual.node_seconds


def test_hpa_lets_all_surplus_go_at_once() -> None:
    """Ten jobs for each of eight nodes, then none: 300 s after the last one that needed them, six go in one pass."""
    jobs = [Arrival(MONDAY + n / 10, "office", 5.0) for n in range(80)] + [Arrival(MONDAY + 1200, "office", 1.0)]
    world = World(Settings(nodes=Nodes(min=2, max=8)), jobs, 2.0, MONDAY, override=Hpa(2.0))
    sizes = [size for _, size in world.run().sizes]
    assert max(sizes) == 8
    assert sizes[-1] == 2
    falls = [before - after for before, after in pairwise(sizes) if after < before]
    assert max(falls) > 1


def test_one_day_follows_weeks_of_its_kind() -> None:
    known = traces(1)["campus, known"]
    assert known.learned
    assert known.simulated[0].at == known.begin
    assert len(known.arrivals) > 10 * len(known.simulated)


def test_with_one_slow_node_shares_by_work_halve_the_wait() -> None:
    p95 = {way: percentile(sorted(world.waits), 0.95) for way, world in one_slow_node(1, 3 * HOUR).items()}
    assert p95["by work left"] <= p95["round robin"] / 2
