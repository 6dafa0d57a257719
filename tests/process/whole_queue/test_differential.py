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
SEEDS, STEPS, LOOKS = (7, 11, 13), 8, 9
"""So many steps by each seed, and so many questions after each step."""
SUBSCRIPTION = b"\x06" + attribute(0x44, "notify-pull-method", "ippget") + keyword("notify-events", "job-completed")
PROCESSING, CANCELED, COMPLETED = 5, 7, 9
SENT = b"cups-waiting-for-job-completed"
WHICH = (
    "not-completed", "pending", "pending-held", "processing", "processing-stopped", "completed", "canceled", "aborted",
    "all", "odd",
)  # fmt: skip
TOLD = (b"printer-name", b"printer-state", b"queued-job-count")
"""What a queue says that is true of the fleet; its reasons come and go while a job is sent."""
NEWS = (b"notify-subscribed-event", b"notify-job-id", b"job-name", b"job-state", b"job-state-reasons")
"""What is looked at of an event."""
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
    operator: str
    """Who may do there what administrators may at the door."""

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
        yield Single(spec, connection, driver.token(spec).user)
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
    followed: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Subscriptions to jobs, by job."""
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
        return self._both(operation, user, named, attributes, (groups, groups))

    def _both(
        self,
        operation: int,
        user: str,
        named: Sequence[Sequence[bytes]],
        attributes: Sequence[bytes],
        groups: tuple[bytes, bytes] = (b"", b""),
        document: bytes = b"",
    ) -> list[bytes]:
        """named: by which attributes each server knows the jobs that are meant; groups: what follows for each."""
        answers = []
        for server, jobs, more in zip(self.servers, named, groups, strict=True):
            named_user = self.single.operator if user == "admin" and server is self.single else user
            who = ippwire.user(named_user)
            body = ippwire.request(operation, ippwire.printer(), *jobs, who, *attributes, groups=more)
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
        answers = self._both(operation, user, ([], []), [name], (groups, groups), document)
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
        eventually(lambda: self._sent(job))
        for _ in range(3):
            self.rng.choice([self.look, self.look_at_one, self.look_at_named, self.count])()
        cancelled = self.rng.random() < 0.4
        if cancelled:
            self.about(0x0008, self.owner[job], job)
        for printer in self.printers:
            printer.going.set()
        self._reaches(job, CANCELED if cancelled else COMPLETED)
        self.ended[job] = self.step

    def _sent(self, job: int) -> bool:
        """Whether both printers have the document, which their backends say some time after the job's state."""
        answers = self.about(0x0009, self.owner[job], job)
        return all(SENT in ippwire.values(answer, "job-printer-state-reasons") for answer in answers)

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

    def cancel_anybodys(self) -> None:
        """Named ones, whoever's they are, by an administrator; people may not."""
        self.tick()
        open_ones = [job for job in range(len(self.ids)) if job not in self.ended]
        if named := self.rng.sample(open_ones, min(2, len(open_ones))):
            (answer, _) = self.ask(0x0038, self.rng.choice(["admin", "admin", *PEOPLE]), named)
            if answer and ippwire.status(answer) == 0:
                self.ended |= dict.fromkeys(named, self.step)

    def hold(self) -> None:
        self.tick()
        until = attribute(0x44, "job-hold-until", self.rng.choice(["indefinite", "indefinite", "nonsense"]))
        self.about(0x000C, self.rng.choice(PEOPLE), self.rng.randrange(len(self.ids)), until)

    def follow(self) -> None:
        """A subscription of its owner to a job."""
        if waiting := [job for job in range(len(self.ids)) if job not in {*self.ended, *self.followed}]:
            self.tick()
            job = self.rng.choice(waiting)
            one, other = (SUBSCRIPTION + integers("notify-job-id", number) for number in self.ids[job])
            answers = self._both(0x0016, self.owner[job], ([], []), (), (one, other))
            made, there = (ippwire.integers(answer, "notify-subscription-id")[0] for answer in answers)
            self.followed[job] = made, there

    def rename(self) -> None:
        self.tick()
        user, job = self.rng.choice(PEOPLE), self.rng.randrange(len(self.ids))
        self.about(0x0014, user, job, groups=b"\x02" + attribute(0x42, "job-name", f"renamed in {self.step}"))

    # What only asks

    def look(self) -> None:
        user, which = self.rng.choice(PEOPLE), self.rng.choice(WHICH)
        attributes = [keyword("which-jobs", which)] if self.rng.random() < 0.9 else []
        which = which if attributes else "not-completed"
        limit, first, mine = self._part(which)
        attributes += [attribute(0x21, "limit", limit)] if limit else []
        attributes += [attribute(0x21, "first-index", first)] if first > 1 else []
        attributes += [attribute(0x22, "my-jobs", mine)] if mine else []
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
        assert keys[0] == keys[1], (which, limit, first, wanted)
        if not limit and first == 1:
            assert sorted(shown[0]) == sorted(shown[1]), (which, wanted)

    def _part(self, which: str) -> tuple[int, int, bytes]:
        """limit, first-index and my-jobs. For first-index cupsd counts jobs before it looks whose they are and which it
        wants; the fleet counts those that are meant (PWG 5100.11)."""
        limit, mine = self.rng.choice([0, 0, 1, 3, 5]), self.rng.choice([b"", b"", b"\0", b"\1"])
        all_of_them = which in ("not-completed", "completed", "all") and mine != b"\1"
        return limit, self.rng.choice([1, 2, 4]) if all_of_them else 1, mine

    def look_without_ids(self) -> None:
        """What the list is ordered by is not in it."""
        wanted = self.rng.choice([["job-name"], ["job-state", "job-state-reasons"], ["job-priority", "job-name"]])
        which = keyword("which-jobs", self.rng.choice(["not-completed", "pending-held"]))
        answers = self.ask(0x000A, self.rng.choice(PEOPLE), [], which, keyword("requested-attributes", *wanted))
        one, other = ([group.raw for group in wire.split(answer).of(wire.JOB)] for answer in answers)
        assert one == other, wanted

    def turn_pages(self) -> None:
        """Ids of a fleet's jobs do not grow with the time, so that pages differ; but all of them have all jobs. Of open
        jobs a single cupsd misses some, for it lists them by priority."""
        user, size = self.rng.choice(PEOPLE), self.rng.choice([1, 2, 4])
        which = keyword("which-jobs", "all")
        met: list[list[int]] = []
        for side, server in enumerate(self.servers):
            ids: list[int] = []
            page = [0] * size
            while len(page) == size:
                first = [integers("first-job-id", max(ids, default=0) + 1), integers("limit", size)]
                body = ippwire.request(0x000A, ippwire.printer(), ippwire.user(user), which, *first)
                page = ippwire.integers(server.ipp(body, user)[1], "job-id")
                ids += page
            assert ids == sorted(set(ids))
            met.append(sorted(next(n for n, known in enumerate(self.ids) if known[side] == one) for one in ids))
        assert met[0] == met[1]

    def look_at_events(self) -> None:
        """Of the job only: a subscription to one gets what happens to others of its queue too, as far as its server has
        them."""
        if self.followed:
            job = self.rng.choice(sorted(self.followed))
            named = [[integers("notify-subscription-ids", one)] for one in self.followed[job]]
            answers = self._both(0x001C, self.rng.choice([self.owner[job], *PEOPLE]), named, ())
            if all(answers):
                one, other = (self.events_of(job, side, answer) for side, answer in enumerate(answers))
                assert one == other

    def events_of(self, job: int, side: int, answer: bytes) -> list[Told]:
        events = [wire.attributes(group.raw) for group in wire.split(answer).of(wire.EVENT)]
        about = [{one.name: one.values for one in event if one.name in NEWS} for event in events]
        return [
            sorted(event.items())
            for event in about
            if int.from_bytes(event.pop(b"notify-job-id")[0][1], "big") == self.ids[job][side]
        ]

    def look_at_subscriptions(self) -> None:
        user, mine = self.rng.choice(PEOPLE), attribute(0x22, "my-subscriptions", self.rng.choice([b"\0", b"\1"]))
        wanted = keyword("requested-attributes", "notify-events", "notify-subscriber-user-name", "notify-pull-method")
        one, other = (
            sorted(group.raw for group in wire.split(answer).of(wire.SUBSCRIPTION)) if answer else []
            for answer in self.ask(0x0019, user, [], mine, wanted)
        )
        assert one == other

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
def test_random_operations_get_the_same_answers(
    single: Single, fleet_of_five: Fleet, printers: tuple[Printer, Printer]
) -> None:
    both = Both(single, fleet_of_five, printers, random.Random(0))
    for _ in range(6):
        both.create()
    changes = (
        *(both.create, both.cancel, both.cancel_mine, both.cancel_anybodys, both.hold, both.rename, both.follow),
        *(both.print_one, both.print_one, both.release, both.release),
    )
    looks = (
        *(both.look, both.look, both.look, both.look_without_ids, both.turn_pages, both.look_at_named),
        *(both.look_at_one, both.count, both.look_at_events, both.look_at_subscriptions),
    )
    for seed in SEEDS:  # on what the one before has left
        both.rng = random.Random(seed)
        both.follow()
        for _ in range(STEPS):
            both.rng.choice(changes)()
            for _ in range(LOOKS):
                both.rng.choice(looks)()
    assert {*both.followed} & {*both.ended}
