"""Where the two sides of a move are, and what is there of the job: asked of a server that runs, read from the spool of
one that is given up."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.jobs import remote
from controller.jobs.moves import Move
from controller.jobs.original import Original
from controller.jobs.spool import Spool, SpoolError
from controller.jobs.table import OPEN
from controller.snapshot import Node, NodeState
from controller.store import Store
from probes import ipp

if TYPE_CHECKING:
    from controller.jobs.mover import Mover


class NotNow(Exception):
    """The move can't go on; the message says why."""


class Waits(Exception):
    """The move waits for the job itself or for the proxies, and nothing is wrong."""


class Abandon(Exception):
    """The job stays where it is, or has ended; the message says why."""


@dataclass
class Whereabouts:
    """Of one open move. The questions raise ProbeError and SpoolError."""

    mover: Mover
    store: Store
    nodes: Mapping[str, Node]
    move: Move

    @property
    def _source(self) -> Node:
        node = self.nodes.get(self.move.source)
        if node is None:
            raise Abandon(f"{self.move.source} is no more")
        return node

    @property
    def _spooled(self) -> bool:
        """Whether the source's server is given up, and its spool is all there is."""
        return self._source.state is NodeState.RESCUING

    @property
    def _source_runs(self) -> bool:
        return self.move.source in self.nodes and not self._spooled

    @property
    def _stranded(self) -> bool:
        """Whether the node with the copy is given up, or goes: while the old job stands, the copy is made elsewhere."""
        node = self.nodes.get(self.move.target)
        return node is None or node.state in (NodeState.RESCUING, NodeState.LEAVING)

    @property
    def _spool(self) -> Spool:
        return Spool(self.mover.folder(self._source))

    def _server(self, node: Node, user: str = "") -> ipp.Server:
        return self.mover.server(node, self.store, user)

    def _old(self) -> remote.Standing:
        found = remote.standing(self._server(self._source), self.move.old_id)
        if found is None or found.uuid != self.move.uuid:
            raise Abandon(f"{self.move.source} does not know it any more")
        return found

    def _copy_stands(self) -> bool:
        """Whether the copy is there still, whatever its owner has done with it: someone else's server may have been let
        go with it while silent, and one of ours may have come back without its spool."""
        node = self.nodes.get(self.move.target)
        if node is None:
            return False
        if node.state is NodeState.RESCUING:
            with suppress(SpoolError):
                told = Spool(self.mover.folder(node)).jobs(node.name)[0]
                return any(job.uuid == self.move.uuid and job.state != "aborted" for job in told)
            return False
        copy = remote.standing(self._server(node), self.move.new_id)
        return copy is not None and copy.uuid == self.move.uuid and copy.state != "aborted"

    def _old_stands(self) -> bool:
        """Whether the old job is there and open, so that it can be copied anew."""
        if self.move.source not in self.nodes:
            return False
        if self._spooled:
            return any(job.uuid == self.move.uuid and job.open for job in self._spool.jobs(self.move.source)[0])
        old = remote.standing(self._server(self._source), self.move.old_id)
        return old is not None and old.uuid == self.move.uuid and old.state in OPEN


def whole(copy: remote.Standing, original: Original) -> bool:
    """A server that died between taking a document and writing down what it is has its file, but not its size."""
    return (
        copy.uuid == original.uuid
        and copy.owner == original.owner
        and copy.documents == len(original.documents)
        and copy.size_kb >= sum(document.size_kb for document in original.documents)
        and copy.state == "held"
        and not copy.incoming
    )
