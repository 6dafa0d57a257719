"""What a step, and any other event, is called: in `explain`, in the log and on every page."""

from __future__ import annotations

_WORDS = {
    "adopted": "taken over",
    "admit": "gets new jobs",
    "aim": "is meant otherwise",
    "command": "asked by a person",
    "controller": "controller",
    "declare": "queues are set up",
    "declared": "queues are set up",
    "distrust": "is to prove itself anew, gets no new jobs",
    "drain": "gets no new jobs",
    "evacuate": "its jobs go elsewhere",
    "failed": "failed",
    "giveup": "given up",
    "leave": "leaves",
    "lost": "a job is lost",
    "move": "a job moves",
    "moved": "has another address",
    "order": "ordered",
    "proved": "has proved itself",
    "pause": "growing and shrinking by load",
    "prove": "is tried out",
    "proxy": "front door",
    "remove": "is ended",
    "rescue": "its jobs are rescued",
    "rescued": "its jobs are rescued",
    "restart": "is started again",
    "retired": "has left",
    "start": "is started",
    "starting": "is started",
    "suspend": "is unwell, gets no new jobs",
    "takeout": "is dead, gets no new jobs",
}


def happened(kind: str) -> str:
    """The words for a kind of event; one that has none stands for itself."""
    return _WORDS.get(kind, kind)


def told(kind: str, node: str) -> str:
    """What happened to a node, or without one: `node-2 gets no new jobs`."""
    return f"{node} {happened(kind)}".strip()


def action(recorded: str) -> str:
    """An action of a pass in these words, as the diary has it: `drain node-2: why`."""
    step, _, reason = recorded.partition(": ")
    kind, _, node = step.partition(" ")
    return f"{told(kind, node)}: {reason}"
