"""Jobs of a node that does not answer, as they are known here, written as a node would write them.

Who may see what is as in the nodes' policy (JobPrivateAccess @OWNER, JobPrivateValues default): a job's name and its
owner are for the owner only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from controller.jobs.table import Job
from controller.whole_queue.request import ACTIVE, FINISHED, JOB_SPOTS, JobsQuestion, Request
from probes import wire
from probes.wire import Group

STATES = {
    "pending": 3,
    "held": 4,
    "processing": 6,  # it is not: its node is down, so that it has stopped
    "stopped": 6,
    "canceled": 7,
    "aborted": 8,
    "lost": 8,
    "completed": 9,
}
"""IPP job-state (RFC 8011, 5.3.7) of a job whose node does not answer."""
_WHICH = {"pending": 3, "pending-held": 4, "processing-stopped": 6, "canceled": 7, "aborted": 8, "processing": 5}
STOPPED = "printer-stopped"
MIDDLE_PRIORITY = 50
"""CUPS's default; the table does not know a job's own."""
MOST = 500
"""Finished jobs of one node that are listed at most, as CUPS does."""


class Table(Protocol):
    """What is asked of controller.whole_queue.unseen.Known."""

    def search(self, which: str = "open", *, node: str, limit: int | None = None) -> list[Job]: ...

    def by_id(self, number: int) -> Job | None: ...

    def ages(self, ids: Iterable[int]) -> dict[int, int]: ...

    def count_open(self) -> int: ...


@dataclass(frozen=True)
class Asker:
    """Who asks, and under which name the printer was called (`host:port`)."""

    user: str
    host: str

    def owns(self, job: Job) -> bool:
        return job.owner.lower() == self.user.lower()


def jobs(table: Table, nodes: Iterable[str], question: JobsQuestion, asker: Asker) -> list[Group]:
    """The jobs of these nodes that belong into the answer, unsorted; unlimited but for finished ones."""
    return _shown(_kept(table, nodes, question.which), question, asker)


def departed(table: Table, nodes: Iterable[str], since: float, question: JobsQuestion, asker: Asker) -> list[Group]:
    """Jobs that ended on these nodes, which have left the fleet. since: wall clock, seconds."""
    if question.which not in (*FINISHED, "all"):
        return []
    ended = _kept(table, nodes, "completed")
    return _shown((job for job in ended if job.completed > since), question, asker)


def _shown(known: Iterable[Job], question: JobsQuestion, asker: Asker) -> list[Group]:
    first = question.request.number("first-job-id")
    wanted = (*question.requested, *question.ordered_by, *(["job-uuid"] if question.with_uuid else []))
    return [
        described(job, asker, wanted)
        for job in known
        if _is_asked_for(job, question.which)
        and job.id >= first
        and question.request.concerns(job.queue)
        and (not question.mine or asker.owns(job))
    ]


def _kept(table: Table, nodes: Iterable[str], which: str) -> list[Job]:
    """Without those of an older server on the node, which nobody could ask for any more."""
    wanted = "ended" if which in FINISHED else "all" if which == "all" else "open"
    limit = None if wanted == "open" else MOST
    return [job for node in nodes for job in table.search(wanted, node=node, limit=limit)]


def _is_asked_for(job: Job, which: str) -> bool:
    if which in ("all", "not-completed", "completed"):
        return which == "all" or job.open == (which in ACTIVE)
    return STATES[job.state] == _WHICH.get(which)


def described(job: Job, asker: Asker, requested: Iterable[str]) -> Group:
    """One job as an attribute group, with what was requested and is known."""
    wanted = set(requested)
    everything = bool({"all", "job-description"} & wanted)
    attributes = [
        wire.attribute(tag, name, *values)
        for name, tag, values in _known(job, asker)
        if everything or name in wanted or (name == "job-priority" and "job-template" in wanted)
    ]
    raw = bytes([wire.JOB]) + b"".join(attributes)
    return wire.split(bytes(8) + raw + bytes([wire.END]), JOB_SPOTS).groups[0]


def _known(job: Job, asker: Asker) -> Iterable[tuple[str, int, list[str | int | bytes]]]:
    """Name, type and values of what the table knows and the asker may see."""
    state = STATES[job.state]
    yield "job-id", wire.INTEGER, [job.id]
    yield "job-uri", wire.URI, [f"ipp://{asker.host}/jobs/{job.id}"]
    yield "job-printer-uri", wire.URI, [f"ipp://{asker.host}/printers/{job.queue}"]
    if job.uuid.startswith("urn:uuid:"):
        yield "job-uuid", wire.URI, [job.uuid.split("/")[0]]
    if asker.owns(job):
        yield "job-name", wire.NAME, [job.title or "untitled"]
        yield "job-originating-user-name", wire.NAME, [job.owner]
    yield "job-state", wire.ENUM, [state]
    yield "job-state-reasons", wire.KEYWORD, list(_reasons(job))
    yield "job-state-message", wire.TEXT, [_message(job)]
    yield "job-priority", wire.INTEGER, [MIDDLE_PRIORITY]
    yield "job-k-octets", wire.INTEGER, [job.size_kb]
    yield "job-impressions-completed", wire.INTEGER, [job.impressions]
    for name, moment in (
        ("time-at-creation", job.created),
        ("time-at-processing", job.processing),
        ("time-at-completed", job.completed),
    ):
        yield (name, wire.INTEGER, [moment]) if moment else (name, wire.NO_VALUE, [b""])


def _reasons(job: Job) -> Iterable[str]:
    """What the node last said, where that still holds, and that the printer's server has stopped."""
    if not job.open:
        return job.reasons.split() or ["aborted-by-system" if job.state == "lost" else "none"]
    kept = [reason for reason in job.reasons.split() if reason not in ("none", "job-printing", STOPPED)]
    return [*kept, STOPPED]


def _message(job: Job) -> str:
    if job.open:
        return "The print server that has this job does not answer; it is being restarted."
    return job.why or ""


def requested_of(request: Request) -> tuple[str, ...]:
    """What a Get-Job-Attributes request wants; everything by default (RFC 8011, 4.3.4)."""
    return request.texts("requested-attributes") or ("all",)
