"""The journal of moves: each step is written down before it is done, so that a crash between any two does no harm.

    ordered -> holding -> copying -> copied -> ending -> ended -> done       or abandoned: the job stays where it was

For readers: `new_id` is where the job with `old_id` lives since phase `ended`; follow it further for one that was moved
again (`MoveTable.now`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from controller.jobs.original import INDEFINITE
from controller.jobs.table import Job
from controller.store import Store
from haproxy.model import slot_of

STOPPED = "stopped"
"""`Move.hold` of a job that its server had stopped, since a filter failed: part of it may be printed, so that its copy
is held until its owner says what shall become of it."""
CLOSED = ("done", "abandoned")
MOVED = ("ended", "done")
"""Phases in which the old job is no more and the new one counts."""


@dataclass(frozen=True)
class Move:
    """One job on its way from one node to another."""

    number: int
    uuid: str
    queue: str
    owner: str
    source: str
    old_id: int
    target: str
    """A node's name, '' until one is chosen."""
    new_id: int
    """0 until the copy is made."""
    phase: str
    hold: str
    """job-hold-until as it was before, to be set again, or STOPPED; '' until it is known."""
    reason: str
    failure: str
    """What last went wrong, '' when nothing did."""

    @property
    def hold_until(self) -> str:
        """job-hold-until for the copy."""
        return INDEFINITE if self.hold == STOPPED else self.hold or "no-hold"


@dataclass(frozen=True)
class Doubles:
    """What a list has to know of jobs that are at two nodes at once. A job is shown by one id only.

    counts: by the id that does not count, the one that does, which is the old one until the old job is ended. copied:
    ids of jobs that are being copied, or will be next, with the job-uuid: by that a copy is known whose id is not yet.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    copied: Mapping[int, str] = field(default_factory=dict)


_COLUMNS = tuple(Move.__annotations__)
_OPEN = "phase not in ('done', 'abandoned')"
"""By an index that holds nothing else."""


@dataclass(frozen=True)
class MoveTable:
    """The moves in one database. Writers hold `store.transaction()`."""

    store: Store

    def order(self, job: Job, reason: str, target: str = "", hold: str = "") -> bool:
        """Ask for a job to be moved; False when it is on its way already. hold: what it was held for, where its server
        can't tell."""
        if self.open_of(job.uuid):
            return False
        now = time.time()
        self.store.execute(
            "insert into moves (uuid, queue, owner, source, old_id, target, new_id, phase, hold, reason, failure, "
            "begun_at, changed_at) values (?, ?, ?, ?, ?, ?, 0, 'ordered', ?, ?, '', ?, ?)",
            [job.uuid, job.queue, job.owner, job.node, job.id, target, hold, reason, now, now],
        )
        return True

    def put(self, move: Move, **changes: Any) -> None:
        """Write down changed fields of a move."""
        assignments = ", ".join(f"{name} = ?" for name in changes)
        values = [*changes.values(), time.time(), move.number]
        self.store.execute(f"update moves set {assignments}, changed_at = ? where number = ?", values)

    def open(self) -> list[Move]:
        """Those that are not at their end, in the order in which they were asked for."""
        return self._select(_OPEN)

    def open_of(self, uuid: str) -> list[Move]:
        return self._select(f"uuid = ? and {_OPEN}", uuid)

    def arriving(self, node: str) -> list[Move]:
        """Those whose copy stands on this node, or may, while the table of jobs still names the old one."""
        return self._select("target = ? and phase in ('copying', 'copied', 'ending')", node)

    def last_of(self, uuid: str) -> Move | None:
        """The newest move of a job."""
        found = self._select("uuid = ?", uuid)
        return found[-1] if found else None

    def now(self, old_id: int) -> int:
        """The id under which a job lives now that had this one before; the same when it was never moved."""
        seen = set()
        while old_id not in seen:
            seen.add(old_id)
            found = self._select("old_id = ? and phase in ('ending', 'ended', 'done') and new_id > 0", old_id)
            old_id = found[-1].new_id if found else old_id
        return old_id

    def forget(self, older_than: float) -> None:
        """Delete moves that came to their end more than so many seconds ago, but for those of open jobs."""
        over = "phase in ('done', 'abandoned') and changed_at < ?"
        kept = "uuid in (select uuid from jobs where open = 1)"
        self.store.execute(f"delete from moves where {over} and not {kept}", [time.time() - older_than])

    def doubles(self, since: float) -> Doubles:
        """Of moves that are under way, or changed since this moment (wall clock, seconds)."""
        over = "phase in ('ending', 'ended', 'done')"
        pair = f"select number, old_id, new_id, {over} as over from moves where new_id > 0"
        # by two indexes: the plus keeps SQLite from walking through all older ones
        lately, earlier = f"{pair} and changed_at > :since", f"{pair} and +changed_at <= :since and {_OPEN}"
        rows = self.store.rows(f"{lately} union all {earlier}", {"since": since})
        rows.sort(key=itemgetter("number"))  # which SQLite would do by walking through all of them
        pairs = [(row["old_id"], row["new_id"]) if row["over"] else (row["new_id"], row["old_id"]) for row in rows]
        copied = self.store.rows(f"select old_id, uuid from moves where phase in ('holding', 'copying') and {_OPEN}")
        return Doubles(dict(pairs), {row["old_id"]: row["uuid"] for row in copied})

    def standing_twice(self) -> dict[str, dict[str, int]]:
        """How many copies stand beside their originals: by the node that has the copies, and queue in small letters."""
        rows = self.store.rows(
            "select target, lower(queue) as queue, count(*) as jobs from moves where phase in ('copied', 'ending') "
            f"and {_OPEN} group by target, lower(queue)"
        )
        found: dict[str, dict[str, int]] = {}
        for row in rows:
            found.setdefault(row["target"], {})[row["queue"]] = row["jobs"]
        return found

    def slots_left(self, since: float) -> tuple[int, ...]:
        """Slots that jobs have been moved away from since this moment, and those of all that are open still: what is
        asked about them has to be led on."""
        moved = "phase in ('ending', 'ended', 'done') and new_id > 0"
        lately = f"select old_id from moves where {moved} and changed_at > ?"
        still = f"select old_id from jobs cross join moves using (uuid) where open = 1 and {moved}"
        rows = self.store.rows(f"{lately} union {still}", [since])
        return tuple(sorted({slot_of(row["old_id"]) for row in rows}))

    def _select(self, condition: str, *values: Any) -> list[Move]:
        rows = self.store.rows(f"select {', '.join(_COLUMNS)} from moves where {condition} order by number", values)
        return [Move(**row) for row in rows]
