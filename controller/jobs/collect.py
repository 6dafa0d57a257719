"""Filling the table of jobs from what the nodes say, beside the loop.

The sweep tells which jobs are open. A job that is not open any more, or that came and went between two sweeps, is
found by paging through all jobs of its node in the order of their ids, from the lowest one in question. So each
node costs one small request when nothing happens, and what was missed while no controller ran is made up for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

import aiohttp

from controller.jobs.table import ATTRIBUTES, Job, JobTable, advanced, from_attributes, printed_after_all
from controller.nodes.proof import OWNER as PROOF_OWNER
from controller.snapshot import Node, NodeSight
from controller.store import Store
from haproxy.model import slot_of
from probes import ipp
from probes.errors import ProbeError
from probes.reading import OpenJob
from probes.sweep import Target

DEADLINE = 10.0
"""Seconds for one node to tell of its new and its finished jobs."""
TOLD_FOR = 86_400.0
"""Seconds for which lost jobs stay among the problems."""
WATCHED = 10.0
"""Seconds within which a server of ours can't have forgotten a job for its age or for the number of newer ones."""
NAMED = 5
"""Jobs that a problem names; the rest are counted."""


class Incomplete(Exception):
    """A node's jobs could not be read to the end, or are not all ended; the message says why."""


class StillOpen(Incomplete):
    """The node has open jobs."""


class Unread(Incomplete):
    """The node did not answer."""


@dataclass(frozen=True)
class Findings:
    """What comparing the table with a node has come to."""

    changed: tuple[Job, ...]
    """To be written: new ones, and those that are not as they were."""
    missing: tuple[Job, ...]
    """Open in the table, and unknown to the node."""


def first_in_question(open_jobs: Mapping[str, Job], seen: Iterable[OpenJob], last_id: int) -> int:
    """The lowest id to ask for: the one after the last known, or that of an open job which only one of both knows."""
    still = {job.uuid: job.id for job in seen}
    gone = (job.id for uuid, job in open_jobs.items() if uuid not in still)
    unknown = (number for uuid, number in still.items() if uuid not in open_jobs)
    return min([last_id + 1, *gone, *unknown])


def compare(
    open_jobs: Mapping[str, Job],
    seen: Iterable[OpenJob] | None,
    told: Iterable[Job],
    last_id: int,
    missed: Container[str] = (),
) -> Findings:
    """open_jobs: the table's. seen: by the sweep. told: all jobs from `first_in_question` on, asked after the sweep.
    Without a sweep (None) they are all jobs that there are. last_id: the last one known before the sweep was begun; a
    job beyond it may have been moved there since, so that the sweep can't have seen it. missed: uuids of jobs that were
    looked for in vain once before."""
    still = {job.uuid: job for job in seen or ()}
    judged = {uuid for uuid, job in open_jobs.items() if seen is None or job.id <= last_id or uuid in missed}
    doubtful = frozenset() if seen is None else judged - still.keys()
    newest = {job.uuid: _forgotten(job) if job.uuid in doubtful else job for job in told}
    moved_on = {
        uuid: advanced(job, still[uuid]) for uuid, job in open_jobs.items() if uuid in still and uuid not in newest
    }
    changed = [job for uuid, job in {**moved_on, **newest}.items() if open_jobs.get(uuid) != job]
    missing = [open_jobs[uuid] for uuid in open_jobs if uuid in judged - still.keys() - newest.keys()]
    return Findings(tuple(changed), tuple(missing))


def _forgotten(job: Job) -> Job:
    """A job that its node shows as open, and does not count among its open ones.

    cupsd writes job.cache before the control file. Killed in between, it knows from the one that the job has ended and
    reads its state from the other (CUPS 2.4, load_job_cache and cupsdLoadJob in scheduler/job.c).
    """
    if not job.open:
        return job
    why = f"{job.node} died when it had ended, and before that was written down in full"
    return _over(job, "aborted", why)


@dataclass
class Collector:
    """Runs in a thread of its own. `offer` may be called from any thread, and `finish` too."""

    open_store: Callable[[], Store]
    """Opens the database for this thread."""
    target: Callable[[Node, Store], Target]
    """Where a node is asked, and as whom."""
    _offered: Mapping[str, NodeSight] = field(default_factory=dict)
    _read_at: dict[str, float] = field(default_factory=dict)
    """When each node was last read to the end, in monotonic seconds."""
    _missed: dict[str, frozenset[str]] = field(default_factory=dict)
    """By node: uuids of open jobs of the table that it did not tell of when it was last read."""
    _problems: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def offer(self, sights: Iterable[NodeSight]) -> None:
        """What the newest pass saw."""
        self._offered = {sight.node.name: sight for sight in sights}

    def problems(self) -> list[str]:
        """Jobs that are lost, and jobs that nobody looks after, one sentence per node."""
        return list(self._problems)

    def collect(self) -> None:
        """Bring the table up to what the nodes that answered the last sweep say. Raises StoreError."""
        fresh = [sight for sight in self._offered.values() if self._is_news(sight)]
        with self._lock, self.open_store() as store:
            for sight, told in asyncio.run(self._ask_all(fresh, store)) if fresh else ():
                assert sight.reading is not None
                self._write(store, sight.node, sight.reading.jobs, told)
            self._problems = tuple(unattended(JobTable(store), [node.name for node in store.nodes()]))

    def finish(self, node: Node) -> None:
        """Read a node that is about to go for the last time. Raises Incomplete when it can't be read to the end or
        has an open job, and StoreError."""
        with self._lock, self.open_store() as store:
            target = self.target(node, store)
            try:
                seen, told = asyncio.run(self._look_and_ask(target, store))
            except (ProbeError, TimeoutError) as error:
                raise Unread(f"its last jobs could not be read: {error or 'no answer in time'}") from None
            self._write(store, node, seen, told)
            if left := JobTable(store).open_on(node.name):
                raise StillOpen(f"it still has open jobs: {named(left.values())}")

    def finish_from(self, node: Node, told: list[Job]) -> list[Job]:
        """The same for a node that is given up: `told` is what its spool holds. Returns the jobs that are still open.

        Raises StoreError.
        """
        with self._lock, self.open_store() as store:
            self._write(store, node, None, [job for job in told if job.owner != PROOF_OWNER])
            return list(JobTable(store).open_on(node.name).values())

    def write_off(self, node: Node, why: str) -> None:
        """Give up the open jobs of someone else's server that is let go although it is silent. Raises StoreError."""
        with self._lock, self.open_store() as store, store.transaction():
            table = JobTable(store)
            table.put(_over(job, "lost", why) for job in table.open_on(node.name).values())

    def sights(self) -> Mapping[str, NodeSight]:
        """What was offered last, by node."""
        return self._offered

    def _is_news(self, sight: NodeSight) -> bool:
        """Whether a reading was begun after the node was last read: an older one would turn the time back."""
        reading = sight.reading
        if reading is None or reading.error is not None or reading.latency is None:
            return False
        return reading.at - reading.latency > self._read_at.get(sight.node.name, float("-inf"))

    async def _ask_all(self, sights: list[NodeSight], store: Store) -> list[tuple[NodeSight, list[Job]]]:
        """What each node tells; those that fail are left for the next time."""
        targets = {sight.node.name: self.target(sight.node, store) for sight in sights}
        firsts = {sight.node.name: self._first(sight, store) for sight in sights}
        async with ipp.session() as http:
            asked = (_ask(http, targets[sight.node.name], firsts[sight.node.name]) for sight in sights)
            answers = await asyncio.gather(*asked, return_exceptions=True)
        told = []
        for sight, answer in zip(sights, answers, strict=True):
            if isinstance(answer, list):
                told.append((sight, answer))
            elif not isinstance(answer, ProbeError | TimeoutError):
                raise answer
        return told

    def _first(self, sight: NodeSight, store: Store) -> int:
        table = JobTable(store)
        seen = sight.reading.jobs if sight.reading else ()
        return first_in_question(table.open_on(sight.node.name), seen, table.mark(sight.node.name)[0])

    async def _look_and_ask(self, target: Target, store: Store) -> tuple[tuple[OpenJob, ...], list[Job]]:
        table = JobTable(store)
        async with ipp.session() as http, asyncio.timeout(DEADLINE):
            reading = await ipp.look(http, _server(target), target.name)
            first = first_in_question(table.open_on(target.name), reading.jobs, table.mark(target.name)[0])
            return reading.jobs, await _ask(http, target, first)

    def _write(self, store: Store, node: Node, seen: Iterable[OpenJob] | None, told: list[Job]) -> None:
        table = JobTable(store)
        with store.transaction():
            last_id, life = table.mark(node.name)
            placed = [job for job in map(table.placed, told) if job]
            known = table.open_on(node.name)
            found = compare(known, seen, placed, last_id, self._missed.get(node.name, frozenset()))
            missed = frozenset(known) - {job.uuid for job in seen or ()} - {job.uuid for job in (*told, *found.missing)}
            self._missed[node.name] = missed
            changed = (printed_after_all(job) if node.driver == "process" else job for job in found.changed)
            lost = [_ended(job, node, node.lives != life, self._watched(node)) for job in found.missing]
            table.put([*changed, *lost])
            last_id = max([last_id, *(job.id for job in told)])
            # What is missed may have gone with the life that ended: that has to be known when it is judged.
            table.set_mark(node.name, last_id, life if missed else node.lives)
            if slot_of(last_id) == node.slot and last_id >= store.next_id(node.slot):
                store.saw_id(node.slot, last_id)
            for job in lost:
                store.event(job.state, f"job {job.said()}: {job.why}", node.name)
        self._read_at[node.name] = time.monotonic()

    def _watched(self, node: Node) -> bool:
        """Whether the server would still know what it knew at the last look: how long ours remember, we set."""
        ago = time.monotonic() - self._read_at.get(node.name, float("-inf"))
        return ago < WATCHED and node.driver == "process"


async def _ask(http: aiohttp.ClientSession, target: Target, first: int) -> list[Job]:
    """All jobs of a node from this id on, proofs excepted."""
    async with asyncio.timeout(DEADLINE):
        told = [job async for job in ipp.all_jobs(http, _server(target), ATTRIBUTES, max(1, first))]
    return [job for job in (from_attributes(target.name, one) for one in told) if job.owner != PROOF_OWNER]


def _server(target: Target) -> ipp.Server:
    return ipp.Server(target.host, target.port, target.user, target.tls, target.verify)


def _ended(job: Job, node: Node, restarted: bool, watched: bool) -> Job:
    """What became of an open job that its node does not know any more."""
    if restarted:
        state, why = "lost", f"{node.name} came back without it: its spool was lost, or its files in there"
    elif watched:
        state, why = "canceled", f"it was purged from {node.name}, which runs on and knew it a moment ago"
    else:
        state = "lost"
        why = f"{node.name} runs on and does not know it any more: it ended and was forgotten, or was purged, unseen"
    return _over(job, state, why)


def _over(job: Job, state: str, why: str) -> Job:
    """Its end has no other time than that of its being noticed."""
    return replace(job, state=state, why=why, completed=int(time.time()))


def unattended(table: JobTable, nodes: list[str]) -> list[str]:
    """Sentences about jobs that are lost or that nobody looks after. nodes: names of those in the fleet."""
    lost = _by_node(table.lost_since(time.time() - TOLD_FOR))
    left = _by_node(table.open_elsewhere(nodes))
    stopped = _by_node(table.stopped())
    return [
        *(f"{_count(jobs)} lost with {node}, though accepted: {_named(jobs, _why)}" for node, jobs in lost.items()),
        *(f"{_count(jobs)} looked after by nobody, for {node} is gone: {named(jobs)}" for node, jobs in left.items()),
        *(
            f"{_count(jobs)} stopped on {node}, for a filter failed, until somebody cancels or releases: "
            f"{_named(jobs, _reasons)}"
            for node, jobs in stopped.items()
        ),
    ]


def _by_node(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.node, []).append(job)
    return found


def _count(jobs: list[Job]) -> str:
    return "1 job is" if len(jobs) == 1 else f"{len(jobs)} jobs are"


def _why(job: Job) -> str:
    return job.why


def _reasons(job: Job) -> str:
    """Of one that was moved since it was stopped, its server knows no more than that it is held."""
    return "held since it was moved" if job.state == "held" else job.reasons


def _named(jobs: list[Job], why_of: Callable[[Job], str]) -> str:
    """Each reason stands behind the jobs that it is true of."""
    by_why: dict[str, list[Job]] = {}
    for job in jobs:
        by_why.setdefault(why_of(job), []).append(job)
    return "; ".join(named(some) + (f" ({why})" if why else "") for why, some in by_why.items())


def named(jobs: Iterable[Job]) -> str:
    """The first few in words, the others as a number."""
    every = list(jobs)
    more = [f"and {len(every) - NAMED} more"] if len(every) > NAMED else []
    return ", ".join([*(job.said() for job in every[:NAMED]), *more])
