"""What a fault campaign waits for when its faults are over, and what it reads then, of database and printer."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.kill import MARK
from benchmarks.people import Person
from benchmarks.verdict import Output
from controller.jobs.moves import MoveTable
from controller.jobs.table import Job, JobTable
from controller.state import State
from controller.store import Store
from controller.views import Views
from tests.process.edge import ippwire
from tests.process.fleet import Fleet

PATIENCE = 60.0
"""Seconds without a new document after which those that are missing are lost; and until the fleet has to be whole."""
KEPT = "each has held jobs"
"""In the problem of a fleet that is larger than it should be, and keeps its size for held jobs."""


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
                document, status = Path(entry.path).read_bytes(), entry.stat()
                if found := MARK.match(document):
                    whole, digest = not entry.name.endswith(".partial"), hashlib.sha256(document).hexdigest()
                    self.outputs.append(Output(found[1].decode(), status.st_mtime, status.st_ctime, whole, digest))
        return self.outputs


def recover(fleet: Fleet, holding: bool = False) -> tuple[float, list[str]]:
    """Seconds until the fleet was whole again, and what was wrong with it when patience was over.

    holding: documents are held still. A server with one is not let go (controller.decide.scaling.must_stay); where each
    has, the fleet says so and keeps its size.
    """
    begun = time.monotonic()
    while True:
        with Store(fleet.state / "cupsfleet.db") as store:
            status = Views(State(fleet.state), store).status()
        wrong = [problem for problem in status["problems"] if not (holding and KEPT in problem)]
        kept = len(wrong) < len(status["problems"])
        ready, desired = sum(node["state"] == "ready" for node in status["nodes"]), status["scaling"]["desired"]
        if ready != len(status["nodes"]) or ready < desired or (ready > desired and not kept):
            states = ", ".join(f"{node['name']} {node['state']}" for node in status["nodes"])
            wrong.append(f"{desired} nodes should serve: {states}")
        if not wrong or time.monotonic() - begun > PATIENCE:
            return time.monotonic() - begun, wrong
        time.sleep(0.5)


def release(fleet: Fleet, people: list[Person], accepted: Collection[str]) -> None:
    """Release every accepted document that is held, as its owner, where it is now; one that is just moved, when it has
    arrived."""
    owners = {person.user: person for person in people}
    left, since = -1, time.monotonic()
    while time.monotonic() < since + PATIENCE:
        with Store(fleet.state / "cupsfleet.db") as store:
            held = [job for job in JobTable(store).search("held") if job.title in accepted]
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


def settle(printed: Printed, expected: Collection[str]) -> None:
    """Until every accepted document is there, or nothing came out for PATIENCE seconds."""
    count, since = 0, time.monotonic()
    while set(expected) - {output.name for output in printed.look() if output.whole}:
        if len(printed.outputs) != count:
            count, since = len(printed.outputs), time.monotonic()
        if time.monotonic() - since > PATIENCE:
            return
        time.sleep(0.5)


def known_jobs(fleet: Fleet, expected: Collection[str]) -> list[Job]:
    """The table of jobs, once none of these documents is open there any more."""
    until = time.monotonic() + PATIENCE
    while True:
        with Store(fleet.state / "cupsfleet.db") as store:
            jobs = JobTable(store).search("all")
        if set(expected) <= {job.title for job in jobs if not job.open} or time.monotonic() > until:
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


def moved(fleet: Fleet) -> list[tuple[int, str]]:
    """Each id that a job got by a move, with the job's uuid."""
    with Store(fleet.state / "cupsfleet.db") as store:
        rows = store.rows("select new_id, uuid from moves where new_id > 0")
    return [(row["new_id"], row["uuid"]) for row in rows]


def commands(fleet: Fleet) -> tuple[int, list[str]]:
    """How many of the campaign's commands were carried out, and the others with the reason."""
    with Store(fleet.state / "cupsfleet.db") as store:
        rows = store.rows("select verb, argument, state, outcome from commands order by id")
    others = [row for row in rows if row["state"] != "done"]
    said = ["{verb} {argument} ({state}): {outcome}".format(**row) for row in others]
    return len(rows) - len(others), said
