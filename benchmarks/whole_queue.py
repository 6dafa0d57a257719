"""How long a question about the whole queue takes, beside the same question to one cupsd.

    .venv/bin/python -m benchmarks.whole_queue [--nodes 1 5 20] [--jobs 500] [--questions 200] [--pollers 200]

A whole fleet with as many held jobs of one user on each node, one fleet size after another:
    directly      Get-Jobs to each node in turn: what the slowest node needs for its own part
    at once       the same to all nodes at the same moment, without anything of ours: what this machine can do
    front door    the same question for all jobs at the front door, one after another
    pollers       that many clients at the front door, each a user with five jobs, who ask for their own once a second
Prints a row of docs/benchmarks.md for each. Times are of the one who asks, in milliseconds; *incomplete* are answers
that say that a node, or the service that asks all of them, did not answer in time; *failed* ones are none in IPP.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import aiohttp

from benchmarks.fleet import running_fleet
from controller.users import Users
from tests.process.edge import ippwire
from tests.process.edge.ippwire import attribute
from tests.process.fleet import Fleet, eventually

WANTED = ("job-id", "job-name", "job-state", "job-state-reasons", "job-originating-user-name", "time-at-creation")
HELD = b"\x02" + attribute(0x44, "job-hold-until", "indefinite")
MINE = attribute(0x22, "my-jobs", b"\1")
PASSWORD = "password of a colleague"
OWN_JOBS = 5
"""Of each poller."""


def get_jobs(*attributes: bytes) -> bytes:
    wanted = b"".join(attribute(0x44, "" if n else "requested-attributes", name) for n, name in enumerate(WANTED))
    return ippwire.request(0x000A, ippwire.printer(), ippwire.user("demo"), *attributes, wanted)


def held_job() -> bytes:
    title = attribute(0x42, "job-name", "x")
    return ippwire.request(0x0005, ippwire.printer(), ippwire.user("demo"), title, groups=HELD)


class Unanswered(Exception):
    """No answer in IPP. The message says what came instead."""


def is_incomplete(answer: bytes) -> bool:
    return b"did not answer in time" in answer


@dataclass
class Times:
    """What was measured of one way to ask. each: milliseconds of every answer."""

    each: list[float] = field(default_factory=list)
    incomplete: int = 0
    failed: int = 0

    async def of(self, question: Awaitable[bytes]) -> None:
        begun = time.perf_counter()
        try:
            said = await question
        except Unanswered:
            self.failed += 1
            return
        self.each.append(1000 * (time.perf_counter() - begun))
        self.incomplete += is_incomplete(said)

    def at(self, share: float) -> float:
        """A percentile."""
        ordered = sorted(self.each)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    def row(self, what: str, nodes: int) -> None:
        p50, p99 = self.at(0.5), self.at(0.99)
        counts = f"{len(self.each)} | {self.incomplete} | {self.failed}"
        print(f"| {what} | {nodes} | {p50:.1f} | {p99:.1f} | {counts} |", flush=True)


@dataclass(frozen=True)
class Asking:
    """Asks the nodes of a fleet, and its front door."""

    http: aiohttp.ClientSession
    fleet: Fleet
    addresses: Sequence[str]

    async def node(self, address: str, body: bytes) -> bytes:
        return await self._post(f"http://{address}/", body, {})

    async def nodes(self, body: bytes) -> bytes:
        return b"".join(await asyncio.gather(*(self.node(address, body) for address in self.addresses)))

    async def door(self, body: bytes, user: str, password: str) -> bytes:
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        url = f"https://localhost:{self.fleet.port}/printers/office"
        return await self._post(url, body, {"Authorization": f"Basic {login}"})

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> bytes:
        everything = {"Content-Type": "application/ipp", "Host": "localhost", **headers}
        async with self.http.post(url, data=body, headers=everything, ssl=False) as answer:
            said = await answer.read()
            if answer.status != 200:
                raise Unanswered(f"{answer.status} {said!r}")
            assert ippwire.status(said) == 0, said[:200]
            return said


async def timed(question: Callable[[], Awaitable[bytes]], times: int) -> Times:
    """One answer after another; the first ones, which make connections, do not count."""
    for _ in range(5):
        await question()
    found = Times()
    for _ in range(times):
        await found.of(question())
    return found


async def polled(asking: Asking, pollers: int, seconds: float) -> Times:
    """Clients that ask once a second each, spread over it."""
    found = Times()

    async def client(number: int) -> None:
        me = (f"user{number}", PASSWORD)
        for _ in range(OWN_JOBS):
            await asking.door(held_job(), *me)
        await asyncio.sleep(number / pollers)
        until = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < until:
            await found.of(asking.door(get_jobs(MINE), *me))
            await asyncio.sleep(max(0.0, 1 - (time.perf_counter() - begun)))

    await asyncio.gather(*(client(number) for number in range(pollers)))
    return found


async def measure(fleet: Fleet, given: argparse.Namespace) -> None:
    addresses, body = [node["address"] for node in fleet.nodes()], get_jobs()
    count = len(addresses)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        asking = Asking(http, fleet, addresses)
        for address in addresses:
            for _ in range(given.jobs):
                await asking.node(address, held_job())
        eventually(lambda: fleet.status()["queue_depth"] >= count * given.jobs)
        share = max(20, given.questions // count)
        each = [await timed(partial(asking.node, address, body), share) for address in addresses]
        max(each, key=lambda times: times.at(0.5)).row("one node directly, the slowest", count)
        (await timed(lambda: asking.nodes(body), given.questions)).row("all nodes at once, not merged", count)
        ask = partial(asking.door, body, "demo", fleet.password())
        (await timed(ask, given.questions)).row("the front door", count)
        told = await ask()
        found, said = len(ippwire.integers(told, "job-id")), ippwire.values(told, "status-message")
        (await polled(asking, given.pollers, 10)).row(f"{given.pollers} polling clients", count)
        assert found == count * given.jobs or is_incomplete(told), (found, said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--pollers", type=int, default=200)
    given = parser.parse_args()
    print("| Get-Jobs | nodes | p50, ms | p99, ms | answers | incomplete | failed |")
    print("| --- |" + 6 * " ---: |")
    for count in given.nodes:
        with running_fleet(count) as fleet:
            for number in range(given.pollers):
                Users(fleet.state / "users").add(f"user{number}", PASSWORD)
            fleet.done("user", "add", "bench", stdin="pw\n")  # so that the proxy reads them all
            asyncio.run(measure(fleet, given))


if __name__ == "__main__":
    main()
