"""Jobs that are moved between real servers: nothing is lost, nothing printed twice, whoever dies in between."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pyipp.enums import IppOperation

from controller.jobs import remote
from controller.jobs.collect import Collector, Incomplete
from controller.jobs.custody import Custody
from controller.jobs.journey import Journey
from controller.jobs.moves import MoveTable
from controller.jobs.spool import Spool
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
from tests.contract.test_driver import free_port
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
        """As when a node is removed, and another takes its slot: nothing of its folder is left."""
        node = self.nodes[name]
        node.driver.stop(node.spec)
        node.spec = replace(node.spec, next_id=node.driver.highest_id(node.spec) + 1)
        node.driver.remove(node.spec)
        node.start()
        node.declare(Queue("office", self.printer.device))
        self.set_state(name, NodeState.READY)

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


def test_everything_comes_along(clean: Pair, tmp_path: Path) -> None:
    """Two documents, a title, options, an owner, a hold."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("first document\n")
    second.write_bytes(gzip.compress(b"second document\n"))
    source = clean.nodes["node-3"]
    options = {"copies": 2, "job-priority": 77, "sides": "two-sided-long-edge", "job-hold-until": "indefinite"}
    job = source.ask("alice", IppOperation.CREATE_JOB, options, job_name="Räte & <Tafeln>")["jobs"][0]["job-id"]
    for place, path in enumerate((first, second)):
        packed = {"compression": "gzip"} if place else {}
        request = ipp.Request(
            IppOperation.SEND_DOCUMENT,
            {"job-id": job, "document-format": "text/plain", "last-document": bool(place), **packed},
            "office",
            path.read_bytes(),
        )
        ipp.question(ipp.Server(source.spec.host, source.spec.port, "alice"), request, DEADLINE)
    custody = clean.custody()
    custody.collector.collect()
    assert custody.evacuate(clean.record("node-3"), "a test") == 1
    advance(custody, lambda: not clean.open_moves())
    (row,) = (one for one in clean.table() if one.open)
    assert (row.node, row.owner, row.title) == ("node-4", "alice", "Räte & <Tafeln>")
    with Store(clean.database) as store:
        assert MoveTable(store).now(job) == row.id
    target = clean.nodes["node-4"]
    wanted = [*options, "job-name", "job-uuid", "job-originating-user-name", "number-of-documents", "job-sheets"]
    asked: dict[str, Any] = {"job_id": row.id, "requested_attributes": wanted}
    said = target.ask(target.driver.token(target.spec).user, IppOperation.GET_JOB_ATTRIBUTES, **asked)["jobs"][0]
    assert {name: said[name] for name in options} == options
    assert (said["job-uuid"], said["number-of-documents"]) == (row.uuid, 2)
    old = clean.standing("node-3", job)
    assert old is not None
    assert old.state == "canceled"
    target.ask("alice", IppOperation.RELEASE_JOB, job_id=row.id)
    eventually(lambda: not target.jobs())
    # Copies of a raw document, and all documents of a job, are sent over one connection.
    assert clean.texts() == ["first document\n" * 2 + "second document\n" * 2]


@pytest.mark.parametrize("life", range(1, 15))
def test_a_crash_between_any_two_steps_neither_loses_nor_doubles(clean: Pair, life: int) -> None:
    text = f"document {life} {os.urandom(4).hex()}\n"
    clean.nodes["node-3"].lp("alice", "-t", f"title {life}", text=text)
    custody = clean.custody()
    custody.collector.collect()
    custody.evacuate(clean.record("node-3"), "a test")
    Mortal.life = life
    try:
        advance(custody, lambda: not clean.open_moves())
        died = False
    except Crash:
        died = True
    Mortal.life = 10_000
    assert died == (life <= 12)
    after = clean.custody()
    advance(after, lambda: not clean.open_moves())
    eventually(lambda: text in clean.texts())
    eventually(lambda: not clean.nodes["node-4"].jobs())
    assert clean.nodes["node-3"].jobs() == {}
    assert clean.texts() == [text]
    clean.look(after.collector)
    after.collector.collect()
    (row,) = (one for one in clean.table() if one.title == f"title {life}")
    assert (row.node, row.owner, row.state) == ("node-4", "alice", "completed")


@pytest.mark.parametrize("life", range(1, 18, 2))
def test_the_spool_of_a_node_that_is_given_up_is_rescued_once(clean: Pair, life: int) -> None:
    """Killed with a waiting and a held job, of which the controller has not heard yet; it dies in the middle too."""
    source = clean.nodes["node-3"]
    mark = os.urandom(4).hex()
    source.lp("bob", "-t", f"waits {mark}", text=f"waits {mark}\n")
    source.lp("carol", "-t", f"held {mark}", "-H", "indefinite", text=f"held {mark}\n")
    source.kill()
    source.driver.stop(source.spec)
    clean.set_state("node-3", NodeState.RESCUING)
    Mortal.life = life
    for _ in range(3):
        custody = clean.custody()
        try:
            advance(custody, lambda made=custody: not made.rescue(clean.record("node-3"), "a test"))  # type: ignore[misc]
        except Crash:
            Mortal.life = 10_000
    assert not [one for one in clean.table() if one.open and one.node == "node-3"]
    eventually(lambda: f"waits {mark}\n" in clean.texts())
    eventually(lambda: len(clean.nodes["node-4"].jobs()) == 1)
    (held,) = clean.nodes["node-4"].jobs().values()
    assert (held.owner, held.state) == ("carol", 4)
    clean.nodes["node-4"].ask("carol", IppOperation.RELEASE_JOB, job_id=held.id)
    eventually(lambda: len(clean.texts()) == 2)
    eventually(lambda: not clean.nodes["node-4"].jobs())
    assert sorted(clean.texts()) == sorted([f"waits {mark}\n", f"held {mark}\n"])
    assert Spool(source.spec.folder).jobs("node-3")[1] == []
    clean.set_state("node-3", NodeState.READY)
    source.start()
    assert source.jobs() == {}  # even if somebody starts it again
    assert sorted(clean.texts()) == sorted([f"waits {mark}\n", f"held {mark}\n"])


PHASES = {
    4: "copying",
    5: "copying, the copy stands",
    6: "copied",
    8: "ending",
    9: "ending, the old job is no more",
    10: "ended",
}
"""How far a move has come when its controller dies at the n-th moment."""


def moves_in_every_phase(pair: Pair) -> list[str]:
    """A waiting job on node-3 for each phase of a move to node-4; the documents."""
    mark, custody = os.urandom(4).hex(), pair.custody()
    for life, phase in PHASES.items():
        pair.nodes["node-3"].lp("alice", text=f"{phase} {mark}\n")
        pair.look(custody.collector)
        custody.collector.collect()
        custody.evacuate(pair.record("node-3"), "a test")
        with Mortal(pair.database) as store:
            move = MoveTable(store).open()[-1]
            Mortal.life = life
            with pytest.raises(Crash):
                Journey(custody.mover, store, {node.name: node for node in store.nodes()}, move).go()
            Mortal.life = 10_000
            assert phase.startswith(MoveTable(store).open()[-1].phase)
    return [f"{phase} {mark}\n" for phase in PHASES.values()]


def let_go(pair: Pair, gone: Callable[[Custody], bool]) -> None:
    """Until node-4 may be removed, which is asked before any move goes on; with its folder go the copies in there."""
    custody = pair.custody()

    def may_be_removed() -> bool:
        if gone(custody):
            return True
        custody.mover.advance()
        return False

    eventually(may_be_removed, 30)
    assert not [one for one in pair.table() if one.open and one.node == "node-4"]
    pair.replace("node-4")
    pair.set_state("node-3", NodeState.READY)


def all_print_once(pair: Pair, texts: list[str]) -> None:
    custody = pair.custody()

    def printed() -> bool:
        pair.look(custody.collector)
        custody.collector.collect()
        custody.evacuate(pair.record("node-3"), "a test")
        custody.mover.advance()
        return not pair.open_moves() and not pair.nodes["node-3"].jobs() and len(pair.texts()) >= len(texts)

    eventually(printed, 30)
    eventually(lambda: not pair.nodes["node-4"].jobs())
    assert sorted(pair.texts()) == sorted(texts)


def test_no_job_goes_with_the_node_that_it_is_moved_to_when_that_is_given_up(clean: Pair) -> None:
    texts = moves_in_every_phase(clean)
    target = clean.nodes["node-4"]
    target.kill()
    target.driver.stop(target.spec)
    clean.set_state("node-4", NodeState.RESCUING)
    let_go(clean, lambda custody: not custody.rescue(clean.record("node-4"), "a test"))
    all_print_once(clean, texts)


def test_no_job_goes_with_the_node_that_it_is_moved_to_when_that_leaves(clean: Pair) -> None:
    texts = moves_in_every_phase(clean)
    clean.set_state("node-4", NodeState.LEAVING)

    def gone(custody: Custody) -> bool:
        try:
            custody.finish(clean.record("node-4"), runs=True)
        except Incomplete:
            return False
        return True

    let_go(clean, gone)
    all_print_once(clean, texts)


def test_a_job_that_its_server_does_not_know_any_more_was_purged_or_is_out_of_sight(clean: Pair) -> None:
    source = clean.nodes["node-3"]
    watched = clean.custody().collector
    for collector, state, why in (
        (watched, "canceled", "it was purged from node-3, which runs on and knew it a moment ago"),
        (clean.custody().collector, "lost", "node-3 runs on and does not know it any more"),
    ):
        job = source.lp("alice", text="gone\n")
        clean.look(watched)
        watched.collect()
        source.ask("alice", IppOperation.CANCEL_JOB, job_id=job, purge_job=True)
        clean.look(collector)
        collector.collect()
        (row,) = (one for one in clean.table() if one.id == job)
        assert (row.state, row.why[: len(why)]) == (state, why)
        assert any(str(job) in problem for problem in collector.problems()) == (state == "lost")


def test_a_job_that_its_owner_cancels_meanwhile_stays_cancelled(clean: Pair) -> None:
    source = clean.nodes["node-3"]
    job = source.lp("alice", text="not wanted any more\n")
    custody = clean.custody()
    custody.collector.collect()
    custody.evacuate(clean.record("node-3"), "a test")
    source.ask("alice", IppOperation.CANCEL_JOB, job_id=job)
    advance(custody, lambda: not clean.open_moves())
    assert clean.nodes["node-4"].jobs() == {}
    assert clean.texts() == []


def test_a_job_that_was_cancelled_before_its_server_died_is_not_rescued(clean: Pair) -> None:
    """It was to be moved already, and its end is not known yet."""
    source = clean.nodes["node-3"]
    job = source.lp("alice", text="not wanted any more\n")
    custody = clean.custody()
    custody.collector.collect()
    custody.evacuate(clean.record("node-3"), "a test")
    source.ask("alice", IppOperation.CANCEL_JOB, job_id=job)
    source.kill()
    source.driver.stop(source.spec)
    clean.set_state("node-3", NodeState.RESCUING)
    advance(custody, lambda: not custody.rescue(clean.record("node-3"), "a test"))
    clean.set_state("node-3", NodeState.READY)
    source.start()
    assert clean.open_moves() == 0
    assert [one.state for one in clean.table() if one.id == job] == ["canceled"]
    assert clean.texts() == []


def test_a_job_that_its_owner_cancels_at_the_last_moment_is_not_printed(
    clean: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look at it and its end by the mover, when the copy stands already."""
    source = clean.nodes["node-3"]
    job = source.lp("alice", text="not wanted any more\n")
    custody = clean.custody()
    custody.collector.collect()
    custody.evacuate(clean.record("node-3"), "a test")
    end = remote.end

    def overtaken(server: ipp.Server, number: int, purge: bool = False) -> None:
        if number == job:
            source.ask("alice", IppOperation.CANCEL_JOB, job_id=job)
        end(server, number, purge)

    monkeypatch.setattr(remote, "end", overtaken)
    advance(custody, lambda: not clean.open_moves())
    assert clean.nodes["node-4"].jobs() == {}
    assert clean.texts() == []
    clean.look(custody.collector)
    custody.collector.collect()
    assert [one.state for one in clean.table() if one.id == job] == ["canceled"]


def test_the_old_job_is_ended_when_the_proxies_lead_on_to_the_copy(clean: Pair) -> None:
    source = clean.nodes["node-3"]
    job = source.lp("alice", text="led on\n")
    custody = clean.custody()
    custody.collector.collect()
    custody.evacuate(clean.record("node-3"), "a test")
    asked: list[int] = []

    def leads_on(slot: int) -> bool:
        asked.append(slot)
        return len(asked) > 2

    custody.mover.leads_on = leads_on
    advance(custody, lambda: bool(asked))
    assert asked == [3]
    old = clean.standing("node-3", job)
    assert old is not None
    assert old.state == "held"
    assert custody.problems() == []
    advance(custody, lambda: not clean.open_moves())
    eventually(lambda: clean.texts() == ["led on\n"])
    assert asked == [3, 3, 3]


def test_a_controller_that_stops_leaves_its_moves_to_the_next(clean: Pair) -> None:
    source = clean.nodes["node-3"]
    for number in range(3):
        source.lp("alice", text=f"number {number}\n")
    custody = clean.custody()
    custody.collector.collect()
    assert custody.evacuate(clean.record("node-3"), "a test") == 3
    begun: list[int] = []
    custody.mover.between = lambda: begun.append(1) if len(begun) < 1 else custody.mover.stop()
    custody.mover.advance()
    assert clean.open_moves() == 2
    custody.mover.advance()
    assert clean.open_moves() == 2
    advance(clean.custody(), lambda: not clean.open_moves())
    eventually(lambda: sorted(clean.texts()) == [f"number {number}\n" for number in range(3)])


def test_without_another_node_a_job_stays_as_it_is(clean: Pair) -> None:
    job = clean.nodes["node-3"].lp("alice", text="stays\n")
    custody = clean.custody()
    custody.collector.collect()
    clean.set_state("node-4", NodeState.DRAINING)
    try:
        custody.evacuate(clean.record("node-3"), "a test")
        custody.mover.advance()
        custody.mover.advance()
        assert custody.problems() == [
            f"job {job} of alice is not moved from node-3 yet: no other server takes jobs of office"
        ]
        assert clean.nodes["node-3"].jobs()[job].state == 3
    finally:
        clean.set_state("node-4", NodeState.READY)
    advance(custody, lambda: not clean.open_moves())
    eventually(lambda: clean.texts() == ["stays\n"])


def test_a_job_that_was_released_at_the_last_moment_prints_once(clean: Pair) -> None:
    """The controller dies when the copy stands and the old one is to be ended."""
    source = clean.nodes["node-3"]
    job = source.lp("alice", text="once\n")
    custody = clean.custody()
    custody.collector.collect()
    custody.evacuate(clean.record("node-3"), "a test")
    for life in range(1, 40):
        Mortal.life = life
        with contextlib.suppress(Crash):
            clean.custody().mover.advance()
        Mortal.life = 10_000
        with Store(clean.database) as store:
            moves = MoveTable(store)
            if [move.phase for move in moves.open()] == ["ending"]:
                assert moves.now(job) != job  # so that what people ask of it reaches the copy
                break
    spec = source.spec
    call(spec.host, spec.port, source.driver.token(spec), [Call("enablePrinter", ("office",))], DEADLINE)
    source.ask("alice", IppOperation.RELEASE_JOB, job_id=job)
    eventually(lambda: clean.texts() == ["once\n"])
    eventually(lambda: not source.jobs())
    advance(clean.custody(), lambda: not clean.open_moves())
    eventually(lambda: not clean.nodes["node-4"].jobs())
    assert clean.texts() == ["once\n"]
