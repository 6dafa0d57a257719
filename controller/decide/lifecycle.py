"""The next step in each node's life, and what becomes of the administrators' commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.config import Settings, split_address
from controller.decide.health import Life, judge
from controller.decide.scaling import counts, scale
from controller.plan import (
    Admit,
    Aim,
    Answer,
    Declare,
    Drain,
    Leave,
    Order,
    Plan,
    Prove,
    Remove,
    Restart,
    Scale,
    Start,
    Step,
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
    draft = _Draft(snapshot, settings)
    for command in snapshot.commands:
        draft.take(command)
    draft.order_missing()
    for sight in snapshot.nodes:
        if not sight.busy:
            draft.steps.extend(step for step in _life(sight, draft) if not _too_early(step, sight))
    return Plan(draft.scale, tuple(draft.steps), tuple(draft.answers), tuple(draft.notes))


GOALS = {"add": Goal.SERVE, "retire": Goal.RETIRE, "drain": Goal.DRAIN, "resume": Goal.SERVE}
"""What each command makes of a node."""


@dataclass
class _Draft:
    """A plan in the making: what was ordered so far counts for what comes after."""

    snapshot: Snapshot
    settings: Settings
    steps: list[Step] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    goals: dict[str, Goal] = field(default_factory=dict)
    ordered: int = 0
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

    def _order_or_note(self, reason: str, address: str = "") -> bool:
        if self.order(reason, address):
            return True
        self.notes.append(f"no slot is free for another node, although {reason}")
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

    def _leaving(self) -> set[str]:
        return {sight.node.name for sight in self.snapshot.nodes if sight.node.state is NodeState.LEAVING}

    def _configured(self, name: str) -> bool:
        existing = self.settings.nodes.existing
        return any(sight.node.name == name and sight.node.address in existing for sight in self.snapshot.nodes)

    def _refuse(self, command: Command, why: str) -> None:
        self.answers.append(Answer(command.id, "refused", why))

    def others_ready(self, name: str) -> int:
        """Nodes but this one that take new work now and are meant to go on."""
        return sum(
            1
            for sight in self.snapshot.nodes
            if sight.node.name != name
            and sight.node.state is NodeState.READY
            and self.goals[sight.node.name] is Goal.SERVE
            and sight.answers
        )


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
    verdict = judge(sight, settings.health)
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
            yield _take_out(sight, f"it did not come up: {verdict.reason}")
        case NodeState.PROVING | NodeState.READY | NodeState.DRAINING if verdict.life is Life.DEAD:
            yield _take_out(sight, verdict.reason)
        case NodeState.PROVING if sight.proxies and all(proxy.up for proxy in sight.proxies):
            yield Admit(node.name, "its queues stand, its proof job ran, every proxy's check passed")
        case NodeState.READY if goal is not Goal.SERVE:
            yield from _leave_service(sight, goal, draft)
        case NodeState.DRAINING if goal is Goal.RETIRE:
            yield from _leave_fleet(sight, draft)
        case NodeState.DRAINING if goal is Goal.SERVE and sight.answers:
            yield Admit(node.name, "it is meant to serve again")
        case NodeState.READY | NodeState.DRAINING if node.queues != draft.snapshot.queues and sight.answers:
            yield Declare(node.name, "the configured printers changed")
        case NodeState.DEAD:
            yield from _revive(sight, goal, settings)


def _too_early(step: Step, sight: NodeSight) -> bool:
    """What failed a moment ago would fail again; what is only recorded can't fail."""
    return sight.retry_in > 0 and isinstance(step, Start | Restart | Prove | Declare | Remove)


def _leave_service(sight: NodeSight, goal: Goal, draft: _Draft) -> Iterator[Step]:
    """A node goes on serving until others carry what must be carried."""
    needed = max(1, min(draft.settings.nodes.min, draft.meant_to_serve()))
    ready = draft.others_ready(sight.node.name)
    if ready >= needed or (goal is Goal.DRAIN and ready >= 1):
        yield Drain(sight.node.name, f"it is meant to {goal.value} and {ready} others serve")
    else:
        draft.notes.append(f"{sight.node.name} serves on: {ready} others are ready and {needed} are needed")


def _leave_fleet(sight: NodeSight, draft: _Draft) -> Iterator[Step]:
    """What can't be seen counts as work: a missing proxy, or one whose connections are unknown."""
    if sight.idle_readings < IDLE_READINGS:
        return
    if len(sight.proxies) < draft.snapshot.proxies or any(proxy.sessions is None for proxy in sight.proxies):
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
    elif sight.alive is not None:
        yield Restart(node.name, f"{node.reason}; death number {node.deaths} since it last served for a while")
    elif goal is Goal.RETIRE:
        yield Leave(node.name, "it is silent and was retired; its jobs stay on that server")
