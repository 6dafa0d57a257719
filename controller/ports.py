"""Loopback ports that the fleet chose for its own parts, remembered so that a restart finds the same ones."""

from __future__ import annotations

from dataclasses import dataclass

from controller.store import Store
from machine.ports import unused


@dataclass(frozen=True)
class Ports:
    store: Store

    def of(self, part: str) -> int:
        """The port of a part of the fleet (`dashboard`, `stats-1`, `printer-office`); chosen at the first call."""
        known: dict[str, int] = self.store.fact("ports") or {}
        if part not in known:
            known[part] = self._choose()
            self.store.put_fact("ports", known)
        return known[part]

    def known(self, part: str) -> bool:
        """Whether a part has had a port before."""
        return part in (self.store.fact("ports") or {})

    def move(self, part: str) -> int:
        """Another port for a part that found its own one taken."""
        known: dict[str, int] = self.store.fact("ports") or {}
        self.store.put_fact("ports", {name: port for name, port in known.items() if name != part})
        return self.of(part)

    def for_node(self, quarantine: float) -> int:
        """A free port that no node had within so many seconds."""
        while True:
            port = self._choose()
            if not self.store.address_rests("127.0.0.1", port, quarantine):
                return port

    def _choose(self) -> int:
        known: dict[str, int] = self.store.fact("ports") or {}
        while (port := unused("127.0.0.1")) in known.values():
            pass
        return port
