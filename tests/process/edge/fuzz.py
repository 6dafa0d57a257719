"""Mutated requests through a real door at real print servers.

    python -m tests.process.edge.fuzz --requests 100000 --seed 1

The door has every rule of a running fleet: the service for the whole queue is there, and asked about moved jobs too.
Two in three mutate the IPP inside sound HTTP, one in three the HTTP around it (fuzz_http). At the end: the worker is
the one that was started, every job belongs to the user who logged in, every answer to the question it was given to, and
no node ever saw a request that it could not parse. Exit status 1 with a sentence for each that does not hold.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from tests.process.edge import fuzz_http, ippwire
from tests.process.edge.conftest import running_site
from tests.process.edge.door import Client, Site
from tests.process.edge.ippwire import attribute, user

OPERATIONS = [0x0002] * 3 + [0x0004, 0x0005, 0x0006, 0x0008, 0x0009, 0x000A, 0x000B, 0x0014, 0x0016, 0x4001, 0x4002]
NAMES = ["requesting-user-name", "Requesting-User-Name", "job-originating-user-name", "Job-Originating-User-Name"]
GROUPS = [b"\x02", b"\x04", b"\x05", b"\x06", b"\x01", b"\x09"]
GARBAGE = re.compile(
    r".*(?:IPP read error|Unable to read|bad (?:name|value) length|Bad request|Invalid group tag|non-absolute|Bad URI)"
    r".*",
    re.I,
)
LET_THROUGH = re.compile(
    r'"(POST (/|/jobs/|/ipp/print|/printers/[^ ?#%]*) HTTP/1\.[01]" (200|401|403) '
    r'|(GET|HEAD) (/printers/[^/ ?#%]+\.(ppd|png)|/icons/[^/ ?#%]+\.png) HTTP/1\.[01]" (200|304|404) )'
)
"""What stands in a node's access log of requests that the edge may pass on, with what a node may think of them."""


def claims(rng: random.Random) -> bytes:
    """An attribute that names another owner, in one of many ways."""
    name, victim = rng.choice(NAMES), rng.choice(["alice", "root", "mallory", "a" * rng.randint(1, 300)])
    match rng.randrange(6):
        case 0:
            return attribute(
                0x36, name, struct.pack(">H", 2) + b"en" + struct.pack(">H", len(victim)) + victim.encode()
            )
        case 1:
            return attribute(0x42, name, "x") + attribute(0x42, "", victim)
        case 2:
            member = attribute(0x4A, "", name) + attribute(0x42, "", victim)
            return attribute(0x34, name, b"") + member + attribute(0x37, "", b"")
        case 3:
            return attribute(rng.choice([0x41, 0x44, 0x30, 0x21]), name, victim)
        case 4:
            return attribute(0x42, name.encode() + b"\0" * rng.randrange(2), victim)
        case _:
            return user(victim)


def nested(rng: random.Random) -> bytes:
    depth = rng.randint(1, 12)
    return (
        attribute(0x34, "media-col", b"")
        + b"".join(attribute(0x4A, "", "media-size") + attribute(0x34, "", b"") for _ in range(depth))
        + attribute(0x4A, "", "x-dimension")
        + attribute(0x21, "", 21000)
        + attribute(0x37, "", b"") * (depth + rng.choice([0, 1, 1, 1, 1, 2]))
    )


def sound(rng: random.Random) -> bytes:
    """A request that could come from a client, with claims of ownership strewn in."""
    parts = [ippwire.printer()]
    for _ in range(rng.randrange(4)):
        parts.append(rng.choice([claims, claims, claims, nested])(rng))
    if rng.random() < 0.4:
        parts.append(attribute(0x21, "job-id", rng.choice([1, 1_000_001, 2_000_001, 5_000_001, -1])))
    if rng.random() < 0.03:
        parts.append(b"".join(attribute(0x42, f"x-{n}", "y" * 250) for n in range(120)))
    rng.shuffle(parts)
    groups = rng.choice(GROUPS) + claims(rng) if rng.random() < 0.2 else b""
    version = rng.choice([b"\x02\x00", b"\x01\x01", b"\x01\x00", b"\x02\x01", b"\x00\x00"])
    return ippwire.request(rng.choice(OPERATIONS), *parts, groups=groups, version=version) + b"document"


def mutated(rng: random.Random) -> bytes:
    """A sound request, half the time with some bytes cut, flipped, doubled or zeroed."""
    data = bytearray(sound(rng))
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 5])):
        at = rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at] = rng.randrange(256)
            case 2:
                data[at:at] = data[at : at + rng.randrange(60)]
            case 3:
                del data[at : at + rng.randrange(1, 20)]
            case 4:
                data[at:at] = bytes(rng.randrange(1, 4))
            case _:
                data[at : at + 2] = struct.pack(">H", rng.choice([0, 1, 255, 0x7FFF, 0x8000, 0xFFFF]))
        if not data:
            return b"\x02"
    return bytes(data)


@dataclass
class Outcome:
    statuses: Counter[int]
    """Of what was answered; 0 for what was not."""
    faults: list[str] = field(default_factory=list)


def attack(task: tuple[int, int, int]) -> Outcome:
    """One process's share of the requests, as the user demo: over a kept connection, mutated HTTP over its own."""
    port, seed, count = task
    rng, client, outcome = random.Random(seed), Client(port), Outcome(Counter())
    for number in range(count):
        try:
            if number % 3 == 2:
                said = alone(port, fuzz_http.conversation(rng, sound), rng)
                outcome.statuses[int(said[9:12]) if said.startswith(b"HTTP/1.") else 0] += 1
            else:
                ask(client, rng, number % 10 == 9, outcome)
        except (OSError, HTTPException) as error:
            outcome.faults.append(f"seed {seed}, request {number}: {error!r}")
    return outcome


def alone(port: int, data: bytes, rng: random.Random) -> bytes:
    """A conversation in a thread that ends with it: Python 3.13.5 leaves an error of one TLS connection in its thread,
    where the next connection that is used takes it for its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(fuzz_http.converse, port, data, rng).result()


def ask(client: Client, rng: random.Random, in_chunks: bool, outcome: Outcome) -> None:
    """One mutated request. One in chunks is always sound, since the end of a cut one is waited for."""
    data = sound(rng) if in_chunks else mutated(rng)
    try:
        answer = client.send(iter([data[at : at + 200] for at in range(0, len(data), 200)]) if in_chunks else data)
    except (OSError, HTTPException):
        if not in_chunks:  # else it was refused while its pieces were still being written
            raise
        outcome.statuses[0] += 1
        return
    outcome.statuses[answer.status] += 1
    if answer.status == 200 and answer.body[4:8] != data[4:8]:
        outcome.faults.append(f"the answer {answer.body[:80]!r} belongs to another request than {data[:80]!r}")


def fuzz(site: Site, requests: int, seed: int, processes: int = 3) -> tuple[Counter[int], list[str]]:
    """Run, then look: what was answered, and one sentence for each promise broken."""
    worker = site.proxy.runtime.worker()
    tasks = [(site.edge.port, seed * 1000 + n, requests // processes) for n in range(processes)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        outcomes = list(pool.map(attack, tasks))
    statuses = sum((outcome.statuses for outcome in outcomes), Counter())
    faults = []
    if site.proxy.runtime.worker() != worker:
        faults.append("HAProxy's worker is another one than before")
    for outcome in outcomes:
        faults += outcome.faults[:10]
    owners: Counter[str] = Counter()
    for node in site.nodes:
        owners += owners_of(node.folder / "spool")
        if found := GARBAGE.findall(node.error_log()):
            faults.append(f"node {node.slot} met garbage: {found[:5]}")
        if strange := [line for line in node.access_log().splitlines() if not LET_THROUGH.search(line)]:
            faults.append(f"node {node.slot} was asked what the edge should have answered: {strange[:5]}")
    if set(owners) - {"demo"}:
        faults.append(f"jobs belong to others: {owners}")
    print(f"answers {dict(statuses)}, jobs {dict(owners)}")
    return statuses, faults


def owners_of(spool: Path) -> Counter[str]:
    """Every name of an owner in the control files, the first of which is what a node believes after a restart."""
    owners: Counter[str] = Counter()
    for control in spool.glob("c*"):
        with suppress(FileNotFoundError):
            data = control.read_bytes()
            for name, value in ippwire.read(data):
                if name.lower() == "job-originating-user-name":
                    owners[value.decode(errors="replace")] += 1
    return owners


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended, too
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder), with_service=True) as site:
        start = time.monotonic()
        _, faults = fuzz(site, given.requests, given.seed)
        seconds = time.monotonic() - start
    print(f"{given.requests} requests in {seconds:.1f} s, {given.requests / seconds:.0f}/s")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
