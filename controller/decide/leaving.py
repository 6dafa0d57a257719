"""How a node leaves: out of service, then empty, then out of the fleet. No job is ended by it."""

from __future__ import annotations

from collections.abc import Iterator

from controller.decide.draft import Draft
from controller.plan import Drain, Evacuate, Leave, Remove, Step
from controller.snapshot import Cause, Goal, Node, NodeSight, NodeState

IDLE_READINGS = 2
"""Readings in a row without an open job before a draining node may leave."""
EVACUATE_AGAIN = 60.0
"""Seconds after which the jobs that are still there are told once more to go."""
_HELD, _STOPPED = 4, 6
"""job-state (RFC 8011 5.3.7): these end by nobody's work."""


def leave_service(sight: NodeSight, goal: Goal, draft: Draft) -> Iterator[Step]:
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


def leave_fleet(sight: NodeSight, draft: Draft) -> Iterator[Step]:
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
        draft.note(f"the jobs of {node.name} stay there: no other server is ready to take them")
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


def be_removed(sight: NodeSight, draft: Draft) -> Iterator[Step]:
    if draft.snapshot.proxies_obey:
        yield Remove(sight.node.name, sight.node.reason)
    else:
        draft.notes.append(f"{sight.node.name} is not ended yet: a proxy could not be told that it leaves")
