"""How long a question about the whole queue takes, beside the same question to one cupsd.

    .venv/bin/python -m benchmarks.whole_queue [--nodes 1 5 20] [--jobs 500] [--questions 200] [--pollers 200]

Real cupsd processes with held jobs of one user, one after another:
    directly      Get-Jobs to each node in turn: what the slowest node needs for its own part
    all at once   the same to all nodes at the same moment, without anything of ours: what this machine can do
    service       the service for the whole queue, asked as HAProxy asks it, one question after another
    pollers       that many clients, each of a user of his own, who ask for their own jobs once a second
Prints a row of docs/benchmarks.md for each. Times are of the one who asks, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from controller import processes
from controller.nodes.driver import NodeSpec
from controller.nodes.process import ProcessDriver
from controller.nodes.queues import Queue, declare
from controller.snapshot import Node, NodeState
from controller.state import State
from controller.store import Store
from haproxy.model import first_id
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute
from tests.process.fleet import eventually, free_port

WANTED = ("job-id", "job-name", "job-state", "job-state-reasons", "job-originating-user-name", "time-at-creation")
HELD = b"\x02" + attribute(0x44, "job-hold-until", "indefinite")
HEADERS = {"Content-Type": "application/ipp", "Host": "localhost"}


def get_jobs(*attributes: bytes, user: str = "demo") -> bytes:
    wanted = b"".join(attribute(0x44, "" if n else "requested-attributes", name) for n, name in enumerate(WANTED))
    return ippwire.request(0x000A, ippwire.printer(), ippwire.user(user), *attributes, wanted)


@dataclass(frozen=True)
class Fleet:
    """Nodes of a state folder, and the service that asks them."""

    state: State
    specs: Sequence[NodeSpec]
    port: int

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{spec.port}/" for spec in self.specs]

    @property
    def service(self) -> str:
        return f"http://127.0.0.1:{self.port}/printers/office"

    def headers(self, user: str = "demo") -> dict[str, str]:
        return {**HEADERS, "X-Fleet-User": user, "X-Fleet-Secret": self.state.secret()}


@contextmanager
def running_fleet(folder: Path, count: int) -> Iterator[Fleet]:
    state, driver = State(folder), ProcessDriver()
    state.prepare()
    specs = [
        NodeSpec(f"node-{slot}", slot, first_id(slot), "127.0.0.1", free_port(), state.nodes / f"node-{slot}")
        for slot in range(1, count + 1)
    ]
    fleet = Fleet(state, specs, free_port())
    record = state.processes / "service.json"
    try:
        with Store(state.database, create=True) as store, store.transaction():
            for spec in specs:
                driver.start(spec)
                declare(spec.host, spec.port, driver.token(spec), [Queue("office", "socket://127.0.0.1:9")], 30)
                store.put_node(Node(spec.name, spec.slot, "process", spec.host, spec.port, NodeState.READY))
        options = ["--state", str(folder), "--port", str(fleet.port), "--deadline", "10"]
        state.secret()
        processes.spawn([sys.executable, "-m", "controller.whole_queue", *options], record, state.logs / "service.log")
        eventually(lambda: _listens(fleet.port))
        yield fleet
    finally:
        processes.end(record)
        for spec in specs:
            driver.remove(spec)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def post(http: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str] = HEADERS) -> bytes:
    async with http.post(url, data=body, headers=headers) as answer:
        said = await answer.read()
        assert answer.status == 200, (answer.status, said)
        assert ippwire.status(said) == 0
        return said


async def fill(http: aiohttp.ClientSession, fleet: Fleet, jobs: int) -> None:
    """Held jobs, as many on each node."""
    body = ippwire.request(
        0x0005, ippwire.printer(), ippwire.user("demo"), attribute(0x42, "job-name", "x"), groups=HELD
    )
    for url in fleet.urls:
        for _ in range(jobs):
            await post(http, url, body)


Question = Callable[[int], Awaitable[object]]


async def timed(question: Question, times: int) -> list[float]:
    """Milliseconds of each question, one after another; the first ones, which make connections, do not count."""
    for number in range(5):
        await question(number)
    found = []
    for number in range(times):
        begun = time.perf_counter()
        await question(number)
        found.append(1000 * (time.perf_counter() - begun))
    return found


async def polled(http: aiohttp.ClientSession, fleet: Fleet, pollers: int, seconds: float) -> list[float]:
    """Milliseconds of each answer to clients that ask once a second each, spread over it."""
    found: list[float] = []
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        user = f"user{number}"
        mine = get_jobs(attribute(0x22, "my-jobs", b"\1"), user=user)
        await asyncio.sleep(number / pollers)
        while (begun := time.perf_counter()) < until:
            await post(http, fleet.service, mine, fleet.headers(user))
            took = time.perf_counter() - begun
            found.append(1000 * took)
            await asyncio.sleep(max(0.0, 1 - took))

    await asyncio.gather(*(client(number) for number in range(pollers)))
    return found


def row(what: str, nodes: int, times: Sequence[float]) -> None:
    ordered = sorted(times)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    print(f"| {what} | {nodes} | {p50:.1f} | {p99:.1f} | {len(ordered)} |", flush=True)


async def measure(fleet: Fleet, given: argparse.Namespace) -> None:
    nodes, body = len(fleet.specs), get_jobs()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await fill(http, fleet, given.jobs)

        async def directly(url: str, _: int) -> bytes:
            return await post(http, url, body)

        each = []
        for url in fleet.urls:
            each.append(await timed(partial(directly, url), max(20, given.questions // nodes)))
        row("one node directly, the slowest", nodes, max(each, key=lambda times: sorted(times)[len(times) // 2]))

        async def at_once(_: int) -> None:
            await asyncio.gather(*(post(http, url, body) for url in fleet.urls))

        row("all nodes at once, not merged", nodes, await timed(at_once, given.questions))
        times = await timed(lambda _: post(http, fleet.service, body, fleet.headers()), given.questions)
        row("the service", nodes, times)
        answer = await post(http, fleet.service, body, fleet.headers())
        assert len(ippwire.integers(answer, "job-id")) == nodes * given.jobs
        row(f"{given.pollers} polling clients", nodes, await polled(http, fleet, given.pollers, 10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--pollers", type=int, default=200)
    given = parser.parse_args()
    print("| Get-Jobs | nodes | p50, ms | p99, ms | answers |\n| --- | ---: | ---: | ---: | ---: |")
    for count in given.nodes:
        with tempfile.TemporaryDirectory(prefix="whole-queue-") as folder, running_fleet(Path(folder), count) as fleet:
            asyncio.run(measure(fleet, given))


if __name__ == "__main__":
    main()
