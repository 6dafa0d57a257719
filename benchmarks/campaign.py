"""A fault campaign: people print through the door while everything breaks, then what they were told is compared with
what came out of the printer, document by document.

    ./cupsfleet test --campaign [--seed N] [--jobs N] [--seconds N] [--nodes N] [--report FILE]

Exit status 1 when a promise is broken: an accepted document that did not come out; one that came out twice although
its node did not die while it was printing; one with a wrong owner; a request that failed although it was not under
way on a node that died, and a door was there; a fleet that is not whole again within a minute.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import sandbox
from benchmarks.faults import Fault, Faults, Site
from benchmarks.kill import MARK
from benchmarks.verdict import Output, Told, Trouble, Verdict, judge
from benchmarks.watch import Watch, address_of, cuts, violent
from controller.jobs.moves import MoveTable
from controller.jobs.table import Job, JobTable
from controller.state import State
from controller.store import Store
from controller.views import Views
from tests.process.edge import ippwire
from tests.process.edge.door import Client
from tests.process.fleet import Fleet, free_port

HELD = 0.05
"""Share of the documents that are held until the end, on whichever nodes that leads them through."""
USERS = ("demo", "alice", "bob", "carol")
PASSWORD = "campaign"
PATIENCE = 60.0
"""Seconds without a new document after which those that are missing are lost; and until the fleet has to be whole."""
SETTINGS = {
    "CUPSFLEET_NODES__MAX": "8",
    "CUPSFLEET_HEALTH__RESTART_BACKOFF_MAX": "5s",
    "CUPSFLEET_HEALTH__MAX_RESTARTS": "4",
    "CUPSFLEET_NODES__DRAIN_DEADLINE": "10s",
    # A fifth of a second for a page: long enough to die while one prints, and for others to wait.
    "CUPSFLEET_VIRTUAL_PRINTER__PAGES_PER_MINUTE": "300",
}


@dataclass
class Person:
    """A client with its own connection, who prints one document after another and remembers what was said."""

    number: int
    user: str
    client: Client
    chance: random.Random
    told: list[Told] = field(default_factory=list)

    def work(self, over: threading.Event, pause: float) -> None:
        while not over.is_set():
            self._print(f"{self.number}-{len(self.told) + 1}")
            over.wait(self.chance.uniform(0.5, 1.5) * pause)

    def _print(self, name: str) -> None:
        document = f"document {name}\n".encode() + self.chance.randbytes(self.chance.randint(50, 2000)).hex().encode()
        title = ippwire.attribute(0x42, "job-name", name)
        told, last = Told(name, self.user, time.monotonic()), self.told[-1] if self.told else None
        told.connected = last.ended if last and last.answered else told.started
        self.told.append(told)
        held = self.chance.random() < HELD
        hold = ippwire.JOB + ippwire.attribute(0x44, "job-hold-until", "indefinite") if held else b""
        try:
            if held or self.chance.random() < 0.8:
                told.take(self.client.send(ippwire.print_job(title, groups=hold, document=document)))
            else:
                told.take(self.client.send(ippwire.request(0x0005, ippwire.printer(), title)))
                if told.job:
                    told.take(self.client.send(_send_document(told.job, document)))
        except Exception as error:
            told.failed(repr(error))


def _send_document(job: int, document: bytes) -> bytes:
    number = ippwire.attribute(0x21, "job-id", job)
    kind = ippwire.attribute(0x49, "document-format", "application/octet-stream")
    last = ippwire.attribute(0x22, "last-document", b"\x01")
    return ippwire.request(0x0006, ippwire.printer(), number, kind, last) + document


@dataclass
class Printed:
    """Reads what the printer put out, each file once."""

    folder: Path
    outputs: list[Output] = field(default_factory=list)
    _read: set[str] = field(default_factory=set)

    def look(self) -> list[Output]:
        for entry in os.scandir(self.folder) if self.folder.is_dir() else ():
            if entry.name not in self._read and not entry.name.startswith("."):
                self._read.add(entry.name)
                if found := MARK.match(Path(entry.path).read_bytes()):
                    status = entry.stat()
                    whole = not entry.name.endswith(".partial")
                    self.outputs.append(Output(found[1].decode(), status.st_mtime, status.st_ctime, whole))
        return self.outputs


@contextmanager
def working(threads: list[threading.Thread], over: threading.Event) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def spoil(broken: Faults, people: list[Person], jobs: int, seconds: float, rate: float) -> list[str]:
    """Begin and end faults until the time is over and enough was printed; then everything is whole again.

    Each kind once in any order, then by their weights. Returns those whose turn did not come: no node could be spared.
    """
    chance, begun = broken.site.chance, time.monotonic()
    kinds = broken.kinds()
    first = chance.sample(list(kinds), len(kinds))
    upcoming = begun + 3
    while (now := time.monotonic()) < begun + seconds or sum(len(person.told) for person in people) < jobs:
        if now > upcoming:
            turn = first.pop(0) if first else None
            fault = broken.begin(turn) if turn else None
            if turn and not fault:
                first.append(turn)
            if fault := fault or broken.begin(chance.choices(list(kinds), list(kinds.values()))[0]):
                say(begun, fault.said())
            upcoming = now + chance.expovariate(rate)
        broken.end_due()
        time.sleep(0.05)
    broken.end_due(all_of_them=True)
    return sorted(set(first) - {fault.kind for fault in broken.done})


def recover(fleet: Fleet, site: Site) -> tuple[float, list[str]]:
    """Seconds until the fleet was whole again, and what was wrong with it when patience was over."""
    begun = time.monotonic()
    while True:
        with Store(fleet.state / "cupsfleet.db") as store:
            status = Views(State(fleet.state), store).status()
        wrong = list(status["problems"])
        ready = sum(node["state"] == "ready" for node in status["nodes"])
        if ready != status["scaling"]["desired"] or ready != len(status["nodes"]):
            states = ", ".join(f"{node['name']} {node['state']}" for node in status["nodes"])
            wrong.append(f"{status['scaling']['desired']} nodes should serve: {states}")
        if not wrong or time.monotonic() - begun > PATIENCE:
            return time.monotonic() - begun, wrong
        time.sleep(0.5)


BLINDING = ("controller killed", "prober blind to all", "prober blind to one", "database locked")
LOOKS = 20.0
"""Seconds after such a fault until a new controller has looked often enough to judge a node unhealthy."""


def unseen(done: list[Fault]) -> list[tuple[float, float]]:
    """From when to when a disk was full, where the controller could not see it for some of the time."""
    full = [fault for fault in done if fault.kind == "disk full"]
    blind = [fault for fault in done if fault.kind in BLINDING]
    return [
        (one.begun, one.ended)
        for one in full
        if any(other.begun < one.ended and other.ended + LOOKS > one.begun for other in blind)
    ]


def release(fleet: Fleet, people: list[Person]) -> None:
    """Release every held job, as its owner, where it is now; one that is just moved, when it has arrived."""
    owners = {person.user: person for person in people}
    left, since = -1, time.monotonic()
    while time.monotonic() < since + PATIENCE:
        with Store(fleet.state / "cupsfleet.db") as store:
            held = [job for job in JobTable(store).search("open") if job.state == "held" and job.size_kb]
            moving = MoveTable(store).open()
        if not held and not moving:
            return
        if len(held) + len(moving) != left:
            left, since = len(held) + len(moving), time.monotonic()
        for job in held:
            number = ippwire.attribute(0x21, "job-id", job.id)
            with suppress(OSError):
                owners[job.owner].client.send(ippwire.request(0x000D, ippwire.printer(), number))
        time.sleep(2)


def settle(printed: Printed, expected: set[str]) -> None:
    """Until every accepted document is there, or nothing came out for PATIENCE seconds."""
    count, since = 0, time.monotonic()
    while expected - {output.name for output in printed.look() if output.whole}:
        if len(printed.outputs) != count:
            count, since = len(printed.outputs), time.monotonic()
        if time.monotonic() - since > PATIENCE:
            return
        time.sleep(0.5)


def known_jobs(fleet: Fleet, expected: set[str]) -> list[Job]:
    """The table of jobs, once none of these documents is open there any more."""
    until = time.monotonic() + PATIENCE
    while True:
        with Store(fleet.state / "cupsfleet.db") as store:
            jobs = JobTable(store).search("all")
        if expected <= {job.title for job in jobs if not job.open} or time.monotonic() > until:
            return jobs
        time.sleep(0.5)


def charges(fleet: Fleet) -> Counter[str]:
    """How often each document was charged, once no ended job waits for that."""
    until = time.monotonic() + PATIENCE
    while True:
        with Store(fleet.state / "cupsfleet.db") as store:
            waiting = store.rows("select count(*) as count from uncharged")[0]["count"]
            rows = store.rows("select title, count(*) as count from ledger where kind = 'job' group by title")
        if not waiting or time.monotonic() > until:
            return Counter({row["title"]: row["count"] for row in rows})
        time.sleep(0.5)


def slots(fleet: Fleet) -> dict[str, int]:
    """Of every node that ever was."""
    with Store(fleet.state / "cupsfleet.db") as store:
        return {row["name"]: row["slot"] for row in store.rows("select name, slot from nodes")}


def tried(fleet: Fleet) -> dict[str, set[str]]:
    """The nodes that began to print each document, by their journals."""
    found: dict[str, set[str]] = {}
    with Store(fleet.state / "cupsfleet.db") as store:
        for row in store.rows("select title, attempts.node from attempts join jobs on jobs.uuid = attempts.key"):
            found.setdefault(row["title"], set()).add(row["node"])
    return found


def commands(fleet: Fleet) -> tuple[int, list[str]]:
    """How many of the campaign's commands were carried out, and the others with the reason."""
    with Store(fleet.state / "cupsfleet.db") as store:
        rows = store.rows("select verb, argument, state, outcome from commands order by id")
    others = [row for row in rows if row["state"] != "done"]
    said = ["{verb} {argument} ({state}): {outcome}".format(**row) for row in others]
    return len(rows) - len(others), said


def crowd(fleet: Fleet, given: argparse.Namespace) -> list[Person]:
    passwords = dict.fromkeys(USERS, PASSWORD) | {"demo": fleet.password()}
    people = []
    for number in range(given.clients):
        user = USERS[number % len(USERS)]
        client = Client(fleet.port, user, passwords[user], timeout=90, source=address_of(number))
        people.append(Person(number, user, client, random.Random(f"{given.seed}-{number}")))
    return people


def campaign(fleet: Fleet, given: argparse.Namespace) -> Verdict:
    site = Site(fleet, random.Random(given.seed))
    broken, watch = Faults(site, sandbox.is_isolated()), Watch(site)
    printed = Printed(fleet.state / "printed" / "office")
    people = crowd(fleet, given)
    over, watched = threading.Event(), threading.Event()
    clients = [threading.Thread(target=person.work, args=(over, given.pause)) for person in people]
    begun = time.monotonic()
    with working([threading.Thread(target=watch.run, args=(watched,))], watched):
        with working(clients, over):
            untried = spoil(broken, people, given.jobs, given.seconds, given.rate)
        lasted = time.monotonic() - begun
        seconds, wrong = recover(fleet, site)
        say(begun, "whole again" if not wrong else "; ".join(wrong))
        broken.wait()
        release(fleet, people)
        say(begun, "held documents are released")
    for person in people:
        watch.follow(person.told, person.number)
    told = [one for person in people for one in person.told]
    settle(printed, {one.name for one in told if one.accepted})
    say(begun, "printed")
    verdict = compare(fleet, broken, watch, told, printed)
    verdict.lasted, verdict.recovery, verdict.wrong = lasted, seconds, tuple(wrong)
    verdict.missing = (*sandbox.missing(broken.isolated), *(f"{kind}, for no node could be spared" for kind in untried))
    return verdict


def say(begun: float, what: str) -> None:
    print(f"{time.monotonic() - begun:7.1f} s  {what}", file=sys.stderr, flush=True)


def compare(fleet: Fleet, broken: Faults, watch: Watch, told: list[Told], printed: Printed) -> Verdict:
    numbers = slots(fleet)
    trouble = Trouble(
        violent(watch.deaths, broken.done, numbers),
        cuts(broken.done, numbers),
        watch.doors,
        broken.jumps if sandbox.takes_jumps_for_time() else [],
        unseen(broken.done),
    )
    jobs = known_jobs(fleet, {one.name for one in told if one.accepted})
    verdict = judge(told, printed.look(), trouble, jobs, charges(fleet), tried(fleet))
    verdict.deaths = len(watch.deaths)
    verdict.faults = Counter(fault.kind for fault in broken.done)
    verdict.commands_done, verdict.commands_left = commands(fleet)
    return verdict


@contextmanager
def running_fleet(nodes: int) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        state = Path(folder) / "state"
        port = free_port()
        environment = {"CUPSFLEET_NODES__MIN": str(nodes), "CUPSFLEET_FRONT_DOOR__PORT": str(port)}
        fleet = Fleet(state, port, SETTINGS | environment | sandbox.clock(state))
        if sandbox.is_isolated():
            sandbox.give_disk(state)
        try:
            fleet.done("up", "--detach")
            for user in USERS[1:]:
                fleet.done("user", "add", user, stdin=PASSWORD + "\n")
            yield fleet
        finally:
            down(fleet)
            if sandbox.is_isolated():
                sandbox.take_disk(state)


def down(fleet: Fleet) -> None:
    begun = time.monotonic()
    fleet.run("down", timeout=300)
    say(begun, "for `down`")


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cupsfleet test --campaign", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the order and kind of faults, and of the documents")
    parser.add_argument("--jobs", type=int, default=0, help="documents to print at least")
    parser.add_argument("--seconds", type=float, default=90, help="time to break things for at least")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--pause", type=float, default=0.8, help="seconds between two documents of a client")
    parser.add_argument("--rate", type=float, default=0.4, help="faults per second")
    parser.add_argument("--report", type=Path, help="write the report to this file as well")
    parser.add_argument("--keep", type=Path, help="copy the fleet's state folder here when a promise is broken")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    given = arguments(words)
    sandbox.isolate([sys.executable, "-m", "benchmarks.campaign", *words])
    for what in sandbox.missing(sandbox.is_isolated()):
        print(f"NOT TRIED HERE: {what}", file=sys.stderr, flush=True)
    with running_fleet(given.nodes) as fleet:
        verdict = campaign(fleet, given)
        report = verdict.report(given.seed, given.nodes, given.clients)
        print(report, flush=True)
        if given.report:
            given.report.write_text(report)
        if not verdict.kept and given.keep:
            down(fleet)
            shutil.copytree(fleet.state, given.keep, ignore=shutil.ignore_patterns("*.sock", "bin", "cupsd"))
    return 0 if verdict.kept else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
