"""Moving jobs between nodes, so that neither a crash in between nor the death of either node loses or doubles one.

The copy is made held and under the job's own uuid; only when it stands whole is the old job ended, and only then the
copy released. What is about to be done is in the journal (controller/jobs/moves.py) before; after a crash the copy is
found by its uuid. A job whose node runs is held there first. One whose node is given up is read from the spool.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.jobs.journey import Journey
from controller.jobs.moves import Move, MoveTable
from controller.jobs.table import JobTable
from controller.snapshot import Node, NodeSight, NodeState
from controller.store import Store
from probes import ipp
from probes.sweep import Target

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds before a move that failed is tried again; doubled at each failure in a row."""


@dataclass
class Mover:
    """Runs in a thread of its own; `order` may be called from any."""

    open_store: Callable[[], Store]
    target: Callable[[Node, Store], Target]
    """Where a node is asked, and as whom."""
    folder: Callable[[Node], Path]
    """Where a node keeps its spool, if that is on this machine."""
    sights: Callable[[], Mapping[str, NodeSight]]
    """What the newest pass saw, by node."""
    between: Callable[[], None] = lambda: None
    """Called between two moves, since hundreds of them may take minutes."""
    leads_on: Callable[[int], bool] = lambda slot: True
    """Whether every proxy leads requests for moved jobs of this slot on to where they are now."""
    untouched: dict[int, float] = field(default_factory=dict)
    """Moves whose old job was seen held since (monotonic seconds), and whose node nobody has told to end it: when it
    has ended all the same, its owner did that."""
    _pauses: dict[int, tuple[float, float, int]] = field(default_factory=dict)
    """By move: when it may be tried again (monotonic seconds), the pause until then, failures in a row."""
    _problems: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Begin no further step: the journal knows how far each move is, and the next controller goes on from there."""
        self._over.set()

    @property
    def stopped(self) -> bool:
        return self._over.is_set()

    def problems(self) -> list[str]:
        """Moves that fail, one sentence each."""
        return list(self._problems)

    def order(self, node: str, reason: str, given_up: bool = False) -> int:
        """Ask for all open jobs of a node to be moved; how many of them are on their way. Raises StoreError.

        given_up: a job that came here by a move whose last step, releasing it, can't be done any more goes on held; the
        next move is told how it was held before.
        """
        with self.open_store() as store, store.transaction():
            moves, jobs = MoveTable(store), JobTable(store).open_on(node)
            for uuid, job in jobs.items():
                hold = ""
                for arrived in moves.open_of(uuid) if given_up else ():
                    if arrived.phase == "ended" and arrived.target == node:
                        moves.put(arrived, phase="done", failure="")
                        hold = arrived.hold
                moves.order(job, reason, hold=hold)
            return len(jobs)

    def advance(self) -> None:
        """Bring every open move as far as it goes now. Raises StoreError."""
        with self._lock, self.open_store() as store:
            moves = MoveTable(store)
            every = moves.open()
            for move in every:
                self.between()
                if self.stopped:
                    return
                if self._pauses.get(move.number, (0.0,))[0] <= time.monotonic():
                    # Each time anew: while hundreds of jobs are moved, nodes come and go.
                    nodes = {node.name: node for node in store.nodes()}
                    Journey(self, store, nodes, move).go()
            self._problems = tuple(
                f"job {move.old_id} of {move.owner} is not moved from {move.source} yet: {move.failure}"
                for move in (moves.open() if every else ())
                if move.failure
            )

    def server(self, node: Node, store: Store, user: str = "") -> ipp.Server:
        """Where a node is asked. user: in whose name; '' is the one that may do anything."""
        target = self.target(node, store)
        return ipp.Server(target.host, target.port, user or target.user, target.tls, target.verify)

    def takers(self, queue: str, source: str, store: Store) -> list[Node]:
        """Healthy nodes other than `source` that take jobs of this queue, the one with the fewest open jobs first."""
        nodes = {node.name: node for node in store.nodes() if node.state is NodeState.READY and node.name != source}
        fit = [
            sight
            for sight in self.sights().values()
            if sight.node.name in nodes
            and sight.reading is not None
            and any(one.name == queue and one.accepting for one in sight.reading.queues)
        ]
        fit.sort(key=lambda sight: (sight.open_jobs or 0, sight.node.slot))
        return [nodes[sight.node.name] for sight in fit]

    def failed(self, move: Move) -> int:
        """Note a failure; how many there were in a row."""
        _, pause, count = self._pauses.get(move.number, (0.0, FIRST_PAUSE / 2, 0))
        pause = min(2 * pause, LONGEST_PAUSE)
        self._pauses[move.number] = (time.monotonic() + pause, pause, count + 1)
        return count + 1

    def later(self, move: Move) -> None:
        """Look again in a moment."""
        self._pauses[move.number] = (time.monotonic() + FIRST_PAUSE, FIRST_PAUSE / 2, 0)

    def succeeded(self, move: Move) -> None:
        self._pauses.pop(move.number, None)
