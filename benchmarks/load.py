"""People at the door, in processes of their own: they print small documents and ask for them, or upload large ones.

Every request is counted by kind, and every failure is kept with its time and its reason.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event

from tests.process.edge import ippwire
from tests.process.edge.door import Client

PIECE = b"d" * (1 << 20)
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Failure:
    kind: str
    started: float
    """Monotonic clock, as are all times here."""
    ended: float
    slot: int
    """Slot that the job belongs to, for requests about a job; else 0."""
    why: str


@dataclass
class Tally:
    """What a crowd of clients has met."""

    requests: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    slowest: list[tuple[float, float]] = field(default_factory=list)
    """Start and seconds of each small job."""
    megabytes: int = 0

    def add(self, other: Tally) -> None:
        self.requests += other.requests
        self.failures += other.failures
        self.slowest += other.slowest
        self.megabytes += other.megabytes

    def attempt(
        self,
        kind: str,
        client: Client,
        body: bytes | Iterator[bytes],
        slot: int = 0,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """Send one request; the answer, or b"" when it failed, which is then on record."""
        started = time.monotonic()
        self.requests[kind] += 1
        try:
            answer = client.send(body, headers=headers)
            why = "" if answer.status == 200 else f"{answer.status} {answer.body[:80]!r}"
            if not why and ippwire.status(answer.body) >= 0x100:
                why = f"IPP status {ippwire.status(answer.body):#06x}"
        except Exception as error:
            why = repr(error)
        if kind == "job":
            self.slowest.append((started, time.monotonic() - started))
        if why:
            self.failures.append(Failure(kind, started, time.monotonic(), slot, why))
            return b""
        return answer.body


def read_request() -> bytes:
    return ippwire.request(0x000B, ippwire.printer(), ippwire.attribute(0x44, "requested-attributes", "printer-state"))


def ask_for(job: int) -> bytes:
    return ippwire.request(0x0009, ippwire.printer(), ippwire.attribute(0x21, "job-id", job))


def small(client: Client, tally: Tally, ending: Event, pause: float) -> None:
    """Print, ask for the job, read the printer's state, list the open jobs of all nodes, think."""
    while not ending.is_set():
        made = tally.attempt("job", client, ippwire.print_job(ippwire.user("x" * 20), document=b"small" * 200))
        if made:
            job = ippwire.integers(made, "job-id")[0]
            tally.attempt("question about a job", client, ask_for(job), (job - 1) // 1_000_000)
        tally.attempt("read", client, read_request())
        tally.attempt("list of jobs", client, ippwire.jobs_request())
        time.sleep(random.uniform(0.5, 1.5) * pause)


def large(client: Client, tally: Tally, ending: Event, chunked: bool, rate: float) -> None:
    """Upload 20 to 100 MB at `rate` MB/s, again and again."""
    while not ending.is_set():
        size = random.randint(20, 100)
        head = ippwire.print_job(ippwire.user("y" * 20), document=b"")
        kind = "upload, chunked" if chunked else "upload with a length"
        length = {} if chunked else {"Content-Length": str(len(head) + size * len(PIECE))}
        if tally.attempt(kind, client, _pieces(head, size, rate), headers=length):
            tally.megabytes += size


def _pieces(head: bytes, size: int, rate: float) -> Iterator[bytes]:
    yield head
    due = time.monotonic()
    for _ in range(size):
        yield PIECE
        due = max(due + 1 / rate, time.monotonic() - 0.2)
        time.sleep(max(due - time.monotonic(), 0))


@contextmanager
def crowd(
    port: int, password: str, clients: int, uploads: int, pause: float = 0.02, rate: float = 20
) -> Iterator[Tally]:
    """Clients at work while the block runs; the tally is complete after it. Half of the uploads are chunked."""
    total, ending, results = Tally(), FORK.Event(), FORK.SimpleQueue()

    def people(small_ones: int, large_ones: range) -> None:
        mine = [Tally() for _ in range(small_ones + len(large_ones))]

        def client() -> Client:
            return Client(port, "demo", password, timeout=60)

        threads = [threading.Thread(target=small, args=(client(), mine[n], ending, pause)) for n in range(small_ones)]
        threads += [
            threading.Thread(target=large, args=(client(), mine[small_ones + n], ending, bool(n % 2), rate))
            for n in large_ones
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sum_ = Tally()
        for tally in mine:
            sum_.add(tally)
        results.put(sum_)

    workers = [FORK.Process(target=people, args=(clients, range(0)))]
    if uploads:
        workers.append(FORK.Process(target=people, args=(0, range(uploads))))
    for worker in workers:
        worker.start()
    try:
        yield total
    finally:
        ending.set()
        for _ in workers:
            total.add(results.get())
        for worker in workers:
            worker.join()
