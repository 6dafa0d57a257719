"""What is known of the jobs of a node that does not answer: the table's, and those that it took after it was last read.

A server that dies within a second of taking a job has told nobody of it, but has written it into its spool before it
said yes to the client (its cupsd.conf asks for that).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from controller.jobs.spool import Spool, SpoolError
from controller.jobs.table import Job, JobTable
from controller.nodes.proof import OWNER as PROOF_OWNER
from controller.whole_queue.nodes import Directory
from haproxy.model import slot_of


@dataclass(frozen=True)
class Known:
    """controller.whole_queue.last_seen.Table, with the spools of nodes that are on this machine.

    folders: where each node has its own, by its name.
    """

    table: JobTable
    directory: Directory
    folders: Path

    def search(self, which: str = "open", *, node: str, limit: int | None = None) -> list[Job]:
        """The jobs of a node: open, ended or all. limit: of those that the table has."""
        late = [job for job in self._unseen(node) if which == "all" or job.open == (which == "open")]
        return [*self.table.search(which, node=node, limit=limit), *late]

    def by_id(self, number: int) -> Job | None:
        if known := self.table.by_id(number):
            return known
        node = self.directory.in_slot(slot_of(number))
        return next((job for job in self._unseen(node.name) if job.id == number), None) if node else None

    def ages(self, ids: Iterable[int]) -> dict[int, int]:
        return self.table.ages(ids)

    def count_open(self) -> int:
        """Of the table; what nodes took in their last second is not much."""
        return self.table.how_many_open()

    def _unseen(self, node: str) -> list[Job]:
        last_read, _ = self.table.mark(node)
        try:
            jobs, _ = Spool(self.folders / node).jobs(node, after=last_read)
        except SpoolError:  # someone else's server
            return []
        # one that was moved here is in the table already, under its id of before until the move is through
        return [job for job in jobs if job.owner != PROOF_OWNER and not self.table.by_uuid(job.uuid)]
