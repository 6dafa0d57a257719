"""The table of accepted jobs: one row per job-uuid, from acceptance to printed, cancelled or failed with a reason.

For readers (views, cost recovery): a row is written when a node first tells of the job and changes until the job has
ended. A job that is moved to another node keeps its uuid and its row; `node`, `slot` and `id` say where it is now, and
the table `moves` leads from each old id to the new one. What `state` says:

    pending held processing stopped     open: IPP's job-state 3 to 6 (RFC 8011, 5.3.7)
    canceled aborted completed          ended, by the node's own word (7 to 9)
    lost                                out of sight: its node does not know it any more; `why` says what is known

Rows are never deleted before `state.keep_jobs` has passed since the job was made.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from controller.store import Store
from haproxy.model import slot_of
from probes.attributes import Attributes, number, text, texts
from probes.reading import OpenJob, queue_of

OPEN = ("pending", "held", "processing", "stopped")
ENDED = ("canceled", "aborted", "completed", "lost")
IPP_STATES = {3: "pending", 4: "held", 5: "processing", 6: "stopped", 7: "canceled", 8: "aborted", 9: "completed"}
"""RFC 8011, 5.3.7."""
ATTRIBUTES = (
    "job-id",
    "job-uuid",
    "job-name",
    "job-printer-uri",
    "job-originating-user-name",
    "job-state",
    "job-state-reasons",
    "job-k-octets",
    "job-impressions-completed",
    "time-at-creation",
    "time-at-processing",
    "time-at-completed",
)
"""What a node is asked about each job."""


@dataclass(frozen=True)
class Job:
    """One accepted job. Times are seconds since 1970 by its node's clock, 0 for not yet."""

    uuid: str
    """job-uuid; the same wherever the job is moved to."""
    id: int
    """job-id at the node where it is, or ended."""
    node: str
    queue: str
    owner: str
    title: str = ""
    """job-name."""
    state: str = "pending"
    reasons: str = ""
    """job-state-reasons, separated by blanks."""
    why: str = ""
    """A sentence where `state` and `reasons` say too little."""
    size_kb: int = 0
    """job-k-octets: of its documents as they were sent."""
    impressions: int = 0
    """job-impressions-completed, as the node counts them; FACTS of CUPS: 0 for devices that are files, one per copy
    for raw queues."""
    created: int = 0
    processing: int = 0
    completed: int = 0
    released: int = field(default=0, compare=False)
    """When it was last seen to be held no longer; by the clock of this machine, since no node tells it."""

    @property
    def open(self) -> bool:
        return self.state in OPEN

    @property
    def slot(self) -> int:
        return slot_of(self.id)

    @property
    def told_reasons(self) -> str:
        """`reasons` for people: of every job that has ended cupsd goes on to say that it is on its way to its end (CUPS
        2.4, cupsdSetJobState)."""
        return self.reasons if self.open else " ".join(one for one in self.reasons.split() if one != _ENDING)

    def said(self) -> str:
        """The job in a few words, for a sentence."""
        return f"{self.id} of {self.owner or 'somebody'}" + (f" ({self.title!r})" if self.title else "")


NEWEST, OLDEST, BY_ID = "completed desc, id", "created, id", "id"
"""Orders of `Ended`, in SQL."""


@dataclass(frozen=True)
class Ended:
    """Which ended jobs are wanted. since: when they ended after, seconds since 1970. owner, queue: '' for any, in
    letters of any case. first: the lowest id."""

    nodes: tuple[str, ...]
    since: float
    limit: int
    order: str = NEWEST
    states: tuple[str, ...] = ENDED
    owner: str = ""
    queue: str = ""
    first: int = 0


_ENDING = "processing-to-stop-point"
MOVED_LATELY = 120
"""Seconds after a move in which the hold that it needed may be seen to end. That one is no hold of anybody's."""
_COLUMNS = tuple(field.name for field in fields(Job))
_OPEN_JOBS = "jobs indexed by jobs_open where open = 1"
"""By the index that holds nothing else: left to itself, SQLite would walk through all jobs for an order's sake."""
RELEASED_JOBS = "jobs indexed by jobs_released where released > 0"
"""Those that were held once, likewise."""
_WRITTEN = (*(name for name in _COLUMNS if name != "released"), "slot", "open", "seen")
_RELEASED = (
    "case when state = 'held' and :state != 'held' and not exists (select 1 from moves where moves.uuid = jobs.uuid "
    f"and hold = 'no-hold' and changed_at > :seen - {MOVED_LATELY}) then cast(:seen as integer) else released end"
)
_UPDATE = (
    f"update jobs set released = {_RELEASED}, {', '.join(f'{name} = :{name}' for name in _WRITTEN)} where uuid = :uuid"
)
_INSERT = f"insert into jobs ({', '.join(_WRITTEN)}) values ({', '.join(f':{name}' for name in _WRITTEN)})"
WAITS_SINCE = "max(created, released)"
"""In SQL: from when on a job waits for its printer. While it is held it waits for whoever holds it."""


def from_attributes(node: str, said: Attributes) -> Job:
    """A job as its node describes it, asked for ATTRIBUTES."""
    one = Job(
        uuid=text(said, "job-uuid"),
        id=number(said, "job-id"),
        node=node,
        queue=queue_of(text(said, "job-printer-uri")),
        owner=text(said, "job-originating-user-name"),
        title=text(said, "job-name"),
        state=IPP_STATES.get(number(said, "job-state"), "pending"),
        reasons=" ".join(texts(said, "job-state-reasons")),
        size_kb=number(said, "job-k-octets"),
        impressions=number(said, "job-impressions-completed"),
        created=number(said, "time-at-creation"),
        processing=number(said, "time-at-processing"),
        completed=number(said, "time-at-completed"),
    )
    return one if one.uuid else _with(one, uuid=f"{node}/{one.id}/{one.created}")


def advanced(known: Job, seen: OpenJob) -> Job:
    """A known job with what a sweep saw of it since."""
    state = IPP_STATES.get(seen.state, known.state)
    # A server that died while it took a document may say 0 for ever.
    size = max(known.size_kb, seen.size_kb)
    return _with(known, state=state, reasons=" ".join(seen.state_reasons), size_kb=size)


def printed_after_all(job: Job) -> Job:
    """An ended job without its documents was printed, although its node says that it was aborted.

    cupsd deletes the documents of a printed job before it writes down that it is completed. Killed in between, it
    finds a job without documents when it comes back, and aborts it (CUPS 2.4, cupsdSetJobState and start_job). With
    the error policy of our nodes nothing else aborts a job that was printed before.
    """
    if job.state == "aborted" and job.impressions and job.processing and job.size_kb:
        why = f"{job.node} died when it had been printed, and before that was written down"
        return _with(job, state="completed", why=why)
    return job


def _with(job: Job, **changes: Any) -> Job:
    return Job(**{**asdict(job), **changes})


@dataclass(frozen=True)
class JobTable:
    """The jobs of one database. Writers hold `store.transaction()`; every read is one short query."""

    store: Store

    def put(self, jobs: Iterable[Job]) -> None:
        """Write each job as it is now; repeating it changes nothing."""
        now = time.time()
        for job in jobs:
            row = {**vars(job), "slot": job.slot, "open": int(job.open), "seen": now}
            # Not `on conflict do update`, whose way with conflicts would take the place of that of triggers on jobs.
            if not self.store.execute(_UPDATE, row):
                self.store.execute(_INSERT, row)

    def open_on(self, node: str) -> dict[str, Job]:
        """The open jobs of a node, by uuid."""
        rows = self.store.rows(f"select * from {_OPEN_JOBS} and node = ?", [node])
        return {row["uuid"]: _job(row) for row in rows}

    def known(self, uuids: Iterable[str]) -> dict[str, Job]:
        """Those of these jobs that the table has, by uuid."""
        wanted = list(uuids)
        sql = "select * from jobs where uuid in (select value from json_each(?))"
        found = {row["uuid"]: _job(row) for row in self.store.rows(sql, [json.dumps(wanted)])}
        return {uuid: found[uuid] for uuid in wanted if uuid in found}

    def by_uuid(self, uuid: str) -> Job | None:
        rows = self.store.rows("select * from jobs where uuid = ?", [uuid])
        return _job(rows[0]) if rows else None

    def by_id(self, number: int) -> Job | None:
        """The newest job that has this id where it is now; ids that it had before a move are in `moves`."""
        rows = self.store.rows("select * from jobs where id = ? order by created desc limit 1", [number])
        return _job(rows[0]) if rows else None

    def ages(self, ids: Iterable[int]) -> dict[int, int]:
        """When these jobs were made (seconds since 1970), as far as they are known."""
        wanted = json.dumps(list(ids))
        rows = self.store.rows("select id, created from jobs where id in (select value from json_each(?))", [wanted])
        return {row["id"]: row["created"] for row in rows}

    def search(
        self,
        which: str = "open",
        user: str = "",
        printer: str = "",
        node: str = "",
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Job]:
        """Jobs by what they are: `which` is open, ended, all, or a single state. Open ones oldest first, others newest
        first."""
        named = {"owner": user, "queue": printer, "node": node}
        conditions = "".join(f" and {column} = :{column}" for column, value in named.items() if value)
        order = "created, id" if which in ("open", *OPEN) else "created desc, id desc"
        sql = f"select * from {_where(which, user)}{conditions} order by {order} limit :limit offset :offset"
        values = {**named, "state": which, "limit": -1 if limit is None else limit, "offset": offset}
        return [_job(row) for row in self.store.rows(sql, values)]

    def open_of(self, node: str, owner: str = "") -> list[Job]:
        """The open jobs of a node, oldest first; of one owner where one is given, in letters of any case, as cupsd
        compares names."""
        mine = " and owner = :owner collate nocase" if owner else ""
        sql = f"select * from {_OPEN_JOBS} and node = :node{mine} order by created, id"
        return [_job(row) for row in self.store.rows(sql, {"node": node, "owner": owner})]

    def ended(self, wanted: Ended) -> list[Job]:
        """In the order in which they are wanted, at most so many."""
        values = {**vars(wanted), "nodes": json.dumps(wanted.nodes), "states": json.dumps(wanted.states)}
        named = "".join(
            f" and {column} = :{column} collate nocase" for column in ("owner", "queue") if getattr(wanted, column)
        )
        rows = self.store.rows(
            "select * from jobs indexed by jobs_ended_on where open = 0 and completed > :since "
            "and node in (select value from json_each(:nodes)) "
            f"and state in (select value from json_each(:states)) and id >= :first{named} "
            f"order by {wanted.order} limit :limit",
            values,
        )
        return [_job(row) for row in rows]

    def waiting_on(self, node: str) -> dict[str, int]:
        """How many open jobs a node has, by queue in small letters; a queue without any is left out."""
        sql = f"select lower(queue) as queue, count(*) as jobs from {_OPEN_JOBS} and node = ? group by lower(queue)"
        return {row["queue"]: row["jobs"] for row in self.store.rows(sql, [node])}

    def count_open(self) -> dict[str, int]:
        """How many open jobs are in each state that one is in."""
        rows = self.store.rows(f"select state, count(*) as jobs from {_OPEN_JOBS} group by state")
        return {row["state"]: row["jobs"] for row in rows}

    def how_many_open(self) -> int:
        """All of them, from the index alone: cheap enough to ask at each question of a client."""
        return int(self.store.rows(f"select count(*) as jobs from {_OPEN_JOBS}")[0]["jobs"])

    def open_by(self, name: str) -> list[dict[str, Any]]:
        """Open jobs by `queue`, `owner` or `node`, the oldest one's first: name, open, stuck (held or stopped) and
        since (when the oldest was accepted)."""
        column = {"queue": "queue", "owner": "owner", "node": "node"}[name]
        return self.store.rows(
            f"select {column} as name, count(*) as open, sum(state in ('held', 'stopped')) as stuck, "
            f"min(created) as since from {_OPEN_JOBS} group by {column} order by since"
        )

    def open_queues(self) -> frozenset[str]:
        """Names of the queues that have an open job somewhere."""
        rows = self.store.rows(f"select distinct queue from {_OPEN_JOBS}")
        return frozenset(row["queue"] for row in rows)

    def lost_since(self, moment: float) -> list[Job]:
        """Jobs that were found to be lost after this moment (wall clock, seconds)."""
        rows = self.store.rows("select * from jobs where state = 'lost' and seen >= ? order by id", [moment])
        return [_job(row) for row in rows]

    def stopped(self) -> list[Job]:
        """Open jobs that a filter's failure has stopped, also those that are held since, for they were moved. Those of
        which a server calls stopped what is still to come are none."""
        since = "select 1 from moves where moves.uuid = jobs.uuid and hold = 'stopped' and changed_at > jobs.released"
        stopped = f"(state = 'stopped' and reasons not like '%job-incoming%') or (state = 'held' and exists ({since}))"
        return [_job(row) for row in self.store.rows(f"select * from {_OPEN_JOBS} and ({stopped}) order by id")]

    def open_elsewhere(self, nodes: Iterable[str]) -> list[Job]:
        """Open jobs on nodes other than these."""
        names = list(nodes)
        marks = ", ".join("?" * len(names))
        rows = self.store.rows(f"select * from {_OPEN_JOBS} and node not in ({marks}) order by id", names)
        return [_job(row) for row in rows]

    def forget(self, older_than: float) -> None:
        """Delete ended jobs that were made more than so many seconds ago."""
        self.store.execute("delete from jobs where open = 0 and created < ?", [time.time() - older_than])

    def placed(self, job: Job) -> Job | None:
        """The job as it goes into the table; None for one side of a move, whose row the mover writes.

        A uuid that another job has already was made up by a client: that one stands under its node and id as well.
        """
        known = self.by_uuid(job.uuid)
        if known is None or (known.node, known.id) == (job.node, job.id):
            return job
        if self.store.rows("select 1 from moves where uuid = ? limit 1", [job.uuid]):
            return None
        return _with(job, uuid=f"{job.uuid}/{job.node}/{job.id}")

    # How far each node was read

    def mark(self, node: str) -> tuple[int, int]:
        """The highest job id that was read from a node, and which of its lives that was (`Node.lives`)."""
        rows = self.store.rows("select last_id, life from collected where node = ?", [node])
        return (rows[0]["last_id"], rows[0]["life"]) if rows else (0, 0)

    def set_mark(self, node: str, last_id: int, life: int) -> None:
        self.store.execute(
            "insert into collected (node, last_id, life) values (?, ?, ?) "
            "on conflict (node) do update set last_id = excluded.last_id, life = excluded.life",
            [node, last_id, life],
        )


def _where(which: str, user: str) -> str:
    """Table and condition for a word of `search`. Raises KeyError for one that is none."""
    if which in OPEN:
        return f"{_OPEN_JOBS} and state = :state"
    if which == "completed" or (which in ENDED and user):
        return "jobs where open = 0 and state = :state"
    if which in ENDED:
        return "jobs indexed by jobs_unusual where open = 0 and state != 'completed' and state = :state"
    return {"open": _OPEN_JOBS, "ended": "jobs where open = 0", "all": "jobs where true"}[which]


def _job(row: Mapping[str, Any]) -> Job:
    return Job(**{name: row[name] for name in _COLUMNS})
