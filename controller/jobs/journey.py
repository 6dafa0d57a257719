"""One move, taken through its phases (controller/jobs/mover.py says how)."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from controller.jobs import remote
from controller.jobs.moves import STOPPED, MoveTable
from controller.jobs.original import INDEFINITE, Original
from controller.jobs.spool import Spool, SpoolError
from controller.jobs.table import OPEN, JobTable, printed_after_all
from controller.jobs.whereabouts import Abandon, NotNow, Waits, Whereabouts, whole
from controller.snapshot import Node, NodeState
from controller.store import StoreError
from probes.errors import ProbeError, Refused

log = logging.getLogger("cupsfleet")

TRIES = 5
"""Failures in a row after which a job of a running node is left where it is."""
LED_ON = 10.0
"""Seconds in which the proxies should have learnt where requests for a moved job go."""
NO_DOCUMENTS = "it has no documents"


@dataclass
class Journey(Whereabouts):
    """One open move, taken through its phases."""

    first_try: bool = False
    """The target was chosen just now, so there can't be a copy yet."""

    def go(self) -> None:
        """As far as it goes now. Whatever happens to it is its own affair: those behind it go on. Raises StoreError."""
        try:
            self._go()
        except StoreError:
            raise
        except Exception as error:
            log.exception("the move of job %s from %s", self.move.old_id, self.move.source)
            self._note(f"{type(error).__name__}: {error}")

    def _go(self) -> None:
        steps = {
            "ordered": self._hold,
            "holding": self._choose,
            "copying": self._copy,
            "copied": self._confirm,
            "ending": self._end,
            "ended": self._release,
        }
        try:
            while self.move.phase in steps and not self.mover.stopped:
                steps[self.move.phase]()
                self.mover.succeeded(self.move)
        except Waits:
            self.mover.later(self.move)
        except NotNow as why:
            self._note(str(why))
        except Abandon as why:
            self._abandon(str(why))
        except (ProbeError, SpoolError, OSError) as error:
            self._note(str(error))

    def _note(self, failure: str) -> None:
        tries = self.mover.failed(self.move)
        if tries >= TRIES and self.move.phase == "copying" and self._source_runs:
            self._abandon(failure)
        elif failure != self.move.failure:
            self._write(failure=failure)

    def _write(self, event: str = "", **changes: str | int) -> None:
        with self.store.transaction():
            MoveTable(self.store).put(self.move, **changes)
            if event:
                self.store.event("move", event, self.move.source)
        self.move = replace(self.move, **changes)  # type: ignore[arg-type]

    # The steps

    def _hold(self) -> None:
        """ordered -> holding: what it was held for is written down, then it is held."""
        if self._spooled:
            self._write(phase="holding", hold=self._hold_on_disk(), failure="")
            return
        self._elsewhere()
        old = self._old()
        self._check_movable(old)
        if old.incoming or not old.documents:  # of one that is held, cupsd does not always say that it is incoming
            raise Waits("it still waits for its documents")
        held_for = STOPPED if old.state == "stopped" else old.hold or "no-hold"
        self._write(phase="holding", hold=held_for, failure="")

    def _hold_on_disk(self) -> str:
        """A copy that was never released is held on disk as it was made, whatever it was held for before; the order of
        its move knows. What else is on disk, its owner has said since."""
        if self._spool.job(self.move.source, self.move.old_id).state == "stopped":
            return STOPPED
        on_disk = self._spool.read(self.move.old_id).hold or "no-hold"
        return self.move.hold if self.move.hold and on_disk == INDEFINITE else on_disk

    def _check_disk(self) -> None:
        """A job that had ended before its server died is not moved any more."""
        job = self._spool.job(self.move.source, self.move.old_id)
        if not job.open:
            raise Abandon(f"it is {job.state} already")

    def _check_movable(self, old: remote.Standing) -> None:
        """cupsd lets go of one that a filter's failure has stopped as well (CUPS 2.4, hold_job in scheduler/ipp.c)."""
        if old.state == "processing":
            raise Waits("it is printing")
        if old.state not in ("pending", "held", "stopped"):
            raise Abandon(f"it is {old.state} already")

    def _choose(self) -> None:
        """holding -> copying: held for sure, and with a place to go to."""
        if self._spooled:
            self._check_disk()
        else:
            server, old = self._server(self._source), self._old()
            self._check_movable(old)
            self._heed_release(old)
            remote.hold(server, self.move.old_id)
        self._write(phase="copying", target=self._elsewhere().name, new_id=0, failure="")
        self.first_try = True

    def _elsewhere(self) -> Node:
        """Of the healthy nodes that take jobs of this queue the one asked for, else that with the fewest open jobs."""
        if not (fit := self.mover.takers(self.move.queue, self.move.source, self.store)):
            raise NotNow(f"no other server takes jobs of {self.move.queue}")
        return next((node for node in fit if node.name == self.move.target), fit[0])

    def _copy(self) -> None:
        """copying -> copied: the copy stands whole on the other node, held."""
        if self._stranded:
            self._turn_back()
            return
        node = self.nodes[self.move.target]
        operator = self._server(node)
        with tempfile.TemporaryDirectory() as folder:
            original = self._original(Path(folder))
            found = None if self.first_try else remote.find(operator, self.move.uuid)
            self.first_try = False
            if found and not whole(found, original):
                remote.cancel(operator, found.id, purge=True)
                found = None
            if found is None:
                made = remote.copy(self._server(node, original.owner), original)
                found = remote.standing(operator, made)
            if found is None or not whole(found, original):
                raise NotNow(f"the copy on {node.name} is not whole: {found}")
        self._write(phase="copied", new_id=found.id, failure="")

    def _turn_back(self) -> None:
        """copying, copied -> holding: another node is looked for."""
        self._forget_copy()
        self._write(phase="holding", target="", new_id=0, failure="")

    def _original(self, folder: Path) -> Original:
        try:
            original = self._read(folder)
        except (SpoolError, Refused):
            if not self._spooled:
                self._old()  # that may have ended as well
            raise
        if not original.documents:
            if not self._spooled:
                self._check_movable(self._old())  # it may have ended just now, and its documents went with it
            raise Abandon(NO_DOCUMENTS)
        return original

    def _read(self, folder: Path) -> Original:
        on_disk = self._spool
        if self._spooled or (on_disk.folder / "spool").is_dir():
            return on_disk.read(self.move.old_id)
        return remote.fetch(self._server(self._source), self.move.old_id, folder)

    def _confirm(self) -> None:
        """copied -> ending: the old one has not begun to print meanwhile."""
        if self._stranded and self._old_stands():
            self._turn_back()
            return
        runs = self._source_runs
        if runs:
            self._check_old()
        elif self.move.source in self.nodes:
            with suppress(SpoolError):  # the copy is whole, whatever has become of that disk
                self._check_disk()
        self._write(phase="ending", failure="")
        if runs:
            self.mover.untouched[self.move.number] = time.monotonic()

    def _check_old(self) -> None:
        server = self._server(self._source)
        old = remote.standing(server, self.move.old_id)
        if old is None or old.uuid != self.move.uuid:
            self._check_lost()
        elif old.state == "pending":
            self._heed_release(old)
            remote.hold(server, self.move.old_id)
        elif old.state != "held":
            raise Abandon(f"it is {old.state} already")

    def _check_lost(self) -> None:
        """Its server does not know the old one any more. If that came back without its spool, the copy is all there is
        of the job; if its owner has purged it, the copy has to go too. What became of it the table of jobs tells."""
        job = JobTable(self.store).by_uuid(self.move.uuid)
        if job and job.open:
            raise Waits("nobody has looked yet what became of the old one")
        if job is None or job.state != "lost":
            raise Abandon(f"{self.move.source} does not know it any more")

    def _heed_release(self, old: remote.Standing) -> None:
        """Of a job that was held for something, and is not any more, the copy is not held for that either."""
        if old.state == "pending" and self.move.hold != "no-hold":
            self._write(hold="no-hold")

    def _end(self) -> None:
        """ending -> ended: the old job is no more, the new one counts."""
        if not self._copy_stands() and self._old_stands():
            self._turn_back()
            return
        if self.move.source in self.nodes:
            self._forget_old()
        with self.store.transaction():
            table = JobTable(self.store)
            if job := table.by_uuid(self.move.uuid):
                table.put([replace(job, node=self.move.target, id=self.move.new_id, state="held")])
            MoveTable(self.store).put(self.move, phase="ended", failure="")
            said = f"job {self.move.old_id} is job {self.move.new_id} of {self.move.target} now: {self.move.reason}"
            self.store.event("move", said, self.move.source)
        self.move = replace(self.move, phase="ended", failure="")

    def _forget_old(self) -> None:
        if self._spooled:
            self._spool.set_aside(self.move.old_id)
            return
        self._await_proxies()
        server = self._server(self._source)
        old = remote.standing(server, self.move.old_id)
        if old and old.uuid == self.move.uuid and old.state in ("processing", "stopped", "completed"):
            raise Abandon(f"it is {old.state} already")  # somebody released it
        untouched = self.mover.untouched.pop(self.move.number, None) is not None
        try:
            remote.end(server, self.move.old_id)
        except Refused:
            if untouched:
                self._ended_by_owner(remote.standing(server, self.move.old_id))
        left = remote.standing(server, self.move.old_id)
        if left and left.uuid == self.move.uuid and left.state in OPEN:
            raise NotNow(f"it could not be cancelled on {self.move.source}: it is {left.state}")

    def _await_proxies(self) -> None:
        """From here on what its owner asks about the old job has to reach the copy. A proxy that does not obey is not
        waited for."""
        since = self.mover.untouched.get(self.move.number)
        late = since is None or time.monotonic() > since + LED_ON
        if not late and not self.mover.leads_on(self._source.slot):
            raise Waits("a proxy still leads its owner's requests to the old one")

    def _ended_by_owner(self, old: remote.Standing | None) -> None:
        """A node that does not end a job, although nobody here has ended it: its owner has, and wants no copy."""
        if old and old.uuid == self.move.uuid and old.state not in OPEN:
            raise Abandon(f"it is {old.state} already")

    def _release(self) -> None:
        """ended -> done: the copy may do what the old one might."""
        node = self.nodes.get(self.move.target)
        if node is not None and node.state is NodeState.RESCUING:
            raise NotNow(f"{self.move.target} is given up; its jobs are moved again")
        if node is not None:
            server = self._server(node)
            if self.move.hold_until == "no-hold":
                remote.release(server, self.move.new_id)
            elif (found := remote.standing(server, self.move.new_id)) and found.state == "held":
                remote.hold(server, self.move.new_id, self.move.hold_until)
        self._write(phase="done", failure="")

    def _abandon(self, why: str) -> None:
        """The job stays as it was: a copy is forgotten, the hold is taken back."""
        try:
            self._undo()
        except (ProbeError, SpoolError, Abandon) as error:
            if not isinstance(error, Abandon):
                self._write(failure=f"{why}; what was begun can't be taken back yet: {error}")
                return
        said = f"job {self.move.old_id} stays: {why}"
        if why == NO_DOCUMENTS and self.move.source in self.nodes and self._spooled:
            self._give_up_empty()
            said = f"job {self.move.old_id} has no documents to be moved with"
        self.mover.untouched.pop(self.move.number, None)
        self._write(said, phase="abandoned", failure=why)
        self.mover.succeeded(self.move)

    def _give_up_empty(self) -> None:
        """A job whose documents were still to come when its node died, or were deleted for it had been printed."""
        self._spool.set_aside(self.move.old_id)
        with self.store.transaction():
            table = JobTable(self.store)
            if job := table.by_uuid(self.move.uuid):
                why = "it had no documents when its server died"
                over = job.completed or int(time.time())
                table.put([printed_after_all(replace(job, state="aborted", why=why, completed=over))])

    def _undo(self) -> None:
        if self.move.phase in ("copying", "copied", "ending"):
            self._forget_copy()
        if self.move.phase == "ordered" or not self._source_runs:
            return
        server = self._server(self._source)
        found = remote.standing(server, self.move.old_id)
        if found and found.state == "held":
            if self.move.hold_until == "no-hold":
                remote.release(server, self.move.old_id)
            else:
                remote.hold(server, self.move.old_id, self.move.hold_until)

    def _forget_copy(self) -> None:
        """Wherever it stands, and if it does. Of a node that is given up nothing but its spool can be asked."""
        node = self.nodes.get(self.move.target)
        if node is None:
            return
        if node.state is NodeState.RESCUING:
            with suppress(SpoolError):  # a held job in a spool that can't be read does not print either
                spool = Spool(self.mover.folder(node))
                for job in spool.jobs(node.name)[0]:
                    if job.uuid == self.move.uuid:
                        spool.set_aside(job.id)
        elif found := remote.find(self._server(node), self.move.uuid):
            remote.cancel(self._server(node), found.id, purge=True)
