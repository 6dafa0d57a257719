"""The first half of a pass: look at everything, and stamp it with its age."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.config import Settings
from controller.door import Door
from controller.effects import Crew, Effects
from controller.snapshot import Node, NodeSight, NodeState, Snapshot
from controller.store import Store
from haproxy.model import slot_of
from probes.reading import Reading
from probes.sweep import sweep

_NO_SERVER = (NodeState.ORDERED, NodeState.LEAVING)
"""States in which there is no server to be asked."""


@dataclass
class _Memory:
    """What one look at a node can't tell."""

    entered: tuple[NodeState, float]
    entered_at: float
    answered_at: float
    idle_readings: int = 0


@dataclass
class Observer:
    """Looks at the fleet; between two looks it remembers since when each node is silent, idle, in its state.

    All ages come from the monotonic clock, so that a jump of the wall clock changes no decision. After a restart they
    count from the first look: lost history removes nothing.
    """

    store: Store
    door: Door
    effects: Effects
    crew: Crew
    _memories: dict[str, _Memory] = field(default_factory=dict)
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    """One event loop for all passes: closing one would wait for look-ups of names that nobody answers."""

    def look(self, settings: Settings) -> Snapshot:
        nodes = self.store.nodes()
        targets = [self.effects.target(node, self.store) for node in nodes if node.state not in _NO_SERVER]
        readings = self._runner.run(sweep(targets, settings.health.deadline))
        proxies = self.door.sights()
        now = time.monotonic()
        self._remember_ids(nodes, readings)
        sights = []
        for node in nodes:
            reading = readings.get(node.name)
            memory = self._remember(node, reading, now)
            sights.append(
                NodeSight(
                    node=node,
                    alive=self._alive(node),
                    reading=reading,
                    idle_readings=memory.idle_readings,
                    silent_for=now - memory.answered_at,
                    in_state=now - memory.entered_at,
                    proxies=proxies.get(node.slot, ()),
                    retry_in=self.crew.retry_in(node.name),
                    busy=node.name in self.crew.busy(),
                )
            )
        self._memories = {node.name: self._memories[node.name] for node in nodes}
        return Snapshot(
            nodes=tuple(sights),
            commands=self.store.open_commands(),
            free_slots=self.store.free_slots(settings.slots),
            next_name=self.store.next_name(),
            queues=self.effects.fingerprint(settings),
            proxies=1 + len(settings.front_door.more_ports),
            proxies_obey=self.door.obeyed(),
        )

    def close(self) -> None:
        self._runner.close()

    def _alive(self, node: Node) -> bool | None:
        if node.state in _NO_SERVER:
            return None
        return self.effects.alive(node, self.store)

    def _remember(self, node: Node, reading: Reading | None, now: float) -> _Memory:
        memory = self._memories.setdefault(node.name, _Memory((node.state, node.since), now, now))
        if memory.entered != (node.state, node.since):
            memory.entered, memory.entered_at, memory.idle_readings = (node.state, node.since), now, 0
        answered = reading is not None and not reading.error
        if answered:
            memory.answered_at = now
        idle = reading is not None and answered and not reading.jobs and self.door.obeyed()
        memory.idle_readings = memory.idle_readings + 1 if idle else 0
        return memory

    def _remember_ids(self, nodes: tuple[Node, ...], readings: Mapping[str, Reading]) -> None:
        """Job ids that were seen are never given out again, even if the node forgets them."""
        for node in nodes:
            highest = readings[node.name].highest_job_id if node.name in readings else 0
            if slot_of(highest) == node.slot and highest >= self.store.next_id(node.slot):
                self.store.saw_id(node.slot, highest)
