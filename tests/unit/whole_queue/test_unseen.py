"""Jobs that a node took just before it fell silent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.jobs.spool import Spool
from controller.jobs.table import Ended, Job, JobTable
from controller.snapshot import Node
from controller.store import Store
from controller.whole_queue.unseen import Known
from probes import wire

SEEN = Job("urn:uuid:a", 1_000_001, "node-1", "office", "demo", created=10)


class Directory:
    def __init__(self) -> None:
        self.slots = (1, 2)

    def nodes(self) -> tuple[Node, ...]:
        return tuple(Node(f"node-{slot}", slot, "process", "127.0.0.1", 1) for slot in self.slots)

    def in_slot(self, slot: int) -> Node | None:
        return next((node for node in self.nodes() if node.slot == slot), None)


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    (tmp_path / "node-1" / "spool").mkdir(parents=True)
    with Store(tmp_path / "db", create=True) as store:
        with store.transaction():
            JobTable(store).put([SEEN])
            JobTable(store).set_mark("node-1", SEEN.id, 1)
        yield Known(JobTable(store), Directory(), tmp_path)  # type: ignore[arg-type]


def spooled(known: Known, number: int, owner: str = "demo", state: int = 3, uuid: str = "") -> None:
    job = [
        wire.attribute(wire.INTEGER, "job-id", number),
        wire.attribute(wire.URI, "job-uuid", uuid or f"urn:uuid:{number}"),
        wire.attribute(wire.URI, "job-printer-uri", "ipp://localhost/printers/office"),
        wire.attribute(wire.NAME, "job-originating-user-name", owner),
        wire.attribute(wire.ENUM, "job-state", state),
        wire.attribute(wire.INTEGER, "time-at-completed", state) if state > 6 else b"",
    ]
    control = wire.message(b"\2\0", 0, 1, [bytes([wire.JOB]) + b"".join(job)])
    (known.folders / "node-1" / "spool" / f"c{number}").write_bytes(control)


def test_what_came_after_the_last_reading_is_in_the_spool(known: Known) -> None:
    spooled(known, SEEN.id)
    spooled(known, 1_000_002)
    spooled(known, 1_000_003, state=9)
    assert [job.id for job in known.open_of("node-1")] == [SEEN.id, 1_000_002]
    assert [job.id for job in known.ended(Ended(("node-1",), 0, 10))] == [1_000_003]
    assert known.waiting_on("node-1") == {"office": 2}
    assert known.has_jobs("node-1")
    assert [known.open_of("node-1", name) for name in ("bob", "Demo")] == [[], known.open_of("node-1")]
    late = known.by_id(1_000_002)
    assert late is not None
    assert (late.owner, late.queue, late.state) == ("demo", "office", "pending")
    assert known.by_id(SEEN.id) == SEEN


def test_what_became_of_a_job_after_the_last_reading_is_in_the_spool(known: Known) -> None:
    early = replace(SEEN, uuid="urn:uuid:1000002", id=1_000_002)
    with known.table.store.transaction():
        known.table.put([early])
        known.table.set_mark("node-1", early.id, 1)
    assert known.waiting_on("node-1") == {"office": 2}
    spooled(known, SEEN.id, state=7, uuid=SEEN.uuid)
    spooled(known, early.id, state=9)  # long before, and so it was read since
    os.utime(known.folders / "node-1" / "spool" / f"c{early.id}", (1, 1))
    assert known.open_of("node-1") == known.open_of("node-1", "demo") == [early]
    (ended,) = known.ended(Ended(("node-1",), 0, 10))
    assert (ended.id, ended.state, ended.completed) == (SEEN.id, "canceled", 7)
    assert known.by_id(SEEN.id) == ended
    assert known.by_id(early.id) == early
    assert known.waiting_on("node-1") == {"office": 1}


def test_a_copy_in_the_spool_says_nothing_of_the_job_that_it_is_made_of(known: Known) -> None:
    spooled(known, 1_000_005, state=7, uuid=SEEN.uuid)
    assert known.open_of("node-1") == [SEEN]


def test_a_proof_is_nobodys_job_and_a_broken_file_hides_no_other(known: Known) -> None:
    spooled(known, 1_000_002, owner="cupsfleet")
    (known.folders / "node-1" / "spool" / "c1000003").write_bytes(b"half")
    spooled(known, 1_000_004)
    assert [job.id for job in known.open_of("node-1")] == [SEEN.id, 1_000_004]


def test_servers_elsewhere_have_no_spool_here(known: Known) -> None:
    assert known.open_of("node-2") == []
    assert known.by_id(2_000_001) is None
    assert not known.has_jobs("node-2")
    assert known.by_id(9_000_001) is None


def test_a_spool_is_read_again_when_something_has_changed_in_it_or_been_seen(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    jobs = Spool.jobs

    def counted(spool: Spool, node: str, after: int = 0, lately: float = 0.0) -> tuple[list[Job], list[int]]:
        read.append(after)
        return jobs(spool, node, after, lately)

    monkeypatch.setattr(Spool, "jobs", counted)
    spool = known.folders / "node-1" / "spool"
    spooled(known, 1_000_002)
    os.utime(spool, (1, 1))
    for _ in range(3):
        assert [job.id for job in known.open_of("node-1")] == [SEEN.id, 1_000_002]
    assert read == [SEEN.id]
    spooled(known, 1_000_003)
    os.utime(spool, (2**33, 2**33))
    for _ in range(2):  # a time of just now, or later, may be that of the next change too
        assert known.waiting_on("node-1") == {"office": 3}
    assert read == [SEEN.id] * 3
    os.utime(spool, (2, 2))
    with known.table.store.transaction():
        known.table.set_mark("node-1", 1_000_002, 1)
    assert [job.id for job in known.open_of("node-1")] == [SEEN.id, 1_000_003]
    assert read[-1] == 1_000_002


def test_spools_of_nodes_that_have_left_are_forgotten(known: Known) -> None:
    (known.folders / "node-2" / "spool").mkdir(parents=True)
    for node in ("node-1", "node-2"):
        os.utime(known.folders / node / "spool", (1, 1))
    assert known.waiting_on("node-1") == {"office": 1}
    known.directory.slots = (2,)  # type: ignore[attr-defined]
    assert known.waiting_on("node-2") == {}
    assert list(known._spools) == ["node-2"]
