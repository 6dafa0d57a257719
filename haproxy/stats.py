"""Statistics of a running proxy, over its HTTP page.

Source: HAProxy management guide 9.1, the CSV's columns, which are read by name: their order differs between versions.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import requests

from haproxy.diff import BACKENDS
from haproxy.errors import ProxyDown
from haproxy.model import Edge, slot_named

DEADLINE = 3.0
"""Seconds for connecting, and again for each pause in the answer."""


@dataclass(frozen=True)
class ServerStats:
    """One server line. Times in seconds; totals since the worker started."""

    backend: str
    slot: int
    status: str
    """UP, DOWN, MAINT, DRAIN, `UP 1/2` …"""
    check_status: str
    """L7OK, L4CON, L7TOUT … of the last check; empty before the first and without checks."""
    check_milliseconds: int
    weight: int
    current_sessions: int
    queue: int
    last_change: int
    total_sessions: int
    connection_errors: int
    response_errors: int
    retries: int
    redispatches: int
    bytes_in: int
    bytes_out: int
    address: str

    @property
    def up(self) -> bool:
        return self.status.startswith(("UP", "DRAIN", "no check"))


@dataclass(frozen=True)
class FrontendStats:
    """One frontend; `front` is the one that people's requests pass."""

    name: str
    current_sessions: int
    total_sessions: int
    requests: int
    request_rate: int
    bytes_in: int
    bytes_out: int
    responses_4xx: int
    responses_5xx: int


@dataclass(frozen=True)
class Stats:
    """One reading of everything."""

    servers: tuple[ServerStats, ...]
    frontends: tuple[FrontendStats, ...]

    def server(self, backend: str, slot: int) -> ServerStats:
        return next(row for row in self.servers if (row.backend, row.slot) == (backend, slot))


def read(edge: Edge, deadline: float = DEADLINE) -> Stats:
    """Ask the worker. Raises ProxyDown."""
    url = f"http://127.0.0.1:{edge.stats_port}/stats;csv"
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy from the environment stands between us and loopback
            answer = session.get(url, auth=("fleet", edge.secret), timeout=deadline)
            answer.raise_for_status()
    except requests.RequestException as error:
        raise ProxyDown(f"no statistics from {url}: {error}; is the proxy running with this configuration?") from error
    return parse(answer.text)


def parse(text: str) -> Stats:
    """The CSV as values; rows and columns that are not ours are passed over."""
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("# "))))
    ours = ((row, slot_named(row["svname"])) for row in rows if row["pxname"] in BACKENDS)
    servers = tuple(_server(row, slot) for row, slot in ours if slot is not None)
    return Stats(servers, tuple(_frontend(row) for row in rows if row["svname"] == "FRONTEND"))


def _server(row: Mapping[str, str], slot: int) -> ServerStats:
    return ServerStats(
        backend=row["pxname"],
        slot=slot,
        status=row["status"],
        check_status=(row.get("check_status") or "").removeprefix("* "),
        check_milliseconds=_number(row, "check_duration"),
        weight=_number(row, "uweight", "weight"),
        current_sessions=_number(row, "scur"),
        queue=_number(row, "qcur"),
        last_change=_number(row, "lastchg"),
        total_sessions=_number(row, "stot"),
        connection_errors=_number(row, "econ"),
        response_errors=_number(row, "eresp"),
        retries=_number(row, "wretr"),
        redispatches=_number(row, "wredis"),
        bytes_in=_number(row, "bin"),
        bytes_out=_number(row, "bout"),
        address=row.get("addr") or "",
    )


def _frontend(row: Mapping[str, str]) -> FrontendStats:
    return FrontendStats(
        name=row["pxname"],
        current_sessions=_number(row, "scur"),
        total_sessions=_number(row, "stot"),
        requests=_number(row, "req_tot"),
        request_rate=_number(row, "req_rate"),
        bytes_in=_number(row, "bin"),
        bytes_out=_number(row, "bout"),
        responses_4xx=_number(row, "hrsp_4xx"),
        responses_5xx=_number(row, "hrsp_5xx"),
    )


def _number(row: Mapping[str, str], *names: str) -> int:
    """The first of these columns that holds a number; 0 when none does."""
    for name in names:
        if text := row.get(name):
            return int(text)
    return 0
