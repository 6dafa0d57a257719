"""Who answers for every accepted job: what collects them, and what moves them, as one thing for the effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.jobs.collect import Collector, Incomplete, StillOpen, Unread, named
from controller.jobs.mover import Mover
from controller.jobs.moves import MoveTable
from controller.jobs.spool import Spool, SpoolError
from controller.jobs.table import Job, JobTable
from controller.nodes.driver import NodeError
from controller.snapshot import Node
from controller.store import Store
from probes.sweep import Target


@dataclass
class Custody:
    collector: Collector
    mover: Mover

    @classmethod
    def of(
        cls, open_store: Callable[[], Store], target: Callable[[Node, Store], Target], folder: Callable[[Node], Path]
    ) -> Custody:
        """open_store: the database, for another thread. target: where a node is asked, and as whom. folder: its own."""
        collector = Collector(open_store, target)
        return cls(collector, Mover(open_store, target, folder, collector.sights))

    def problems(self) -> list[str]:
        return [*self.collector.problems(), *self.mover.problems()]

    def finish(self, node: Node, runs: bool) -> None:
        """Learn what became of the last jobs of a node that is about to go. Raises Incomplete, and StoreError.

        runs: its server can be asked; else its spool is read. Someone else's server that is silent may go without.
        """
        coming = self._arriving(node)  # first: what arrives from here on is in the table when that is read
        if runs:
            try:
                self.collector.finish(node)
            except StillOpen:  # they came while it was on its way out, by a move for instance
                self.mover.order(node.name, "its server is leaving")
                raise
            except Unread as why:
                if node.driver != "existing":
                    raise
                said = f"{node.name} was let go while it was silent; what it holds may still print there"
                self.collector.write_off(node, f"{said} ({why})")
                return
        else:
            try:
                left = self._read_spool(node)
            except SpoolError as error:
                raise Incomplete(str(error)) from None
            if left:
                raise Incomplete(f"it still has open jobs: {named(left)}")
        if coming:
            raise Incomplete(f"{coming} of its jobs are still on their way to it from other nodes")

    def evacuate(self, node: Node, reason: str) -> int:
        """Have the open jobs of a node that answers moved; how many there are."""
        return self.mover.order(node.name, reason)

    def rescue(self, node: Node, reason: str) -> int:
        """Have the jobs of a node that is given up moved from its spool; how many are still there. Raises NodeError."""
        try:
            coming = self._arriving(node)  # first, as in `finish`
            left = self._read_spool(node)
        except SpoolError as error:
            jobs = self._open_on(node)
            raise NodeError(f"{error}; its jobs can't be moved: {named(jobs) or 'none is known'}") from None
        if left:
            self.mover.order(node.name, reason, given_up=True)
        return len(left) + coming

    def _read_spool(self, node: Node) -> list[Job]:
        """Bring the table up to what the spool holds; the jobs that are open in there, unreadable ones too."""
        told, broken = Spool(self.mover.folder(node)).jobs(node.name)
        unreadable = [job for job in self._open_on(node) if job.id in broken]
        return self.collector.finish_from(node, [*told, *unreadable])

    def _arriving(self, node: Node) -> int:
        """Jobs of which a copy may stand on this node that does not count yet. Until each of them does, or is given
        up, it may be all that is left of its job."""
        with self.collector.open_store() as store:
            return len(MoveTable(store).arriving(node.name))

    def _open_on(self, node: Node) -> list[Job]:
        with self.collector.open_store() as store:
            return list(JobTable(store).open_on(node.name).values())
