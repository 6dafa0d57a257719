"""The first half of a pass: look at everything, and stamp it with its age."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace

from controller.config import Settings
from controller.decide.backlog import backlog
from controller.decide.guards import prober_trouble
from controller.decide.health import verdicts
from controller.door import Door
from controller.effects import Crew, Effects
from controller.load import LoadMemory
from controller.memory import Memory
from controller.plan import Declare, Evacuate
from controller.snapshot import Command, Node, NodeSight, NodeState, ProxySight, Snapshot
from controller.store import Store
from haproxy.model import SLOT_IDS, slot_of
from probes.canary import NAME as CANARY
from probes.canary import canary
from probes.reading import Reading
from probes.sweep import sweep

_NO_SERVER = (NodeState.ORDERED, NodeState.LEAVING, NodeState.RESCUING)
"""States in which there is no server to be asked."""
_GOLDEN = 0.618034
"""Multiples of the golden ratio's fraction spread evenly, however many there are."""


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
    load: LoadMemory
    failed_proof: Callable[[Node], str] = lambda node: ""
    """Why a node that serves failed its last proof; '' for one that did not."""
    _memories: dict[str, Memory] = field(default_factory=dict)
    _looked_at: float | None = None
    """When the last look began."""
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    """One event loop for all passes: closing one would wait for look-ups of names that nobody answers."""

    def look(self, settings: Settings) -> Snapshot:
        begun = time.monotonic()
        gap = 0.0 if self._looked_at is None else begun - self._looked_at
        self._looked_at = begun
        nodes = self.store.nodes()
        readings, canary = self._runner.run(self._sweep(nodes, settings, begun))
        proxies = self.door.sights()
        now = time.monotonic()
        self._remember_ids(nodes, readings)
        for node in nodes:
            memory, reading = self._memory(node, begun, settings), readings.get(node.name)
            if reading and reading.tls_error is not None:  # as rarely as that
                memory.outdated = self.effects.outdated(node, self.store)
            memory.see(
                node,
                reading,
                proxies.get(node.slot, ()),
                now=now,
                looked_for=min(gap, settings.health.stale_after),
                obeyed=self.door.obeyed(),
                health=settings.health,
            )
        self._memories = {node.name: self._memories[node.name] for node in nodes}
        snapshot = Snapshot(
            nodes=tuple(
                self._sight(node, readings.get(node.name), proxies.get(node.slot, ()), time.monotonic())
                for node in nodes
            ),
            commands=self._commands(),
            free_slots=self.store.free_slots(settings.slots),
            next_name=self.store.next_name(),
            queues=self.effects.fingerprint(settings),
            proxies=1 + len(settings.front_door.more_ports),
            proxies_obey=self.door.obeyed(),
            canary=canary,
            gap=gap,
            load=self.load.look(nodes, gap, settings),
        )
        return self._counted(snapshot, settings)

    def _commands(self) -> tuple[Command, ...]:
        """Those for the fleet. One from the door counts only while it is an administrator's."""
        found = self.store.open_commands(of_jobs=False)
        if all(command.channel != "door" for command in found):
            return found
        rulers = {user.name for user in self.door.users() or () if user.admin}
        return tuple(
            replace(command, allowed=command.channel != "door" or command.asked_by in rulers) for command in found
        )

    async def _sweep(
        self, nodes: tuple[Node, ...], settings: Settings, now: float
    ) -> tuple[dict[str, Reading], Reading | None]:
        """A reading of every node that has a server, and the canary's; None when there is no room even for that."""
        targets = [
            self.effects.target(node, self.store, also_tls=self._memory(node, now, settings).tls_due <= now)
            for node in nodes
            if node.state not in _NO_SERVER
        ]
        async with AsyncExitStack() as stack:
            with suppress(OSError):
                targets.append(await stack.enter_async_context(canary()))
            readings = await sweep(targets, settings.health.deadline)
        return readings, readings.pop(CANARY, None)

    def _memory(self, node: Node, now: float, settings: Settings) -> Memory:
        """The first question over TLS comes at another time for each node, so that they never come all at once."""
        spread = node.slot * _GOLDEN % 1.0 * settings.health.tls_interval
        return self._memories.setdefault(node.name, Memory((node.state, node.since), now, tls_due=now + spread))

    def _sight(self, node: Node, reading: Reading | None, proxies: tuple[ProxySight, ...], now: float) -> NodeSight:
        memory = self._memories[node.name]
        free, size = self._room(node) or (None, 0)
        return NodeSight(
            node=node,
            alive=self._alive(node),
            reading=reading,
            backlog=backlog(reading, self.load.service(), memory.printing_for(now)),
            idle_readings=memory.idle_readings,
            reading_age=reading.age(now) if reading else 0.0,
            silent_for=memory.silent_for,
            stuck_for=memory.stuck_for(now),
            longest_print=memory.longest_print(now),
            tls_error=memory.tls_error,
            proof_error=self.failed_proof(node),
            strays=tuple(sorted(memory.strays)),
            free_bytes=free,
            disk_bytes=size,
            in_state=now - memory.entered_at,
            finished=memory.finished(len(reading.jobs)) if reading and not reading.error else 0,
            outdated=memory.outdated,
            ids_left=(node.slot + 1) * SLOT_IDS - self.store.next_id(node.slot) + 1,
            declared_ago=self.crew.begun_ago(node.name, Declare),
            evacuated_ago=self.crew.begun_ago(node.name, Evacuate),
            proxies=proxies,
            retry_in=self.crew.retry_in(node.name),
            busy=node.name in self.crew.busy(),
        )

    def _counted(self, snapshot: Snapshot, settings: Settings) -> Snapshot:
        """With the answers in a row that were good or bad. What a prober in trouble says counts for neither."""
        if not prober_trouble(snapshot, settings):
            for name, verdict in verdicts(snapshot, settings).items():
                self._memories[name].count(verdict.life)
        return replace(
            snapshot,
            nodes=tuple(
                replace(sight, bad_readings=memory.bad_readings, good_readings=memory.good_readings)
                for sight in snapshot.nodes
                for memory in (self._memories[sight.node.name],)
            ),
        )

    def close(self) -> None:
        self._runner.close()

    def _alive(self, node: Node) -> bool | None:
        if node.state in _NO_SERVER:
            return None
        return self.effects.alive(node, self.store)

    def _room(self, node: Node) -> tuple[int, int] | None:
        return None if node.state in _NO_SERVER else self.effects.room(node, self.store)

    def _remember_ids(self, nodes: tuple[Node, ...], readings: Mapping[str, Reading]) -> None:
        """Job ids that were seen are never given out again, even if the node forgets them."""
        for node in nodes:
            highest = readings[node.name].highest_job_id if node.name in readings else 0
            if slot_of(highest) == node.slot and highest >= self.store.next_id(node.slot):
                self.store.saw_id(node.slot, highest)
