"""The front door: what each proxy is to be told, and telling it."""

from __future__ import annotations

import os
import pwd
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from controller import certificate
from controller.addresses import LOCAL, every_address, host_header, own_address
from controller.config import Settings
from controller.decide.weights import given
from controller.jobs.moves import MoveTable
from controller.nodes.settings import HISTORY_SECONDS, MAX_CLIENTS, STOCK_MAX_CLIENTS
from controller.ports import Ports
from controller.snapshot import Node, NodeState, ProxySight
from controller.state import State
from controller.store import Store
from controller.users import UserError, Users, stamp
from haproxy import old_workers
from haproxy.diff import BACKENDS, Reload, SetWeight
from haproxy.diff import Plan as ProxyPlan
from haproxy.errors import ProxyError
from haproxy.install import Proxy
from haproxy.model import Edge, Server, User
from haproxy.stats import ServerStats, read
from machine.ports import free

STATISTICS_DEADLINE = 1.0
"""Seconds to wait for a proxy's statistics in each pass."""
DRIFT_INTERVAL = 30
"""Passes between two comparisons of file, runtime and what is wanted."""
MOST_THREADS = 64
"""Of a group in HAProxy."""
NO_SHARES: Mapping[str, int] = {}
"""Every serving node gets as much."""


def servers_of(
    nodes: Iterable[Node], shares: Mapping[str, int] = NO_SHARES, ca_file: Path | None = None
) -> tuple[Server, ...]:
    """The nodes as the proxies know them: all but those that have no server yet, or none any more.

    One that is dead or comes back keeps its place, so that requests for its jobs are answered with 503 and not by
    another node, which would not know them. ca_file: by which those that someone else runs are judged, if they are.
    """
    return tuple(
        Server(
            slot=node.slot,
            host=node.host,
            port=node.port,
            weight=given(node, shares),
            ca_file=ca_file if node.driver == "existing" else None,
        )
        for node in sorted(nodes, key=lambda node: node.slot)
        if node.state not in (NodeState.ORDERED, NodeState.LEAVING, NodeState.RETIRED)
    )


def maxconn(nodes: Iterable[Node], proxies: int) -> int:
    """For Edge.maxconn: a fifth of what a server takes is left to the prober, the service for the whole queue and those
    who administer it."""
    room = STOCK_MAX_CLIENTS if any(node.driver == "existing" for node in nodes) else MAX_CLIENTS
    return max(1, min(Edge.maxconn, room * 4 // 5 // (len(BACKENDS) * proxies)))


@dataclass
class Door:
    """The proxies of one state folder. Safe to call from the loop and from the watch at once."""

    state: State
    _edges: dict[int, Edge] = field(default_factory=dict)
    _users: tuple[User, ...] | None = None
    _passes: int = 0
    _obeyed: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _problems: dict[str, str] = field(default_factory=dict)
    """What is wrong now, by subject."""

    def proxy(self, number: int) -> Proxy:
        return Proxy(self.state.proxy(number))

    def sync(
        self, settings: Settings, nodes: Iterable[Node], ports: Ports, shares: Mapping[str, int] = NO_SHARES
    ) -> list[str]:
        """Make every proxy match; returns what changed, in words. A proxy that refuses keeps its last good state."""
        nodes = tuple(nodes)
        name = settings.front_door.name
        unreachable = f"this machine has no address but loopback, so servers tell clients {LOCAL} instead of {name}"
        self._note("name", unreachable if host_header(settings) != name else "")
        pem, wrong = certificate.served(settings.front_door.certificate, self.state.certificate, time.time())
        self._note("certificate", wrong)
        authorities, wrong = certificate.trusted(settings.nodes.ca_file, self.state.certificate)
        self._note("authorities", wrong)
        servers = servers_of(nodes, shares, authorities)
        said: list[str] = []
        with self._lock:
            self._passes += 1
            users = self.users()
            wanted = () if users is None else (settings.front_door.port, *settings.front_door.more_ports)
            for number, port in enumerate(wanted, 1):
                try:
                    told = self._edge(settings, pem, servers, users or (), number, port, ports)
                    edge = replace(told, maxconn=maxconn(nodes, len(wanted)))
                except ValueError as error:
                    self._note(f"proxy {number}", f"proxy {number} can't be told: {error}")
                    continue
                said += self._tell(number, edge)
            if wanted:
                said += self._close_surplus(len(wanted))
            self._obeyed = bool(wanted) and not any(f"proxy {n}" in self._problems for n in range(1, len(wanted) + 1))
        return said

    def obeyed(self) -> bool:
        """Whether every proxy did what the last `sync` told it."""
        return self._obeyed

    def leads_on(self, slot: int) -> bool:
        """Whether no proxy leads requests for jobs that were moved from this slot to the node that had them."""
        with self._lock:
            edges = list(self._edges.values())
        return all(slot in edge.moved_slots or all(server.slot != slot for server in edge.servers) for edge in edges)

    def watch(self) -> list[str]:
        """Start again every proxy that is gone. Returns what was done, in words."""
        said = []
        with self._lock:
            for number, edge in self._edges.items():
                if not self.proxy(number).running():
                    known = f"proxy {number}" in self._problems
                    said += [] if known else [f"proxy {number} is gone"]
                    said += self._tell(number, edge)
        return said

    def sights(self) -> Mapping[int, tuple[ProxySight, ...]]:
        """What each proxy that can be asked says of each slot."""
        found: dict[int, list[ProxySight]] = {}
        with self._lock:
            edges = dict(self._edges)
        for number, edge in edges.items():
            try:
                stats = read(edge, STATISTICS_DEADLINE)
            except ProxyError as error:
                self._note(f"statistics of proxy {number}", str(error))
                continue
            self._note(f"statistics of proxy {number}", "")
            for slot, sight in _by_slot(number, stats.servers, self._old_sessions(number, edge)).items():
                found.setdefault(slot, []).append(sight)
        return {slot: tuple(sights) for slot, sights in found.items()}

    def problems(self) -> list[str]:
        """What is wrong with the door now, one sentence each."""
        with self._lock:
            return list(self._problems.values())

    def hindrances(self) -> list[str]:
        """Those problems that keep people out, or leave a proxy with an old list of them."""
        with self._lock:
            return [said for subject, said in self._problems.items() if subject.startswith(("proxy ", "users"))]

    def known_users(self) -> str | None:
        """Stamp of the user list that every proxy has; None while one of them is behind."""
        with self._lock:
            stamps = {stamp(edge.users) for edge in self._edges.values()}
            return stamps.pop() if len(stamps) == 1 and not self.hindrances() else None

    def _old_sessions(self, number: int, edge: Edge) -> dict[int, int] | None:
        """Connections by slot of workers that a reload left behind; None when they can't be seen."""
        try:
            leading_to = old_workers.connections(self.proxy(number).runtime)
        except (ProxyError, OSError):
            return None
        return {server.slot: leading_to[server.port] for server in edge.servers}

    def users(self) -> tuple[User, ...] | None:
        """The user list; when its file is missing or broken, the last one that was good, or None when none was."""
        try:
            if not self.state.users.exists():
                raise UserError(f"{self.state.users} is missing; put it back, or begin a new list with: user add NAME")
            self._users = Users(self.state.users).all()
            self._note("users", "")
        except (UserError, OSError) as error:
            self._note("users", f"the user list can't be used, the proxies keep the last one: {error}")
        return self._users

    def _edge(
        self,
        settings: Settings,
        pem: Path,
        servers: tuple[Server, ...],
        users: tuple[User, ...],
        number: int,
        port: int,
        ports: Ports,
    ) -> Edge:
        door = settings.front_door
        return Edge(
            port=port,
            listen=every_address() if door.listen == "*" else door.listen,
            certificate=pem,
            users=users,
            servers=servers,
            max_slots=max([settings.slots, *(server.slot for server in servers)]),
            dashboard_port=ports.of("dashboard"),
            stats_port=self._stats_port(number, ports),
            secret=self.state.secret(),
            host_header=host_header(settings),
            source_address=own_address(settings),
            check_timeout=settings.health.deadline,
            moved_slots=self._moved(servers, ports.store),
            whole_port=ports.of("whole-queue"),
            whole_timeout=2 * settings.whole_queue.deadline + 1.0,  # some questions need two rounds
            threads=min(len(os.sched_getaffinity(0)), MOST_THREADS),
            run_as=_unprivileged(),
        )

    def _moved(self, servers: tuple[Server, ...], store: Store) -> tuple[int, ...]:
        left = MoveTable(store).slots_left(time.time() - HISTORY_SECONDS)
        return tuple(slot for slot in left if any(server.slot == slot for server in servers))

    def _stats_port(self, number: int, ports: Ports) -> int:
        """A port of ours that somebody else took while the proxy was down is given up for another one."""
        port = ports.of(f"stats-{number}")
        if number not in self._edges and not self.proxy(number).running() and not free("127.0.0.1", port):
            return ports.move(f"stats-{number}")
        return port

    def _tell(self, number: int, edge: Edge) -> list[str]:
        """Start or change a proxy, unless it is known to be right. A failure is a problem until it succeeds."""
        subject, proxy = f"proxy {number}", self.proxy(number)
        known = self._edges.get(number)
        if known == edge and self._passes % DRIFT_INTERVAL and subject not in self._problems and proxy.running():
            return []
        try:
            applied = proxy.apply(edge) if proxy.running() else proxy.start(edge)
        except ProxyError as error:
            return [f"{subject}: {error}"] if self._note(subject, str(error)) else []
        self._edges[number] = edge
        self._note(subject, "")
        return [f"{subject}: {_words(applied.plan)}"] if _tells(applied.plan) else []

    def _note(self, subject: str, problem: str) -> bool:
        """Remember what is wrong with a subject ('' for nothing); whether that is news."""
        with self._lock:
            news = self._problems.get(subject, "") != problem
            if problem:
                self._problems[subject] = problem
            else:
                self._problems.pop(subject, None)
        return news

    def _close_surplus(self, count: int) -> list[str]:
        """End proxies beyond `count`, also those that an earlier controller had."""
        said = []
        for number in _proxy_numbers(self.state):
            if number > count:
                if self.proxy(number).running():
                    self.proxy(number).stop()
                    said.append(f"proxy {number} is ended, for no port is configured for it")
                self._edges.pop(number, None)
                for subject in (f"proxy {number}", f"statistics of proxy {number}"):
                    self._note(subject, "")
        return said


def _by_slot(proxy: int, servers: Iterable[ServerStats], old: Mapping[int, int] | None) -> dict[int, ProxySight]:
    """One sight per slot: the check is the pool's, sessions and errors are those of all backends."""
    rows = list(servers)
    sessions: dict[int, int] = dict(old or {})
    errors: Counter[int] = Counter()
    for row in rows:
        sessions[row.slot] = sessions.get(row.slot, 0) + row.current_sessions + row.queue
        errors[row.slot] += row.connection_errors

    def seen(slot: int) -> int | None:
        return None if old is None else sessions[slot]

    return {
        row.slot: ProxySight(
            proxy, row.up and row.check_status.endswith("OK"), seen(row.slot), row.check_status, errors[row.slot]
        )
        for row in rows
        if row.backend == "pool"
    }


def _tells(plan: ProxyPlan) -> bool:
    """Whether a change is worth an event: that work shifts between serving nodes is none."""
    return not all(isinstance(step, SetWeight) and step.weight for step in plan.steps)


def _words(plan: ProxyPlan) -> str:
    """What was done to a proxy, as an event says it."""
    reloads = [f"reloaded, for {step.reason}" for step in plan.steps if isinstance(step, Reload)]
    slots = sorted({step.slot for step in plan.steps if not isinstance(step, Reload)})
    changed = f"changed at run time: slot {', '.join(map(str, slots))}"
    return ", then ".join([*reloads, *([changed] if slots else [])])


def stop_proxies(state: State) -> None:
    """End every proxy that has a folder here."""
    for number in _proxy_numbers(state):
        Proxy(state.proxy(number)).stop()


def trim_logs(state: State) -> None:
    """Keep the proxies' logs from filling the disk. Raises ProxyError."""
    for number in _proxy_numbers(state):
        Proxy(state.proxy(number)).trim_log()


def _proxy_numbers(state: State) -> list[int]:
    names = (folder.name.removeprefix("proxy-") for folder in state.folder.glob("proxy-*"))
    return sorted(int(name) for name in names if name.isdigit())


def _unprivileged() -> str | None:
    """The user that a proxy started by root turns into."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("haproxy").pw_name
    except KeyError:
        return None
