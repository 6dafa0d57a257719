"""Charging: reads what the nodes' backends wrote down, and writes each job that has ended into the ledger.

Runs beside the loop. Everything may be repeated without harm: a journal is read on from where it was read to, which
is recorded together with what was read; a job's key is written once. A job is charged when its node says that it has
ended, and by then its attempts are on disk, for CUPS ends a job after its backend.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from controller.costs import journal
from controller.costs.attempts import Attempt, put_together
from controller.costs.charge import Site, correction, decided, entry
from controller.costs.ledger import Entry, Ledger
from controller.costs.people import Person
from controller.costs.rates import micros
from controller.costs.sums import number
from controller.jobs.table import Job, JobTable
from controller.store import Store

AT_ONCE = 500
"""Jobs charged in one transaction, and names in one query."""
COUNTING_SECONDS = 120.0
"""For so long a job that was printed whole waits for its count; the counting itself is ended much earlier."""
ORPHAN_SECONDS = 3600.0
"""After which an attempt that was whole is charged although its job is not in the table of jobs."""
KEPT_SECONDS = 60 * 86_400.0
"""How long attempts are kept, for questions about a charge; those of a job that is still open as long as it is."""
FORGET_SECONDS = 7 * 86_400.0
"""After which a job that was let through, and of which nothing was heard since, no longer counts as used."""
READ_SECONDS = 2 * 86_400.0
"""A journal's file that was read to its end is deleted when nothing was written to it for so long."""


_METERED = (
    "insert into fleet_costs (day, node_seconds, most_seconds, busy_seconds, amount) values (?, ?, ?, ?, ?) "
    "on conflict (day) do update set node_seconds = node_seconds + excluded.node_seconds, most_seconds = most_seconds "
    "+ excluded.most_seconds, busy_seconds = busy_seconds + excluded.busy_seconds, amount = amount + excluded.amount"
)
METER_SECONDS = 60.0
"""Between two readings of what the nodes cost; the time since the last one is lost when the controller dies."""
LONGEST_SECONDS = 300.0
"""After a longer pause (the machine slept) only so much is counted."""


@dataclass
class Meter:
    """How long nodes have run, and what that cost. An hour that no controller saw is not counted. Whether a node prints
    is looked at once a minute: one that prints several jobs side by side is busy once."""

    price_per_hour: Callable[[], Decimal] = lambda: Decimal(0)
    most: Callable[[], int] = lambda: 0
    """How many nodes there would be without scaling."""
    _last: float = field(default_factory=time.monotonic)

    def read(self, store: Store, site: Site) -> None:
        now = time.monotonic()
        seconds = min(now - self._last, LONGEST_SECONDS)
        if seconds < METER_SECONDS:
            return
        self._last = now
        running = sum(node.state.costs for node in store.nodes())
        busy = store.rows("select count(distinct node) as n from jobs where open = 1 and state = 'processing'")[0]["n"]
        cost = micros(self.price_per_hour() * running * Decimal(seconds) / 3600)
        most = max(running, self.most())
        with store.transaction():
            hours = [count * seconds for count in (running, most, min(busy, running))]
            store.execute(_METERED, [number(site.tariff.today()), *hours, cost])


@dataclass
class Charger:
    """Used by one thread at a time, which the lock sees to."""

    open_store: Callable[[], Store]
    nodes: Path
    """The folder with the nodes' folders."""
    site: Callable[[], Site]
    meter: Meter = field(default_factory=lambda: Meter())
    people: Callable[[], Mapping[str, Person]] = lambda: {}
    _opened: Mapping[str, Person] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def collect(self) -> None:
        """Charge all jobs that have ended. Raises StoreError."""
        with self._lock, self.open_store() as store:
            due = [row["uuid"] for row in store.rows("select uuid from uncharged")]  # before the journals are read
            for folder in sorted(self.nodes.iterdir()) if self.nodes.is_dir() else ():
                self._read(store, folder)
            for uuids in _chunks(due):
                self._charge(store, uuids)
            self.meter.read(store, self.site())
            self._open_accounts(store)

    def _open_accounts(self, store: Store) -> None:
        """Book what people had when the books were opened; the key sees to it that it is booked once."""
        people = self.people()
        if people is self._opened:
            return
        with store.transaction():
            for one in people.values():
                if one.opening:
                    Ledger(store).deposit(f"opening:{one.user}", one.user, one.opening, self.site().tariff.today())
        self._opened = people

    def finish(self, node: str) -> None:
        """Read the journal of a node that is about to go. Raises StoreError or OSError."""
        with self._lock, self.open_store() as store:
            self._read(store, self.nodes / node)

    def clear(self) -> None:
        """Charge attempts whose job nobody knows, and delete what is of no use any more."""
        now = time.time()
        with self._lock, self.open_store() as store:
            self._charge_orphans(store, now)
            with store.transaction():
                store.execute(_FORGET, [now - KEPT_SECONDS])
                store.execute("delete from let_through where at < ?", [now - FORGET_SECONDS])
            for row in store.rows("select path, offset from journals"):
                path = self.nodes / row["path"]
                try:
                    found = path.stat()
                    if found.st_size == row["offset"] and now - found.st_mtime > READ_SECONDS:
                        path.unlink()
                except FileNotFoundError:
                    with store.transaction():
                        store.execute("delete from journals where path = ?", [row["path"]])

    def _read(self, store: Store, folder: Path) -> None:
        for name in journal.files(str(folder)):
            path = os.path.relpath(name, self.nodes)
            known = store.rows("select offset from journals where path = ?", [path])
            try:
                records = list(journal.read(name, known[0]["offset"] if known else 0))
            except FileNotFoundError:
                continue
            if records:
                with store.transaction():
                    _keep(store, folder.name, [record for record, _ in records])
                    store.execute(
                        "insert into journals (path, offset) values (?, ?) "
                        "on conflict (path) do update set offset = excluded.offset",
                        [path, records[-1][1]],
                    )

    def _charge(self, store: Store, uuids: Sequence[str]) -> None:
        site, table, now = self.site(), JobTable(store), time.time()
        with store.transaction():
            jobs = table.known(uuids)
            attempts = _attempts(store, jobs.values())
            entries, done = [], []
            for uuid, job in jobs.items():
                tried = attempts.get(uuid, [])
                if job.open or any(one.whole and not one.count and now - one.ended < COUNTING_SECONDS for one in tried):
                    continue
                done.append(uuid)
                if pages := decided(job, tried, site.unknown_pages):
                    entries.append(entry(job, tried, pages, site))
            gone = [uuid for uuid in uuids if uuid not in jobs]
            store.execute_many("delete from uncharged where uuid = :uuid", [{"uuid": one} for one in (*done, *gone)])
            rows = [{"uuid": _said_uuid(jobs[uuid])} for uuid in done]
            store.execute_many("delete from let_through where uuid = :uuid", rows)
            _write(Ledger(store), entries, {f"job:{uuid}" for uuid in done if attempts.get(uuid)})

    def _charge_orphans(self, store: Store, now: float) -> None:
        """Attempts that were printed whole, of jobs that the table of jobs never heard of."""
        rows = store.rows(
            "select node, record from attempts where ended > 0 and ended < ? "
            "and not exists (select 1 from jobs where uuid = key) "
            "and not exists (select 1 from ledger where ledger.key = 'job:' || attempts.key)",
            [now - ORPHAN_SECONDS],
        )
        site, entries = self.site(), []
        jobs: dict[tuple[str, str, int], list[Attempt]] = {}
        for row in rows:
            if (attempt := attempt_of(row["record"])) and attempt.whole:
                jobs.setdefault((row["node"], attempt.uuid, attempt.job), []).append(attempt)
        for (node, uuid, number_), tried in jobs.items():
            tried.sort(key=lambda one: (one.begun, one.run))
            last = tried[-1]
            job = Job(uuid, number_, node, last.queue, last.user, last.title, "completed")
            job = Job(**{**vars(job), "state": "completed", "created": int(last.ended), "completed": int(last.ended)})
            if pages := decided(job, tried, site.unknown_pages):
                entries.append(entry(job, tried, pages, site))
        with store.transaction():
            Ledger(store).write(entries)


def _write(ledger: Ledger, entries: list[Entry], tried: set[str]) -> None:
    """New ones as they are; one whose job was charged before, as the correction to it, if there is one.

    tried: keys of jobs whose attempts are known. Without them nothing is known better than before.
    """
    if ledger.write(entries) == len(entries):
        return
    corrections = []
    for one in entries:
        found = ledger.about(one.key) if one.key in tried else []
        old = [before for before in found if before.kind != "refund"]  # what somebody gave back stays given
        if old and (change := correction(old, one)):
            corrections.append(change)
    ledger.write(corrections)


_FORGET = (
    "delete from attempts where coalesce(nullif(ended, 0), json_extract(record, '$[0].at')) < ? "
    "and not exists (select 1 from uncharged where uuid = key) "
    "and not exists (select 1 from jobs where open = 1 and (uuid = key or uuid between key || '/' and key || '0'))"
)
"""A job that waits for the next year's quota goes on by what its attempt says. A uuid that is there twice has a suffix
in the table of jobs, `/NODE/ID`; '0' is what follows '/'."""
_CHARGE_AGAIN = "insert or ignore into uncharged (uuid) select uuid from jobs where uuid = :uuid and open = 0"


def _keep(store: Store, node: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Add lines of a journal to the attempts that they belong to."""
    runs = {str(record["run"]) for record in records}
    lines: dict[str, list[Any]] = {}
    for some in _chunks(sorted(runs)):
        marks = ", ".join("?" * len(some))
        for row in store.rows(f"select run, record from attempts where run in ({marks})", some):
            lines[row["run"]] = json.loads(row["record"])
    for record in records:
        lines.setdefault(str(record["run"]), []).append(record)
    made = put_together([line for run in lines.values() for line in run], {})
    rows = [
        {"run": run, "key": one.uuid, "node": node, "ended": one.ended, "record": json.dumps(lines[run])}
        for run, one in made.items()
    ]
    store.execute_many(
        "insert or replace into attempts (run, key, node, ended, record) values (:run, :key, :node, :ended, :record)",
        rows,
    )
    # A job may have been charged without them, when its count was waited for too long: then it is corrected.
    store.execute_many(_CHARGE_AGAIN, [{"uuid": uuid} for uuid in sorted({one.uuid for one in made.values()})])


def attempt_of(record: str) -> Attempt | None:
    """From the column `record` of the table of attempts."""
    return next(iter(put_together(json.loads(record), {}).values()), None)


def _attempts(store: Store, jobs: Iterable[Job]) -> dict[str, list[Attempt]]:
    """The attempts of each job, oldest first. An uuid that a client copied from another job leads to none of its."""
    wanted = {job.uuid: job for job in jobs}
    bases = {uuid: _said_uuid(job) for uuid, job in wanted.items()}
    found: dict[str, list[tuple[str, Attempt]]] = {}
    moved: dict[str, set[tuple[str, int]]] = {}
    for some in _chunks(sorted(set(bases.values()))):
        marks = ", ".join("?" * len(some))
        for row in store.rows(f"select key, node, record from attempts where key in ({marks})", some):
            if attempt := attempt_of(row["record"]):
                found.setdefault(row["key"], []).append((row["node"], attempt))
        for row in store.rows(f"select * from moves where uuid in ({marks})", some):
            places = {(row["source"], row["old_id"]), (row["target"], row["new_id"])}
            moved.setdefault(row["uuid"], set()).update(places)
    attempts: dict[str, list[Attempt]] = {}
    for uuid, job in wanted.items():
        places = moved.get(uuid, set()) | {(job.node, job.id)}
        own = [one for node, one in found.get(bases[uuid], []) if (node, one.job) in places]
        attempts[uuid] = sorted(own, key=lambda one: (one.begun, one.run))
    return attempts


def _said_uuid(job: Job) -> str:
    """The job-uuid as its node has it (controller/jobs/table.py: one that is there twice has a suffix in the table)."""
    return job.uuid.removesuffix(f"/{job.node}/{job.id}")


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(values), AT_ONCE):
        yield values[at : at + AT_ONCE]
