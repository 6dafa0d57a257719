"""What is known of the jobs of a node that does not answer: the table's, and those that it took after it was last read.

A server that dies within a second of taking a job has told nobody of it, but has written it into its spool before it
said yes to the client (its cupsd.conf asks for that).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from controller.jobs.spool import Spool, SpoolError
from controller.jobs.table import Ended, Job, JobTable
from controller.nodes.proof import OWNER as PROOF_OWNER
from controller.whole_queue.nodes import Directory
from haproxy.model import slot_of

SETTLED = 0.1
"""Seconds after a change within which another one may leave a folder's time as it is: that clock ticks slowly."""


@dataclass
class Known:
    """controller.whole_queue.last_seen.Table, with the spools of nodes that are on this machine.

    folders: where each node has its own, by its name.
    """

    table: JobTable
    directory: Directory
    folders: Path
    _spools: dict[str, tuple[tuple[int, int], list[Job]]] = field(default_factory=dict)
    """What was found behind the mark in each node's spool, and at which time of the folder and mark that was."""

    def open_of(self, node: str, owner: str = "") -> list[Job]:
        """The open jobs of a node; of one owner where one is given, in letters of any case."""
        late = [job for job in self._unseen(node) if job.open and owner.lower() in ("", job.owner.lower())]
        return [*self.table.open_of(node, owner), *late]

    def ended(self, wanted: Ended) -> list[Job]:
        """With those that the table does not have, whatever is wanted of them beside their nodes."""
        late = [job for node in wanted.nodes for job in self._unseen(node) if not job.open]
        return [*self.table.ended(wanted), *late]

    def waiting_on(self, node: str) -> dict[str, int]:
        """How many open jobs a node has, by queue in small letters."""
        late = Counter(job.queue.lower() for job in self._unseen(node) if job.open)
        return dict(late + Counter(self.table.waiting_on(node)))

    def has_jobs(self, node: str) -> bool:
        """Whether a node has any, open or ended."""
        return bool(self.table.search("all", node=node, limit=1) or self._unseen(node))

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
        # one that was moved here is in the table already, under its id of before until the move is through
        return [job for job in self._spooled(node) if job.owner != PROOF_OWNER and not self.table.by_uuid(job.uuid)]

    def _spooled(self, node: str) -> list[Job]:
        """What lies behind the mark in a node's spool. Read only when something has changed: a spool of thousands takes
        longer than all else that is looked up."""
        folder = self.folders / node
        try:
            changed = (folder / "spool").stat().st_mtime_ns
            after, _ = self.table.mark(node)
            if (found := self._spools.get(node)) and found[0] == (changed, after):
                return found[1]
            jobs, _ = Spool(folder).jobs(node, after)
        except (OSError, SpoolError):  # someone else's server
            return []
        if time.time_ns() - changed > SETTLED * 1e9:
            self._spools[node] = (changed, after), jobs
        return jobs
