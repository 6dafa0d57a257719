"""What the policies of scaling are compared with."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.scaling import (
    HOUR,
    SHARE_LATE,
    STABILISE,
    WAIT,
    Hpa,
    Provision,
    _plan,
    clairvoyant,
    late,
    one_slow_node,
    provision,
    timetabled,
    traces,
)
from controller.config import Nodes, Settings
from controller.shares import percentile
from controller.simulate.trace import MONDAY, Arrival, Trace
from controller.simulate.world import Outcome, SimulatedNode, World
from controller.snapshot import Node, NodeState


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


def test_hpa_waits_its_time_before_it_shrinks() -> None:
    """Nothing goes before the last wish for it is 300 s old, and in the next look at it then."""
    jobs = [Arrival(MONDAY, "office", 5.0) for _ in range(16)] + [Arrival(MONDAY + 1200, "office", 1.0)]
    world = World(Settings(nodes=Nodes(min=2, max=8)), jobs, 2.0, MONDAY, override=Hpa(2.0))
    sizes = world.run().sizes
    assert max(size for _, size in sizes) == 8
    fell = next(at for (at, size), (_, before) in zip(sizes[1:], sizes, strict=False) if size < before)
    assert STABILISE <= fell - sizes[0][0] <= STABILISE + 60


@pytest.mark.parametrize(("jobs", "wanted"), [(21, 4), (23, 5), (15, 3)])
def test_hpa_does_nothing_within_its_tolerance(jobs: int, wanted: int) -> None:
    """Five jobs for each of four are wanted; 5.25 are within a tenth of it, 5.75 and 3.75 are not."""
    trace = [Arrival(MONDAY, "office", 600.0) for _ in range(jobs)]
    world, hpa = World(Settings(nodes=Nodes(min=2, max=8)), trace, 2.0, MONDAY), Hpa(5.0)
    for slot in range(1, 5):
        node = Node(f"node-{slot}", slot, "process", "127.0.0.1", 1, state=NodeState.READY)
        world.nodes[node.name] = SimulatedNode(node, MONDAY, MONDAY, weight=1)
    for job in trace:
        world._accept(job)
    assert hpa(MONDAY, world, world.settings).nodes.min == wanted


def test_what_hpa_takes_back_is_counted() -> None:
    """A crowd that comes again just when its nodes have gone, where a start takes long."""
    jobs = [Arrival(MONDAY + at + n / 100, "office", 5.0) for at in (0.0, 530.0) for n in range(40)]
    world = World(Settings(nodes=Nodes(min=2, max=8)), jobs, 60.0, MONDAY, override=Hpa(2.0))
    assert world.run().undone == 1


def test_too_few_and_too_many_are_told_by_number_and_by_time() -> None:
    """One node for 40 s, then four: three jobs of 20 s at once need three for 20 s, two for 20 and one for 20; then all
    idle for 10 s, and one has work for 10."""
    trace = [Arrival(MONDAY, "office", 20.0)] * 3 + [Arrival(MONDAY + 70, "office", 10.0)]
    outcome = Outcome(waits=[0.0, 20.0, 40.0, 0.0], sizes=[(MONDAY + 40, 4)])
    assert provision(outcome, trace, 1) == Provision(
        too_few=(2 * 20 + 1 * 20) / 80, too_many=(3 * 20 + 4 * 10 + 3 * 10) / 80, few_for=0.5, many_for=0.5
    )


def test_a_timetable_has_the_fewest_servers_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of 9 s, one in each of so many seconds: in ten minutes, four servers fall behind and five do not."""
    jobs = tuple(Arrival(MONDAY + 9 * HOUR + 2 * n, "office", 9.0) for n in range(300))
    monkeypatch.setattr("benchmarks.scaling.traces", lambda seed: {"lecture": Trace(jobs, jobs[0].at)})
    assert timetabled("lecture", 2.0) == 5


def test_one_day_follows_weeks_of_its_kind() -> None:
    known = traces(1)["campus, known"]
    assert known.learned
    assert known.simulated[0].at == known.begin
    assert len(known.arrivals) > 10 * len(known.simulated)


def test_with_one_slow_node_shares_by_work_halve_the_wait() -> None:
    p95 = {way: percentile(sorted(world.waits), 0.95) for way, world in one_slow_node(1, 3 * HOUR).items()}
    assert p95["by work left"] <= p95["round robin"] / 2
