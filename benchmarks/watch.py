"""What a fault campaign sees beside its clients: when processes were gone, and where the proxy sent requests."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchmarks.faults import Fault, Site
from benchmarks.verdict import Death, Told
from haproxy.process import LOG, identity_of

LATE = 1.0
"""Seconds within which a request's line is in the proxy's log and seen there, after its client has heard the end."""
MORTAL = {"node killed", "node stopped", "node slow", "node ruined", "disk full"}
"""Faults from which a node may die. One that ends otherwise was empty, and takes nothing with it."""
LINGERS = 20.0
"""Seconds after such a fault in which a controller may still end the node for it."""
_LINE = re.compile(r"(?:::ffff:)?(127\.\S+) user=.* \w+/n(\d+) status=")


def address_of(client: int) -> str:
    """Each client comes from an address of its own, by which the proxy's log tells them apart."""
    return f"127.0.1.{client + 1}"


@dataclass
class Watch:
    """Looks at processes all the time, and notes when one was gone and when it was back; and reads the proxy's log."""

    site: Site
    deaths: list[Death] = field(default_factory=list)
    doors: list[tuple[float, float]] = field(default_factory=list)
    """From the death of a proxy until the next one takes connections."""
    log: list[tuple[float, str, int]] = field(default_factory=list)
    """When a line was seen there (monotonic seconds), the client's address, and the slot its request was sent to."""
    _alive: dict[str, int] = field(default_factory=dict)
    _rest: bytes = b""

    def run(self, over: threading.Event) -> None:
        door, gone = self.site.proxy(), 0.0
        now = time.monotonic()
        with (self.site.fleet.state / "proxy-1" / LOG).open("rb") as log:
            while not over.wait(0.05):
                before, now = now, time.monotonic()
                self._look(now, now - before)
                self._read(log.read())
                if door and identity_of(door) is None:
                    gone, door = before, None
                if door is None and self.site.listens() and (door := self.site.proxy()):
                    self.doors.append((gone, time.monotonic()))
            self._read(log.read())
        if door is None:
            self.doors.append((gone, math.inf))

    def _look(self, now: float, lag: float) -> None:
        for name, pid in list(self._alive.items()):
            if identity_of(pid) is None:
                self.deaths.append(Death(name, now, time.time(), lag=lag))
                del self._alive[name]
        for folder in (self.site.fleet.state / "nodes").iterdir():
            if runs := self.site.pid(folder.name):
                self._alive[folder.name] = runs

    def _read(self, more: bytes) -> None:
        *lines, self._rest = (self._rest + more).split(b"\n")
        for line in lines:
            if found := _LINE.match(line.decode(errors="replace")):
                self.log.append((time.monotonic(), found[1], int(found[2])))

    def follow(self, told: Iterable[Told], client: int) -> None:
        """Note where the proxy sent the failed requests of this client, as far as it lived to say so."""
        mine = [(at, slot) for at, who, slot in self.log if who == address_of(client)]
        for one in told:
            if not one.accepted:
                one.sent_to = frozenset(slot for at, slot in mine if one.started < at < one.ended + LATE)


def violent(deaths: Iterable[Death], faults: Sequence[Fault], slots: Mapping[str, int]) -> list[Death]:
    """Those that a fault brought about; a stopped node counts as dead since it was stopped. slots: by node."""
    mortal = [fault for fault in faults if fault.kind in MORTAL]
    found = []
    for death in deaths:
        causes = [one for one in mortal if death.node in one.nodes and _caused(one, death)]
        since = [death.lag, *(death.at - one.begun for one in causes if one.kind == "node stopped")]
        found += [replace(death, slot=slots[death.node], lag=max(since))] if causes else []
    return found


def _caused(fault: Fault, death: Death) -> bool:
    return fault.begun - death.lag < death.at < fault.ended + LINGERS


def cuts(faults: Iterable[Fault], slots: Mapping[str, int]) -> list[tuple[int, float, float]]:
    """The slots whose node was cut off from the proxy, and from when to when."""
    return [(slots[one.nodes[0]], one.begun, one.ended) for one in faults if one.kind == "proxy cut off from one"]
