"""Two nodes that print to one printer, between which jobs are moved, and a controller that can die."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller.jobs import remote
from controller.jobs.collect import Collector
from controller.jobs.custody import Custody
from controller.jobs.moves import MoveTable
from controller.jobs.table import Job, JobTable
from controller.nodes.driver import NodeSpec
from controller.nodes.process import SOCKET_BACKEND, Backend, ProcessDriver
from controller.nodes.queues import Queue
from controller.snapshot import Node as Record
from controller.snapshot import NodeSight, NodeState
from controller.store import Store
from probes import ipp
from probes.cups import Call, call
from probes.sweep import Target
from tests.process.fleet import free_port
from tests.process.nodes.conftest import DEADLINE, Node, Printer, eventually


class Crash(BaseException):
    """The controller dies here: nothing that catches exceptions outlives it."""


class Mortal(Store):
    """A database whose user dies right before or right after the n-th transaction."""

    life = 10_000

    @contextmanager
    def transaction(self) -> Iterator[None]:
        Mortal.life -= 1
        if Mortal.life == 0:
            raise Crash
        with super().transaction():
            yield
        Mortal.life -= 1
        if Mortal.life == 0:
            raise Crash


@dataclass
class Pair:
    """Two nodes that print to one printer, and what a controller knows of them."""

    nodes: dict[str, Node]
    printer: Printer
    database: Path

    def custody(self) -> Custody:
        """That of a controller that was just started."""

        def target(record: Record, store: Store) -> Target:
            spec = self.nodes[record.name].spec
            return Target(record.name, spec.host, spec.port, self.nodes[record.name].driver.token(spec).user)

        made = Custody.of(lambda: Mortal(self.database), target, lambda record: self.nodes[record.name].spec.folder)
        self.look(made.collector)
        return made

    def look(self, collector: Collector) -> None:
        with Store(self.database) as store:
            records = store.nodes()
        alive = (record for record in records if record.state is not NodeState.RESCUING)
        collector.offer(NodeSight(record, reading=self.nodes[record.name].reading()) for record in alive)

    def table(self) -> list[Job]:
        with Store(self.database) as store:
            return JobTable(store).search("all")

    def set_state(self, name: str, state: NodeState) -> None:
        with Store(self.database) as store, store.transaction():
            (record,) = (one for one in store.nodes() if one.name == name)
            store.put_node(replace(record, state=state))

    def record(self, name: str) -> Record:
        with Store(self.database) as store:
            return next(one for one in store.nodes() if one.name == name)

    def stop_queue(self, name: str) -> None:
        spec, driver = self.nodes[name].spec, self.nodes[name].driver
        call(spec.host, spec.port, driver.token(spec), [Call("disablePrinter", ("office",))], DEADLINE)

    def replace(self, name: str) -> None:
        """As when its disk is lost, or another node takes its slot: nothing of its folder is left."""
        node = self.nodes[name]
        node.driver.stop(node.spec)
        node.spec = replace(node.spec, next_id=node.driver.highest_id(node.spec) + 1)
        node.driver.remove(node.spec)
        node.start()
        node.declare(Queue("office", self.printer.device))
        with Store(self.database) as store, store.transaction():
            (record,) = (one for one in store.nodes() if one.name == name)
            store.put_node(replace(record, state=NodeState.READY, lives=record.lives + 1))

    def leaving(self, text: str) -> tuple[int, Custody]:
        """A job of alice's that is to be moved from node-3; its id there, and who moves it."""
        job, custody = self.nodes["node-3"].lp("alice", text=text), self.custody()
        custody.collector.collect()
        custody.evacuate(self.record("node-3"), "a test")
        return job, custody

    def open_moves(self) -> int:
        with Store(self.database) as store:
            return len(MoveTable(store).open())

    def texts(self) -> list[str]:
        return [path.read_text() for path in self.printer.printed()]

    def standing(self, name: str, job: int) -> remote.Standing | None:
        spec = self.nodes[name].spec
        return remote.standing(ipp.Server(spec.host, spec.port, self.nodes[name].driver.token(spec).user), job)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    driver = ProcessDriver(backends=[Backend("socket", SOCKET_BACKEND)])
    printer = Printer(folder / "printed")
    nodes = {}
    with Store(folder / "db", create=True) as store:
        for slot in (3, 4):
            spec = NodeSpec(
                f"node-{slot}", slot, slot * 1_000_000 + 1, "127.0.0.1", free_port(), folder / f"nodes/{slot}"
            )
            nodes[spec.name] = Node(driver, spec)
            with store.transaction():
                store.put_node(Record(spec.name, slot, "process", spec.host, spec.port, state=NodeState.READY))
    made = Pair(nodes, printer, folder / "db")
    try:
        printer.start()
        for node in nodes.values():
            node.start()
            node.declare(Queue("office", printer.device))
        made.stop_queue("node-3")
        yield made
    finally:
        for node in nodes.values():
            driver.remove(node.spec)
        printer.stop()


@pytest.fixture
def clean(pair: Pair) -> Iterator[Pair]:
    """The pair without the jobs and documents of other tests; node-3 keeps what it gets, node-4 prints."""
    shutil.rmtree(pair.printer.folder, ignore_errors=True)
    pair.printer.folder.mkdir()
    with Store(pair.database) as store, store.transaction():
        store.execute("delete from jobs where state = 'lost'")
    yield pair
    Mortal.life = 10_000


def advance(custody: Custody, until: Callable[[], bool]) -> None:
    def go() -> bool:
        custody.mover.advance()
        return until()

    eventually(go, 30)
