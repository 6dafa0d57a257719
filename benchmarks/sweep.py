"""How long one look at the whole fleet takes, against what an administrator would write with the same libraries.

    .venv/bin/python -m benchmarks.sweep [--nodes 10 100 1000 5000] [--jobs 3] [--rounds 5]

Nodes are simulated by an IPP responder in a process of its own, each node an address of 127.1/16: real sockets and
real bytes (those of CUPS 2.4: queues and open jobs as our readings ask for them, or a full Get-Printer-Attributes of
7 KB). Compared are
    sweep        queues and open jobs of every node (probes.sweep), two requests
    pyipp        `await IPP(...).printer()` for all nodes at once, one shared session: queue state only, no jobs
    pyipp full   the same without `requested-attributes`, as execute() does by default
    pycups       getPrinters() and getJobs() for one node after another, in one process (up to 100 nodes: it is slow)
Prints the median wall and CPU time of the client, and the memory it grew to.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import statistics
import struct
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import aiohttp
import cups
from pyipp import IPP
from pyipp.enums import IppOperation

from probes.sweep import Target, sweep

Host: TypeAlias = tuple[str, int]


def attribute(tag: int, name: str, raw: bytes) -> bytes:
    return struct.pack(">BH", tag, len(name)) + name.encode() + struct.pack(">H", len(raw)) + raw


def answer(groups: list[bytes]) -> bytes:
    head = struct.pack(">bbHi", 2, 0, 0, 1) + b"\x01" + attribute(0x47, "attributes-charset", b"utf-8")
    head += attribute(0x48, "attributes-natural-language", b"en")
    body = head + b"".join(groups) + b"\x03"
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def queue() -> bytes:
    return (
        b"\x04"
        + attribute(0x42, "printer-name", b"office")
        + attribute(0x23, "printer-state", b"\0\0\0\4")
        + attribute(0x44, "printer-state-reasons", b"none")
        + attribute(0x22, "printer-is-accepting-jobs", b"\1")
        + attribute(0x21, "queued-job-count", b"\0\0\0\3")
    )


def job(number: int) -> bytes:
    return (
        b"\x02"
        + attribute(0x21, "job-id", struct.pack(">i", 1_000_000 + number))
        + attribute(0x45, "job-uuid", b"urn:uuid:481214f2-7a3e-3a64-51bb-0a9926431fd7")
        + attribute(0x45, "job-printer-uri", b"ipp://localhost:631/printers/office")
        + attribute(0x42, "job-originating-user-name", b"somebody")
        + attribute(0x23, "job-state", b"\0\0\0\3")
        + attribute(0x21, "job-k-octets", b"\0\0\1\0")
        + attribute(0x21, "time-at-creation", b"\x6b\0\0\0")
        + attribute(0x44, "job-state-reasons", b"none")
    )


def full() -> bytes:
    """About as much as CUPS 2.4 says of a raw queue: 120 attributes, 7 KB."""
    many = b"".join(
        attribute(0x44, f"attribute-number-{number:03d}", b"some-keyword-of-usual-length") for number in range(120)
    )
    return queue() + attribute(0x45, "printer-uri-supported", b"ipp://localhost/printers/office") + many


class Responder(asyncio.Protocol):
    """Answers whole requests that arrive in one piece, as those of the clients here do."""

    answers: dict[int, bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or len(body) < length_of(head):
            if b"100-continue" in head:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self.buffer = b""
        (operation,) = struct.unpack_from(">H", body, 2)
        small = operation != IppOperation.GET_PRINTER_ATTRIBUTES or b"requested-attributes" in body
        self.transport.write(self.answers[operation if small else -1])


def length_of(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def respond(ports: Any, jobs: int) -> None:
    Responder.answers = {
        IppOperation.CUPS_GET_PRINTERS: answer([queue()]),
        IppOperation.GET_JOBS: answer([job(number) for number in range(jobs)]),
        IppOperation.CUPS_GET_DEFAULT: answer([queue()]),
        IppOperation.GET_PRINTER_ATTRIBUTES: answer([queue()]),
        -1: answer([full()]),
    }

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Responder, "0.0.0.0", 0, backlog=4096)
        ports.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(serve())


async def by_sweep(hosts: list[Host]) -> None:
    readings = await sweep([Target(f"n{place}", *host) for place, host in enumerate(hosts)], 5.0)
    failed = [reading.error for reading in readings.values() if reading.error]
    assert not failed, failed[:3]


async def by_pyipp(hosts: list[Host], whole: bool = False) -> None:
    turn = asyncio.Semaphore(512)

    async def one(http: aiohttp.ClientSession, host: str, port: int) -> None:
        client = IPP(host, port=port, base_path="/printers/office", session=http)
        async with turn:
            if whole:
                await client.execute(IppOperation.GET_PRINTER_ATTRIBUTES, {"operation-attributes-tag": {}})
            else:
                await client.printer()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        await asyncio.gather(*(one(http, *host) for host in hosts))


def by_pycups(hosts: list[Host]) -> None:
    for host, port in hosts:
        connection = cups.Connection(host=host, port=port)
        connection.getPrinters()
        connection.getJobs(which_jobs="not-completed", my_jobs=False)


def measured(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median wall and CPU seconds."""
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus)


def run(coroutine: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    async def whole() -> None:
        await coroutine()

    return lambda: asyncio.run(whole())


def row(name: str, nodes: int, work: Callable[[], object], rounds: int) -> None:
    """Measured in a child, so that memory is the contender's own."""
    receiver, sender = multiprocessing.Pipe(False)

    def child() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wall, cpu = measured(work, rounds)
        sender.send((wall, cpu, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    wall, cpu, memory = receiver.recv()
    process.join()
    rate = nodes / wall
    print(f"{nodes:>6} nodes  {name:<12} {wall:8.3f} s wall  {cpu:8.3f} s CPU  {rate:8.0f} nodes/s  +{memory:6.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000, 5000])
    parser.add_argument("--jobs", type=int, default=3, help="open jobs on each node")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    receiver, sender = multiprocessing.Pipe(False)
    responder = multiprocessing.get_context("fork").Process(target=respond, args=(sender, given.jobs), daemon=True)
    responder.start()
    port: int = receiver.recv()
    print(f"{os.cpu_count()} CPUs, {given.jobs} open jobs a node, median of {given.rounds}")
    for nodes in given.nodes:
        hosts = [(f"127.1.{place // 250}.{place % 250 + 1}", port) for place in range(nodes)]
        row("sweep", nodes, run(partial(by_sweep, hosts)), given.rounds)
        row("pyipp", nodes, run(partial(by_pyipp, hosts)), given.rounds)
        row("pyipp full", nodes, run(partial(by_pyipp, hosts, True)), given.rounds)
        if nodes <= 1000:
            row("pycups", nodes, partial(by_pycups, hosts), given.rounds)
    responder.terminate()


if __name__ == "__main__":
    main()
