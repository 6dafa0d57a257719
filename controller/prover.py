"""Nodes that serve prove themselves again from time to time, beside the passes: one that answers every question may
still begin no job, or number it wrongly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

from controller.nodes.driver import NodeError
from controller.snapshot import SLOT_RESERVE, Node, NodeSight, NodeState
from controller.store import Store

AT_ONCE = 8
"""Nodes that prove themselves side by side."""
_GOLDEN = 0.618034
"""As in controller.observe: proofs of many nodes never come all at once."""

Life: TypeAlias = tuple[str, int]
"""A node's name, and which of its lives."""


@dataclass
class Prover:
    """Runs in a thread of its own; `failure` may be called from any.

    A node that fails is tried again at every call until it does not, as it is over TLS, so that rise and fall of its
    health are counted as for everything else.
    """

    open_store: Callable[[], Store]
    work: Callable[[Node, Store], Callable[[], int]]
    """What proves a node, to be called in any thread: returns the id of its job, or raises NodeError."""
    sights: Callable[[], Mapping[str, NodeSight]]
    """What the newest pass saw, by node."""
    interval: Callable[[], float]
    """Seconds between two proofs of a node."""
    _due: dict[Life, float] = field(default_factory=dict)
    """In monotonic seconds."""
    _failures: dict[Life, str] = field(default_factory=dict)

    def failure(self, node: Node) -> str:
        """Why its last proof failed; '' when it did not."""
        return self._failures.get((node.name, node.lives), "")

    def prove(self) -> None:
        """Have those proved whose turn it is. Raises StoreError."""
        now = time.monotonic()
        with self.open_store() as store:
            serving = {(node.name, node.lives): node for node in store.nodes() if self._serves(node)}
            self._due = {life: self._due.get(life, now + self._spread(node)) for life, node in serving.items()}
            self._failures = {life: why for life, why in self._failures.items() if life in serving}
            due = [life for life, when in self._due.items() if when <= now and self._may(serving[life])]
            work = [self.work(serving[life], store) for life in due]
            if not due:
                return
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="proof") as pool:
                for life, (given, failure) in zip(due, pool.map(_outcome, work), strict=True):
                    self._take(life, serving[life], given, failure, store)

    def _take(self, life: Life, node: Node, given: int, failure: str, store: Store) -> None:
        if failure:
            self._failures[life] = failure
            return
        self._failures.pop(life, None)
        self._due[life] = time.monotonic() + self.interval()
        with store.transaction():
            store.saw_id(node.slot, given)

    def _serves(self, node: Node) -> bool:
        return node.state in (NodeState.READY, NodeState.UNHEALTHY)

    def _spread(self, node: Node) -> float:
        return node.slot * _GOLDEN % 1.0 * self.interval()

    def _may(self, node: Node) -> bool:
        """One that is silent is the prober's to judge; and the last ids of a slot are for people."""
        sight = self.sights().get(node.name)
        return sight is not None and sight.answers and sight.ids_left > SLOT_RESERVE


def _outcome(work: Callable[[], int]) -> tuple[int, str]:
    try:
        return work(), ""
    except NodeError as error:
        return 0, str(error)
