"""What one look at a print server saw. Pure values, no IO."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from probes.attributes import Attributes, number, text, texts

_STOPPED = 5
"""printer-state (RFC 8011, 5.4.11)."""
OURS = "cupsfleet"
"""Owner of the fleet's own jobs, by which nodes prove themselves. They are nobody's work, and count for nothing."""
QUEUE_ATTRIBUTES = (
    "printer-name",
    "printer-state",
    "printer-state-reasons",
    "printer-is-accepting-jobs",
    "queued-job-count",
)
JOB_ATTRIBUTES = (
    "job-id",
    "job-uuid",
    "job-printer-uri",
    "job-originating-user-name",
    "job-state",
    "job-k-octets",
    "time-at-creation",
    "job-state-reasons",
)


@dataclass(frozen=True)
class QueueReading:
    name: str
    state: int
    """IPP printer-state: 3 idle, 4 processing, 5 stopped."""
    state_reasons: tuple[str, ...]
    accepting: bool
    queued: int
    """Open jobs of this queue, as the server counts them."""

    @property
    def stopped(self) -> bool:
        return self.state == _STOPPED


@dataclass(frozen=True)
class OpenJob:
    """A job that is not finished; held and stopped ones count."""

    id: int
    uuid: str
    queue: str
    owner: str
    """Empty when the server does not tell it to the name that asked."""
    state: int
    """IPP job-state: 3 pending, 4 held, 5 processing, 6 stopped."""
    size_kb: int
    created: int
    """Seconds since 1970 by the server's clock."""
    state_reasons: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """An answer of a node, or the failure to get one."""

    node: str
    at: float
    """time.monotonic() when it was complete."""
    latency: float | None = None
    """Seconds from the first request to the last answer; None when it failed."""
    error: str | None = None
    refused: bool = False
    """The error was an answer: it was reached, and said no or nothing that is IPP."""
    tls_error: str | None = None
    """What went wrong over TLS, '' for nothing; None when it was not asked over TLS beside."""
    queues: tuple[QueueReading, ...] = ()
    jobs: tuple[OpenJob, ...] = ()
    highest_job_id: int = 0
    """Of the open jobs, the fleet's own too; finished ones are the collector's to see."""

    def age(self, now: float) -> float:
        """Seconds; `now` is time.monotonic()."""
        return now - self.at


def queue(attributes: Attributes) -> QueueReading:
    return QueueReading(
        name=text(attributes, "printer-name"),
        state=number(attributes, "printer-state"),
        state_reasons=texts(attributes, "printer-state-reasons"),
        accepting=bool(number(attributes, "printer-is-accepting-jobs")),
        queued=number(attributes, "queued-job-count"),
    )


def job(attributes: Attributes) -> OpenJob:
    return OpenJob(
        id=number(attributes, "job-id"),
        uuid=text(attributes, "job-uuid"),
        queue=queue_of(text(attributes, "job-printer-uri")),
        owner=text(attributes, "job-originating-user-name"),
        state=number(attributes, "job-state"),
        size_kb=number(attributes, "job-k-octets"),
        created=number(attributes, "time-at-creation"),
        state_reasons=texts(attributes, "job-state-reasons"),
    )


def succeeded(
    node: str, at: float, latency: float, queues: Iterable[Attributes], jobs: Iterable[Attributes]
) -> Reading:
    """A reading from the attribute groups of CUPS-Get-Printers and Get-Jobs."""
    read = tuple(job(attributes) for attributes in jobs)
    return Reading(
        node=node,
        at=at,
        latency=latency,
        queues=tuple(queue(attributes) for attributes in queues),
        jobs=tuple(one for one in read if one.owner != OURS),
        highest_job_id=max((one.id for one in read), default=0),
    )


def queue_of(uri: str) -> str:
    """The queue's name in `ipp://host/printers/NAME`."""
    return uri.rsplit("/", 1)[-1]
