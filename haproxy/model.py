"""What a proxy is told, as one value.

Everything a proxy does follows from an `Edge`: the configuration file is rendered from it, the runtime commands are
the difference between two of them, and drift is its difference to what the proxy reports. The same value always
renders the same file, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SLOT_IDS = 1_000_000
"""Ids (of jobs and of subscriptions) that belong to one slot: slot k owns k*SLOT_IDS+1 … (k+1)*SLOT_IDS."""

LAST_SLOT = (2**31 - 1) // SLOT_IDS - 1
"""The last one whose ids are all IPP integers (RFC 8010 3.9)."""


def slot_of(ipp_id: int) -> int:
    """The slot that owns a job id or subscription id; 0 means that no slot does."""
    return max(ipp_id - 1, 0) // SLOT_IDS


def slot_named(server: str) -> int | None:
    """The slot of a server line by its name, `n12`; None for the lines that are no node's."""
    return int(server[1:]) if server[:1] == "n" and server[1:].isdigit() else None


def first_id(slot: int) -> int:
    """The first id that a node in this slot may give out."""
    return slot * SLOT_IDS + 1


@dataclass(frozen=True, order=True)
class Server:
    """A node as the proxy sees it: the occupant of one slot.

    weight: 1…256 for new work, 0 to give it no new work (its own jobs are still served). A node that is not yet
    proved, drains, or is being restarted has weight 0.
    """

    slot: int
    host: str
    port: int
    weight: int = 100
    ca_file: Path | None = None
    """Certificates that the node's own must lead to; None accepts any, which is right on loopback only."""

    @property
    def name(self) -> str:
        """Read by `slot_named`."""
        return f"n{self.slot}"


@dataclass(frozen=True, order=True)
class User:
    name: str
    password_hash: str
    """SHA-512 crypt, `$6$…` (crypt(5)); never plain text."""
    admin: bool = False


@dataclass(frozen=True)
class Edge:
    """One proxy's whole task.

    Invariants: at most one server per slot; every slot lies in 1…max_slots; users are unique by name.
    """

    port: int
    """TCP port of the front door, TLS on every address of `listen`."""
    certificate: Path
    """PEM file: certificate chain and private key."""
    users: tuple[User, ...]
    servers: tuple[Server, ...]
    max_slots: int
    dashboard_port: int
    """Loopback port on which the dashboard listens."""
    stats_port: int
    """Loopback port of the statistics page."""
    whole_port: int
    """Loopback port of the service that answers for the whole queue. While it is down, any one node does."""
    secret: str
    """Proves to dashboard and service that a request came through the door, and opens the statistics page."""
    listen: str = "*"
    """Local address: `*` for every IPv4 address, `::` for every address of both families."""
    host_header: str = "localhost"
    """The host that nodes see and put into the URIs they hand out; `:port` is added when rendered."""
    source_address: str | None = None
    """Local address from which connections to nodes are made; a node reached over 127/8 insists on `localhost`."""
    check_interval: float = 0.5
    """Seconds between two IPP health checks of a server."""
    check_timeout: float = 3.0
    """Seconds within which a check must be answered. A busy node answers late, so keep it generous."""
    moved_slots: tuple[int, ...] = ()
    """Slots from which jobs were moved to other nodes: that service knows where to, and leads requests on."""
    whole_timeout: float = 5.0
    """Seconds within which that service must answer. If it is late, its check says so by then, and a node is asked."""
    maxconn: int = 90
    """Connections to a node that each of the four backends may have at a time; what is more waits for its turn. A
    cupsd that has reached its MaxClients answers nobody, so all backends of all proxies together stay below that."""
    threads: int = 2
    """Of the worker; what HAProxy would take of itself is one for each processor that it may run on, 64 at most."""
    run_as: str | None = None
    """User that the worker becomes after it has read its files, when the proxy is started by root."""

    def __post_init__(self) -> None:
        slots = [server.slot for server in self.servers]
        if len(set(slots)) != len(slots):
            raise ValueError(f"more than one server in a slot: {sorted(slots)}")
        if outside := [slot for slot in slots if not 1 <= slot <= self.max_slots]:
            raise ValueError(f"slots {outside} lie outside 1…{self.max_slots}")
        names = [user.name for user in self.users]
        if len(set(names)) != len(names):
            raise ValueError("a user name occurs twice")
