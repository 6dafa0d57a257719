"""How a node is brought into being, found again, and ended: the seam between the controller and a print server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from probes.cups import Token

if TYPE_CHECKING:
    from controller.nodes.queues import Queue


@dataclass(frozen=True)
class NodeSpec:
    """What the controller wants a node to be. It is the same at every start of the node."""

    name: str
    slot: int
    next_id: int
    """The first job id (and subscription id) the server may give out from now on: past every one it ever gave."""
    host: str
    port: int
    folder: Path
    """The node's own folder: spool, caches, logs, settings. Made by the driver, kept across restarts."""


class NodeError(Exception):
    """A node could not be started, adopted, checked or stopped; the message says what to do about it."""


class NotYet(NodeError):
    """It can't be done at the moment, and nothing is wrong: it waits for what the message says."""


class Driver(Protocol):
    """Makes nodes of one kind. All calls are idempotent, block for at most a few seconds and raise NodeError."""

    @property
    def owns_queues(self) -> bool:
        """Whether the queues are the controller's to declare (as `token`); if not, they must be there."""

    def queue(self, queue: Queue) -> Queue:
        """A declared queue as this node has it: one that counts pages puts its own backend in front of the device."""

    def start(self, spec: NodeSpec) -> None:
        """Bring the server up with its own spool, or adopt the one that already runs for this spec.

        One that is dying is not adopted: its end is awaited. Leftovers of an earlier life (filters, backends) are
        ended before. Returns when the process runs, not when it answers: that is for the prober to see.
        """

    def alive(self, spec: NodeSpec) -> bool | None:
        """Whether the server's process runs; None where this driver can't know. Costs no request."""

    def room(self, spec: NodeSpec) -> tuple[int, int] | None:
        """Bytes free, and bytes in all, on the disk of the server's spool; None where this driver can't know."""

    def outdated(self, spec: NodeSpec) -> bool:
        """Whether the server runs with settings that a new start would change. It goes on with its own meanwhile, and
        nothing restarts it for that: drain, stop and start it some time."""

    def token(self, spec: NodeSpec) -> Token:
        """As whom the controller administers the node and handles its jobs; `token.user` may see every job.

        The same for the life of the node's folder; before the first start it is a name without rights.
        """

    def highest_id(self, spec: NodeSpec) -> int:
        """The highest id of a job or subscription that the stopped server's files know of; 0 where they can't be
        read. Ask before `remove`: what comes into the slot later must begin beyond."""

    def stop(self, spec: NodeSpec) -> None:
        """End the server and everything it started; its folder stays."""

    def remove(self, spec: NodeSpec) -> None:
        """Stop the server and give its folder back."""
