"""What of a node's open jobs is work that a node can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from controller.decide.health import printer_faults
from controller.snapshot import Backlog, QueueWork
from probes.reading import Reading

_PENDING, _PROCESSING = 3, 5
"""job-state (RFC 8011 5.3.7)."""
UNMEASURED = 5.0
"""Seconds that a job is taken to print for in a queue that nothing is known of."""
NOT_KNOWN: Mapping[int, float] = {}
"""Nobody looked how long jobs have printed."""


def left(printing_for: float, service: float) -> float:
    """Seconds that a job is expected to take yet, which has printed for so long. One that has taken longer than the
    mean goes on for as long again: few are long, and those are very long."""
    return max(service, printing_for)


def backlog(
    reading: Reading | None, service: Mapping[str, float], printing: Mapping[int, float] = NOT_KNOWN
) -> Backlog | None:
    """service: mean seconds of node time for a job, by queue. printing: seconds for which jobs have printed, by id.
    None when the node did not answer."""
    if reading is None or reading.error is not None:
        return None
    standing = frozenset(queue.name.lower() for queue in reading.queues if queue.stopped or printer_faults(queue))
    jobs: Counter[str] = Counter(
        job.queue for job in reading.jobs if job.state in (_PENDING, _PROCESSING) and job.queue.lower() not in standing
    )
    work = (
        _work(queue, count, reading, service.get(queue, UNMEASURED), printing) for queue, count in sorted(jobs.items())
    )
    return Backlog(tuple(work), len(reading.jobs) - jobs.total(), standing)


def _work(queue: str, jobs: int, reading: Reading, service: float, printing: Mapping[int, float]) -> QueueWork:
    begun = [printing.get(job.id, 0.0) for job in reading.jobs if job.queue == queue and job.state == _PROCESSING]
    current = sum(left(seconds, service) for seconds in begun)
    return QueueWork(queue, jobs, current + (jobs - len(begun)) * service, current)
