"""What is to be done, as typed steps. Each carries its reason; all of them may be repeated without harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.event_words import told


@dataclass(frozen=True)
class Step:
    node: str
    reason: str

    @property
    def kind(self) -> str:
        """By which it is recorded as an event."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Order(Step):
    """Take a slot for a new node. `address` is given when the server exists already."""

    slot: int
    address: str = ""
    by: str = ""
    """Why it is ordered, a snapshot.Cause: a spare goes again when every node is well; one that is ordered for
    another's health is the last that is tried in its place until it is proved."""


@dataclass(frozen=True)
class Start(Step):
    """Bring the node's server up for the first time, or adopt it."""


@dataclass(frozen=True)
class Restart(Step):
    """End what is left of the server and start it again: same slot, same spool."""


@dataclass(frozen=True)
class Prove(Step):
    """Declare the queues and run a proof job."""


@dataclass(frozen=True)
class Declare(Step):
    """Bring the queues of a serving node up to the configuration."""


@dataclass(frozen=True)
class Admit(Step):
    """Give it new work."""


@dataclass(frozen=True)
class TakeOut(Step):
    """It is dead: no new work."""

    deaths: int


@dataclass(frozen=True)
class Suspend(Step):
    """It answers and is not well: no new work until it is, its own jobs are still served."""


@dataclass(frozen=True)
class Distrust(Step):
    """It answers and can't be proved: as one that is suspended, and it serves only after a proof."""


@dataclass(frozen=True)
class GiveUp(Step):
    """It can't be started again: it stays dead, and its jobs go to others."""


@dataclass(frozen=True)
class Rescue(Step):
    """Move the jobs of a node that is given up from its spool to other nodes."""


@dataclass(frozen=True)
class Evacuate(Step):
    """Move the open jobs of a node that answers to other nodes. Done when they are ordered to go."""


@dataclass(frozen=True)
class Drain(Step):
    """No new work; its own jobs are finished."""


@dataclass(frozen=True)
class Leave(Step):
    """It has no work left: take it out of every proxy."""


@dataclass(frozen=True)
class Remove(Step):
    """No proxy knows it any more: end its server and free its slot."""


@dataclass(frozen=True)
class Aim(Step):
    """Change what the node is meant for. `goal` is a snapshot.Goal, `by` a snapshot.Cause."""

    goal: str
    by: str


@dataclass(frozen=True)
class Pause(Step):
    """Scaling stops, until it is resumed. `by` is who asked for it; '' resumes it. Of no node."""

    by: str


@dataclass(frozen=True)
class Answer:
    """What becomes of an administrator's command."""

    command: int
    state: str
    outcome: str
    node: str = ""


ADMINISTRATOR = "administrator"
"""The rule by which an added node counts."""


@dataclass(frozen=True)
class Ask:
    """How many nodes a rule asks for, and why."""

    rule: str
    nodes: int
    reason: str


@dataclass(frozen=True)
class Input:
    """Something that a decision went by."""

    name: str
    value: str
    age: float
    """Seconds."""


@dataclass(frozen=True)
class Scale:
    """How many nodes should serve, and why."""

    desired: int
    actual: int
    reason: str
    wanted: int = 0
    """What the rules asked for now; it goes into the window that holds a node back from going."""
    certain: bool = True
    """Whether every serving node's work was known."""
    rule: str = ""
    """The rule that won."""
    inputs: tuple[Input, ...] = ()
    asks: tuple[Ask, ...] = ()
    clamps: tuple[str, ...] = ()
    """Bounds that made `desired` another number than the rules asked for."""


@dataclass(frozen=True)
class Plan:
    scale: Scale
    steps: tuple[Step, ...] = ()
    answers: tuple[Answer, ...] = ()
    notes: tuple[str, ...] = field(default=())
    """What was held back, and why."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """Share of new work of each node that was seen, by name (controller/decide/weights.py)."""

    @property
    def idle(self) -> bool:
        return not self.steps and not self.answers

    def sentence(self) -> str:
        """The pass in one readable line."""
        done = [f"{told(step.kind, step.node)} ({step.reason})" for step in self.steps]
        done += [f"command {answer.command} {answer.state} ({answer.outcome})" for answer in self.answers]
        return "; ".join(done or [f"nothing to do: {self.scale.reason}"])
