"""A driver without processes, which keeps the same promises as the real ones (tests/contract/test_driver.py)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field

from controller.nodes.driver import NodeError, NodeSpec
from controller.nodes.queues import Queue
from probes.cups import Token


@dataclass
class FakeDriver:
    """Tests set `failing` to make the next calls for a node fail, and call `kill` for a crash."""

    running: dict[str, NodeSpec] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    calls: list[tuple[str, str]] = field(default_factory=list)

    owns_queues = True

    def queue(self, queue: Queue) -> Queue:
        return queue

    def start(self, spec: NodeSpec) -> None:
        self._called("start", spec)
        running = self.running.get(spec.name)
        if running and (running.host, running.port) != (spec.host, spec.port):
            raise NodeError(f"{spec.name} already runs at {running.host}:{running.port}: stop it first")
        if any(
            (other.host, other.port) == (spec.host, spec.port) for other in self.running.values() if other != running
        ):
            raise NodeError(f"{spec.name} can't listen on {spec.host}:{spec.port}: Address already in use")
        spec.folder.mkdir(parents=True, exist_ok=True)
        self.running.setdefault(spec.name, spec)

    def alive(self, spec: NodeSpec) -> bool | None:
        return spec.name in self.running

    def room(self, spec: NodeSpec) -> tuple[int, int] | None:
        return (2**30, 2**30) if spec.name in self.running else None

    def outdated(self, spec: NodeSpec) -> bool:
        return False

    def token(self, spec: NodeSpec) -> Token:
        return Token(f"fleet-{spec.name}")

    def highest_id(self, spec: NodeSpec) -> int:
        return 0

    def stop(self, spec: NodeSpec) -> None:
        self._called("stop", spec)
        self.running.pop(spec.name, None)

    def remove(self, spec: NodeSpec) -> None:
        self.stop(spec)
        shutil.rmtree(spec.folder, ignore_errors=True)

    def kill(self, spec: NodeSpec) -> None:
        self.running.pop(spec.name, None)

    def _called(self, verb: str, spec: NodeSpec) -> None:
        self.calls.append((verb, spec.name))
        if spec.name in self.failing:
            raise NodeError(f"{spec.name} was told to fail")
