"""Simulated print servers under the real journal, mover and collector.

They show what a crash or a death between any two steps of a move leaves behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from controller.jobs import custody, journey, remote, whereabouts
from controller.jobs.collect import Collector, Incomplete
from controller.jobs.custody import Custody
from controller.jobs.moves import MoveTable
from controller.jobs.original import INDEFINITE, Document, Original
from controller.jobs.spool import SpoolError
from controller.jobs.table import IPP_STATES, Job, JobTable
from controller.snapshot import Node, NodeSight, NodeState
from controller.store import Store
from haproxy.model import slot_of
from probes import ipp
from probes.errors import Refused, Unreachable
from probes.reading import OpenJob
from probes.sweep import Target
from tests.builders import reading

PENDING, HELD, PROCESSING, STOPPED, CANCELED, COMPLETED = 3, 4, 5, 6, 7, 9


SAFE = {True: ("copied", "ending"), False: ("copying", "copied", "ending")}
"""Phases in which one of the two sides of a move may be lost: the old one, when the copy is known to be whole; or the
copy."""


class Crash(BaseException):
    """The controller dies here: nothing that catches exceptions outlives it."""


class FragileStore(Store):
    """Its user can be told to die right before or right after the n-th transaction from now."""

    writes_left = 0

    def _write(self) -> None:
        FragileStore.writes_left -= 1
        if FragileStore.writes_left == 0:
            raise Crash

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._write()
        with super().transaction():
            yield
        self._write()


@dataclass
class Kept:
    """A job on a server."""

    id: int
    uuid: str
    owner: str
    state: int = PENDING
    hold: str = ""

    @property
    def open(self) -> bool:
        return self.state < CANCELED


@dataclass
class Server:
    """Its jobs are on its disk; it runs, or does not."""

    name: str
    slot: int
    runs: bool = True
    jobs: dict[int, Kept] = field(default_factory=dict)
    given: int = 0

    def take(self, uuid: str, owner: str, hold: str = "") -> Kept:
        self.given += 1
        job = Kept(self.slot * 1_000_000 + self.given, uuid, owner, HELD if hold else PENDING, hold)
        self.jobs[job.id] = job
        return job

    def told(self) -> list[Job]:
        return [
            Job(job.uuid, job.id, self.name, "office", job.owner, state=IPP_STATES[job.state])
            for job in self.jobs.values()
        ]

    def seen(self) -> tuple[OpenJob, ...]:
        return tuple(
            OpenJob(job.id, job.uuid, "office", job.owner, job.state, 0, 0, ())
            for job in self.jobs.values()
            if job.open
        )


@dataclass(frozen=True)
class Disk:
    """A server's spool, as controller.jobs.spool.Spool."""

    server: Server
    folder: Path = Path("/nonexistent")

    def jobs(self, node: str) -> tuple[list[Job], list[int]]:
        return self.server.told(), []

    def job(self, node: str, number: int) -> Job:
        for job in self.server.told():
            if job.id == number:
                return job
        raise SpoolError(f"job {number} has no control file")

    def read(self, number: int) -> Original:
        return original(self.server.jobs[number])

    def set_aside(self, number: int) -> None:
        self.server.jobs.pop(number, None)


def original(job: Kept) -> Original:
    document = Document(Path(os.devnull), "text/plain", False)
    return Original(job.uuid, job.id, "office", job.owner, job.hold, b"", b"", (document,))


@dataclass(frozen=True)
class Wire:
    """As controller.jobs.remote."""

    world: World

    def _at(self, server: ipp.Server) -> Server:
        found = self.world.servers.get(server.host)
        if found is None or not found.runs:
            raise Unreachable(f"{server.host} is silent")
        return found

    def _job(self, server: ipp.Server, number: int) -> Kept:
        if found := self._at(server).jobs.get(number):
            return found
        raise Refused(f"{server.host} does not know job {number}", ipp.NOT_FOUND)

    def standing(self, server: ipp.Server, number: int) -> remote.Standing | None:
        job = self._at(server).jobs.get(number)
        if job is None:
            return None
        return remote.Standing(job.id, job.uuid, IPP_STATES[job.state], job.owner, job.hold, 1, False, 0)

    def find(self, server: ipp.Server, uuid: str) -> remote.Standing | None:
        ids = (job.id for job in self._at(server).jobs.values() if job.uuid == uuid and job.open)
        return next((self.standing(server, one) for one in ids), None)

    def hold(self, server: ipp.Server, number: int, until: str = INDEFINITE) -> None:
        job = self._job(server, number)
        if job.state not in (PENDING, HELD, STOPPED):
            raise Refused(f"job {number} can't be held")
        job.state, job.hold = HELD, until

    def release(self, server: ipp.Server, number: int) -> None:
        with suppress(Refused):
            job = self._job(server, number)
            if job.state == HELD:
                job.state, job.hold = PENDING, ""

    def cancel(self, server: ipp.Server, number: int, purge: bool = False) -> None:
        with suppress(Refused):
            self.end(server, number, purge)

    def end(self, server: ipp.Server, number: int, purge: bool = False) -> None:
        job = self._job(server, number)
        if purge:
            del self._at(server).jobs[number]
        elif not job.open:
            raise Refused(f"job {number} has ended")
        else:
            job.state = CANCELED

    def copy(self, server: ipp.Server, source: Original) -> int:
        return self._at(server).take(source.uuid, source.owner, INDEFINITE).id

    def fetch(self, server: ipp.Server, number: int, folder: Path) -> Original:
        return original(self._job(server, number))


class FakeCollector(Collector):
    """Asks the simulated servers."""

    world: World

    async def _look_and_ask(self, target: Target, store: Store) -> tuple[tuple[OpenJob, ...], list[Job]]:
        server = self.world.servers[target.name]
        if not server.runs:
            raise Unreachable(f"{target.name} is silent")
        return server.seen(), server.told()


@dataclass
class World:
    """Nodes, what they printed, and a controller that can die."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="moves-")))
    servers: dict[str, Server] = field(default_factory=dict)
    printed: Counter[str] = field(default_factory=Counter)
    held: set[str] = field(default_factory=set)
    """Jobs that their owners hold, and that wait for their owners since a filter failed."""
    cancelled: set[str] = field(default_factory=set)
    """Jobs that their owners cancelled before they printed."""
    lost: set[str] = field(default_factory=set)
    """Jobs that were on no other disk when theirs was lost."""
    accepted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        for module in (journey, whereabouts):
            self.patch.setattr(module, "remote", Wire(self))
        for module in (journey, whereabouts, custody):
            self.patch.setattr(module, "Spool", lambda folder: Disk(self.servers[folder.name]))
        FragileStore.writes_left = 0
        self.store = FragileStore(self.folder / "db", create=True)
        self.store._db.conn.execute("PRAGMA synchronous=OFF")
        self.begin()
        for _ in range(3):
            self.add()

    def close(self) -> None:
        self.patch.undo()
        self.store.close()
        shutil.rmtree(self.folder)

    @contextmanager
    def _lent(self) -> Iterator[Store]:
        yield self.store

    def begin(self) -> None:
        """A controller with nothing but what the database remembers."""
        FragileStore.writes_left = 0
        self.custody = Custody.of(
            self._lent,  # type: ignore[arg-type]
            lambda node, store: Target(node.name, node.name, 631, "operator"),
            lambda node: self.folder / node.name,
        )
        collector = FakeCollector(self.custody.collector.open_store, self.custody.collector.target)
        collector.world = self
        self.custody.collector = collector
        self.custody.mover.sights = collector.sights

    # Nodes

    def nodes(self) -> list[Node]:
        return list(self.store.nodes())

    def add(self) -> None:
        number = self.store.next_name()
        with self.store.transaction():
            self.store.put_node(Node(f"node-{number}", number, "process", "127.0.0.1", 6000 + number, NodeState.READY))
        self.servers[f"node-{number}"] = Server(f"node-{number}", number)

    def become(self, node: Node, state: NodeState) -> None:
        with self.store.transaction():
            self.store.put_node(replace(node, state=state))

    def tend(self, node: Node) -> None:
        """What an effect does for a node that is given up, or leaves."""
        server = self.servers[node.name]
        if node.state is NodeState.RESCUING:
            if not self.custody.rescue(node, "it is given up"):
                self.become(node, NodeState.LEAVING)
        elif node.state is NodeState.LEAVING:
            try:
                self.custody.finish(node, server.runs)
            except Incomplete:
                server.runs = True
                return
            with self.store.transaction():
                self.store.retire_node(node, "it left")
            del self.servers[node.name]

    # The controller at work

    def work(self, *parts: Callable[[], None], crash_at: int = 0) -> None:
        """With a crash at the n-th write; 0 for none."""
        FragileStore.writes_left = crash_at
        try:
            for part in parts:
                part()
        except Crash:
            self.begin()
        FragileStore.writes_left = 0

    def look(self) -> None:
        for node in self.nodes():
            self.collect(node)

    def act(self) -> None:
        for node in self.nodes():
            self.tend(node)

    def move(self) -> None:
        self.custody.mover._pauses.clear()
        self.custody.mover.advance()

    def collect(self, node: Node) -> None:
        server = self.servers[node.name]
        if server.runs and node.state not in (NodeState.RESCUING, NodeState.LEAVING):
            self.custody.collector._write(self.store, node, server.seen(), server.told())
        sights = {
            one.name: NodeSight(one, reading=reading(one.name)) for one in self.nodes() if self.servers[one.name].runs
        }
        self.custody.collector.offer(sights.values())

    # People

    def accept(self, server: Server, hold: bool) -> None:
        uuid = f"urn:uuid:{len(self.accepted)}"
        self.accepted.append(uuid)
        server.take(uuid, "alice", INDEFINITE if hold else "")
        if hold:
            self.held.add(uuid)

    def asked(self, uuid: str) -> Kept | None:
        """The job that its owner's request reaches, as the proxies lead it."""
        job = JobTable(self.store).by_uuid(uuid)
        number = MoveTable(self.store).now(job.id) if job else 0
        server = next((one for one in self.servers.values() if one.slot == slot_of(number)), None)
        return server.jobs.get(number) if server and server.runs else None

    def cancel(self, uuid: str) -> None:
        kept = self.asked(uuid)
        if kept and kept.state in (PENDING, HELD, STOPPED):
            kept.state = CANCELED
            self.cancelled.add(uuid)

    def hold(self, uuid: str) -> None:
        """At the desk, where that waits for a move to end: a job that is moved is held already, so that its server
        could not tell who wants it held."""
        kept = self.asked(uuid)
        if kept and kept.state in (PENDING, HELD, STOPPED) and not MoveTable(self.store).open_of(uuid):
            kept.state, kept.hold = HELD, INDEFINITE
            self.held.add(uuid)

    def release(self, uuid: str) -> None:
        kept = self.asked(uuid)
        if kept and kept.state == HELD:
            kept.state, kept.hold = PENDING, ""
            self.held.discard(uuid)

    def print_on(self, server: Server, whole: bool = True, filters_fail: bool = False) -> None:
        """Jobs that may print begin to, and come to their end, or are stopped."""
        for job in server.jobs.values() if server.runs else ():
            if job.state == PENDING:
                job.state = PROCESSING
            if job.state == PROCESSING and filters_fail:
                job.state = STOPPED
                self.held.add(job.uuid)
            elif job.state == PROCESSING and whole:
                job.state = COMPLETED
                self.printed[job.uuid] += 1

    def lose_spool(self, node: Node) -> None:
        """A server dies and comes back with an empty disk. What is lost by that, nobody can help: jobs of which there
        is no copy that was known to be whole, or of whose copy the old one is not there any more."""
        server, moves = self.servers[node.name], MoveTable(self.store)
        for job in server.jobs.values():
            found = [other for other in moves.open_of(job.uuid) if other.phase in SAFE[other.source == node.name]]
            names = {name for move in found for name in (move.source, move.target)} - {node.name}
            others = [other for name in names if name in self.servers for other in self.servers[name].jobs.values()]
            if job.open and not any(other.uuid == job.uuid and other.open for other in others):
                self.lost.add(job.uuid)
        server.jobs.clear()
        server.runs = True
        with self.store.transaction():
            self.store.put_node(replace(node, lives=node.lives + 1))

    def die(self, server: Server) -> None:
        """What prints begins anew when it comes back."""
        server.runs = False
        for job in server.jobs.values():
            job.state = PENDING if job.state == PROCESSING else job.state
