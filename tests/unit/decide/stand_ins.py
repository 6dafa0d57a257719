"""What the controller of a small world works with instead of sockets, processes and threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from controller.config import Settings
from controller.door import servers_of
from controller.effects import Outcome
from controller.nodes.driver import NodeError, NodeSpec, NotYet
from controller.plan import Declare, Evacuate, Prove, Remove, Rescue, Restart, Start, Step
from controller.ports import Ports
from controller.snapshot import Node
from controller.store import Store
from tests.unit.decide.machines import Machine

if TYPE_CHECKING:
    from tests.unit.decide.world import World

FINGERPRINT = "queues"
LONGEST_RETRY = 16.0
"""Seconds before an effect that failed is tried again: short, as all times here."""


class Crash(Exception):
    """The controller was killed here."""


class FragileStore(Store):
    """The real one; it can be told to lose its controller at the n-th write from now."""

    writes_left: int | None = None

    def _write(self) -> None:
        if self.writes_left is not None:
            self.writes_left -= 1
            if self.writes_left <= 0:
                self.writes_left = None
                raise Crash

    def put_node(self, node: Node) -> None:
        self._write()
        super().put_node(node)

    def retire_node(self, node: Node, reason: str) -> None:
        super().retire_node(node, reason)
        self._write()

    def event(self, kind: str, text: str, node: str = "") -> None:
        self._write()
        super().event(kind, text, node)

    def saw_id(self, slot: int, highest: int) -> None:
        self._write()
        super().saw_id(slot, highest)


class FewPorts(Ports):
    """Each is offered twice."""

    _ports = itertools.cycle(port for port in range(6001, 9000) for _ in range(2))

    def _choose(self) -> int:
        return next(self._ports)


class Door:
    """One proxy that does what it is told."""

    def __init__(self) -> None:
        self.weights: dict[int, int] = {}

    def sync(self, settings: Settings, nodes: Iterable[Node], ports: Ports, shares: Mapping[str, int]) -> list[str]:
        self.weights = {server.slot: server.weight for server in servers_of(nodes, shares)}
        return []

    def known_users(self) -> None:
        return None


class Crew:
    """Effects under way: they are done at the beginning of the next pass. As controller.effects.Crew otherwise."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._begun: dict[str, tuple[Step, Callable[[], int | None]]] = {}
        self._done: dict[str, tuple[Step, Outcome]] = {}
        self._pauses: dict[str, tuple[float, float]] = {}
        self._begun_at: dict[tuple[str, type[Step]], float] = {}

    def begin(self, step: Step, work: Callable[[], int | None]) -> None:
        assert step.node not in self.busy(), f"{step.node} has something under way already"
        self._begun[step.node] = (step, work)
        self._begun_at[step.node, type(step)] = self._world.now

    def begun(self) -> list[tuple[Step, Callable[[], int | None]]]:
        return list(self._begun.values())

    def work(self) -> None:
        for step, work in self._begun.values():
            self._done[step.node] = (step, outcome_of(step, work))
        self._begun = {}

    def busy(self) -> frozenset[str]:
        return frozenset([*self._begun, *self._done])

    def finished(self) -> list[tuple[Step, Outcome]]:
        return list(self._done.values())

    def forget(self, nodes: Iterable[str]) -> None:
        for node in list(nodes):
            _, outcome = self._done.pop(node)
            _, pause = self._pauses.pop(node, (0.0, 0.5))
            if outcome.error or outcome.waits:
                pause = min(2 * pause, LONGEST_RETRY)
                self._pauses[node] = (self._world.now + pause, pause)

    def retry_in(self, node: str) -> float:
        return max(0.0, self._pauses.get(node, (0.0, 0.0))[0] - self._world.now)

    def begun_ago(self, node: str, kind: type[Step]) -> float | None:
        begun = self._begun_at.get((node, kind))
        return None if begun is None else self._world.now - begun


def outcome_of(step: Step, work: Callable[[], int | None]) -> Outcome:
    try:
        return Outcome(work() or 0)
    except NotYet as why:
        return Outcome(waits=str(why))
    except NodeError as error:
        return Outcome(error=str(error))


class Effects:
    """What a step does to a machine."""

    def __init__(self, world: World) -> None:
        self._world = world

    def fingerprint(self, settings: Settings) -> str:
        return FINGERPRINT

    def spec(self, node: Node, store: Store) -> NodeSpec:
        return NodeSpec(node.name, node.slot, store.next_id(node.slot), node.host, node.port, Path("/nonexistent"))

    def alive(self, node: Node, store: Store) -> bool:
        # One that does not run is said to, so that nobody asks the kernel whether its port is free.
        return True

    def work(self, step: Step, node: Node, spec: NodeSpec, settings: Settings) -> Callable[[], int | None] | None:
        match step:
            case Start():
                return lambda: self._start(node, spec)
            case Restart():
                return lambda: self._restart(node, spec)
            case Prove():
                return lambda: self._prove(node)
            case Declare():
                return lambda: self._declare(node)
            case Remove():
                return lambda: self._remove(node)
            case Rescue():
                return lambda: self._rescue(node)
            case Evacuate():
                return lambda: self._evacuate(node)
        return None

    def _start(self, node: Node, spec: NodeSpec) -> None:
        machine = self._world.machines.setdefault(node.name, Machine(node.name, node.slot, spec.next_id))
        machine.broken |= node.name in self._world.bad_disks
        if machine.broken:
            raise NodeError("cupsd ended at once")
        machine.next_id = max(machine.next_id, spec.next_id)
        machine.runs = True

    def _restart(self, node: Node, spec: NodeSpec) -> None:
        if machine := self._world.machines.get(node.name):
            machine.runs = machine.hung = False
        self._start(node, spec)

    def _prove(self, node: Node) -> int:
        machine = self._answering(node)
        if machine.unprovable or self._world.unprovable:
            raise NodeError("the queue can't be declared")
        machine.queue_stopped = False
        number = self._world.accept(machine)
        del machine.jobs[number]
        return number

    def _declare(self, node: Node) -> None:
        self._answering(node).queue_stopped = False

    def _remove(self, node: Node) -> None:
        machine = self._world.machines.get(node.name)
        assert machine is None or not machine.jobs, f"{node.name} was ended with open jobs"
        if machine:
            with self._world.store.transaction():
                self._world.store.saw_id(node.slot, machine.next_id - 1)
            del self._world.machines[node.name]

    def _rescue(self, node: Node) -> None:
        if machine := self._world.machines.get(node.name):
            machine.runs = False
            if machine.jobs:
                self._world.emptied[node.name] = True
                raise NotYet(f"{len(machine.jobs)} of its jobs are still to be moved to other nodes")

    def _evacuate(self, node: Node) -> None:
        self._answering(node)
        self._world.emptied.setdefault(node.name, False)

    def _answering(self, node: Node) -> Machine:
        machine = self._world.machines.get(node.name)
        if machine is None or not machine.answers:
            raise NodeError("it does not answer")
        return machine
