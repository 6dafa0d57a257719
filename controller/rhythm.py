"""When what runs: jobs of APScheduler, in threads of their own, that go on when the wall clock is set back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler

from controller.store import StoreError

log = logging.getLogger("cupsfleet")

STALL_INTERVALS = 5.0
"""Of its own intervals without a job after which the scheduler is taken to wait for a clock that was set back."""


@dataclass
class Rhythm:
    """Calls what it was given until `stop` is set; each job waits for those of its own thread only."""

    stop: threading.Event
    _scheduler: BackgroundScheduler = field(
        default_factory=lambda: BackgroundScheduler(
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": 60}, timezone="UTC"
        )
    )
    _threads: set[str] = field(default_factory=set)
    _begun: dict[str, float] = field(default_factory=dict)
    """When each job was last begun, in monotonic seconds."""

    def every(self, seconds: float, thread: str, work: Callable[[], None]) -> Job:
        """Begin `work` every so many seconds. thread: a word of the caller's."""
        if thread not in self._threads:
            self._threads.add(thread)
            self._scheduler.add_executor(ThreadPoolExecutor(1), thread)

        def beat() -> None:
            self._begun[job.id] = time.monotonic()
            if not self.stop.is_set():
                work()

        job = self._scheduler.add_job(beat, "interval", seconds=seconds, executor=thread)
        self._begun[job.id] = time.monotonic()
        return job

    def beside(self, seconds: float, thread: str, work: Callable[[], None], failure: str) -> Job:
        """Work beside the passes. When it fails, the next time has its chance, and a pass says what is wrong."""

        def tried() -> None:
            try:
                work()
            except (StoreError, OSError) as error:
                log.error("%s: %s", failure, error)

        return self.every(seconds, thread, tried)

    def start(self) -> None:
        self._scheduler.start()

    def end(self) -> None:
        """Wait for what runs."""
        self._scheduler.shutdown(wait=True)

    def keep_time(self) -> None:
        """The scheduler goes by the wall clock: when that is set back, all jobs are called by the monotonic one."""
        for job in self._scheduler.get_jobs():
            limit = STALL_INTERVALS * job.trigger.interval.total_seconds()
            if time.monotonic() - self._begun[job.id] > limit:
                self._begun[job.id] = time.monotonic()
                at_once(job)


def at_once(job: Job) -> None:
    job.modify(next_run_time=datetime.now(UTC))
