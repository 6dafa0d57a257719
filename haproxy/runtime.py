"""Talks to a running HAProxy over its two sockets, and believes only answers that are known to mean success.

The sockets lie in the proxy's folder under short names. They are reached through a directory handle
(`/proc/self/fd/N/name`), because a unix socket's path may have about 100 characters while folders lie deeper.
Formats: HAProxy management guide, 9.3 (stats socket) and 9.4 (master socket).
"""

from __future__ import annotations

import csv
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from haproxy.diff import (
    BACKENDS,
    BALANCED,
    DeclareDown,
    Enable,
    Line,
    Maintain,
    MapSlot,
    Observed,
    Reload,
    SetAddress,
    SetWeight,
    Step,
    UnmapSlot,
)
from haproxy.errors import ProxyDown, RuntimeRefused
from haproxy.model import slot_named
from haproxy.render import MAP, SOCKETS

MASTER = "master.sock"
DEADLINE = 5.0
"""Seconds that a whole exchange on a socket may take."""
FORCED_MAINTENANCE, FORCED_DRAIN = 0x01, 0x08
"""Bits of srv_admin_state (management guide, "show servers state")."""
CHECK_ENABLED = 0x04
"""Bit of srv_check_state."""
FRONTENDS = ("door", "upgraded", "front", "anynode", "anyhow", "statistics")
FRONTENDS_ONLY = "show stat -1 1 -1"
RATE_LIMITS = ("ConnRateLimit", "SessRateLimit", "SslRateLimit")

NOTHING = r"\s*"
_CHANGE = r"(no need to change the {0}|{1} changed from '[^']*' to '[^']*')"
_ADDRESS, _PORT = _CHANGE.format("addr", "IP"), _CHANGE.format("port", "port")
ADDRESS_CHANGED = rf"(nothing changed|({_ADDRESS}, )?{_PORT}|{_ADDRESS})( by 'stats socket command')?\s*"
"""HAProxy 2.6 says of address and port whether they changed; from 3.0 on what did not change is not mentioned."""


@dataclass(frozen=True)
class Processes:
    """Answer to `show proc`: the master, how many reloads it failed at, its current and its old workers."""

    master: int
    failed: int
    workers: tuple[int, ...]
    old_workers: tuple[int, ...]


class Runtime:
    """One proxy's sockets. Every call has a deadline and raises ProxyDown or RuntimeRefused."""

    def __init__(self, folder: Path, deadline: float = DEADLINE) -> None:
        self.folder, self.deadline = folder, deadline

    def carry_out(self, step: Step) -> None:
        """Give the one command that the step stands for; a reload is not among them."""
        command, expected = command_for(step)
        answer = self.ask(command)
        if not re.fullmatch(expected, answer):
            raise RuntimeRefused(
                f"HAProxy in {self.folder} answered {answer.strip()!r} to {command!r}; "
                "that is not known to mean success, so the proxy counts as drifted: apply again, or reload it"
            )

    def observe(self) -> Observed:
        """What the current worker does."""
        table, info = self.ask("show servers state"), self.info()
        servers, frontends = parse_servers(table), self.ask(FRONTENDS_ONLY)
        return Observed(
            fingerprint=info.get("description", ""),
            pool=servers["pool"],
            reads=servers["reads"],
            anyhow=servers["anyhow"],
            owner=servers["owner"],
            slots_map=parse_map(self.ask(f"show map {MAP}")),
            unexpected=(*odd_servers(table), *odd_frontends(frontends, info), *odd_limits(info)),
        )

    def info(self) -> dict[str, str]:
        """Answer to `show info`."""
        pairs = (line.partition(":") for line in self.ask("show info").splitlines())
        return {name.strip(): value.strip() for name, _, value in pairs}

    def worker(self) -> int:
        """Pid of the worker that answers on the stats socket."""
        return int(self.info().get("Pid", "0"))

    def processes(self) -> Processes:
        """Raises ProxyDown also while the master re-executes itself, when it closes without an answer."""
        answer = self.ask("show proc", MASTER)
        if not answer.strip():
            raise ProxyDown(f"the HAProxy master in {self.folder} gave no answer; it may be reloading, ask again")
        return parse_processes(answer)

    def order_reload(self) -> str:
        """Ask the master for a new worker; returns what was said when there is none, '' when it is not known yet.

        HAProxy 2.6 answers nothing, later ones whether it came, and what it said.
        """
        answer = self.ask("reload", MASTER, deadline=30.0)
        if not re.match(r"\s*\Z|Success=[01]\b", answer):
            raise RuntimeRefused(f"the HAProxy master in {self.folder} refused to reload: {answer.strip()[:500]}")
        return answer if answer.startswith("Success=0") else ""

    def ask(self, command: str, name: str = SOCKETS["stats"], deadline: float | None = None) -> str:
        """One command, its whole answer."""
        end = time.monotonic() + (deadline or self.deadline)
        try:
            with self._connected(name, end) as connection:
                connection.sendall(command.encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)
                return b"".join(_received(connection, end)).decode(errors="replace")
        except OSError as error:
            raise ProxyDown(
                f"HAProxy in {self.folder} does not answer on {name} ({error}); see haproxy.log there, or start it"
            ) from error

    @contextmanager
    def _connected(self, name: str, end: float) -> Iterator[socket.socket]:
        folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(max(end - time.monotonic(), 0.01))
                connection.connect(f"/proc/self/fd/{folder}/{name}")
                yield connection
        finally:
            os.close(folder)


def command_for(step: Step) -> tuple[str, str]:
    """A step's runtime command and the pattern of the answers that mean it was carried out."""
    match step:
        case Maintain(slot):
            return f"set server pool/n{slot} state maint", NOTHING
        case Enable(slot):
            return f"set server pool/n{slot} state ready", NOTHING
        case DeclareDown(slot):
            return f"set server pool/n{slot} health down", NOTHING
        case SetWeight(slot, weight):
            # With no weight for a moment it forgets its turn. Else round robin keeps one that it has promised when a
            # weight is lowered (lb_fwrr.c, npos), and the next job goes to a server that is busy by now.
            forget = f"set server pool/n{slot} weight 0"
            each = (f"set server {backend}/n{slot} weight {weight}" for backend in BALANCED)
            return "; ".join((forget, *each)), NOTHING
        case SetAddress(slot, backend, host, port):
            return f"set server {backend}/n{slot} addr {host} port {port}", ADDRESS_CHANGED
        case MapSlot(slot):
            return f"add map {MAP} {slot} n{slot}", NOTHING
        case UnmapSlot(slot):
            return f"del map {MAP} {slot}", NOTHING
        case Reload(reason):
            raise ValueError(f"a reload is no runtime command: {reason}")


def parse_servers(text: str) -> dict[str, dict[int, Line]]:
    """The lines of each backend with slots by slot, from `show servers state`."""
    found: dict[str, dict[int, Line]] = {backend: {} for backend in BACKENDS}
    for fields in _server_rows(text):
        slot = slot_named(fields["srv_name"])
        if fields["be_name"] in found and slot is not None:
            found[fields["be_name"]][slot] = _line(fields)
    return found


def odd_servers(text: str) -> Iterator[str]:
    """What the same answer says of servers that no step of ours does. Slots are taken out in `pool` alone."""
    for fields in _server_rows(text):
        backend, name = fields["be_name"], f"{fields['be_name']}/{fields['srv_name']}"
        ours = backend in BACKENDS and slot_named(fields["srv_name"]) is not None
        in_pool = ours and backend == "pool"
        if not in_pool and int(fields["srv_admin_state"]) & (FORCED_MAINTENANCE | FORCED_DRAIN):
            yield f"server {name} was taken out"
        if (in_pool or name == "whole/service") and not int(fields["srv_check_state"]) & CHECK_ENABLED:
            yield f"server {name} is not checked"
        if ours and fields["srv_use_ssl"] == "0":
            yield f"server {name} is spoken to without TLS"


def odd_frontends(text: str, info: Mapping[str, str]) -> Iterator[str]:
    """Frontends that take no connections, or fewer than the worker as a whole, from `show stat`."""
    rows = {row["pxname"]: row for row in csv.DictReader(text.removeprefix("# ").splitlines())}
    for name in FRONTENDS:
        row = rows.get(name, {"status": "gone"})
        if row["status"] != "OPEN":
            yield f"frontend {name} is {row['status']}"
        elif row["slim"] != info.get("Hard_maxconn"):
            yield f"frontend {name} takes {row['slim']} connections only"


def odd_limits(info: Mapping[str, str]) -> Iterator[str]:
    """Limits of the worker as a whole that were set at run time, from `show info`."""
    if info.get("Maxconn") != info.get("Hard_maxconn"):
        yield f"the worker takes {info.get('Maxconn')} connections only"
    yield from (f"{name} is {info[name]}" for name in RATE_LIMITS if info.get(name, "0") != "0")


def _server_rows(text: str) -> Iterator[Mapping[str, str]]:
    """Rows of `show servers state`, columns by their names."""
    rows = text.splitlines()
    heading = next((row for row in rows if row.startswith("# ")), None)
    if heading is None:
        raise RuntimeRefused("`show servers state` came without its heading; this HAProxy is not one we know")
    names = heading[2:].split()
    table = (dict(zip(names, row.split(), strict=False)) for row in rows[rows.index(heading) + 1 :])
    return (fields for fields in table if "srv_name" in fields)


def _line(fields: Mapping[str, str]) -> Line:
    admin = int(fields["srv_admin_state"])
    host = fields["srv_fqdn"] if fields["srv_fqdn"] != "-" else fields["srv_addr"]
    return Line(
        host=host,
        port=int(fields["srv_port"]),
        weight=int(fields["srv_uweight"]),
        maintenance=bool(admin & FORCED_MAINTENANCE),
        drained=bool(admin & FORCED_DRAIN),
    )


def parse_map(text: str) -> dict[int, str]:
    """Entries of the map, from lines `reference key value`."""
    rows = (row.split() for row in text.splitlines() if row.strip())
    return {int(row[1]): row[2] for row in rows if len(row) == 3 and row[1].isdigit()}


def parse_processes(text: str) -> Processes:
    """Answer to `show proc`, whose workers stand in sections."""
    section, master, failed = "", 0, 0
    found: dict[str, list[int]] = {"workers": [], "old workers": []}
    for row in text.splitlines():
        if row.startswith("#"):
            section = row.lstrip("# ").strip()
        elif match := re.match(r"(\d+)\s+master\s+\d+(?:\s+\[failed: (\d+)\])?", row):
            master, failed = int(match[1]), int(match[2] or 0)
        elif (match := re.match(r"(\d+)\s+worker\b", row)) and section in found:
            found[section].append(int(match[1]))
    if not master:
        raise RuntimeRefused(f"`show proc` lists no master: {text.strip()[:200]!r}; this HAProxy is not one we know")
    return Processes(master, failed, tuple(found["workers"]), tuple(found["old workers"]))


def _received(connection: socket.socket, end: float) -> Iterator[bytes]:
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer did not come to its end in time")
        connection.settimeout(left)
        try:
            data = connection.recv(65536)
        except ConnectionResetError:  # the master re-executes itself while it reloads
            return
        if not data:
            return
        yield data
