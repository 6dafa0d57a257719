"""The same operations against one cupsd and against a fleet of five: the same answers, ids and times aside."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import pytest

from controller.nodes.driver import NodeSpec
from controller.nodes.process import ProcessDriver
from controller.nodes.queues import Queue, declare
from controller.whole_queue.request import PRIVATE
from probes import wire
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute
from tests.process.fleet import Fleet, eventually, free_port
from tests.process.whole_queue.asking import HELD, PEOPLE, five_nodes, integers, keyword

DIFFERS = (
    *(b"job-id job-uri job-uuid job-more-info job-printer-uri job-printer-up-time".split()),
    *(b"job-originating-host-name attributes-natural-language cupsfleet".split()),
    *(b"job-impressions-completed job-media-sheets-completed job-printer-state-message".split()),
)
"""What says which server it was, beside ids and times; and what the fleet's backend says of pages and progress."""
PROCESSING, CANCELED, COMPLETED = 5, 7, 9
WHICH = (
    "not-completed", "pending", "pending-held", "processing", "processing-stopped", "completed", "canceled", "aborted",
    "all", "odd",
)  # fmt: skip
TOLD = (b"printer-name", b"printer-state", b"queued-job-count")
"""What a queue says that is true of the fleet; its reasons come and go while a job is sent."""
NAMED = tuple(name.decode() for name in TOLD)
WANTED = ("job-id", "job-name", "job-state", "job-state-reasons", "job-priority", "job-originating-user-name")


class Server(Protocol):
    """What both are asked by."""

    def ipp(self, request: bytes, user: str) -> tuple[int, bytes]: ...


Told: TypeAlias = list[tuple[bytes, list[tuple[int, bytes]]]]
"""Attributes by name, with type and bytes of each value."""


@dataclass
class Printer:
    """Takes each document to its end; while it pauses, nothing that it got is done. One for each server, since a fleet
    prints side by side what one server prints in turn."""

    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    going: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.going.set()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def device(self) -> str:
        return f"socket://127.0.0.1:{self.listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            while connection.recv(65536):
                pass
            self.going.wait()

    def close(self) -> None:
        self.going.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@dataclass
class Single:
    """One cupsd of the same settings, asked directly."""

    spec: NodeSpec
    connection: http.client.HTTPConnection

    def ipp(self, request: bytes, user: str) -> tuple[int, bytes]:
        """user: only to be called as a fleet is; the request has to say who asks."""
        self.connection.request("POST", "/", request, {"Content-Type": "application/ipp", "Host": "localhost"})
        answer = self.connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def printers() -> Iterator[tuple[Printer, Printer]]:
    with closing(Printer()) as one, closing(Printer()) as other:
        yield one, other


@pytest.fixture
def single(tmp_path: Path, printers: tuple[Printer, Printer]) -> Iterator[Single]:
    driver = ProcessDriver()
    spec = NodeSpec("single", 90, 90_000_001, "127.0.0.1", free_port(), tmp_path / "single")
    driver.start(spec)
    connection = http.client.HTTPConnection("127.0.0.1", spec.port, timeout=15)
    try:
        declare(spec.host, spec.port, driver.token(spec), [Queue("office", printers[0].device)], 30)
        yield Single(spec, connection)
    finally:
        connection.close()
        driver.remove(spec)


@pytest.fixture
def fleet_of_five(printers: tuple[Printer, Printer]) -> Iterator[Fleet]:
    with five_nodes({"CUPSFLEET_PRINTERS": json.dumps([{"name": "office", "device": printers[1].device}])}) as fleet:
        yield fleet


@dataclass
class Both:
    """Jobs are known by the number of their making; `made`, `ended` say in which step that was."""

    single: Single
    fleet: Fleet
    printers: tuple[Printer, Printer]
    rng: random.Random
    ids: list[tuple[int, int]] = field(default_factory=list)
    owner: list[str] = field(default_factory=list)
    priority: list[int] = field(default_factory=list)
    printable: set[int] = field(default_factory=set)
    """Held jobs that have a document."""
    ended: dict[int, int] = field(default_factory=dict)
    step: int = 0

    def tick(self) -> None:
        """CUPS tells times in seconds: what happens in two steps happens in two of them."""
        self.step += 1
        time.sleep(1.05 - time.time() % 1)

    @property
    def servers(self) -> tuple[Server, Server]:
        return self.single, self.fleet

    def ask(self, operation: int, user: str, jobs: list[int], *attributes: bytes) -> list[bytes]:
        """The answer of each server; b"" when it refused in HTTP. jobs: named as job-ids where there are any."""
        named = [[integers("job-ids", *(self.ids[job][side] for job in jobs))] if jobs else [] for side in (0, 1)]
        return self._both(operation, user, named, attributes)

    def about(self, operation: int, user: str, job: int, *attributes: bytes, groups: bytes = b"") -> list[bytes]:
        """As `ask`, about one job."""
        named = [[integers("job-id", self.ids[job][side])] for side in (0, 1)]
        return self._both(operation, user, named, attributes, groups)

    def _both(
        self,
        operation: int,
        user: str,
        named: Sequence[Sequence[bytes]],
        attributes: Sequence[bytes],
        groups: bytes = b"",
        document: bytes = b"",
    ) -> list[bytes]:
        """named: by which attributes each server knows the jobs that are meant."""
        answers = []
        for server, jobs in zip(self.servers, named, strict=True):
            body = ippwire.request(operation, ippwire.printer(), *jobs, ippwire.user(user), *attributes, groups=groups)
            code, answer = server.ipp(body + document, user)
            answers.append(answer if code == 200 else b"")
        assert [bool(answer) for answer in answers] in ([True, True], [False, False]), (operation, user, named)
        if answers[0]:
            assert ippwire.status(answers[0]) == ippwire.status(answers[1]), (operation, user, named, attributes)
        return answers

    # What changes something

    def create(self) -> None:
        """A held job, with or without its document."""
        user, priority = self.rng.choice(PEOPLE), self.rng.choice([1, 50, 50, 50, 99])
        held = HELD + attribute(0x21, "job-priority", priority)
        if self.rng.random() < 0.5:
            self.printable.add(self._made(user, priority, 0x0002, held, b"a document"))
        else:
            self._made(user, priority, 0x0005, held)

    def _made(self, user: str, priority: int, operation: int, groups: bytes = b"", document: bytes = b"") -> int:
        self.tick()
        name = attribute(0x42, "job-name", f"job {len(self.ids)} of {user}")
        answers = self._both(operation, user, ([], []), [name], groups, document)
        one, other = (ippwire.integers(answer, "job-id")[0] for answer in answers)
        self.ids.append((one, other))
        self.owner.append(user)
        self.priority.append(priority)
        return len(self.ids) - 1

    def print_one(self) -> None:
        """A job that prints to its end, or is cancelled while it prints, and what is seen of it meanwhile."""
        self._pause()
        user = self.rng.choice(PEOPLE)
        self._printed(self._made(user, 50, 0x0002, document=b"a document"))

    def release(self) -> None:
        """A held job that prints now."""
        if waiting := sorted(self.printable - set(self.ended)):
            self.tick()
            self._pause()
            job = self.rng.choice(waiting)
            self.about(0x000D, self.owner[job], job)
            self._printed(job)

    def _pause(self) -> None:
        for printer in self.printers:
            printer.going.clear()

    def _printed(self, job: int) -> None:
        self._reaches(job, PROCESSING)
        for _ in range(3):
            self.rng.choice([self.look, self.look_at_one, self.look_at_named, self.count])()
        cancelled = self.rng.random() < 0.4
        if cancelled:
            self.about(0x0008, self.owner[job], job)
        for printer in self.printers:
            printer.going.set()
        self._reaches(job, CANCELED if cancelled else COMPLETED)
        self.ended[job] = self.step

    def _reaches(self, job: int, state: int) -> None:
        """Waits until the job is in that state on both."""

        def both() -> bool:
            answers = self.about(0x0009, self.owner[job], job)
            return all(state in ippwire.integers(answer, "job-state") for answer in answers)

        eventually(both)

    def cancel(self) -> None:
        self.tick()
        job = self.rng.randrange(len(self.ids))
        user = self.rng.choice([self.owner[job], *PEOPLE])
        (answer, _) = self.about(0x0008, user, job)
        if answer and ippwire.status(answer) == 0:
            self.ended[job] = self.step

    def cancel_mine(self) -> None:
        self.tick()
        user = self.rng.choice(PEOPLE)
        open_ones = [job for job in range(len(self.ids)) if job not in self.ended]
        own = [job for job in open_ones if self.owner[job] == user]
        named = self.rng.choice([[], own[:2], open_ones[:3]])
        (answer, _) = self.ask(0x0039, user, named)
        if answer and ippwire.status(answer) == 0:
            self.ended |= dict.fromkeys(named or own, self.step)

    def rename(self) -> None:
        self.tick()
        user, job = self.rng.choice(PEOPLE), self.rng.randrange(len(self.ids))
        self.about(0x0014, user, job, groups=b"\x02" + attribute(0x42, "job-name", f"renamed in {self.step}"))

    # What only asks

    def look(self) -> None:
        user, which = self.rng.choice(PEOPLE), self.rng.choice(WHICH)
        attributes = [keyword("which-jobs", which)] if self.rng.random() < 0.9 else []
        which = which if attributes else "not-completed"
        limit = self.rng.choice([0, 0, 1, 3, 5])
        attributes += [attribute(0x21, "limit", limit)] if limit else []
        attributes += [attribute(0x22, "my-jobs", self.rng.choice([b"\0", b"\1"]))] if self.rng.random() < 0.5 else []
        wanted = self.rng.choice([[], ["all"], ["job-id", "job-name"], self.rng.sample(WANTED, 3), ["job-description"]])
        wanted = [*wanted, "job-id"] if wanted and "all" not in wanted else wanted
        attributes += [keyword("requested-attributes", *wanted)] if wanted else []
        one, other = self.ask(0x000A, user, [], *attributes)
        shown = [self.jobs_in(answer, side) for side, answer in enumerate((one, other))]
        keys = [[self.key(which, job) for job, _ in jobs] for jobs in shown]
        # of ended jobs that it has not in memory, cupsd tells names to everybody; the fleet does not
        shown = [[(job, self.visible(user, job, told)) for job, told in jobs] for jobs in shown]
        if "all" in wanted:  # of ended jobs CUPS then tells what it happens to have in memory
            shown = [[(job, [] if job in self.ended else told) for job, told in jobs] for jobs in shown]
        assert keys[0] == keys[1], (which, limit, wanted)
        if not limit:
            assert sorted(shown[0]) == sorted(shown[1]), (which, wanted)

    def look_at_named(self) -> None:
        jobs = self.rng.sample(range(len(self.ids)), min(3, len(self.ids)))
        one, other = self.ask(0x000A, self.rng.choice(PEOPLE), jobs, keyword("requested-attributes", *WANTED))
        assert self.jobs_in(one, 0) == self.jobs_in(other, 1)

    def look_at_one(self) -> None:
        one, other = self.about(0x0009, self.rng.choice(PEOPLE), self.rng.randrange(len(self.ids)))
        assert self.jobs_in(one, 0) == self.jobs_in(other, 1)

    def count(self) -> None:
        """What is said of the queue, asked for by name, by group, or as everything."""
        operation = self.rng.choice([0x000B, 0x4002])
        wanted = self.rng.choice([NAMED, NAMED, ("all",), ("printer-description",), ()])
        attributes = [keyword("requested-attributes", *wanted)] if wanted else []
        told = [
            [[one.values for one in wire.attributes(group.raw) if one.name in TOLD] for group in groups]
            for groups in (
                wire.split(answer).of(wire.PRINTER) for answer in self.ask(operation, "demo", [], *attributes)
            )
        ]
        assert told[0] == told[1]
        assert [len(values) for values in told[0]] == [len(TOLD)]

    def jobs_in(self, answer: bytes, side: int) -> list[tuple[int, Told]]:
        """Each job's number and the attributes that do not differ between servers."""
        found = []
        for group in wire.split(answer, {b"job-id"}).of(wire.JOB):
            job = next(n for n, ids in enumerate(self.ids) if ids[side] == group.number(b"job-id"))
            told = [(one.name, one.values) for one in wire.attributes(group.raw)]
            same = [(name, values) for name, values in told if name not in DIFFERS and b"time" not in name]
            found.append((job, sorted(same)))
        return found

    def visible(self, user: str, job: int, told: Told) -> Told:
        """Without the names in an ended job of somebody else."""
        foreign = job in self.ended and self.owner[job] != user
        return [one for one in told if not foreign or one[0].decode() not in PRIVATE]

    def key(self, which: str, job: int) -> tuple[int, ...]:
        """What a list is ordered by; jobs that one request cancelled are alike."""
        if which in ("completed", "canceled", "aborted"):
            return (self.ended.get(job, 0),)
        return (0 if which in ("all", "processing") else -self.priority[job], job)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [7])
def test_random_operations_get_the_same_answers(
    seed: int, single: Single, fleet_of_five: Fleet, printers: tuple[Printer, Printer]
) -> None:
    both = Both(single, fleet_of_five, printers, random.Random(seed))
    for _ in range(6):
        both.create()
    changes = (
        *(both.create, both.cancel, both.cancel_mine, both.rename),
        *(both.print_one, both.print_one, both.release, both.release),
    )
    looks = (both.look, both.look, both.look, both.look_at_named, both.look_at_one, both.count)
    for _ in range(24):
        both.rng.choice(changes)()
        for _ in range(8):
            both.rng.choice(looks)()
    assert len(both.ended) > 1
