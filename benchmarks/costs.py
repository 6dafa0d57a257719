"""What counting and charging cost: ledger ingest, reports over millions of jobs, the backend's part of a job.

    python -m benchmarks.costs [--jobs 10000000] [--keep FILE] [--printaudit PROGRAM]

Prints a table for docs/benchmarks.md. --printaudit: the program of that name (PyPI), to set its result on a page_log
beside ours. --keep: a database that is made when it is not there, which takes some minutes and 550 bytes a job, and is
used again when it is; each run adds some jobs to it. Left out, it is a temporary one.
"""

from __future__ import annotations

import argparse
import random
import resource
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path

from sqlite_utils import Database

from controller.config import Price
from controller.costs import install, journal, reports
from controller.costs.charge import Site, facts
from controller.costs.collect import Charger
from controller.costs.ledger import Entry, Ledger
from controller.costs.rates import Part, Printed, Tariff, micros
from controller.costs.sums import number
from controller.jobs.table import Job, JobTable
from controller.migrations import fill_summaries
from controller.nodes.process import ProcessDriver
from controller.store import Store
from tests.documents import pdf, rendered

SITE = Site(Tariff((Price(per_page=Decimal("0.05")),), UTC))
FIRST = date(2025, 1, 1)
DAYS = (date.today() - FIRST).days + 1  # noqa: DTZ011  (as its reader's)
USERS, PRINTERS, DEPARTMENTS = 20_000, 60, 40
RUNS = 40
CACHE_KB = 1_000_000
"""SQLite's while a large database is made; it is asked with the usual one."""
INGESTED = 100_000
WRITTEN = 500_000
"""Jobs that go through the ledger; beyond, the database multiplies them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000_000)
    parser.add_argument("--keep", type=Path, default=None)
    parser.add_argument("--printaudit", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="costs-") as name:
        folder = Path(name)
        backend(folder / "node")
        charging(folder / "charging")
        ingest(folder / "empty.db")
        ledger(options.keep or folder / "ledger.db", options.jobs)
        page_log(folder, options.printaudit)


def backend(node: Path) -> None:
    """Time from the start of the backend to its end, beside the real backend alone."""
    node.mkdir()
    ProcessDriver(backends=[install.backend()])._link_programs(node)
    fake = node / "bin/backend/fake"
    fake.write_text('#!/bin/sh\nexec cat ${6:+"$6"} >/dev/null\n')
    fake.chmod(0o700)
    one = pdf(node / "1.pdf", 1)
    documents = {"PDF, 1 page": one, "PDF, 300 pages": pdf(node / "300.pdf", 300)}
    documents |= {"PostScript, 1 page": rendered("ps2write", one, node / "1.ps")}
    documents |= {"PWG raster, 1 page": rendered("pwgraster", one, node / "1.pwg")}
    arguments = ["5", "alice", "title", "1", "job-uuid=urn:uuid:1"]
    for name, document in documents.items():
        alone = _runs([str(fake), *arguments, str(document)])
        ours = _runs([str(node / "bin/backend/cupsfleet"), *arguments, str(document)])
        print(f"backend, {name}: {alone} alone, {ours} with counting", flush=True)


def _runs(command: list[str]) -> str:
    environment = {"DEVICE_URI": "cupsfleet:/fake://x", "PATH": "/usr/bin:/bin", "PRINTER": "office"}
    times, used = [], _children()
    for _ in range(RUNS):
        begun = time.perf_counter()
        subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - begun)
    each = statistics.median(times), (_children() - used) / RUNS
    return f"{_ms(each)}, p90 {statistics.quantiles(times, n=10)[-1] * 1000:.1f} ms"


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def charging(folder: Path, jobs: int = 20_000) -> None:
    """From journals and the table of jobs into the ledger."""
    nodes = folder / "nodes"
    (nodes / "node-1").mkdir(parents=True)
    ended = int(time.time())
    with Store(folder / "db", create=True) as store:
        made = [
            Job(f"u{at}", 1_000_001 + at, "node-1", "office", f"user{at % 500}", state="completed", completed=ended)
            for at in range(jobs)
        ]
        with store.transaction():
            JobTable(store).put(made)
    count = ["counted", [["iso_a4_210x297mm", False, 3]], 1, "", ""]
    for one in made:
        begin = {"uuid": one.uuid, "job": one.id, "user": one.owner, "queue": "office", "title": "t", "options": {}}
        records = [{"event": "begin", "at": ended, **begin, "driver": False, "separately": 0}]
        records += [{"event": "end", "at": ended, "status": 0, "whole": True, "share": 1.0, "reported": 0, "copies": 1}]
        records[1]["count"] = count
        for record in records:
            journal.append(str(nodes / "node-1"), {**record, "run": f"r{one.id}"}, sync=False)
    charger = Charger(lambda: Store(folder / "db"), nodes, lambda: SITE)
    took = timed(charger.collect)
    with Store(folder / "db") as store:
        [total] = store.rows("select count(*) as n from ledger")
    assert total["n"] == jobs
    print(f"charging from journals: {_rate(jobs, took)}", flush=True)


def ingest(database: Path) -> None:
    with Store(database, create=True) as store:
        _ingest(store, "an empty ledger", 1)


def _ingest(store: Store, into: str, seed: int, now: bool = False) -> None:
    today = date.today()  # noqa: DTZ011  (as its reader's)
    made = _entries(INGESTED, seed, f"more{seed}")
    more = [replace(one, day=number(today), at=int(time.time())) if now else one for one in made]
    print(f"ledger ingest into {into}: {_rate(len(more), timed(lambda: Ledger(store).write_many(more)))}", flush=True)


def ledger(database: Path, jobs: int) -> None:
    made = database.exists()
    with Store(database, create=True) as store:
        if not made:
            fill(store, jobs)
        books = Ledger(store)
        _ingest(store, f"{jobs:,} jobs, of days in two years", time.time_ns())
        _ingest(store, f"{jobs:,} jobs, of today", time.time_ns(), now=True)
        store.checkpoint()
        for by in ("user", "department", "printer"):
            times = [timed(partial(books.sums, by, *month)) for month in months()]
            usual = _ms((statistics.median(took for took, _ in times), statistics.median(used for _, used in times)))
            print(f"cost per {by} of a month: {_ms(max(times))} at worst of {len(times)}, {usual} median", flush=True)
        odd = (date(2025, 3, 12), date(2026, 2, 20))
        print(f"cost per user of {odd[0]} to {odd[1]}: {_ms(timed(partial(books.sums, 'user', *odd)))}")
        own = {"user": "user7"}
        print(f"a person's jobs of a month: {_ms(timed(partial(books.entries, *months()[5], own)))}")


def fill(store: Store, jobs: int) -> None:
    """Put about so many jobs into an empty ledger."""
    store.execute(f"PRAGMA cache_size = -{CACHE_KB}")
    written = min(jobs, WRITTEN)
    Ledger(store).write_many(_entries(written))
    _multiply(store, jobs // written)


def _multiply(store: Store, times: int) -> None:
    """More jobs of other people, made in the database, with the sums that the ledger would have kept."""
    rest = "department, account, printer, node, job, title, pages, sheets, colour_pages, amount, origin, facts, written"
    # Made at the end from sorted rows, indexes of ten million take a tenth of the time.
    indexes = store.rows(
        "select name, sql from sqlite_master where type = 'index' and tbl_name = 'ledger' and sql != ''"
    )
    for index in indexes:
        store.execute(f"drop index {index['name']}")
    for more in range(1, times):
        user = f"'user' || ((substr(user, 5) + {more * 1999}) % {USERS})"
        key = "'job:urn:uuid:' || lower(hex(randomblob(16)))"
        with store.transaction():
            made = f"select null, {key}, kind, at, day, {user}, {rest} from ledger where id <= {WRITTEN}"
            store.execute(f"insert into ledger {made}")
    for index in indexes:
        store.execute(index["sql"])
    sums = "count(*), sum(pages), sum(sheets), sum(colour_pages), sum(amount)"
    for table, divisor in (("costs_by_day", 1), ("costs_by_month", 100)):
        with store.transaction():
            store.execute(f"delete from {table}")
            store.execute(
                f"insert into {table} select day / {divisor}, user, department, account, printer, {sums} from ledger "
                "group by 1, 2, 3, 4, 5"
            )
    with closing(sqlite3.connect(store.path)) as connection, connection:
        fill_summaries(Database(connection))


def _entries(jobs: int, seed: int = 1, prefix: str = "job") -> Iterator[Entry]:
    """Two years of a large university: heavy tail of pages, the busiest people print most."""
    chance = random.Random(seed)
    made = facts(Printed(0, "", "", "one-sided", (Part("iso_a4_210x297mm", False, 6),)))
    day_names = [number(FIRST + timedelta(days)) for days in range(DAYS)]
    begin = int(datetime(FIRST.year, 1, 1, tzinfo=UTC).timestamp())
    for at in range(jobs):
        day = at * DAYS // jobs
        user = min(int(chance.paretovariate(0.6)), USERS) if chance.random() < 0.2 else chance.randrange(USERS)
        pages = min(int(chance.paretovariate(1.1)), 400)
        yield Entry(
            f"{prefix}:urn:uuid:{chance.getrandbits(128):032x}",
            "job",
            begin + day * 86_400,
            day_names[day],
            f"user{user}",
            f"department{user % DEPARTMENTS}",
            "",
            f"printer{user * 7 % PRINTERS}",
            "node-1",
            at,
            "report.pdf",
            pages,
            pages,
            0,
            micros(Decimal("0.05") * pages),
            "counted",
            made,
        )


def months() -> list[tuple[date, date]]:
    firsts = [date(2025 + month // 12, month % 12 + 1, 1) for month in range(25)]
    return list(pairwise(firsts))


def page_log(folder: Path, printaudit: str) -> None:
    """The same page_log by both: 100 jobs, a tenth of them tried twice, a third of them two-sided."""
    log = folder / "page_log"
    lines, expected = [], 0
    for job in range(1, 101):
        pages = job % 9 + 1
        expected += pages
        sides = "two-sided-long-edge" if job % 3 == 0 else "one-sided"
        stamp = f"[02/Mar/2026:12:{job // 60:02}:{job % 60:02} +0000]"
        for _ in range(2 if job % 10 == 0 else 1):
            lines.append(f"office user{job % 7} {job} {stamp} total {pages} - localhost report.pdf - {sides}\n")
    log.write_text("".join(lines))
    ours = sum(one.pages for one in reports.imported(log, "old", SITE, []))
    print(f"page_log of {expected} pages: ours says {ours}")
    if printaudit:
        settings = folder / "printaudit.conf"
        settings.write_text(f"[core]\npage_log_path = {log}\ncli_mode = plain\nenabled_sections = queue\n")
        command = [printaudit, "--config", str(settings), "--outputs", "cli"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        print(f"printaudit says:\n{done.stdout}{done.stderr}")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of processor time: on a busy machine only the second tells anything."""
    begun, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - used


def _rate(jobs: int, timed: tuple[float, float]) -> str:
    return f"{jobs / timed[0]:,.0f} jobs/s ({jobs / timed[1]:,.0f} a second of processor time)"


def _ms(timed: tuple[float, float]) -> str:
    return f"{timed[0] * 1000:.1f} ms ({timed[1] * 1000:.1f} ms of processor time)"


if __name__ == "__main__":
    main()
