"""Policies of scaling on the same traces, in simulated time: `python -m benchmarks.scaling [--start-up 60] [--seed 1]`.

fixed peak      as many nodes as the trace ever needs, all the time
threshold       ours, by open jobs for each node
timetable       so many from 7:45 to 18:00 on working days, and nodes.min else: the fewest with which it meets the wait
                on this kind of day at each seed of TUNED, or all there may be where none does. To know the kind of day
                favours it: HPA has one target for all
HPA             Kubernetes' HorizontalPodAutoscaler as documented: every 15 s, desired = ceil(current x open jobs for
                each node / target), none within a tolerance of 0.1, the most of the last 300 s counts when it shrinks,
                and all surplus goes at once; it may grow without the bounds that Kubernetes sets by default (four pods
                or twice as many in 15 s), which favours it. The target is the highest with which it meets the wait on
                every trace of TUNED
wait-target     ours, by measured times, as it is by default
no forecast     the same, where there are earlier weeks to learn from
clairvoyant     the cheapest of some plans that know the future: a node is there exactly when a job would wait too long
                (for one of LIMITS, such that no more jobs are late than may be), and its start is paid for. That is no
                bound below which nothing can be: a better plan may exist

Under and over: nodes too few and too many on average, compared with the jobs that print or wait at the moment (SPEC's
accuracy), and in what share of the time there were too few or too many (SPEC's time share). A node counts from its
order on, also while it starts. "-": not computed for a plan of single nodes.

nodes.start_timeout is as long as a start needs here; with what it is by default, a start of more than 30 s is given up.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import time as clock
from typing import Any

from controller.config import Nodes, Scaling, Schedule, Settings
from controller.shares import percentile
from controller.simulate.summary import summary
from controller.simulate.trace import MONDAY, PER_PAGE, SET_UP, Arrival, Trace, campus, pages
from controller.simulate.world import Outcome, SimulatedNode, World
from controller.snapshot import Cause, Goal, NodeState

MOST = 16
SYNC, TOLERANCE, STABILISE = 15.0, 0.1, 300.0
"""Of HPA: its defaults."""
PER_NODE = (4.0, 3.0, 2.0, 1.9, 1.8, 1.75, 1.7, 1.65, 1.6, 1.5, 1.25, 1.0, 0.75, 0.5)
"""Open jobs for each node that HPA is told to aim at, to find the best."""
TUNED = (1, 2, 3)
"""Seeds of the traces by which HPA's target was found, and the two numbers of wait-target (decide/policies.py)."""
SHARE_LATE = 0.05
LIMITS = (*range(30, 90, 5), *range(90, 400, 15))
"""Seconds that a job may wait in a clairvoyant plan before a node is there for it."""
WAIT = 30.0
HOUR, DAY = 3600.0, 86400.0
LEARNED = 21
"""Days before the one that is simulated, where there are any."""


def stream(chance: random.Random, begin: float, seconds: float, a_minute: float) -> list[Arrival]:
    """Jobs at random, so many a minute on average."""
    found, at = [], begin
    while (at := at + chance.expovariate(a_minute / 60)) < begin + seconds:
        found.append(Arrival(at, "office", SET_UP + PER_PAGE * pages(chance)))
    return found


def traces(seed: int) -> dict[str, Trace]:
    """Days of which nothing is known before, and one that follows three weeks."""
    days = {name: Trace(tuple(jobs), jobs[0].at) for name, jobs in unlearned(seed).items()}
    weeks = Trace(tuple(campus(seed, days=LEARNED + 1, jobs_per_day=3000)), MONDAY + LEARNED * DAY)
    return {**days, "campus, known": Trace(weeks.arrivals, weeks.simulated[0].at)}


def unlearned(seed: int) -> dict[str, list[Arrival]]:
    def chance() -> random.Random:
        return random.Random(seed)

    nine = MONDAY + 9 * HOUR
    lectures = [one for hour in range(8) for one in stream(chance(), nine + hour * HOUR, 300, 40)]
    steady = stream(chance(), nine, 8 * HOUR, 12)
    quiet = stream(chance(), nine, 8 * HOUR, 3)
    return {
        "steady": steady,
        "lectures": sorted(lectures + quiet),
        "flash crowd": sorted(quiet + stream(chance(), nine + 3 * HOUR, 600, 60)),
        "weekend": stream(chance(), nine, 2 * DAY, 0.5),
        "one long job": sorted([*quiet, Arrival(nine + HOUR, "office", 1800.0)]),
        "campus day": campus(seed, days=1, jobs_per_day=3000),
    }


@dataclass
class Hpa:
    """A policy in the place of ours: it sets nodes.min, and all that is ours is told to follow at once."""

    per_node: float
    """Open jobs wanted for each node."""
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)
    _next: float = 0.0
    _size: int = 2

    def __call__(self, now: float, world: World, settings: Settings) -> Settings:
        if now >= self._next:
            self._next = now + SYNC
            self._sync(now, world, settings)
        return following(settings, self._size)

    def _sync(self, now: float, world: World, settings: Settings) -> None:
        current = world.meant()
        ratio = sum(one.open_jobs() for one in world.nodes.values()) / current / self.per_node
        wanted = current if abs(ratio - 1) <= TOLERANCE else math.ceil(current * ratio)
        wanted = max(settings.nodes.min, min(settings.nodes.max, wanted))
        self._wishes.append((now, wanted))
        while now - self._wishes[0][0] > STABILISE:
            self._wishes.popleft()
        self._size = max(wanted, min(current, max(nodes for _, nodes in self._wishes)))
        for one in _least_work(world)[: max(0, current - self._size)]:
            one.node = replace(one.node, goal=Goal.RETIRE, goal_by=Cause.ADMINISTRATOR)


def _least_work(world: World) -> list[SimulatedNode]:
    """Nodes that serve, those first that are done first."""
    serving = [one for one in world.nodes.values() if one.node.state is NodeState.READY and one.node.goal is Goal.SERVE]
    return sorted(serving, key=lambda one: max(one.free_at.values(), default=0.0))


def following(settings: Settings, size: int) -> Settings:
    nodes = settings.nodes.model_copy(update={"min": size})
    none = settings.scaling.model_copy(update={"queue_depth_per_node": 1e9, "cool_down": 0.0, "forecast": False})
    none = none.model_copy(update={"queue_depth_per_node_down": 1e8, "policy": "threshold"})
    return settings.model_copy(update={"nodes": nodes, "scaling": none})


def clairvoyant(trace: Sequence[Arrival], least: int, start_up: float) -> Outcome:
    """The cheapest of the plans in which no more jobs are late than may be."""
    plans = [_plan(trace, least, start_up, float(limit)) for limit in LIMITS]
    return min((plan for plan in plans if late(plan) <= SHARE_LATE), key=lambda plan: plan.node_seconds)


def _plan(trace: Sequence[Arrival], least: int, start_up: float, limit: float) -> Outcome:
    """Each job goes to the node that is free first; where it would wait longer than `limit`, another one has been
    started in time. A node that is not needed for two start-up times is gone in between, and each start is paid for."""
    outcome = Outcome()
    free: list[tuple[float, int]] = [(trace[0].at, number) for number in range(least)]
    used: dict[int, list[tuple[float, float]]] = {number: [] for number in range(least)}
    for job in trace:
        at, number = free[0]
        if max(at, job.at) - job.at > limit and len(used) < MOST:
            at, number = job.at, len(used)
            used[number] = []
        else:
            heapq.heappop(free)
        start = max(at, job.at)
        outcome.waits.append(start - job.at)
        used[number].append((start, start + job.seconds))
        heapq.heappush(free, (start + job.seconds, number))
    end = max(at for at, _ in free)
    outcome.node_seconds = least * (end - trace[0].at)
    for number in range(least, len(used)):
        outcome.node_seconds += _powered(used[number], start_up)
    return outcome


def _powered(work: list[tuple[float, float]], start_up: float) -> float:
    """Seconds for which a node is paid that works at these times only."""
    seconds, last = 0.0, float("-inf")
    for begin, end in work:
        gap = begin - last
        seconds += (end - begin) + min(gap, start_up if gap > 2 * start_up else gap)
        last = end
    return seconds


@dataclass(frozen=True)
class Provision:
    """Too few nodes and too many, compared with what prints and waits: SPEC's accuracy, nodes on average over the whole
    time, and its time share, for what part of the time there were."""

    too_few: float
    too_many: float
    few_for: float
    many_for: float


def provision(outcome: Outcome, trace: Sequence[Arrival], first: int) -> Provision:
    """first: nodes at the beginning."""
    starts = sorted(zip((one.at for one in trace), outcome.waits, (one.seconds for one in trace), strict=True))
    events = [(at, 0, 1) for at, _, _ in starts] + [(at + wait + long, 0, -1) for at, wait, long in starts]
    events += [(at, 1, size) for at, size in outcome.sizes]
    few = many = few_for = many_for = 0.0
    size, needed, last = first, 0, trace[0].at
    for at, kind, value in sorted(events):
        few += max(0, needed - size) * (at - last)
        many += max(0, size - needed) * (at - last)
        few_for += (size < needed) * (at - last)
        many_for += (size > needed) * (at - last)
        last = at
        if kind:
            size = value
        else:
            needed += value
    return Provision(*(found / (last - trace[0].at) for found in (few, many, few_for, many_for)))


def tuned(start_up: float) -> float:
    """The open jobs for each node with which HPA meets the wait everywhere, at the fewest node-hours."""
    found = [trace for seed in TUNED for trace in unlearned(seed).values()]
    settings = Settings(nodes=_nodes(start_up), scaling=Scaling(target_wait=WAIT))

    def meets(each: float) -> bool:
        worlds = (World(settings, one, start_up, one[0].at, override=Hpa(each)) for one in found)
        return all(late(world.run()) <= SHARE_LATE for world in worlds)

    return next((each for each in PER_NODE if meets(each)), PER_NODE[-1])


def timetabled(name: str, start_up: float) -> int:
    """The fewest nodes of a timetable with which this kind of day meets the wait; MOST where none does."""
    found = [traces(seed)[name] for seed in TUNED]

    def meets(size: int) -> bool:
        settings = Settings(nodes=_nodes(start_up), scaling=timetable(size))
        worlds = (World(settings, one.arrivals, start_up, one.begin) for one in found)
        return all(late(world.run()) <= SHARE_LATE for world in worlds)

    return bisect_left(range(MOST), True, lo=2, key=meets)


def timetable(size: int) -> Scaling:
    day = Schedule(days=("mon", "tue", "wed", "thu", "fri"), start=clock(7, 45), end=clock(18), min=size)
    return Scaling(**_NEVER, schedule=(day,))


def _nodes(start_up: float, least: int = 2) -> Nodes:
    return Nodes(min=least, max=max(least, MOST), start_timeout=max(Nodes().start_timeout, 2 * start_up))


_OURS: dict[str, Any] = {"target_wait": WAIT, "step": MOST, "policy": "threshold", "forecast": False}
_NEVER: dict[str, Any] = {**_OURS, "queue_depth_per_node": 1e9, "queue_depth_per_node_down": 1e8}


def policies(
    trace: Trace, start_up: float, per_node: float, servers: int
) -> dict[str, Callable[[], tuple[Outcome, Settings]]]:
    def run(nodes: Nodes, scaling: Scaling, hpa: Hpa | None = None) -> tuple[Outcome, Settings]:
        settings = Settings(nodes=nodes, scaling=scaling)
        return World(settings, trace.arrivals, start_up, trace.begin, override=hpa).run(), settings

    free = _nodes(start_up)
    measured = {**_OURS, "policy": "wait-target", "forecast": True}
    return {
        "fixed peak": lambda: run(_nodes(start_up, _peak(trace.simulated)), Scaling(**_NEVER)),
        "threshold": lambda: run(free, Scaling(**_OURS)),
        "timetable": lambda: run(free, timetable(servers)),
        "HPA": lambda: run(free, Scaling(target_wait=WAIT), Hpa(per_node)),
        "wait-target": lambda: run(free, Scaling(**measured)),
        **({"no forecast": lambda: run(free, Scaling(**{**measured, "forecast": False}))} if trace.learned else {}),
        "clairvoyant": lambda: (clairvoyant(trace.simulated, 2, start_up), Settings(nodes=free)),
    }


def late(outcome: Outcome) -> float:
    """Share of the jobs that waited longer than they should."""
    return sum(wait > WAIT for wait in outcome.waits) / len(outcome.waits)


def _peak(trace: Sequence[Arrival]) -> int:
    """The least fixed size at which a clairvoyant queue meets the target, as one would buy for the peak."""
    size = 2
    while percentile(sorted(_waits(trace, size)), 0.95) > WAIT and size < MOST:
        size += 1
    return size


def _waits(trace: Sequence[Arrival], size: int) -> list[float]:
    free = [trace[0].at] * size
    waits = []
    for job in trace:
        start = max(heapq.heappop(free), job.at)
        waits.append(start - job.at)
        heapq.heappush(free, start + job.seconds)
    return waits


def one_slow_node(seed: int, seconds: float = DAY) -> dict[str, Outcome]:
    """Four nodes, one of which takes four times as long, and a stream of which a quarter keeps that one busy for 0.8 of
    its time: round robin can still do it."""
    chance = random.Random(seed)
    mean = sum(SET_UP + PER_PAGE * pages(chance) for _ in range(10_000)) / 10_000
    trace = stream(chance, MONDAY, seconds, 60 * 0.8 / mean)
    fixed = Settings(nodes=Nodes(min=4, max=4))
    worlds = {even: World(fixed, trace, 2.0, MONDAY, slow={"node-1": 4.0}, even=even) for even in (True, False)}
    return {"round robin" if even else "by work left": world.run() for even, world in worlds.items()}


HEAD = (
    "trace          policy          p50     p95     p99     max   over%  node-h  /clairv  actions  undone"
    "   under    over  under%   over%"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start-up", type=float, default=2.0, help="seconds that a node takes to start")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hpa", type=float, help="open jobs for each node at HPA; left out: found, in some minutes")
    chosen = parser.parse_args()
    begun = time.monotonic()
    found_traces = traces(chosen.seed)
    per_node = chosen.hpa or tuned(chosen.start_up)
    print(
        f"start-up {chosen.start_up:g} s, seed {chosen.seed}, target 95 % within {WAIT:g} s, HPA at {per_node:g} jobs"
    )
    print(HEAD)
    for name, trace in found_traces.items():
        best = clairvoyant(trace.simulated, 2, chosen.start_up).node_seconds / 3600
        servers = timetabled(name, chosen.start_up)
        for policy, run in policies(trace, chosen.start_up, per_node, servers).items():
            outcome, settings = run()
            found = summary(outcome, settings)
            moves = ["-"] * 6
            if policy != "clairvoyant":
                spec = provision(outcome, trace.simulated, settings.nodes.min)
                moves = [f"{found['actions']}", f"{found['undone']}", f"{spec.too_few:.2f}", f"{spec.too_many:.2f}"]
                moves += [f"{100 * share:.1f}" for share in (spec.few_for, spec.many_for)]
            times = "".join(f"{found[key]:8.1f}" for key in ("p50", "p95", "p99", "max"))
            hours = f"{100 * found['over']:8.1f}{found['node_hours']:8.1f}{found['node_hours'] / best:9.2f}"
            print(f"{name:14} {policy:12}{times}{hours} " + "".join(f"{one:>8}" for one in moves))
    for way, outcome in one_slow_node(chosen.seed).items():
        waits = sorted(outcome.waits)
        said = ", ".join(f"p{100 * part:.0f} {percentile(waits, part):.1f} s" for part in (0.5, 0.95, 0.99))
        print(f"one slow node of four, {way}: {said}")
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
