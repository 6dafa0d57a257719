"""The next step in each node's life, and what becomes of the administrators' commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from controller.config import Settings, split_address
from controller.decide.guards import Guard, guard
from controller.decide.health import Life, Verdict, peers, queue_faults, verdicts
from controller.decide.scaling import counts, scale
from controller.plan import (
    Admit,
    Aim,
    Answer,
    Declare,
    Drain,
    Evacuate,
    GiveUp,
    Leave,
    Order,
    Plan,
    Prove,
    Remove,
    Rescue,
    Restart,
    Scale,
    Start,
    Step,
    Suspend,
    TakeOut,
)
from controller.snapshot import Command, Goal, NodeSight, NodeState, Snapshot

COMMAND_EXPIRES = 60.0
"""Seconds after which a command that nobody carried out is refused: late is worse than never."""
SERVED_WELL = 300.0
"""Seconds in service after which earlier deaths of a node are forgotten."""
IDLE_READINGS = 2
"""Readings in a row without an open job before a draining node may leave."""


def decide(snapshot: Snapshot, settings: Settings) -> Plan:
    """Everything that is to be done now. Pure."""
    judged = verdicts(snapshot, settings)
    draft = _Draft(_fresh(snapshot, settings), settings, judged, guard(snapshot, judged, settings))
    for command in snapshot.commands:
        draft.take(command)
    draft.order_missing()
    for sight in draft.snapshot.nodes:
        if not sight.busy:
            draft.steps.extend(step for step in _life(sight, draft) if not _too_early(step, sight))
    return Plan(draft.scale, tuple(draft.steps), tuple(draft.answers), tuple(draft.notes))


def _fresh(snapshot: Snapshot, settings: Settings) -> Snapshot:
    """Without the readings that are too old to decide anything."""
    limit = settings.health.stale_after
    sights = (
        replace(sight, reading=None, idle_readings=0, bad_readings=0, good_readings=0)
        if sight.reading_age > limit
        else sight
        for sight in snapshot.nodes
    )
    return replace(snapshot, nodes=tuple(sights))


GOALS = {"add": Goal.SERVE, "retire": Goal.RETIRE, "drain": Goal.DRAIN, "resume": Goal.SERVE}
"""What each command makes of a node."""


@dataclass
class _Draft:
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
    scale: Scale = field(init=False)

    def __post_init__(self) -> None:
        self.goals = {sight.node.name: sight.node.goal for sight in self.snapshot.nodes}
        self.scale = scale(self.snapshot, self.settings.nodes)

    def take(self, command: Command) -> None:
        if command.state == "running":
            self.answers.extend(_progress(command, self.snapshot))
        elif command.age > COMMAND_EXPIRES:
            self._refuse(command, f"it waited {command.age:.0f} s for a controller; ask again if it is still wanted")
        elif command.verb == "add":
            self._add(command)
        elif command.verb == "evacuate":
            self._evacuate(command)
        else:
            self._aim(command)

    def meant_to_serve(self) -> int:
        nodes = [sight.node for sight in self.snapshot.nodes]
        return sum(1 for node in nodes if counts(node, self.goals[node.name])) + self.ordered

    def order(self, reason: str, address: str = "") -> str | None:
        """Order a node; the new name, or None when no slot is free."""
        if self.ordered >= len(self.snapshot.free_slots):
            return None
        name = f"node-{self.snapshot.next_name + self.ordered}"
        self.steps.append(Order(name, reason, slot=self.snapshot.free_slots[self.ordered], address=address))
        self.ordered += 1
        return name

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
        """Where a mass failure forbids to take bad nodes away, new ones are added, until the bad are the fewer."""
        nodes, seen = self.settings.nodes, self.snapshot.nodes
        if self.guard.prober or not self.guard.share:
            return
        while (count := self._well_or_coming()) < nodes.min and len(seen) + self.ordered < nodes.max + nodes.min:
            if not self._order_or_note(f"{count} nodes are well or coming, nodes.min is {nodes.min}"):
                return

    def _well_or_coming(self) -> int:
        coming = (NodeState.ORDERED, NodeState.STARTING, NodeState.PROVING, NodeState.STOPPED, NodeState.DEAD)
        return self.ordered + sum(
            self._serves_well(sight) or (sight.node.state in coming and counts(sight.node, self.goals[sight.node.name]))
            for sight in self.snapshot.nodes
        )

    def _order_or_note(self, reason: str, address: str = "") -> bool:
        if self.order(reason, address):
            return True
        self.note(f"no slot is free for another node, although {reason}")
        return False

    def _add(self, command: Command) -> None:
        limit = self.settings.nodes.max
        if command.argument and not _is_address(command.argument):
            self._refuse(command, f"{command.argument!r} is no address; allowed is HOST:PORT or [IPV6]:PORT")
        elif self.meant_to_serve() >= limit:
            self._refuse(command, f"{self.meant_to_serve()} nodes serve or are coming and nodes.max is {limit}")
        elif any(sight.node.address == command.argument for sight in self.snapshot.nodes):
            self._refuse(command, f"{command.argument} is in the fleet already")
        elif name := self.order(f"{command.asked_by} asked for it", command.argument):
            self.answers.append(Answer(command.id, "running", f"{name} is ordered", name))
        else:
            self._refuse(command, "no slot is free; one becomes free when a draining node has left")

    def _aim(self, command: Command) -> None:
        goal, name = GOALS.get(command.verb), command.argument
        if goal is None:
            self._refuse(command, f"{command.verb!r} is no command; allowed are {', '.join(GOALS)}")
        elif name not in self.goals:
            self._refuse(command, f"there is no node {name}; known are {', '.join(sorted(self.goals)) or 'none'}")
        elif name in self._leaving():
            self._refuse(command, f"{name} is leaving already")
        elif goal is Goal.RETIRE and self._configured(name):
            self._refuse(command, f"{name} is named by nodes.existing in the configuration; remove it there first")
        else:
            self.goals[name] = goal
            self.steps.append(Aim(name, f"{command.asked_by} asked to {command.verb} it", goal=goal.value))
            self.answers.append(Answer(command.id, "running", f"{name}: {command.verb} begun", name))

    def _evacuate(self, command: Command) -> None:
        name = command.argument
        if name not in self.goals:
            self._refuse(command, f"there is no node {name}; known are {', '.join(sorted(self.goals)) or 'none'}")
        elif not self.others_ready(name):
            self._refuse(command, f"no other node is ready to take the jobs of {name}")
        else:
            self.steps.append(Evacuate(name, f"{command.asked_by} asked for it"))
            self.answers.append(Answer(command.id, "done", f"the waiting jobs of {name} go to other nodes", name))

    def _leaving(self) -> set[str]:
        return {sight.node.name for sight in self.snapshot.nodes if sight.node.state is NodeState.LEAVING}

    def _configured(self, name: str) -> bool:
        existing = self.settings.nodes.existing
        return any(sight.node.name == name and sight.node.address in existing for sight in self.snapshot.nodes)

    def _refuse(self, command: Command, why: str) -> None:
        self.answers.append(Answer(command.id, "refused", why))

    def others_ready(self, name: str) -> int:
        """Nodes but this one that take new work now, are well, and are meant to go on."""
        return sum(1 for sight in self.snapshot.nodes if sight.node.name != name and self._serves_well(sight))

    def _serves_well(self, sight: NodeSight) -> bool:
        name = sight.node.name
        well = sight.answers and self.verdicts[name].life is Life.HEALTHY
        return well and sight.node.state is NodeState.READY and self.goals[name] is Goal.SERVE

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
            self.note(f"{name} serves on, although {why}: no other node is ready")
        elif not self.taken and not self._took_just_now():
            self.taken = True
            return True
        return False

    def _took_just_now(self) -> bool:
        gone = (NodeState.UNHEALTHY, NodeState.DRAINING)
        interval = self.settings.health.interval
        return any(sight.node.state in gone and sight.in_state < interval for sight in self.snapshot.nodes)


def _progress(command: Command, snapshot: Snapshot) -> Iterator[Answer]:
    """Whether a command that was begun has reached its end."""
    node = next((sight.node for sight in snapshot.nodes if sight.node.name == command.node), None)
    if node is None:
        state = "done" if command.verb == "retire" else "failed"
        yield Answer(command.id, state, f"{command.node} has left", command.node)
    elif node.goal is not GOALS[command.verb]:
        yield Answer(command.id, "failed", f"{node.name} was told to {node.goal.value} since", node.name)
    elif command.verb == "retire":
        return
    elif node.state is (NodeState.DRAINING if command.verb == "drain" else NodeState.READY):
        yield Answer(command.id, "done", f"{node.name} is {node.state.value}", node.name)


def _life(sight: NodeSight, draft: _Draft) -> Iterator[Step]:
    """The next steps for one node that nothing is under way for."""
    node, settings = sight.node, draft.settings
    goal = draft.goals[node.name]
    verdict = draft.verdicts[node.name]
    match node.state:
        case NodeState.LEAVING:
            yield from _be_removed(sight, draft)
        case NodeState.ORDERED if goal is Goal.RETIRE:
            yield Leave(node.name, "it was retired before it started")
        case NodeState.ORDERED | NodeState.STOPPED:
            yield Start(node.name, node.reason)
        case NodeState.STARTING if sight.answers:
            yield Prove(node.name, "it answers")
        case NodeState.STARTING if verdict.life is Life.DEAD or sight.in_state > settings.nodes.start_timeout:
            if sight.alive is False or not draft.guard.prober:
                yield _take_out(sight, f"it did not come up: {verdict.reason}")
        case NodeState.PROVING | NodeState.READY | NodeState.UNHEALTHY | NodeState.DRAINING if (
            verdict.life is Life.DEAD
        ):
            yield from _die(sight, verdict, draft)
        case NodeState.PROVING if sight.proxies and all(proxy.up for proxy in sight.proxies):
            yield Admit(node.name, "its queues stand, its proof job ran, every proxy's check passed")
        case NodeState.READY if verdict.life is Life.UNHEALTHY and sight.bad_readings >= settings.health.fall:
            yield from _fall_ill(sight, verdict, draft)
        case NodeState.UNHEALTHY if sight.good_readings >= settings.health.rise:
            yield Admit(node.name, f"{sight.good_readings} good answers in a row")
        case NodeState.READY | NodeState.UNHEALTHY if goal is not Goal.SERVE:
            yield from _leave_service(sight, goal, draft)
        case NodeState.DRAINING if goal is Goal.RETIRE:
            yield from _leave_fleet(sight, draft)
        case NodeState.DRAINING if goal is Goal.SERVE and sight.answers:
            yield Admit(node.name, "it is meant to serve again")
        case NodeState.READY | NodeState.UNHEALTHY | NodeState.DRAINING if (
            node.queues != draft.snapshot.queues and sight.answers
        ):
            yield Declare(node.name, "its queues are not as configured")
        case NodeState.DEAD:
            yield from _revive(sight, goal, settings)
        case NodeState.RESCUING:
            yield Rescue(node.name, "it could not be started again")


def _die(sight: NodeSight, verdict: Verdict, draft: _Draft) -> Iterator[Step]:
    """That a process is gone is known for certain. Silence, even of two witnesses, may be theirs."""
    if sight.alive is not False and draft.guard.held:
        draft.note(draft.guard.held)
    else:
        yield _take_out(sight, verdict.reason)


def _fall_ill(sight: NodeSight, verdict: Verdict, draft: _Draft) -> Iterator[Step]:
    if draft.may_take(sight.node.name, verdict.reason):
        faults = list(queue_faults(sight, peers(draft.snapshot), draft.settings))
        yield Suspend(sight.node.name, verdict.reason, redeclare=bool(faults))


def _too_early(step: Step, sight: NodeSight) -> bool:
    """What failed a moment ago would fail again; what is only recorded can't fail."""
    return sight.retry_in > 0 and isinstance(step, Start | Restart | Prove | Declare | Remove | Rescue)


def _leave_service(sight: NodeSight, goal: Goal, draft: _Draft) -> Iterator[Step]:
    """A node goes on serving until others carry what must be carried."""
    needed = max(1, min(draft.settings.nodes.min, draft.meant_to_serve()))
    ready = draft.others_ready(sight.node.name)
    unhealthy = sight.node.state is NodeState.UNHEALTHY  # it carries nothing new
    if ready >= needed or (ready >= 1 and (goal is Goal.DRAIN or unhealthy)):
        yield Drain(sight.node.name, f"it is meant to {goal.value} and {ready} others serve")
    else:
        draft.notes.append(f"{sight.node.name} serves on: {ready} others are ready and {needed} are needed")


def _leave_fleet(sight: NodeSight, draft: _Draft) -> Iterator[Step]:
    """What can't be seen counts as work: a missing proxy, or one whose connections are unknown."""
    if sight.idle_readings < IDLE_READINGS:
        return
    if draft.guard.prober:
        draft.note(draft.guard.prober)
    elif len(sight.proxies) < draft.snapshot.proxies or any(proxy.sessions is None for proxy in sight.proxies):
        draft.notes.append(f"{sight.node.name} has no open job but stays: a proxy could not be asked for connections")
    elif not any(proxy.sessions for proxy in sight.proxies):
        yield Leave(sight.node.name, "it has no open job and no connection")


def _be_removed(sight: NodeSight, draft: _Draft) -> Iterator[Step]:
    if draft.snapshot.proxies_obey:
        yield Remove(sight.node.name, sight.node.reason)
    else:
        draft.notes.append(f"{sight.node.name} is not ended yet: a proxy could not be told that it leaves")


def _is_address(text: str) -> bool:
    try:
        split_address(text)
    except ValueError:
        return False
    return True


def _take_out(sight: NodeSight, reason: str) -> TakeOut:
    """Deaths are counted since the node last served for a while, so that the waiting time before a start grows."""
    served_well = sight.node.state is NodeState.READY and sight.in_state >= SERVED_WELL
    return TakeOut(sight.node.name, reason, deaths=1 if served_well else sight.node.deaths + 1)


def _revive(sight: NodeSight, goal: Goal, settings: Settings) -> Iterator[Step]:
    node = sight.node
    if sight.in_state < (
        0.0 if node.deaths <= 1 else min(2.0 ** (node.deaths - 2), settings.health.restart_backoff_max)
    ):
        return
    if sight.answers:  # it was only slow, or it is someone else's and came back by itself
        yield Prove(node.name, "it answers again")
    elif sight.alive is not None and node.deaths > settings.health.max_restarts:
        yield GiveUp(node.name, f"{node.reason}; it died {node.deaths} times since it last served for a while")
    elif sight.alive is not None:
        yield Restart(node.name, f"{node.reason}; death number {node.deaths} since it last served for a while")
    elif goal is Goal.RETIRE:
        yield Leave(node.name, "it is silent and was retired; its jobs stay on that server")
