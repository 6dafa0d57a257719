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
from controller.snapshot import SLOT_RESERVE, Cause, Command, Goal, Node, NodeSight, NodeState, Snapshot

COMMAND_EXPIRES = 60.0
"""Seconds after which a command that nobody carried out is refused: late is worse than never."""
SERVED_WELL = 300.0
"""Seconds in service after which earlier deaths of a node are forgotten."""
IDLE_READINGS = 2
"""Readings in a row without an open job before a draining node may leave."""
EVACUATE_AGAIN = 60.0
"""Seconds after which the jobs that are still there are told once more to go."""
_HELD, _STOPPED = 4, 6
"""job-state (RFC 8011 5.3.7): these end by nobody's work."""
_COMING = (NodeState.ORDERED, NodeState.STARTING, NodeState.PROVING, NodeState.STOPPED, NodeState.DEAD)
"""States from which a node that is meant to serve gets ready by itself."""


def decide(snapshot: Snapshot, settings: Settings) -> Plan:
    """Everything that is to be done now. Pure."""
    judged = verdicts(snapshot, settings)
    draft = Draft(_fresh(snapshot, settings), settings, judged, guard(snapshot, judged, settings))
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

    def order(self, reason: str, address: str = "", spare: bool = False) -> str | None:
        """Bring a draining node back or order a new one; its name, or None when no slot is free."""
        if not address and (name := self._bring_back(reason)):
            return name
        if self.ordered >= len(self.snapshot.free_slots):
            return None
        name = f"node-{self.snapshot.next_name + self.ordered}"
        slot = self.snapshot.free_slots[self.ordered]
        self.steps.append(Order(name, reason, slot=slot, address=address, spare=spare))
        self.ordered += 1
        return name

    def _bring_back(self, reason: str) -> str | None:
        """One that drains only because it was not needed, or not well, and is."""
        for sight in self.snapshot.nodes:
            node = sight.node
            drains = node.state is NodeState.DRAINING and self.goals[node.name] is not Goal.SERVE
            if drains and self._well(sight) and node.goal_by in (Cause.SCALING, Cause.HEALTH):
                self.aim(node.name, Goal.SERVE, Cause.ORDER, f"{reason}, and it still drains")
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
        elif new := self.order(f"{name} is replaced, for {why}"):
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
        """Where a mass failure forbids to take bad nodes away, new ones are added, until the bad are the fewer."""
        nodes, seen = self.settings.nodes, self.snapshot.nodes
        if self.guard.prober or not self.guard.share:
            return
        while (count := self._well_or_coming()) < nodes.min and len(seen) + self.ordered < nodes.max + nodes.min:
            if not self._order_or_note(f"{count} nodes are well or coming, nodes.min is {nodes.min}", spare=True):
                return

    def _well_or_coming(self) -> int:
        return self.ordered + sum(self._serves_well(sight) or self._comes(sight) for sight in self.snapshot.nodes)

    def _comes(self, sight: NodeSight) -> bool:
        return sight.node.state in _COMING and counts(sight.node, self.goals[sight.node.name])

    def calm(self) -> bool:
        """Whether nothing else is the matter: no doubt, no node comes or goes just now, and all that serve are well."""
        serving = [sight for sight in self.snapshot.nodes if sight.node.state is NodeState.READY]
        quiet = not self.guard.held and not self.taken and not self.ordered and not self._took_just_now()
        return quiet and not any(map(self._comes, self.snapshot.nodes)) and all(map(self._well, serving))

    def _well(self, sight: NodeSight) -> bool:
        return sight.answers and self.verdicts[sight.node.name].life is Life.HEALTHY

    def _order_or_note(self, reason: str, address: str = "", spare: bool = False) -> bool:
        if self.order(reason, address, spare):
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
            self.answers.append(Answer(command.id, "running", f"{name} is coming", name))
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
            self.aim(name, goal, Cause.ADMINISTRATOR, f"{command.asked_by} asked to {command.verb} it")
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
        serves = sight.node.state is NodeState.READY and self.goals[sight.node.name] is Goal.SERVE
        return serves and self._well(sight)

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


def _life(sight: NodeSight, draft: Draft) -> Iterator[Step]:
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
        case NodeState.UNHEALTHY if goal is Goal.SERVE and sight.in_state >= settings.health.replace_after:
            yield from _give_place(sight, verdict, draft)
        case NodeState.READY | NodeState.UNHEALTHY if goal is not Goal.SERVE:
            yield from _leave_service(sight, goal, draft)
        case NodeState.DRAINING if goal is Goal.RETIRE:
            yield from _leave_fleet(sight, draft)
        case NodeState.DRAINING if goal is Goal.SERVE and sight.answers:
            yield Admit(node.name, "it is meant to serve again")
        case NodeState.READY | NodeState.UNHEALTHY | NodeState.DRAINING if _lacks_queues(sight, draft):
            yield Declare(node.name, "its queues are not as configured")
        case NodeState.READY:
            _renew(sight, draft)
        case NodeState.DEAD:
            yield from _revive(sight, goal, settings)
        case NodeState.RESCUING:
            yield Rescue(node.name, "it could not be started again")


def _die(sight: NodeSight, verdict: Verdict, draft: Draft) -> Iterator[Step]:
    """That a process is gone is known for certain. Silence, even of two witnesses, may be theirs."""
    if sight.alive is not False and draft.guard.held:
        draft.note(draft.guard.held)
    else:
        yield _take_out(sight, verdict.reason)


def _fall_ill(sight: NodeSight, verdict: Verdict, draft: Draft) -> Iterator[Step]:
    if draft.may_take(sight.node.name, verdict.reason):
        faults = list(queue_faults(sight, peers(draft.snapshot), draft.settings))
        yield Suspend(sight.node.name, verdict.reason, redeclare=bool(faults))


def _lacks_queues(sight: NodeSight, draft: Draft) -> bool:
    return sight.answers and sight.node.queues != draft.snapshot.queues


def _give_place(sight: NodeSight, verdict: Verdict, draft: Draft) -> Iterator[Step]:
    if draft.may_take(sight.node.name, f"it did not recover: {verdict.reason}"):
        why = f"it did not recover within {sight.in_state:.0f} s: {sight.node.reason}"
        draft.replace(sight, Cause.HEALTH, why)
    elif _lacks_queues(sight, draft):
        yield Declare(sight.node.name, "its queues are not as configured")


def _renew(sight: NodeSight, draft: Draft) -> None:
    """A node that serves well is replaced all the same, one by one and in calm times only."""
    node = sight.node
    if sight.ids_left <= SLOT_RESERVE:
        why, by = f"slot {node.slot} has {max(sight.ids_left, 0)} ids left", Cause.IDS
    elif sight.outdated:
        why, by = "a new release changed the settings that nodes run with", Cause.SETTINGS
    elif node.goal_by is Cause.SPARE and sight.in_state >= draft.settings.health.replace_after:
        if draft.calm() and draft.meant_to_serve() > draft.settings.nodes.min:
            draft.taken = True
            draft.aim(node.name, Goal.RETIRE, Cause.SCALING, "every node is well again, no spare is needed")
        return
    else:
        return
    if draft.calm():
        draft.replace(sight, by, why)


def _too_early(step: Step, sight: NodeSight) -> bool:
    """What failed a moment ago would fail again; what is only recorded can't fail."""
    return sight.retry_in > 0 and isinstance(step, Start | Restart | Prove | Declare | Remove | Rescue | Evacuate)


def _leave_service(sight: NodeSight, goal: Goal, draft: Draft) -> Iterator[Step]:
    """A node goes on serving until others carry what must be carried."""
    node, ready = sight.node, draft.others_ready(sight.node.name)
    needed = _needed(node, goal, draft)
    if ready < needed:
        draft.note(f"{node.name} serves on: {ready} others are ready and {needed} are needed")
    elif node.goal_by in (Cause.ORDER, Cause.ADMINISTRATOR) or draft.may_take(node.name, node.reason):
        yield Drain(node.name, f"it is meant to {goal.value} and {ready} others serve")


def _needed(node: Node, goal: Goal, draft: Draft) -> int:
    """How many others must be ready before it takes no new work any more. An unhealthy one takes none already."""
    if goal is Goal.DRAIN or node.state is NodeState.UNHEALTHY:
        return 1
    meant = draft.meant_to_serve()
    return max(1, meant if node.goal_by in (Cause.IDS, Cause.SETTINGS) else min(draft.settings.nodes.min, meant))


def _leave_fleet(sight: NodeSight, draft: Draft) -> Iterator[Step]:
    """What can't be seen counts as work: a missing proxy, or one whose connections are unknown."""
    if sight.idle_readings < IDLE_READINGS:
        yield from _evacuate(sight, draft)
    elif draft.guard.prober:
        draft.note(draft.guard.prober)
    elif len(sight.proxies) < draft.snapshot.proxies or any(proxy.sessions is None for proxy in sight.proxies):
        draft.notes.append(f"{sight.node.name} has no open job but stays: a proxy could not be asked for connections")
    elif not any(proxy.sessions for proxy in sight.proxies):
        yield Leave(sight.node.name, "it has no open job and no connection")


def _evacuate(sight: NodeSight, draft: Draft) -> Iterator[Step]:
    """Jobs that don't end go to other nodes: at the deadline, and at once from a node that is not well."""
    node, deadline = sight.node, draft.settings.nodes.drain_deadline
    unwell = node.goal_by is Cause.HEALTH
    if not sight.open_jobs or not (unwell or sight.in_state >= deadline):
        return
    if not unwell:
        draft.note(
            f"{node.name} has drained for {sight.in_state / 60:.0f} min and its jobs go to others: {jobs(sight)}"
        )
    if not draft.others_ready(node.name):
        draft.note(f"the jobs of {node.name} stay there: no other node is ready to take them")
    elif sight.evacuated_ago is None or sight.evacuated_ago >= EVACUATE_AGAIN:
        why = "it is not well" if unwell else f"it has drained for {sight.in_state:.0f} s"
        yield Evacuate(node.name, f"{why}, and is not empty: {jobs(sight)}")


def jobs(sight: NodeSight) -> str:
    """What is left on a node, and how long that may take at its pace since it takes no new work."""
    open_jobs = sight.reading.jobs if sight.reading else ()
    waiting = sum(job.state in (_HELD, _STOPPED) for job in open_jobs)
    said = f"{len(open_jobs)} {'job' if len(open_jobs) == 1 else 'jobs'} left"
    said += f", {waiting} of them held or stopped" if waiting else ""
    seconds = remaining(sight)
    return said if seconds is None else f"{said}, about {seconds:.0f} s"


def remaining(sight: NodeSight) -> float | None:
    """Seconds until its jobs are done at the pace that it has had; None when there is none to go by."""
    working = sum(job.state not in (_HELD, _STOPPED) for job in sight.reading.jobs) if sight.reading else 0
    return working * sight.in_state / sight.finished if working and sight.finished else None


def _be_removed(sight: NodeSight, draft: Draft) -> Iterator[Step]:
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
