"""Jobs of a node that is down, as they are told."""

from __future__ import annotations

from controller.jobs.table import Job
from controller.whole_queue import last_seen
from controller.whole_queue.last_seen import Asker
from probes import wire
from tests.unit.whole_queue.test_merge import integer, keyword, question

JOBS = [
    Job("urn:uuid:a", 1_000_001, "node-1", "office", "demo", "pay.pdf", "processing", "job-printing", created=10),
    Job("urn:uuid:b", 1_000_002, "node-1", "office", "alice", "b.pdf", "held", "job-hold-until-specified", created=11),
    Job("urn:uuid:c", 1_000_003, "node-1", "lab", "demo", "c.pdf", "pending", "none", created=12),
    Job("urn:uuid:d", 1_000_004, "node-1", "office", "demo", "d.pdf", "completed", "job-completed-successfully",
        created=1, completed=5),
]  # fmt: skip


class Table:
    def search(self, which="open", *, node, limit=None):
        return [job for job in JOBS if job.node == node and (which == "all" or job.open == (which == "open"))]

    def by_id(self, number):
        return next((job for job in JOBS if job.id == number), None)

    def count_open(self) -> int:
        return 0

    def ages(self, ids):
        return {job.id: job.created for job in JOBS if job.id in ids}


def told(*attributes: bytes, user: str = "demo") -> list[dict[str, list[bytes]]]:
    groups = last_seen.jobs(Table(), ["node-1"], question(*attributes), Asker(user, "print:631"))
    return [
        {one.name.decode(): [value for _, value in one.values] for one in wire.attributes(group.raw)}
        for group in groups
    ]


def ids(*attributes: bytes, user: str = "demo") -> list[int]:
    return [int.from_bytes(job["job-id"][0], "big") for job in told(*attributes, user=user)]


def queue(name: str) -> bytes:
    return wire.attribute(wire.URI, "printer-uri", f"ipp://h/printers/{name}")


ALL = keyword("requested-attributes", "all")


def test_open_jobs_are_not_printing_and_say_why() -> None:
    first, second, *_ = told(ALL)
    assert first["job-state"] == [b"\0\0\0\6"]
    assert first["job-state-reasons"] == [b"printer-stopped"]
    assert second["job-state"] == [b"\0\0\0\4"]
    assert second["job-state-reasons"] == [b"job-hold-until-specified", b"printer-stopped"]


def test_an_ended_job_is_told_as_it_ended() -> None:
    (ended,) = told(ALL, keyword("which-jobs", "completed"))
    assert ended["job-state"] == [b"\0\0\0\t"]
    assert ended["job-state-reasons"] == [b"job-completed-successfully"]
    assert ids(keyword("which-jobs", "canceled")) == []


def test_names_are_for_owners() -> None:
    mine, other, *_ = told(ALL)
    assert (mine["job-name"], mine["job-originating-user-name"]) == ([b"pay.pdf"], [b"demo"])
    assert not {"job-name", "job-originating-user-name"} & set(other)
    assert ids(wire.attribute(wire.BOOLEAN, "my-jobs", 1)) == [1_000_001]
    assert ids(wire.attribute(wire.BOOLEAN, "my-jobs", 1), user="alice") == [1_000_002]


def test_filters_mean_what_they_mean_in_cups() -> None:
    assert ids() == [1_000_001, 1_000_002]  # of the queue office
    assert ids(keyword("which-jobs", "all")) == [1_000_001, 1_000_002, 1_000_004]
    assert ids(keyword("which-jobs", "pending-held")) == [1_000_002]
    assert ids(keyword("which-jobs", "processing")) == []
    assert ids(keyword("which-jobs", "processing-stopped")) == [1_000_001]
    assert ids(integer("first-job-id", 1_000_002)) == [1_000_002]


def test_only_what_was_requested_is_told_beside_what_the_order_needs() -> None:
    first, *_ = told(keyword("requested-attributes", "job-name"))
    assert set(first) == {"job-name", "job-id", "job-priority", "time-at-creation"}
