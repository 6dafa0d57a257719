"""How many nodes should serve.

Growth is decided by what the rules ask now, shrinking by the most that they asked for during the cool-down: doubt may
add, never remove. What is not known asks for what is there.

An administrator's word stands above the rules for a while. `add` counts as a wish of its own, so that the node stays
for `scaling.cool_down`, then the rules decide. `retire` takes that node, and what was wished for before brings none in
its place; only work that asks for it now, or nodes.min, orders another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from controller.config import Scaling, Settings
from controller.decide.policies import Fleet, asks
from controller.plan import ADMINISTRATOR, Ask, Input, Scale
from controller.snapshot import Backlog, Goal, Load, Node, NodeSight, NodeState, Snapshot

SHORTEST = 20.0
"""Seconds that a cool-down by starts lasts at least: to look ten times and more, and to drain."""
TELLING = 0.01
"""A contention below is no reason for a word: it would be told as 0 %."""
_GONE = {NodeState.RESCUING, NodeState.LEAVING}
"""States from which no node comes back, whatever it was wanted for."""
_ABSENT = {NodeState.ORDERED, NodeState.STARTING, NodeState.STOPPED, NodeState.DEAD}
_WORKS = (NodeState.READY, NodeState.UNHEALTHY)
"""States in which a node has work of its own that counts. That of a draining one is being done without it."""


def counts(node: Node, goal: Goal) -> bool:
    """Whether a node is one of those that serve or will soon. Someone else's server counts while it is there: nobody
    here can start it."""
    gone = node.state in _GONE or (node.driver == "existing" and node.state in _ABSENT)
    return goal is Goal.SERVE and not gone


@dataclass
class Bounds:
    """A number on its way through the bounds; each that changes it is kept with its reason."""

    meant: int
    number: int
    clamps: list[str] = field(default_factory=list)

    def at_most(self, limit: int, why: str) -> None:
        self._clamp(min(self.number, limit), why)

    def at_least(self, limit: int, why: str) -> None:
        self._clamp(max(self.number, limit), why)

    def _clamp(self, number: int, why: str) -> None:
        if number != self.number:
            self.clamps.append(f"{number} instead of {self.number}: {why}")
            self.number = number


def scale(
    snapshot: Snapshot, settings: Settings, meant: int, coming: int, unwell: int = 0, added: bool = False
) -> Scale:
    """meant: nodes that serve or will soon, of which `coming` are on their way and `unwell` take no work now. added: an
    administrator has just made them so many."""
    nodes, scaling, load = settings.nodes, settings.scaling, snapshot.load
    serving = [sight for sight in snapshot.nodes if sight.node.state is NodeState.READY]
    unseen = unknown(snapshot)
    fleet = _fleet(snapshot, meant - unwell, unwell, len(serving))
    found = [Ask("nodes.min", nodes.min, f"nodes.min is {nodes.min}"), *asks(fleet, scaling)]
    if unseen:
        found.append(Ask("doubt", meant, f"the work of {', '.join(unseen)} is not known"))
    if added:
        found.append(Ask(ADMINISTRATOR, meant, f"an administrator wants {meant}"))
    winner = max(found, key=lambda ask: ask.nodes)
    bounds = Bounds(meant, winner.nodes)
    bounds.at_most(nodes.max, f"nodes.max is {nodes.max}")
    wanted = bounds.number
    if wanted < meant:
        _hold(bounds, load, settings)
    if wanted > meant:
        room = max(0, scaling.step - coming)
        bounds.at_most(max(meant + room, nodes.min), f"scaling.step is {scaling.step} and {coming} are on their way")
    _afford(bounds, load, settings)
    if load.paused_by:
        bounds.at_most(max(meant, nodes.min), f"{load.paused_by} paused scaling")
        bounds.at_least(meant, f"{load.paused_by} paused scaling")
    return Scale(
        desired=bounds.number,
        actual=len(serving),
        reason=_reason(winner, bounds),
        wanted=wanted,
        certain=not unseen,
        rule=winner.rule,
        inputs=tuple(_inputs(snapshot, fleet, settings)),
        asks=tuple(found),
        clamps=tuple(bounds.clamps),
    )


def unknown(snapshot: Snapshot) -> list[str]:
    """Nodes whose work would count, if anybody knew it."""
    return [sight.node.name for sight in snapshot.nodes if sight.node.state in _WORKS and sight.backlog is None]


def _fleet(snapshot: Snapshot, meant: int, unwell: int, ready: int) -> Fleet:
    known = tuple(sight.backlog for sight in snapshot.nodes if sight.node.state in _WORKS and sight.backlog)
    standing = _standing(known)
    moving = tuple(demand for demand in snapshot.load.demands if demand.queue.lower() not in standing)
    return Fleet(meant, ready, known, replace(snapshot.load, demands=moving), unwell)


def _standing(backlogs: Sequence[Backlog]) -> frozenset[str]:
    """Queues that stand still on every node: what comes for them waits for people, and no node can further it."""
    return frozenset[str].intersection(*(backlog.standing for backlog in backlogs)) if backlogs else frozenset()


def _hold(bounds: Bounds, load: Load, settings: Settings) -> None:
    """Nothing goes that was wished for during the cool-down, or when nobody knows what was."""
    window = cool_down(settings.scaling, load.start_up)
    wished = _wished(load, window)
    added = max((wish.nodes for wish in load.added if wish.age <= settings.scaling.cool_down), default=0)
    if load.known_for < window:
        bounds.at_least(bounds.meant, f"the work is known for {load.known_for:.0f} s of {window:.0f} s only")
    else:
        bounds.at_least(min(bounds.meant, wished), f"so many were asked for in the last {window:.0f} s")
        said = f"an administrator made them so many in the last {settings.scaling.cool_down:.0f} s"
        bounds.at_least(min(bounds.meant, added), said)


def _wished(load: Load, window: float) -> int:
    """The most that was asked for in the last so many seconds."""
    return max((wish.nodes for wish in load.wishes if wish.age <= window), default=0)


def cool_down(scaling: Scaling, start_up: float) -> float:
    """Seconds for which nobody must have asked for a node before it goes: by what a start takes, once one was seen, and
    as long as one at least. Counted jobs vary more than what measured times make of them, and get the whole time."""
    if scaling.policy == "threshold" or not start_up or not scaling.cool_down_starts:
        return max(start_up, scaling.cool_down)
    return max(start_up, min(scaling.cool_down, max(SHORTEST, scaling.cool_down_starts * start_up)))


def _afford(bounds: Bounds, load: Load, settings: Settings) -> None:
    """As many more than nodes.min as what is left of the day's node-hours pays for a cool-down, those of nodes.min set
    aside: that is what a node needs to be emptied in, and none is ordered that would have to go at once."""
    budget, minimum = settings.scaling.max_node_hours_per_day, settings.nodes.min
    if not budget:
        return
    left = budget - load.node_hours - minimum * load.hours_left
    more = max(0, math.floor(left * 3600 / max(SHORTEST, settings.scaling.cool_down)))
    said = f"{load.node_hours:.1f} of {budget:g} server-hours are used today and nodes.min needs "
    bounds.at_most(minimum + more, said + (f"all but {left:.1f} of the rest" if more else "the rest"))


def _reason(winner: Ask, bounds: Bounds) -> str:
    said = f"{winner.reason}; {bounds.meant} {'is' if bounds.meant == 1 else 'are'} meant to serve"
    return "; ".join([said, *bounds.clamps])


def _inputs(snapshot: Snapshot, fleet: Fleet, settings: Settings) -> Iterator[Input]:
    load = snapshot.load
    ages = [sight.reading_age for sight in snapshot.nodes if sight.backlog]
    stuck = sum(backlog.stuck for backlog in fleet.backlogs)
    yield Input(
        "open jobs", f"{fleet.jobs} on {len(fleet.backlogs)} servers, and {stuck} that wait for people", _most(ages)
    )
    seconds = sum(backlog.seconds for backlog in fleet.backlogs)
    yield Input("work", f"{seconds:.0f} s of server time", _most(ages))
    for demand in load.demands:
        said = f"{demand.rate * 60:.1f} jobs a minute of {demand.service:.1f} s, at most {demand.peak * 60:.1f}"
        if demand.latest > demand.rate:
            said += f"; {demand.latest * 60:.1f} in the last minute, which have come for {demand.burst:.0f} s"
        if demand.forecast:
            said += f"; {demand.forecast * 60:.1f} at this time of earlier weeks"
        if demand.contention >= TELLING:
            said += f"; each takes {demand.contention:.0%} longer for another one beside it"
        if demand not in fleet.load.demands:
            said += "; none counts, for its printer stands still on every server"
        yield Input(f"demand of {demand.queue}", said, load.demands_age)
    yield Input("start-up", f"{load.start_up:.1f} s" if load.start_up else "not measured yet", 0.0)
    window = cool_down(settings.scaling, load.start_up)
    said = f"at most {_wished(load, window)} asked for in the last {window:.0f} s, known for {load.known_for:.0f} s"
    yield Input("window", said, 0.0)
    yield Input("server-hours today", f"{load.node_hours:.1f}", 0.0)


def _most(ages: list[float]) -> float:
    return max(ages, default=0.0)


def must_stay(sight: NodeSight) -> str:
    """Why a node that is not needed can't go; '' for one that can. What becomes of held jobs is for people to say."""
    if sight.node.driver == "existing":
        return "it is someone else's server"
    if sight.busy:
        return "something is under way there"
    return "it has jobs that wait for people" if sight.backlog and sight.backlog.stuck else ""


def goes_first(sight: NodeSight) -> tuple[bool, float, int, int]:
    """To sort by: one that takes no work anyway, then the one with the least work left."""
    assert sight.backlog is not None
    return sight.node.state is NodeState.READY, sight.backlog.seconds, sight.backlog.jobs, -sight.node.slot
