"""The steps from what a proxy does to what it should do. Pure.

A step is a runtime command, or a reload where no command can express the change. Steps are in an order in which
every interrupted prefix is safe:

- a slot's address changes only while the slot is in maintenance;
- a slot leaves maintenance with weight 0, is then declared down, and only after that gets its weight: it is
  HAProxy's own next passed check that admits it;
- a slot enters the map after it has its address, and leaves it after maintenance began: a request for one of its
  jobs meets its own node or an honest 503, never another node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from haproxy.model import Edge, Server
from haproxy.render import EMPTY_HOST, EMPTY_PORT, fingerprint, is_address

BACKENDS = ("pool", "reads", "anyhow", "owner")
"""Each holds every slot: for new work, plain reads, both of these while no check passes, and work that is bound to a
job. `reads` and `owner` track `pool`; `anyhow` knows no state, so that a slot there is kept out by its weight alone."""
BALANCED = BACKENDS[:3]
"""Those in which weights count."""


@dataclass(frozen=True)
class Line:
    """One server line as the worker has it."""

    host: str
    port: int
    weight: int
    maintenance: bool = False
    drained: bool = False
    """Drained by hand; we express that as weight 0, so it counts as drift."""


@dataclass(frozen=True)
class Observed:
    """What a running worker reports of itself."""

    fingerprint: str
    pool: Mapping[int, Line]
    reads: Mapping[int, Line]
    anyhow: Mapping[int, Line]
    owner: Mapping[int, Line]
    slots_map: Mapping[int, str]
    unexpected: tuple[str, ...] = ()
    """What somebody did to the worker that no edge asks for and no step here undoes, a sentence each."""

    def lines(self, slot: int) -> tuple[Line, ...]:
        """The slot's line in each backend, in the order of BACKENDS."""
        return self.pool[slot], self.reads[slot], self.anyhow[slot], self.owner[slot]

    def weights(self, slot: int) -> set[int]:
        """Weights where they count."""
        return {self.pool[slot].weight, self.reads[slot].weight, self.anyhow[slot].weight}


@dataclass(frozen=True)
class Reload:
    """Start a new worker from the file; `reason` says what no command can express."""

    reason: str


@dataclass(frozen=True)
class Maintain:
    """Take the slot out: no request, no check."""

    slot: int


@dataclass(frozen=True)
class SetWeight:
    """Share of new work and of reads, 0…256; 0 gives none and leaves bound work alone."""

    slot: int
    weight: int


@dataclass(frozen=True)
class SetAddress:
    """Point one backend's server at another address; only in maintenance."""

    slot: int
    backend: str
    host: str
    port: int


@dataclass(frozen=True)
class Enable:
    """Leave maintenance, or a drain that was set by hand."""

    slot: int


@dataclass(frozen=True)
class DeclareDown:
    """Down until a check has passed."""

    slot: int


@dataclass(frozen=True)
class MapSlot:
    """Route ids of the slot to its server."""

    slot: int


@dataclass(frozen=True)
class UnmapSlot:
    """Forget the slot's route; a request for one of its ids then goes to any node, which says not found."""

    slot: int


Step = Reload | Maintain | SetWeight | SetAddress | Enable | DeclareDown | MapSlot | UnmapSlot


@dataclass(frozen=True)
class Plan:
    """Steps in the order in which they are to be carried out."""

    steps: tuple[Step, ...] = field(default=())

    @property
    def reloads(self) -> bool:
        return any(isinstance(step, Reload) for step in self.steps)


def changes(old: Edge | Observed, new: Edge) -> Plan:
    """What has to happen for a worker that is like `old` to be like `new`.

    A reload in the plan stands first and loads `between(old, new)`: it keeps every slot as it was, so that no new
    address is admitted without a check.
    """
    before = observed(old) if isinstance(old, Edge) else old
    if before.fingerprint == fingerprint(new) and not before.unexpected:
        return Plan(tuple(_slot_steps(before, new)))
    after_reload = _unproved(before, new, observed(between(before, new)))
    reload = Reload("; ".join(before.unexpected) or "something other than the servers' addresses and weights changed")
    return Plan((reload, *_slot_steps(after_reload, new)))


def between(before: Observed, new: Edge) -> Edge:
    """The edge to reload with: everything of `new`, but each slot's occupant as it is now.

    A slot whose occupant is another one starts with weight 0; one whose weight differs starts with the smaller.
    """
    return replace(new, servers=tuple(_carry(before, server) for server in new.servers))


def observed(edge: Edge) -> Observed:
    """A worker that has just loaded this edge."""
    occupants = {server.slot: server for server in edge.servers}
    lines = {slot: _line(occupants.get(slot)) for slot in range(1, edge.max_slots + 1)}
    slots_map = {server.slot: server.name for server in edge.servers}
    return Observed(fingerprint(edge), lines, lines, lines, lines, slots_map)


def _carry(before: Observed, server: Server) -> Server:
    weight = before.pool[server.slot].weight if _known(before, server) else 0
    return replace(server, weight=min(weight, server.weight))


def _known(before: Observed, server: Server) -> bool:
    """Whether the slot's occupant was there, and checked, before."""
    line = before.pool.get(server.slot)
    return line is not None and not line.maintenance and (not is_address(server.host) or _at(line, server))


def _unproved(before: Observed, new: Edge, after: Observed) -> Observed:
    """A new worker calls every server up; those it was not told of before are planned for like slots in maintenance."""
    fresh = {server.slot for server in new.servers if not _known(before, server)}
    return replace(
        after, pool={n: replace(line, maintenance=line.maintenance or n in fresh) for n, line in after.pool.items()}
    )


def _line(server: Server | None) -> Line:
    if server is None:
        return Line(EMPTY_HOST, EMPTY_PORT, 0, maintenance=True)
    return Line(server.host, server.port, server.weight)


def _slot_steps(before: Observed, new: Edge) -> Iterator[Step]:
    occupants = {server.slot: server for server in new.servers}
    for slot in range(1, new.max_slots + 1):
        occupant = occupants.get(slot)
        yield from _occupied(before, slot, occupant) if occupant else _emptied(before, slot)
    for slot in sorted(set(before.slots_map) - set(range(1, new.max_slots + 1))):
        yield UnmapSlot(slot)


def _occupied(before: Observed, slot: int, server: Server) -> Iterator[Step]:
    pool = before.pool[slot]
    fixed = not is_address(server.host)
    if not pool.maintenance and (fixed or all(_at(line, server) for line in before.lines(slot))):
        if pool.drained:
            yield Enable(slot)
        yield from _mapped(before, server)
        if before.weights(slot) != {server.weight}:
            yield SetWeight(slot, server.weight)
        return
    if not pool.maintenance:
        yield Maintain(slot)
    if before.weights(slot) != {0}:
        yield SetWeight(slot, 0)
    if not fixed:
        yield from _addresses(before, slot, server.host, server.port)
    yield Enable(slot)
    yield DeclareDown(slot)
    yield from _mapped(before, server)
    if server.weight:
        yield SetWeight(slot, server.weight)


def _emptied(before: Observed, slot: int) -> Iterator[Step]:
    pool = before.pool[slot]
    if not pool.maintenance:
        yield Maintain(slot)
    if before.weights(slot) != {0}:
        yield SetWeight(slot, 0)
    if slot in before.slots_map:
        yield UnmapSlot(slot)
    yield from _addresses(before, slot, EMPTY_HOST, EMPTY_PORT)


def _mapped(before: Observed, server: Server) -> Iterator[Step]:
    known = before.slots_map.get(server.slot)
    if known not in (None, server.name):
        yield UnmapSlot(server.slot)
    if known != server.name:
        yield MapSlot(server.slot)


def _addresses(before: Observed, slot: int, host: str, port: int) -> Iterator[Step]:
    for backend, line in zip(BACKENDS, before.lines(slot), strict=True):
        if (line.host, line.port) != (host, port):
            yield SetAddress(slot, backend, host, port)


def _at(line: Line, server: Server) -> bool:
    return (line.host, line.port) == (server.host, server.port)
