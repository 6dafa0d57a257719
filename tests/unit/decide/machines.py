"""Print servers of a small world: what they do is up to the test."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.reading import OpenJob, Reading
from tests.builders import queue

PENDING, HELD, STOPPED = 3, 4, 6


@dataclass
class Machine:
    """A print server. Its jobs and its counter are on its disk; the rest is how it happens to be."""

    name: str
    slot: int
    next_id: int
    runs: bool = False
    hung: bool = False
    broken: bool = False
    """It can't be started."""
    unprovable: bool = False
    """It answers and fails its first proof."""
    latency: float = 0.01
    tls_error: str = ""
    proof_error: str = ""
    outdated: bool = False
    queue_stopped: bool = False
    stuck: bool = False
    """It does not begin with its jobs."""
    free: int = 10 * 2**30
    jobs: dict[int, int] = field(default_factory=dict)
    """State of each open job, by id."""

    @property
    def answers(self) -> bool:
        return self.runs and not self.hung

    @property
    def well(self) -> bool:
        ailing = self.latency > 1.0 or self.tls_error or self.queue_stopped or self.stuck or self.free < 2**30
        return self.answers and not (ailing or self.proof_error)

    def mend(self) -> None:
        self.hung = self.broken = self.stuck = self.unprovable = False
        self.latency, self.tls_error, self.proof_error, self.free = 0.01, "", "", 10 * 2**30

    def reading(self, now: float) -> Reading:
        if not self.answers:
            return Reading(self.name, now, error="no answer within 3 s")
        jobs = tuple(OpenJob(one, f"{one}", "office", "u", state, 1, 0, ()) for one, state in self.jobs.items())
        works = not self.stuck and PENDING in self.jobs.values()
        return Reading(
            self.name,
            now,
            latency=self.latency,
            tls_error=self.tls_error,
            queues=(queue(state=5 if self.queue_stopped else 4 if works else 3),),
            jobs=jobs,
            highest_job_id=max(self.jobs, default=0),
        )
