"""Making the fleet as large as it should be: by orders at once, down by one node at a time."""

from __future__ import annotations

from dataclasses import replace

from controller.decide.draft import Draft
from controller.decide.scaling import goes_first, must_stay, scale
from controller.snapshot import Cause, Goal, NodeSight, NodeState


def fit(draft: Draft) -> None:
    """Decide the size, and take the first step towards it. What nodes.min asks for is ordered before."""
    meant = draft.meant_to_serve()
    seen = draft.snapshot
    if draft.paused_by is not None:
        seen = replace(seen, load=replace(seen.load, paused_by=draft.paused_by))
    draft.scale = found = scale(seen, draft.settings, meant, draft.coming(), draft.unwell(), draft.added)
    if found.desired == meant:
        return
    if draft.settings.scaling.dry_run:
        draft.note(f"dry run: {found.desired} servers should be meant to serve, not {meant} ({found.reason})")
    elif found.desired > meant:
        _grow(draft, found.desired - meant)
    else:
        _shrink(draft)


def _grow(draft: Draft, count: int) -> None:
    for _ in range(count):
        if not draft.order(draft.scale.reason):
            draft.note(f"no slot is free for another server, although {draft.scale.reason}")
            return


def _shrink(draft: Draft) -> None:
    enough = f"{draft.scale.desired} are enough"
    if held := draft.unrest() or _still_goes(draft):
        # It takes a moment and is told by `explain`; what is noted is a problem for people.
        draft.scale = replace(draft.scale, reason=f"{draft.scale.reason}; none goes yet: {held}")
        return
    surplus = _surplus(draft)
    if not (free := [sight for sight in surplus if not must_stay(sight)]):
        why = " or ".join(sorted({must_stay(sight) for sight in surplus})) or "none serves"
        draft.note(f"no server can go, although {enough}: {why}")
        return
    goes = min(free, key=goes_first).node
    by = Cause.SCALING if goes.state is NodeState.READY else Cause.HEALTH  # the jobs of such a one go to others at once
    draft.taken = True
    draft.aim(goes.name, Goal.RETIRE, by, f"{enough}: {draft.scale.reason}")


def _surplus(draft: Draft) -> list[NodeSight]:
    """Nodes of which there are more than enough: those that take no work, and the others where without any of those
    there are too many yet."""
    too_many = draft.scale.desired < draft.meant_to_serve() - draft.unwell()
    states = (NodeState.UNHEALTHY, NodeState.READY) if too_many else (NodeState.UNHEALTHY,)
    return [sight for sight in draft.snapshot.nodes if draft.serves(sight, *states)]


def _still_goes(draft: Draft) -> str:
    """The node that is still on its way out because there were too many, in words. One that only waits for people may
    do so for long, and keeps no other from going."""
    for sight in draft.snapshot.nodes:
        node, work = sight.node, sight.backlog
        goes = node.goal_by in (Cause.SCALING, Cause.HEALTH) and draft.goals[node.name] is Goal.RETIRE
        waits = work is not None and work.stuck and not work.jobs
        if goes and not waits and node.state in (NodeState.READY, NodeState.UNHEALTHY, NodeState.DRAINING):
            return f"{node.name} still goes"
    return ""
