"""The fleet that a fault campaign breaks."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from controller import processes
from controller.state import State
from controller.store import Store, StoreError
from controller.views import Views
from haproxy import process as proxy_process
from tests.process.fleet import Fleet


@dataclass(frozen=True)
class Site:
    """The fleet under test, asked without a process of its own for each question."""

    fleet: Fleet
    chance: random.Random

    def nodes(self) -> tuple[list[dict[str, Any]], bool]:
        """As the controller saw them last, and whether it has looked within some seconds."""
        with suppress(StoreError), Store(self.fleet.state / "cupsfleet.db") as store:
            status = Views(State(self.fleet.state), store).status()
            return list(status["nodes"]), not any("controller" in problem for problem in status["problems"])
        return [], False

    def pid(self, node: str) -> int | None:
        return processes.recorded_pid(self.fleet.state / "nodes" / node / "process")

    def listens(self) -> bool:
        """Whether somebody takes connections at the door."""
        try:
            socket.create_connection(("127.0.0.1", self.fleet.port), 0.5).close()
        except OSError:
            return False
        return True

    def proxy(self) -> int | None:
        master = proxy_process.recorded(self.fleet.state / "proxy-1")
        return master.pid if master else None
