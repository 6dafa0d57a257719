"""What is said of nodes that do not answer: by their states, which are what the controller does about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controller.snapshot import Node, NodeState

_NOW = "does not answer now"
_PLIGHTS = {
    NodeState.DEAD: "does not answer; it is being restarted",
    NodeState.STARTING: "does not answer; it is being restarted",
    NodeState.PROVING: "does not answer; it is being restarted",
    NodeState.RESCUING: "does not answer; its jobs are being moved to others",
}
_DOWN = (NodeState.DEAD, NodeState.STARTING, NodeState.RESCUING, NodeState.STOPPED)

NOBODY_THERE = "no print server is there"
NOBODY_ANSWERS = "no print server answers"


def is_down(node: Node | None) -> bool:
    """Whether nothing is printed there. Someone else's server may print on while it is silent."""
    return node is not None and node.driver != "existing" and node.state in _DOWN


def plight(nodes: Iterable[Node]) -> str:
    """What is the matter with them, where they all have the same; completes `the print server …`."""
    told = {_plight(node) for node in nodes}
    return told.pop() if len(told) == 1 else _NOW


def _plight(node: Node) -> str:
    """Nobody here starts someone else's server again."""
    return _NOW if node.driver == "existing" else _PLIGHTS.get(node.state, _NOW)


def of_a_job(node: Node | None) -> str:
    """Of the node that has the job which is asked about, None for one that is no longer there."""
    return f"the print server that has this job {plight([node] if node else [])}"


def of_one_of(things: str, nodes: Iterable[Node]) -> str:
    """Of nodes that have some of these things."""
    return f"a print server that has one of these {things} {plight(nodes)}"


def not_cancelled(ids: Iterable[int], nodes: Iterable[Node]) -> str:
    """Of jobs that stand as they are, and the nodes that have them."""
    jobs = ", ".join(map(str, ids))
    return f"these jobs are not cancelled, for their print server {plight(nodes)}, try again in a moment: {jobs}"


def missing_sentence(nodes: Sequence[Node], consequence: str) -> str:
    """What an answer says of nodes that it is made without; '' when there are none."""
    return f"{', '.join(node.name for node in nodes)} did not answer in time; {consequence}" if nodes else ""


def sentence(said: str) -> str:
    """As a whole sentence."""
    return f"{said[0].upper()}{said[1:]}."
