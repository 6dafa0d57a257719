"""Making the fleet as large as it should be: by orders at once, down by one node at a time."""

from __future__ import annotations

from dataclasses import replace

from controller.decide.draft import Draft
from controller.decide.scaling import scale, victims
from controller.snapshot import Cause, Goal, NodeState


def fit(draft: Draft) -> None:
    """Decide the size, and take the first step towards it. What nodes.min asks for is ordered before."""
    meant = draft.meant_to_serve()
    seen = draft.snapshot
    if draft.paused_by is not None:
        seen = replace(seen, load=replace(seen.load, paused_by=draft.paused_by))
    draft.scale = found = scale(seen, draft.settings, meant, draft.coming(), draft.added)
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
    if not draft.calm() or _one_goes(draft):
        return
    if not (found := victims(draft.snapshot, draft.goals)):
        draft.note(f"no server can go, although {draft.scale.desired} are enough: each has held jobs or is not ours")
        return
    draft.taken = True
    draft.aim(found[0].node.name, Goal.RETIRE, Cause.SCALING, f"{draft.scale.desired} are enough: {draft.scale.reason}")


def _one_goes(draft: Draft) -> bool:
    """Whether a node is still on its way out because there were too many."""
    return any(
        sight.node.goal_by is Cause.SCALING
        and draft.goals[sight.node.name] is Goal.RETIRE
        and sight.node.state in (NodeState.READY, NodeState.UNHEALTHY, NodeState.DRAINING)
        for sight in draft.snapshot.nodes
    )
