"""What of a node's open jobs is work that a node can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from controller.decide.health import printer_faults
from controller.snapshot import Backlog, QueueWork
from probes.reading import OpenJob, QueueReading, Reading

_PENDING, _PROCESSING = 3, 5
"""job-state (RFC 8011 5.3.7)."""
UNMEASURED = 5.0
"""Seconds that a job is taken to print for in a queue that nothing is known of."""
CONNECTS, CONNECTS_FOR = "connecting-to-device", 30.0
"""printer-state-reason of a queue whose backend tries to reach the printer, as at the begin of each job, and seconds of
printing after which a job that is still there says that the printer is off or away."""
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
    standing = frozenset(queue.name.lower() for queue in reading.queues if _stands(queue, reading, printing))
    jobs: Counter[str] = Counter(job.queue for job in reading.jobs if job.state in (_PENDING, _PROCESSING))
    work = [_work(queue, count, reading, service.get(queue, UNMEASURED), printing) for queue, count in jobs.items()]
    moving = sorted((one for one in work if one.queue.lower() not in standing), key=lambda one: one.queue)
    blocked = sum(one.seconds for one in work if one.queue.lower() in standing)
    return Backlog(tuple(moving), len(reading.jobs) - sum(one.jobs for one in moving), standing, blocked)


def _stands(queue: QueueReading, reading: Reading, printing: Mapping[int, float]) -> bool:
    """Whether people must look after it first. A backend tries for ever to reach a printer that is off, and calls that
    what it also says for a moment of every job."""
    if queue.stopped or printer_faults(queue):
        return True
    tried = (printing.get(job.id, 0.0) for job in _printed(queue.name, reading))
    return CONNECTS in queue.state_reasons and max(tried, default=0.0) >= CONNECTS_FOR


def _printed(queue: str, reading: Reading) -> Iterator[OpenJob]:
    name = queue.lower()
    return (job for job in reading.jobs if job.state == _PROCESSING and job.queue.lower() == name)


def _work(queue: str, jobs: int, reading: Reading, service: float, printing: Mapping[int, float]) -> QueueWork:
    begun = [printing.get(job.id, 0.0) for job in reading.jobs if job.queue == queue and job.state == _PROCESSING]
    current = sum(left(seconds, service) for seconds in begun)
    return QueueWork(queue, jobs, current + (jobs - len(begun)) * service, current)
