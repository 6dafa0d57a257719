"""What a fault campaign sees beside its clients: when processes were gone, and where the proxy sent requests."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from benchmarks.faults import Fault
from benchmarks.site import Site
from benchmarks.verdict import Death, Told
from controller.store import Store, StoreError
from haproxy.process import LOG
from machine.identity import identity_of

LATE = 1.0
"""Seconds within which a request's line is in the proxy's log and seen there, after its client has heard the end."""
KILLING = {"node killed", "node ruined"}
SILENCING = {"node stopped", "node slow"}
"""Faults for which a controller may end the node, as it does with one that is silent."""
AT_ONCE = 2.0
"""Seconds within which a process is gone that was killed."""
LINGERS = 20.0
"""Seconds after the end of the others in which a controller may still end the node for it."""
ORDERLY = ("leaving", "retired")
"""A node that is ended in these states was empty, and takes nothing with it."""
_LINE = re.compile(r"(?:::ffff:)?(127\.\S+) user=.* \w+/n(\d+) status=(-?\d+) ")


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
    log: list[tuple[float, str, int, int]] = field(default_factory=list)
    """When a line was seen there (monotonic seconds), the client's address, the slot its request was sent to, and the
    HTTP status of the answer, -1 for none."""
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
                orderly = self._state(name) in ORDERLY
                self.deaths.append(Death(name, now, time.time(), lag=lag, pid=pid, orderly=orderly))
                del self._alive[name]
        for folder in (self.site.fleet.state / "nodes").iterdir():
            if runs := self.site.pid(folder.name):
                self._alive[folder.name] = runs

    def _state(self, node: str) -> str:
        """What the controller is about to do with it."""
        with suppress(StoreError), Store(self.site.fleet.state / "cupsfleet.db") as store:
            return "".join(row["state"] for row in store.rows("select state from nodes where name = ?", [node]))
        return ""

    def _read(self, more: bytes) -> None:
        *lines, self._rest = (self._rest + more).split(b"\n")
        for line in lines:
            if found := _LINE.match(line.decode(errors="replace")):
                self.log.append((time.monotonic(), found[1], int(found[2]), int(found[3])))

    def follow(self, told: Sequence[Told], client: int) -> None:
        """Note where the proxy sent the failed requests of this client, as far as it lived to say so. told: all of its
        documents in their order. A line comes when a request is over, so before the client's next one begins."""
        mine = [line for line in self.log if line[1] == address_of(client)]
        for one, following in zip_longest(told, told[1:]):
            until = min(one.ended + LATE, following.started if following else math.inf)
            if not one.accepted:
                one.sent_to = frozenset(
                    slot for at, _, slot, status in mine if one.started < at < until and one.may_be(status)
                )


def violent(deaths: Iterable[Death], faults: Sequence[Fault], slots: Mapping[str, int]) -> list[Death]:
    """Those that a fault brought about, with their slots (which are given by node)."""
    found = []
    for death in deaths:
        causes = [one for one in faults if one.pid == death.pid and _caused(one, death)]
        mute = max((death.at - one.begun for one in causes if _stopped_at(one, death)), default=0.0)
        found += [replace(death, slot=slots[death.node], mute=mute)] if causes and not death.orderly else []
    return found


def _caused(fault: Fault, death: Death) -> bool:
    within = AT_ONCE if fault.kind in KILLING else fault.ended - fault.begun + LINGERS
    return fault.kind in KILLING | SILENCING and -death.lag < death.at - fault.begun < within


def _stopped_at(fault: Fault, death: Death) -> bool:
    """Whether it had not run since: what it should have written down in that time, it never did."""
    return fault.kind == "node stopped" and fault.ended > death.at - death.lag


def cuts(faults: Iterable[Fault], slots: Mapping[str, int]) -> list[tuple[int, float, float]]:
    """The slots whose node the proxy could not reach, and from when to when: cut off from it, or stopped."""
    kinds = ("proxy cut off from one", "node stopped")
    return [(slots[one.nodes[0]], one.begun, one.ended) for one in faults if one.kind in kinds and one.effect]
