"""What becomes of the administrators' commands."""

from __future__ import annotations

from collections.abc import Iterator

from controller.config_values import split_address
from controller.decide.draft import Draft
from controller.plan import Answer, Evacuate, Pause
from controller.snapshot import Cause, Command, Goal, NodeState, Snapshot

COMMAND_EXPIRES = 60.0
"""Seconds after which a command that nobody carried out is refused: late is worse than never."""
GOALS = {"add": Goal.SERVE, "retire": Goal.RETIRE, "drain": Goal.DRAIN, "resume": Goal.SERVE}
"""What each command makes of a node."""
SCALING = "scaling"
"""What is paused and resumed instead of a node."""


def take(draft: Draft, command: Command) -> None:
    if command.state == "running":
        draft.answers.extend(_progress(command, draft.snapshot))
    elif not command.allowed:
        _refuse(draft, command, f"{command.asked_by} is no administrator")
    elif command.age > COMMAND_EXPIRES:
        _refuse(draft, command, f"it waited {command.age:.0f} s for a controller; ask again if it is still wanted")
    elif command.verb == "add":
        _add(draft, command)
    elif command.verb == "evacuate":
        _evacuate(draft, command)
    elif command.argument == SCALING and command.verb in ("pause", "resume"):
        _pause(draft, command)
    else:
        _aim(draft, command)


def _add(draft: Draft, command: Command) -> None:
    limit = draft.settings.nodes.max
    if command.argument and not _is_address(command.argument):
        _refuse(draft, command, f"{command.argument!r} is no address; allowed is HOST:PORT or [IPV6]:PORT")
    elif draft.meant_to_serve() >= limit:
        _refuse(draft, command, f"nodes.max is {limit}, and {draft.who_counts()}; retire one first, or raise nodes.max")
    elif any(sight.node.address == command.argument for sight in draft.snapshot.nodes):
        _refuse(draft, command, f"{command.argument} is in the fleet already")
    elif name := draft.order(f"{command.asked_by} asked for it", command.argument):
        draft.added = True
        draft.answers.append(Answer(command.id, "running", f"{name} is coming", name))
    else:
        _refuse(draft, command, "no slot is free; one becomes free when a draining server has left")


def _aim(draft: Draft, command: Command) -> None:
    goal, name = GOALS.get(command.verb), command.argument
    if goal is None:
        _refuse(draft, command, f"{command.verb!r} is no command for a server; allowed are {', '.join(GOALS)}")
    elif name not in draft.goals:
        _refuse(draft, command, f"there is no server {name}; known are {', '.join(sorted(draft.goals)) or 'none'}")
    elif name in _leaving(draft):
        _refuse(draft, command, f"{name} is leaving already")
    elif goal is Goal.RETIRE and _configured(draft, name):
        _refuse(draft, command, f"{name} is named by nodes.existing in the configuration; remove it there first")
    else:
        draft.aim(name, goal, Cause.ADMINISTRATOR, f"{command.asked_by} asked to {command.verb} it")
        draft.added |= goal is Goal.SERVE
        draft.answers.append(Answer(command.id, "running", f"{name}: {command.verb} begun", name))


def _pause(draft: Draft, command: Command) -> None:
    by = command.asked_by if command.verb == "pause" else ""
    draft.paused_by = by
    draft.steps.append(Pause("", f"{command.asked_by} asked to {command.verb} scaling", by=by))
    said = (
        "scaling is paused: no server comes or goes by load; nodes.min is kept, and what is dead or unwell is replaced"
        if by
        else "scaling goes on"
    )
    draft.answers.append(Answer(command.id, "done", said))


def _evacuate(draft: Draft, command: Command) -> None:
    name = command.argument
    if name not in draft.goals:
        _refuse(draft, command, f"there is no server {name}; known are {', '.join(sorted(draft.goals)) or 'none'}")
    elif not draft.others_ready(name):
        _refuse(draft, command, f"no other server is ready to take the jobs of {name}")
    elif not any(sight.busy for sight in draft.snapshot.nodes if sight.node.name == name):  # else at a later pass
        draft.steps.append(Evacuate(name, f"{command.asked_by} asked for it"))
        draft.answers.append(Answer(command.id, "done", f"the waiting jobs of {name} go to other servers", name))


def _leaving(draft: Draft) -> set[str]:
    return {sight.node.name for sight in draft.snapshot.nodes if sight.node.state is NodeState.LEAVING}


def _configured(draft: Draft, name: str) -> bool:
    existing = draft.settings.nodes.existing
    return any(sight.node.name == name and sight.node.address in existing for sight in draft.snapshot.nodes)


def _refuse(draft: Draft, command: Command, why: str) -> None:
    draft.answers.append(Answer(command.id, "refused", why))


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


def _is_address(text: str) -> bool:
    try:
        split_address(text)
    except ValueError:
        return False
    return True
