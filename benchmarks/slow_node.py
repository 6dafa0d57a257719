"""One slow node of a real fleet, by round robin and by the work left: `python -m benchmarks.slow_node [--jobs 36]`.

Three cupsd, a job of one page each second. The printer behind one of them takes ten seconds for it, the others' one.
First a stock HAProxy deals the jobs out in turn, then the front door by its weights. Waits are those of the table of
jobs, from acceptance to the first page, in whole seconds. Exit status 1 when a job was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyipp.enums import IppOperation

from benchmarks.door import stock_haproxy
from controller import processes
from controller.shares import percentile
from tests.fleets import running
from tests.process.fleet import Fleet, encode, eventually, free_port

FAST, SLOW = 60, 6
"""Pages a minute."""
PACE = 1.0
"""Seconds between two jobs."""
DOCUMENT = encode(IppOperation.PRINT_JOB, {"document-format": "application/octet-stream"}) + b"a line of text\n"
FIXED = {
    "CUPSFLEET_NODES__MIN": "3",
    "CUPSFLEET_NODES__MAX": "3",
    "CUPSFLEET_VIRTUAL_PRINTER__PAGES_PER_MINUTE": str(FAST),
}


@contextmanager
def slow_printer(folder: Path) -> Iterator[int]:
    """The port of another printer, that keeps its documents in a folder of its own."""
    port, record = free_port(), folder / "slow-printer"
    command = [
        sys.executable,
        "-m",
        "controller.virtual_printer",
        "--folder",
        str(folder / "slow"),
        "--port",
        str(port),
    ]
    command += ["--pages-per-minute", str(SLOW)]
    processes.spawn(command, record, folder / "slow.log", dict(os.environ))
    try:
        yield port
    finally:
        processes.end(record)


def lead_to(fleet: Fleet, node: str, port: int) -> None:
    """Give the queue of one node another printer, by the administrator's way in."""

    def administer(*command: str) -> str:
        program, *arguments = command
        folder = fleet.state / "nodes" / node
        full = [program, "-h", "/proc/self/cwd/run/cups.sock", *arguments]
        return subprocess.run(full, cwd=folder, check=True, capture_output=True, text=True).stdout

    device = administer("lpstat", "-v", "office").split(": ", 1)[1].strip()
    administer("lpadmin", "-p", "office", "-v", f"{device.rpartition(':')[0]}:{port}")


def jobs_of(fleet: Fleet) -> dict[str, dict[str, Any]]:
    return {job["uuid"]: job for job in json.loads(fleet.done("jobs", "--which", "all", "--json"))}


def printed(fleet: Fleet, door: Fleet, count: int) -> list[dict[str, Any]]:
    """The jobs that went in by this door, when the last of them is done."""
    before, begun = jobs_of(fleet).keys(), time.monotonic()

    def one(number: int) -> int:
        time.sleep(max(0.0, begun + number * PACE - time.monotonic()))
        return door.ipp(DOCUMENT)[0]

    with ThreadPoolExecutor(4) as people:
        accepted = list(people.map(one, range(count))).count(200)

    def ended() -> list[dict[str, Any]]:
        new = [job for uuid, job in jobs_of(fleet).items() if uuid not in before]
        done = [job for job in new if job["state"] == "completed"]
        return done if len(done) == accepted == count else []

    return eventually(ended, deadline=60 + 10 * count, pause=1.0)


def told(way: str, jobs: list[dict[str, Any]], slow: str) -> float:
    """Say how long they waited; seconds that 95 % waited at most."""
    waits = sorted(float(job["processing"] - job["created"]) for job in jobs)
    shares = Counter(job["node"] for job in jobs)
    said = ", ".join(f"p{100 * part:.0f} {percentile(waits, part):.0f} s" for part in (0.5, 0.95, 1.0))
    print(f"{way}: {said}; {shares[slow]} of {len(jobs)} jobs to the slow node", flush=True)
    return percentile(waits, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=36)
    count = parser.parse_args().jobs
    with running(FIXED) as fleet, slow_printer(fleet.state) as port:
        lead_to(fleet, "node-1", port)
        with stock_haproxy(fleet) as stock:
            in_turn = told("round robin", printed(fleet, replace(fleet, port=stock), count), "node-1")
        by_work = told("by work left", printed(fleet, fleet, count), "node-1")
    print(f"{by_work / in_turn:.2f} of round robin's; wanted: at most 0.50")


if __name__ == "__main__":
    main()
