"""What one look at a node can't tell: since when, how often in a row."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.config import Health
from controller.decide.health import Life
from controller.snapshot import Node, NodeState, ProxySight
from haproxy.model import slot_of
from probes.reading import Reading

_PENDING, _PROCESSING, _IDLE = 3, 5, 3
"""job-state and printer-state (RFC 8011 5.3.7, 5.4.11)."""


@dataclass
class Memory:
    """Of one node. All times are monotonic seconds; after a restart of the controller they begin at its first look."""

    entered: tuple[NodeState, float]
    """The state that it is in, and the wall clock time by which that stay is told from others."""
    entered_at: float
    tls_due: float
    """When it is asked over TLS again."""
    silent_for: float = 0.0
    idle_readings: int = 0
    bad_readings: int = 0
    good_readings: int = 0
    tls_error: str = ""
    jobs_at_entry: int | None = None
    """How many jobs it had when it was first seen in its state."""
    outdated: bool = False
    strays: frozenset[int] = frozenset()
    """Its open jobs whose ids are not of its slot: requests for them would be led elsewhere."""
    errors: dict[int, int] = field(default_factory=dict)
    """Failed connections that each proxy counted."""
    before: frozenset[int] | None = None
    """Such jobs of someone else's server that it had when it was first seen: they came past the door."""
    waiting: dict[int, float] = field(default_factory=dict)
    """Jobs that were pending in an idle queue at every look, by id: since when."""
    printing: dict[int, float] = field(default_factory=dict)
    """Jobs that print, by id: since when they were seen to."""

    def see(
        self,
        node: Node,
        reading: Reading | None,
        proxies: tuple[ProxySight, ...],
        *,
        now: float,
        looked_for: float,
        obeyed: bool,
        health: Health,
    ) -> None:
        """Take in one look. looked_for: seconds since the last one in which the controller stood by."""
        if self.entered != (node.state, node.since):
            self.entered, self.entered_at = (node.state, node.since), now
            self.idle_readings = self.bad_readings = self.good_readings = 0
            self.jobs_at_entry = None
            if node.state is NodeState.STARTING:
                self.silent_for, self.tls_error, self.outdated, self.waiting = 0.0, "", False, {}
        answered = reading is not None and not reading.error
        self.silent_for = 0.0 if answered else self.silent_for + looked_for
        idle = reading is not None and answered and not reading.jobs and obeyed
        self.idle_readings = self.idle_readings + 1 if idle else 0
        if reading is not None and answered:
            self._see_jobs(reading, now)
            self._see_ids(node, reading)
            self._see_tls(reading, now, health)
        self._see_errors(proxies, now)

    def count(self, life: Life) -> None:
        """Take in what was made of that look. Silence is no good answer, and no bad one either."""
        if life is Life.UNHEALTHY:
            self.bad_readings, self.good_readings = self.bad_readings + 1, 0
        elif self.silent_for:
            self.good_readings = 0
        else:
            self.bad_readings, self.good_readings = 0, self.good_readings + 1

    def stuck_for(self, now: float) -> float:
        return now - min(self.waiting.values(), default=now)

    def printing_for(self, now: float) -> dict[int, float]:
        """Seconds for which jobs have printed, by id."""
        return {job: now - since for job, since in self.printing.items()}

    def longest_print(self, now: float) -> tuple[int, float]:
        """The job that has printed for longest, and for how many seconds; (0, 0.0) when none prints."""
        return max(self.printing_for(now).items(), key=lambda one: one[1], default=(0, 0.0))

    def finished(self, jobs: int) -> int:
        """How many jobs fewer it has than when it entered its state."""
        return max(0, (self.jobs_at_entry or 0) - jobs)

    def _see_jobs(self, reading: Reading, now: float) -> None:
        if self.jobs_at_entry is None:
            self.jobs_at_entry = len(reading.jobs)
        idle = {queue.name.lower() for queue in reading.queues if queue.state == _IDLE}
        waiting = [job.id for job in reading.jobs if job.state == _PENDING and job.queue.lower() in idle]
        self.waiting = {job: self.waiting.get(job, now) for job in waiting}
        printing = [job.id for job in reading.jobs if job.state == _PROCESSING]
        self.printing = {job: self.printing.get(job, now) for job in printing}

    def _see_ids(self, node: Node, reading: Reading) -> None:
        strays = frozenset(job.id for job in reading.jobs if slot_of(job.id) != node.slot)
        if self.before is None:
            self.before = strays if node.driver == "existing" else frozenset()
        self.strays = strays - self.before

    def _see_tls(self, reading: Reading, now: float, health: Health) -> None:
        """One that failed is asked at every look until it does not."""
        if reading.tls_error is not None:
            self.tls_error = reading.tls_error
            self.tls_due = now + (0.0 if reading.tls_error else health.tls_interval)

    def _see_errors(self, proxies: tuple[ProxySight, ...], now: float) -> None:
        """A connection that failed at a proxy is a reason to ask over TLS at the next look, not some time."""
        if any(proxy.errors > self.errors.get(proxy.proxy, proxy.errors) for proxy in proxies):
            self.tls_due = now
        self.errors |= {proxy.proxy: proxy.errors for proxy in proxies}
