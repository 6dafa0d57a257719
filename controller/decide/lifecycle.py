"""The next step in each node's life."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from controller.config import Health, Settings
from controller.config_values import EVERYWHERE
from controller.decide.commands import take
from controller.decide.draft import Draft
from controller.decide.guards import guard
from controller.decide.health import Life, Verdict, peers, queue_faults, verdicts
from controller.decide.leaving import be_removed, leave_fleet, leave_service
from controller.decide.sizing import fit
from controller.decide.weights import weights
from controller.plan import (
    Admit,
    Declare,
    Distrust,
    Evacuate,
    GiveUp,
    Leave,
    Plan,
    Prove,
    Remove,
    Rescue,
    Restart,
    Start,
    Step,
    Suspend,
    TakeOut,
)
from controller.snapshot import SLOT_RESERVE, Cause, Goal, NodeSight, NodeState, Snapshot

DECLARE_AGAIN = 60.0
"""Seconds after which the queues of a node that is still not well are declared once more."""
SERVED_WELL = 300.0
"""Seconds in service after which earlier deaths of a node are forgotten."""


def decide(snapshot: Snapshot, settings: Settings) -> Plan:
    """Everything that is to be done now. Pure."""
    judged = verdicts(snapshot, settings)
    draft = Draft(_fresh(snapshot, settings), settings, judged, guard(snapshot, judged, settings))
    for command in snapshot.commands:
        take(draft, command)
    draft.order_missing()
    fit(draft)
    for sight in draft.snapshot.nodes:
        if not sight.busy:
            draft.steps.extend(step for step in _life(sight, draft) if not _too_early(step, sight))
    return Plan(
        draft.scale, tuple(draft.steps), tuple(draft.answers), tuple(draft.notes), weights(draft.snapshot.nodes)
    )


def _fresh(snapshot: Snapshot, settings: Settings) -> Snapshot:
    """Without the readings that are too old to decide anything."""
    limit = settings.health.stale_after
    sights = (
        replace(sight, reading=None, backlog=None, idle_readings=0, bad_readings=0, good_readings=0)
        if sight.reading_age > limit
        else sight
        for sight in snapshot.nodes
    )
    return replace(snapshot, nodes=tuple(sights))


def _life(sight: NodeSight, draft: Draft) -> Iterator[Step]:
    """The next steps for one node that nothing is under way for."""
    node, settings = sight.node, draft.settings
    goal = draft.goals[node.name]
    verdict = draft.verdicts[node.name]
    match node.state:
        case NodeState.LEAVING:
            yield from be_removed(sight, draft)
        case NodeState.ORDERED if goal is Goal.RETIRE:
            yield Leave(node.name, "it was retired before it started")
        case NodeState.ORDERED | NodeState.STOPPED:
            yield Start(node.name, node.reason)
        case NodeState.STARTING | NodeState.DEAD if _proves_in_vain(sight, goal, settings):
            yield Distrust(node.name, node.failure)
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
            yield from leave_service(sight, goal, draft)
        case NodeState.DRAINING if goal is Goal.RETIRE:
            yield from leave_fleet(sight, draft)
        case NodeState.DRAINING if goal is Goal.SERVE and sight.answers:
            step = Admit if node.proved else Distrust
            yield step(node.name, "it is meant to serve again")
        case NodeState.READY | NodeState.UNHEALTHY | NodeState.DRAINING:
            yield from _tend(sight, draft)
        case NodeState.DEAD:
            yield from _revive(sight, goal, settings)
        case NodeState.RESCUING:
            yield Rescue(node.name, "it could not be started again")


def _proves_in_vain(sight: NodeSight, goal: Goal, settings: Settings) -> bool:
    """Whether a node answers and fails its proofs, and that is for long, or it is to serve no more anyway."""
    long = sight.in_state >= settings.nodes.start_timeout
    return sight.answers and bool(sight.node.failure) and (long or goal is not Goal.SERVE)


def _die(sight: NodeSight, verdict: Verdict, draft: Draft) -> Iterator[Step]:
    """That a process is gone is known for certain. Silence, even of two witnesses, may be theirs."""
    if sight.alive is not False and draft.guard.held:
        draft.note(draft.guard.held)
    else:
        yield _take_out(sight, verdict.reason)


def _fall_ill(sight: NodeSight, verdict: Verdict, draft: Draft) -> Iterator[Step]:
    if draft.may_take(sight.node.name, verdict.reason):
        yield Suspend(sight.node.name, verdict.reason)
    else:
        yield from _tend(sight, draft)


def _tend(sight: NodeSight, draft: Draft) -> Iterator[Step]:
    """What can be done for a node in its place: its queues are declared anew, which starts and opens them too."""
    node = sight.node
    if not sight.answers:
        return
    if not node.proved:
        yield Prove(node.name, "it answers, and is not proved yet")
    elif node.queues != draft.snapshot.queues:
        yield Declare(node.name, "its queues are not as configured")
    elif fault := _lasting_fault(sight, draft):
        yield Declare(node.name, fault)
    elif node.state is NodeState.READY:
        _renew(sight, draft)


def _lasting_fault(sight: NodeSight, draft: Draft) -> str:
    """A queue of this node that should be started again now, in words; '' when there is none."""
    declared = sight.declared_ago is not None and sight.declared_ago < DECLARE_AGAIN
    if declared:
        return ""
    if waiting := _undescribed(sight, draft.settings):
        return waiting
    if sight.bad_readings < draft.settings.health.fall:
        return ""
    return next(queue_faults(sight, peers(draft.snapshot), draft.settings), "")


def _undescribed(sight: NodeSight, settings: Settings) -> str:
    """A queue that takes no jobs here until its driverless printer, which is asked again then, has described itself."""
    closed = {queue.name.lower() for queue in sight.reading.queues if not queue.accepting} if sight.reading else set()
    waiting = (printer.name for printer in settings.printers if printer.model == EVERYWHERE)
    return next((f"the queue {name} waits for its printer" for name in waiting if name.lower() in closed), "")


def _give_place(sight: NodeSight, verdict: Verdict, draft: Draft) -> Iterator[Step]:
    node = sight.node
    if not node.proved and node.goal_by is Cause.HEALTH:
        draft.note(
            f"{node.name} came in place of another and can't be proved either, so it is not they: {node.failure}"
        )
    elif draft.may_take(node.name, f"it did not recover: {verdict.reason}"):
        why = f"it did not recover within {sight.in_state:.0f} s: {node.reason}"
        draft.replace(sight, Cause.HEALTH, why)
    if draft.goals[node.name] is Goal.SERVE:
        yield from _tend(sight, draft)


def _renew(sight: NodeSight, draft: Draft) -> None:
    """A node that serves well is replaced all the same, one by one and in calm times only."""
    node = sight.node
    if sight.ids_left <= SLOT_RESERVE:
        why, by = f"slot {node.slot} has {max(sight.ids_left, 0)} ids left", Cause.IDS
    elif sight.outdated:
        why, by = "a new release changed the settings that servers run with", Cause.SETTINGS
    elif node.goal_by is Cause.SPARE and sight.in_state >= draft.settings.health.replace_after:
        if not draft.unrest() and draft.meant_to_serve() > draft.settings.nodes.min:
            draft.taken = True
            draft.aim(node.name, Goal.RETIRE, Cause.SCALING, "every server is well again, no spare is needed")
        return
    else:
        return
    if not draft.unrest():
        draft.replace(sight, by, why)


def _too_early(step: Step, sight: NodeSight) -> bool:
    """What failed a moment ago would fail again; what is only recorded can't fail."""
    return sight.retry_in > 0 and isinstance(step, Start | Restart | Prove | Declare | Remove | Rescue | Evacuate)


def _take_out(sight: NodeSight, reason: str) -> TakeOut:
    """Deaths are counted since the node last served for a while, so that the waiting time before a start grows."""
    served_well = sight.node.state is NodeState.READY and sight.in_state >= SERVED_WELL
    return TakeOut(sight.node.name, reason, deaths=1 if served_well else sight.node.deaths + 1)


def restart_in(sight: NodeSight, health: Health) -> float:
    """Seconds until a dead node is started again."""
    deaths = sight.node.deaths
    wait = 0.0 if deaths <= 1 else min(2.0 ** (deaths - 2), health.restart_backoff_max)
    return max(0.0, wait - sight.in_state, sight.retry_in)


def _revive(sight: NodeSight, goal: Goal, settings: Settings) -> Iterator[Step]:
    node, ours = sight.node, sight.alive is not None
    if ours and not sight.answers and node.deaths > settings.health.max_restarts:  # nothing to wait for
        yield GiveUp(node.name, f"{node.reason}; it died {node.deaths} times since it last served for a while")
    elif restart_in(sight, settings.health):
        return
    elif sight.answers:  # it was only slow, or it is someone else's and came back by itself
        yield Prove(node.name, "it answers again")
    elif ours:
        yield Restart(node.name, f"{node.reason}; death number {node.deaths} since it last served for a while")
    elif goal is Goal.RETIRE:
        yield Leave(node.name, "it is silent and was retired; its jobs stay on that server")
