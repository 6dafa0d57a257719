"""A plan in the making."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from controller.config import Settings
from controller.decide.guards import Guard
from controller.decide.health import Life, Verdict
from controller.decide.scaling import counts, unknown
from controller.plan import Aim, Answer, Order, Scale, Step
from controller.snapshot import Cause, Goal, Node, NodeSight, NodeState, Snapshot

_COMING = (NodeState.ORDERED, NodeState.STARTING, NodeState.PROVING, NodeState.STOPPED, NodeState.DEAD)
"""States from which a node that is meant to serve gets ready by itself."""


@dataclass
class Draft:
    """A plan in the making: what was ordered so far counts for what comes after."""

    snapshot: Snapshot
    settings: Settings
    verdicts: dict[str, Verdict]
    guard: Guard
    steps: list[Step] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    goals: dict[str, Goal] = field(default_factory=dict)
    ordered: int = 0
    taken: bool = False
    """Whether this plan takes a node away already."""
    added: bool = False
    """Whether an administrator has just made the fleet larger."""
    paused_by: str | None = None
    """Who has just paused scaling, '' when it was resumed; None when nothing was said."""
    scale: Scale = field(default=Scale(0, 0, "it is not decided yet"))

    def __post_init__(self) -> None:
        self.goals = {sight.node.name: sight.node.goal for sight in self.snapshot.nodes}

    def meant_to_serve(self) -> int:
        return len(self._counted()) + self.ordered

    def who_counts(self) -> str:
        """The nodes that are meant to serve and how they stand, as the part of a sentence."""
        found = Counter(node.state.value for node in self._counted()) + Counter(ordered=self.ordered)
        states = ", ".join(f"{count} {state}" for state, count in found.most_common())
        return f"{self.meant_to_serve()} servers are meant to serve: {states or 'none'}"

    def _counted(self) -> list[Node]:
        nodes = [sight.node for sight in self.snapshot.nodes]
        return [node for node in nodes if counts(node, self.goals[node.name])]

    def coming(self) -> int:
        """Nodes that are meant to serve and on their way, or ordered in this plan."""
        return self.ordered + sum(map(self._comes, self.snapshot.nodes))

    def unwell(self) -> int:
        """Nodes that are meant to serve and take no work until they recover."""
        return sum(self.serves(sight, NodeState.UNHEALTHY) for sight in self.snapshot.nodes)

    def order(self, reason: str, address: str = "", by: Cause = Cause.ORDER) -> str | None:
        """Bring one back that goes, or order a new one; its name, or None when no slot is free."""
        if not address and (name := self._bring_back(reason)):
            return name
        if self.ordered >= len(self.snapshot.free_slots):
            return None
        name = f"node-{self.snapshot.next_name + self.ordered}"
        slot = self.snapshot.free_slots[self.ordered]
        self.steps.append(Order(name, reason, slot=slot, address=address, by=by.value))
        self.ordered += 1
        return name

    def _bring_back(self, reason: str) -> str | None:
        """One that goes only because it was not needed, or not well, and is."""
        for sight in self.snapshot.nodes:
            node = sight.node
            there = node.state in (NodeState.READY, NodeState.DRAINING) and self.goals[node.name] is not Goal.SERVE
            if there and self._well(sight) and node.goal_by in (Cause.SCALING, Cause.HEALTH):
                self.aim(node.name, Goal.SERVE, Cause.ORDER, f"{reason}, and it is still there")
                return node.name
        return None

    def aim(self, name: str, goal: Goal, by: Cause, reason: str) -> None:
        self.goals[name] = goal
        self.steps.append(Aim(name, reason, goal=goal.value, by=by.value))

    def replace(self, sight: NodeSight, by: Cause, why: str) -> None:
        """A new node first; this one leaves when that is ready. Both in one plan, so that one is never without the
        other."""
        name = sight.node.name
        if sight.node.driver == "existing":
            self.note(f"{name}: {why}; it is someone else's server and is not replaced")
        elif new := self.order(f"{name} is replaced, for {why}", by=by if by is Cause.HEALTH else Cause.ORDER):
            self.taken = True
            self.aim(name, Goal.RETIRE, by, f"{why}; {new} takes its place")
        else:
            self.note(f"{name} can't be replaced, although {why}: no slot is free")

    def order_missing(self) -> None:
        present = {sight.node.address for sight in self.snapshot.nodes}
        for address in self.settings.nodes.existing:
            if address not in present:
                self._order_or_note(f"nodes.existing names {address}", address)
        while (count := self.meant_to_serve()) < self.settings.nodes.min:
            if not self._order_or_note(f"nodes.min is {self.settings.nodes.min} and {count} serve or are coming"):
                return
        self._order_spares()

    def _order_spares(self) -> None:
        """Where a mass failure forbids to take bad nodes away, new ones are added, until the bad are the fewer.
        When one of these can't be proved either, no other is. Late answers alone order none: on a machine with too much
        to do, more servers would make them later still."""
        nodes, seen = self.settings.nodes, self.snapshot.nodes
        in_vain = any(sight.node.goal_by is Cause.SPARE and not sight.node.proved for sight in seen)
        if self.guard.prober or not self.guard.share or in_vain:
            return
        while (count := self._well_or_coming()) < nodes.min and len(seen) + self.ordered < nodes.max + nodes.min:
            if not self._order_or_note(f"{count} servers are well or coming, nodes.min is {nodes.min}", by=Cause.SPARE):
                return

    def _well_or_coming(self) -> int:
        return self.ordered + sum(self._carries(sight) or self._comes(sight) for sight in self.snapshot.nodes)

    def _carries(self, sight: NodeSight) -> bool:
        """Whether it serves, and nothing that lasts speaks against it."""
        life = self.verdicts[sight.node.name].life
        lasts = life is Life.DEAD or (life is Life.UNHEALTHY and sight.bad_readings >= self.settings.health.fall)
        return self._serves(sight) and not lasts

    def _comes(self, sight: NodeSight) -> bool:
        return sight.node.state in _COMING and counts(sight.node, self.goals[sight.node.name])

    def unrest(self) -> str:
        """What speaks against taking a node that serves, in words: doubt, a node that comes or goes just now, or one
        that serves and is not well; '' when nothing else is the matter."""
        if self.guard.held:
            return self.guard.held
        if self.taken or self.ordered:
            return "another one goes or was ordered in the same pass"
        if unseen := unknown(self.snapshot):
            return f"the work of {', '.join(unseen)} is not known"
        return next(filter(None, map(self._unrest, self.snapshot.nodes)), "")

    def _unrest(self, sight: NodeSight) -> str:
        name = sight.node.name
        if self._just_taken(sight):
            return f"{name} was just taken from service"
        if self._comes(sight):
            return f"{name} is coming"
        if sight.node.state is NodeState.READY and not self._well(sight):
            return f"{name} is not well, for {self.verdicts[name].reason}"
        return ""

    def _well(self, sight: NodeSight) -> bool:
        return sight.answers and self.verdicts[sight.node.name].life is Life.HEALTHY

    def _order_or_note(self, reason: str, address: str = "", by: Cause = Cause.ORDER) -> bool:
        if self.order(reason, address, by):
            return True
        self.note(f"no slot is free for another server, although {reason}")
        return False

    def others_ready(self, name: str) -> int:
        """Nodes but this one that take new work now, are well, and are meant to go on."""
        return sum(1 for sight in self.snapshot.nodes if sight.node.name != name and self._serves_well(sight))

    def _serves_well(self, sight: NodeSight) -> bool:
        return self._serves(sight) and self._well(sight)

    def _serves(self, sight: NodeSight) -> bool:
        return self.serves(sight, NodeState.READY)

    def serves(self, sight: NodeSight, *states: NodeState) -> bool:
        """Whether it is meant to serve and in one of these states."""
        return sight.node.state in states and self.goals[sight.node.name] is Goal.SERVE

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def may_take(self, name: str, why: str) -> bool:
        """Whether a verdict may take this node from service now: at most one does in an interval, and never the last.

        What is held back is noted.
        """
        if self.guard.held:
            self.note(self.guard.held)
        elif not self.others_ready(name):
            self.note(f"{name} serves on, although {why}: no other server is ready")
        elif not self.taken and not any(map(self._just_taken, self.snapshot.nodes)):
            self.taken = True
            return True
        return False

    def _just_taken(self, sight: NodeSight) -> bool:
        gone = (NodeState.UNHEALTHY, NodeState.DRAINING)
        return sight.node.state in gone and sight.in_state < self.settings.health.interval
