"""What of a node's open jobs is work that a node can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from controller.decide.health import printer_faults
from controller.snapshot import Backlog, QueueWork
from probes.reading import Reading

_PENDING, _PROCESSING = 3, 5
"""job-state (RFC 8011 5.3.7)."""
_STOPPED = 5
"""printer-state (RFC 8011 5.4.11)."""
UNMEASURED = 5.0
"""Seconds that a job is taken to print for in a queue that nothing is known of."""


def backlog(reading: Reading | None, service: Mapping[str, float]) -> Backlog | None:
    """service: mean seconds of node time for a job, by queue. None when the node did not answer."""
    if reading is None or reading.error is not None:
        return None
    waits = {queue.name.lower() for queue in reading.queues if queue.state == _STOPPED or printer_faults(queue)}
    jobs: Counter[str] = Counter(
        job.queue for job in reading.jobs if job.state in (_PENDING, _PROCESSING) and job.queue.lower() not in waits
    )
    work = (QueueWork(queue, count, count * service.get(queue, UNMEASURED)) for queue, count in sorted(jobs.items()))
    return Backlog(tuple(work), stuck=len(reading.jobs) - jobs.total())
