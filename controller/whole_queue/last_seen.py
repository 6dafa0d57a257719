"""Jobs of a node that does not answer, as they are known here, written as a node would write them.

Who may see what is as in the nodes' policy (JobPrivateAccess @OWNER, JobPrivateValues default): a job's name and its
owner are for the owner only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.jobs.table import BY_ID, ENDED, NEWEST, OLDEST, Ended, Job
from controller.snapshot import Node
from controller.whole_queue.request import ACTIVE, FINISHED, JOB_SPOTS, JobsQuestion, Request
from controller.whole_queue.silence import is_down, of_a_job, sentence
from probes import wire
from probes.wire import Group

STATES = {
    "pending": 3,
    "held": 4,
    "processing": 5,
    "stopped": 6,
    "canceled": 7,
    "aborted": 8,
    "lost": 8,
    "completed": 9,
}
"""IPP job-state (RFC 8011, 5.3.7)."""
_WHICH = {"pending": 3, "pending-held": 4, "processing-stopped": 6, "canceled": 7, "aborted": 8, "processing": 5}
_ENDINGS = {"canceled": ("canceled",), "aborted": ("aborted", "lost")}
STOPPED = "printer-stopped"
MIDDLE_PRIORITY = 50
"""CUPS's default; the table does not know a job's own."""
MOST = 500
"""Ended jobs that are listed at most, as CUPS does."""


class Table(Protocol):
    """What is asked of controller.whole_queue.unseen.Known."""

    def open_of(self, node: str, owner: str = "") -> list[Job]: ...

    def ended(self, wanted: Ended) -> list[Job]: ...

    def waiting_on(self, node: str) -> dict[str, int]: ...

    def has_jobs(self, node: str) -> bool: ...

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


def jobs(
    table: Table, silent: Sequence[Node], left: Iterable[Node], since: float, question: JobsQuestion, asker: Asker
) -> list[Group]:
    """What is known of the jobs of these nodes and belongs into the answer, unsorted.

    left: those that have left the fleet, of which the ended ones are told. since: how old those may be that ended,
    seconds since 1970.
    """
    known: list[tuple[Job, Node | None]] = []
    if question.which not in FINISHED:
        owner = asker.user if question.mine else ""
        known += [(job, node) for node in silent for job in table.open_of(node.name, owner)]
    if question.which in (*FINISHED, "all") and (nodes := tuple(node.name for node in (*silent, *left))):
        known += [(job, None) for job in table.ended(_ended(nodes, since, question, asker))]
    wanted = (*question.requested, *question.ordered_by, *(["job-uuid"] if question.with_uuid else []))
    return [described(job, node, asker, wanted) for job, node in known if _belongs(job, node, question, asker)]


def _ended(nodes: tuple[str, ...], since: float, question: JobsQuestion, asker: Asker) -> Ended:
    """No more of them than may be shown: nodes that have left may have ended any number of jobs. They are in the order
    of the list where that is cut off; else the newest are kept."""
    order = NEWEST
    if question.which == "all" and question.limit:
        order = BY_ID if question.by_id else OLDEST
    return Ended(
        nodes,
        since,
        limit=min(question.limit + question.skipped, MOST) if question.limit else MOST,
        order=order,
        states=_ENDINGS.get(question.which, ENDED),
        owner=asker.user if question.mine else "",
        queue=question.request.queue,
        first=question.first,
    )


def _belongs(job: Job, node: Node | None, question: JobsQuestion, asker: Asker) -> bool:
    return (
        _is_asked_for(job, node, question.which)
        and job.id >= question.first
        and question.request.concerns(job.queue)
        and (not question.mine or asker.owns(job))
    )


def _is_asked_for(job: Job, node: Node | None, which: str) -> bool:
    if which in ("all", "not-completed", "completed"):
        return which == "all" or job.open == (which in ACTIVE)
    return _state(job, node) == _WHICH.get(which)


def _state(job: Job, node: Node | None) -> int:
    """As it was last seen; but what printed has stopped with its node."""
    return STATES["stopped" if job.state == "processing" and is_down(node) else job.state]


def described(job: Job, node: Node | None, asker: Asker, requested: Iterable[str]) -> Group:
    """One job as an attribute group, with what was requested and is known. node: that has it and is silent; None for
    one that has left."""
    wanted = set(requested)
    everything = bool({"all", "job-description"} & wanted)
    attributes = [
        wire.attribute(tag, name, *values)
        for name, tag, values in _known(job, node, asker)
        if everything or name in wanted or (name == "job-priority" and "job-template" in wanted)
    ]
    raw = bytes([wire.JOB]) + b"".join(attributes)
    return wire.split(bytes(8) + raw + bytes([wire.END]), JOB_SPOTS).groups[0]


def _known(job: Job, node: Node | None, asker: Asker) -> Iterable[tuple[str, int, list[str | int | bytes]]]:
    """Name, type and values of what the table knows and the asker may see."""
    yield "job-id", wire.INTEGER, [job.id]
    yield "job-uri", wire.URI, [f"ipp://{asker.host}/jobs/{job.id}"]
    yield "job-printer-uri", wire.URI, [f"ipp://{asker.host}/printers/{job.queue}"]
    if job.uuid.startswith("urn:uuid:"):
        yield "job-uuid", wire.URI, [job.uuid.split("/")[0]]
    if asker.owns(job):
        yield "job-name", wire.NAME, [job.title or "untitled"]
        yield "job-originating-user-name", wire.NAME, [job.owner]
    yield "job-state", wire.ENUM, [_state(job, node)]
    yield "job-state-reasons", wire.KEYWORD, list(_reasons(job, node))
    yield "job-state-message", wire.TEXT, [_message(job, node)]
    yield "job-priority", wire.INTEGER, [MIDDLE_PRIORITY]
    yield "job-k-octets", wire.INTEGER, [job.size_kb]
    yield "job-impressions-completed", wire.INTEGER, [job.impressions]
    for name, moment in (
        ("time-at-creation", job.created),
        ("time-at-processing", job.processing),
        ("time-at-completed", job.completed),
    ):
        yield (name, wire.INTEGER, [moment]) if moment else (name, wire.NO_VALUE, [b""])


def _reasons(job: Job, node: Node | None) -> Iterable[str]:
    """What the node last said; where it is down, what of that still holds, and that the printer is stopped with it."""
    if not job.open:
        return job.reasons.split() or ["aborted-by-system" if job.state == "lost" else "none"]
    if not is_down(node):
        return job.reasons.split() or ["none"]
    kept = [reason for reason in job.reasons.split() if reason not in ("none", "job-printing", STOPPED)]
    return [*kept, STOPPED]


def _message(job: Job, node: Node | None) -> str:
    if not job.open:
        return job.why or ""
    said = sentence(of_a_job(node))
    return said if is_down(node) else f"As last seen. {said}"


def requested_of(request: Request) -> tuple[str, ...]:
    """What a Get-Job-Attributes request wants; everything by default (RFC 8011, 4.3.4)."""
    return request.texts("requested-attributes") or ("all",)
