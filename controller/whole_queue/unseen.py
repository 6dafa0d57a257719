"""What is known of the jobs of a node that does not answer: the table's, and what came after it was last read.

A server that dies within a second of taking, printing or cancelling a job has told nobody of it, but has written it
into its spool before it said yes to the client (its cupsd.conf asks for that).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from controller.jobs.spool import Spool, SpoolError
from controller.jobs.table import Ended, Job, JobTable
from controller.nodes.proof import OWNER as PROOF_OWNER
from controller.whole_queue.nodes import Directory
from haproxy.model import slot_of

LATELY = 10.0
"""Seconds before a node's last change in which it may have changed what was read; looks come each second by default."""
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
    """What was found in each node's spool, and at which time of the folder and mark that was."""

    def open_of(self, node: str, owner: str = "") -> list[Job]:
        """The open jobs of a node; of one owner where one is given, in letters of any case."""
        new, changed = self._since(node)
        late = [job for job in new if owner.lower() in ("", job.owner.lower())]
        known = [changed.get(job.uuid, job) for job in self.table.open_of(node, owner)]
        return [job for job in (*known, *late) if job.open]

    def ended(self, wanted: Ended) -> list[Job]:
        """With those that the table does not have, or takes for open, whatever is wanted of them beside their nodes."""
        since = [self._since(node) for node in wanted.nodes]
        late = [job for new, changed in since for job in (*new, *changed.values()) if not job.open]
        return [*self.table.ended(wanted), *late]

    def waiting_on(self, node: str) -> dict[str, int]:
        """How many open jobs a node has, by queue in small letters."""
        new, changed = self._since(node)
        late = Counter(job.queue.lower() for job in new if job.open)
        done = Counter(job.queue.lower() for job in changed.values() if not job.open)
        return dict(Counter(self.table.waiting_on(node)) - done + late)

    def has_jobs(self, node: str) -> bool:
        """Whether a node has any, open or ended."""
        return bool(self.table.search("all", node=node, limit=1) or self._since(node)[0])

    def by_id(self, number: int) -> Job | None:
        known, node = self.table.by_id(number), self.directory.in_slot(slot_of(number))
        if node is None or (known and not known.open):
            return known
        new, changed = self._since(node.name)
        return changed.get(known.uuid, known) if known else next((job for job in new if job.id == number), None)

    def ages(self, ids: Iterable[int]) -> dict[int, int]:
        return self.table.ages(ids)

    def count_open(self) -> int:
        """Of the table; what nodes took in their last second is not much."""
        return self.table.how_many_open()

    def _since(self, node: str) -> tuple[list[Job], dict[str, Job]]:
        """What a node's spool tells beyond the table: jobs behind the mark that are not in it, and by uuid those that
        are open ones in it, as they are now."""
        mark, spooled = self._spooled(node)
        told = [job for job in spooled if job.owner != PROOF_OWNER]
        # one that was moved here is in the table already, under its id of before until the move is through
        known = self.table.known(job.uuid for job in told) if told else {}
        changed = {
            job.uuid: replace(
                row, state=job.state, reasons=job.reasons, processing=job.processing, completed=job.completed
            )
            for job in told
            if (row := known.get(job.uuid)) and row.open and (row.node, row.id) == (node, job.id)
        }
        return [job for job in told if job.id > mark and job.uuid not in known], changed

    def _spooled(self, node: str) -> tuple[int, list[Job]]:
        """The mark of a node, and what in its spool lies behind that or was changed at last. Read only when something
        has changed: a spool of thousands takes longer than all else that is looked up."""
        folder = self.folders / node
        try:
            changed = (folder / "spool").stat().st_mtime_ns
            after, _ = self.table.mark(node)
            if (found := self._spools.get(node)) and found[0] == (changed, after):
                return after, found[1]
            jobs, _ = Spool(folder).jobs(node, after, LATELY)
        except (OSError, SpoolError):  # someone else's server
            return 0, []
        if time.time_ns() - changed > SETTLED * 1e9:
            here = {one.name for one in self.directory.nodes()}
            self._spools = {name: kept for name, kept in self._spools.items() if name in here}
            self._spools[node] = (changed, after), jobs
        return after, jobs
