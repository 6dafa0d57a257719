"""What scaling knows beside the newest readings: measured demand, wishes of the last minutes, node-hours of the day."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from controller.config import Settings
from controller.decide.scaling import cool_down
from controller.jobs.demand import calendar_of, demands
from controller.plan import ADMINISTRATOR, Scale
from controller.shares import percentile
from controller.snapshot import Demand, Load, Node, NodeState, Wish
from controller.store import Store

MEASURE_INTERVAL = 5.0
"""Seconds between two measurements of demand."""
STARTS_KEPT = 20
"""Starts that the time to start is told from."""
SLOW_SHARE = 0.9
"""Of those, so many were not slower than what is told."""
DAYS_KEPT = 3
"""Days whose node-hours are known, those that were counted for last."""
PAUSED, HOURS, STARTS = "scaling_paused", "node_hours", "start_ups"
"""Facts in the database."""


@dataclass
class Wishes:
    """The most that was asked for in a window that slides: each wish is kept until a later one is as large, so that
    there are never more than sizes."""

    _kept: deque[tuple[float, int]] = field(default_factory=deque)
    _since: float | None = None

    def add(self, now: float, nodes: int, certain: bool) -> None:
        """Take in what a pass asked for. certain: it knew all the work; time in which none did is not known."""
        if self._since is None and certain:
            self._since = now
        while self._kept and self._kept[-1][1] <= nodes:
            self._kept.pop()
        self._kept.append((now, nodes))

    def gap(self) -> None:
        """Nobody looked for a while: what is known begins anew."""
        self._since = None

    def told(self, now: float, window: float) -> tuple[Wish, ...]:
        return tuple(Wish(now - at, nodes) for at, nodes in self._kept if now - at <= window)

    def known_for(self, now: float) -> float:
        return 0.0 if self._since is None else now - self._since


def start_up(store: Store, driver: str) -> float:
    """Seconds that a node of this driver takes from its order to its first job, as measured; 0 when none was seen.
    Raises StoreError."""
    return _slow((store.fact(STARTS) or {}).get(driver, []))


def _slow(starts: list[float]) -> float:
    return percentile(sorted(starts), SLOW_SHARE)


@dataclass
class LoadMemory:
    """All ages are monotonic; the time of day is for the timetable and the day's budget only."""

    store: Store
    wishes: Wishes = field(default_factory=Wishes)
    added: Wishes = field(default_factory=Wishes)
    """Of administrators, who need not say a thing again for as long."""
    _demands: tuple[Demand, ...] = ()
    _measured_at: float = float("-inf")
    _hours: dict[str, float] | None = None
    """Node-hours of the last days; None before the first look. More than one, for a clock that is set to tomorrow by
    mistake, and back, must not give the day's budget anew."""
    _starting: dict[str, float] = field(default_factory=dict)
    """Nodes on their way, by name: when they were first seen ordered, in monotonic seconds."""

    def service(self) -> dict[str, float]:
        return {demand.queue: demand.service for demand in self._demands}

    def look(self, nodes: Iterable[Node], gap: float, settings: Settings) -> Load:
        """gap: seconds since the last look. Raises StoreError."""
        now, nodes = time.monotonic(), tuple(nodes)
        if gap > settings.health.stale_after:
            self.wishes.gap()
        starts, calendar = self._start_up(nodes, now, settings.nodes.driver), calendar_of(settings.scaling)
        if now - self._measured_at >= MEASURE_INTERVAL:
            self._demands, self._measured_at = demands(self.store, calendar, starts), now
        today = datetime.now(UTC)
        midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
        passed = (today - midnight).total_seconds()
        return Load(
            demands=self._demands,
            demands_age=now - self._measured_at,
            start_up=starts,
            wishes=self.wishes.told(now, cool_down(settings.scaling, starts)),
            added=self.added.told(now, settings.scaling.cool_down),
            known_for=self.wishes.known_for(now),
            paused_by=str(self.store.fact(PAUSED) or ""),
            node_hours=self._node_hours(nodes, gap, midnight.date().isoformat()),
            hours_left=24.0 - passed / 3600,
            local=today.astimezone(calendar.zone),
        )

    def decided(self, scale: Scale) -> None:
        """Take in what the pass asked for."""
        now = time.monotonic()
        self.wishes.add(now, scale.wanted, scale.certain)
        for ask in scale.asks:
            if ask.rule == ADMINISTRATOR:
                self.added.add(now, ask.nodes, certain=True)

    def _start_up(self, nodes: tuple[Node, ...], now: float, driver: str) -> float:
        """Seconds from order to service, measured on the nodes that come."""
        known: dict[str, list[float]] = self.store.fact(STARTS) or {}
        for node in nodes:
            if node.state is NodeState.ORDERED:
                self._starting.setdefault(node.name, now)
            elif node.state is NodeState.READY and node.name in self._starting:
                took = now - self._starting.pop(node.name)
                known[node.driver] = [*known.get(node.driver, []), took][-STARTS_KEPT:]
                with self.store.transaction():
                    self.store.put_fact(STARTS, known)
        self._starting = {node.name: self._starting[node.name] for node in nodes if node.name in self._starting}
        return _slow(known.get(driver, []))

    def _node_hours(self, nodes: tuple[Node, ...], gap: float, day: str) -> float:
        """Counted while a controller looks. `keep` writes them, so that one that dies loses what came since."""
        if self._hours is None:
            self._hours = dict(self.store.fact(HOURS) or {})
        hours = self._hours.pop(day, 0.0) + sum(node.state.costs for node in nodes) * gap / 3600
        self._hours = {**dict(list(self._hours.items())[1 - DAYS_KEPT :]), day: hours}
        return hours

    def keep(self) -> None:
        """Write down the node-hours of the day. Within a transaction."""
        if self._hours is not None:
            self.store.put_fact(HOURS, self._hours)
