"""One look at all nodes at once. A node that hangs costs its own deadline and nobody else's time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

import aiohttp

from probes import ipp
from probes.errors import ProbeError, Refused, Unintelligible
from probes.ipp import Server
from probes.reading import Reading

AT_ONCE = 512
"""Nodes that are visited at the same time: below the usual 1,024 open files of a process, and few enough that
a node's latency is its own and not the prober's."""
HELD_UP = 0.5
"""Seconds by which a time-out may come late. Beyond, the silence was the prober's, and the node is asked again."""


@dataclass(frozen=True)
class Target:
    """A node to be visited. user: the name that may see whose jobs they are (the driver's token has it)."""

    name: str
    host: str
    port: int
    user: str = "cupsfleet"
    tls: bool = False
    verify: bool = False
    also_tls: bool = False
    """Ask it one thing over TLS as well, as the proxies do; the answer's `tls_error` tells."""


async def sweep(targets: Iterable[Target], deadline: float) -> dict[str, Reading]:
    """A reading for each target, by name. deadline: seconds for one node, counted from its turn. Raises nothing."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with ipp.session() as http:
        readings = await asyncio.gather(*(_visit(http, target, deadline, turn) for target in targets))
    return {reading.node: reading for reading in readings}


async def _visit(http: aiohttp.ClientSession, target: Target, deadline: float, turn: asyncio.Semaphore) -> Reading:
    async with turn:
        reading, late = await _look(http, target, deadline)
        if late > HELD_UP:  # it was us: the machine slept, or this process did not get to run
            reading, _ = await _look(http, target, deadline)
    return reading


async def _look(http: aiohttp.ClientSession, target: Target, deadline: float) -> tuple[Reading, float]:
    """A reading, and by how many seconds its time-out came too late (0 when there was none)."""
    server = Server(target.host, target.port, target.user, target.tls, target.verify)
    due = time.monotonic() + deadline
    try:
        async with asyncio.timeout(deadline):
            seen = await ipp.look(http, server, target.name)
    except TimeoutError:
        now = time.monotonic()
        return Reading(target.name, now, error=f"no answer within {deadline:g} s"), now - due
    except ProbeError as failure:
        refused = isinstance(failure, Refused | Unintelligible)
        return Reading(target.name, time.monotonic(), error=str(failure), refused=refused), 0.0
    if target.also_tls:
        seen = replace(seen, tls_error=await _tls_error(http, replace(server, tls=True), deadline))
    return seen, 0.0


async def _tls_error(http: aiohttp.ClientSession, server: Server, deadline: float) -> str:
    """'' when the server, which answers without TLS, answers with it too."""
    try:
        async with asyncio.timeout(deadline):
            await ipp.ask(http, server, ipp.DEFAULT)
    except TimeoutError:
        return f"no answer over TLS within {deadline:g} s"
    except ProbeError as failure:
        return f"over TLS: {failure}"
    return ""
