"""Jobs that a node took just before it fell silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.jobs.table import Job, JobTable
from controller.snapshot import Node
from controller.store import Store
from controller.whole_queue.unseen import Known
from probes import wire

SEEN = Job("urn:uuid:a", 1_000_001, "node-1", "office", "demo", created=10)


class Directory:
    def in_slot(self, slot: int) -> Node | None:
        return Node(f"node-{slot}", slot, "process", "127.0.0.1", 1) if slot < 3 else None


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    (tmp_path / "node-1" / "spool").mkdir(parents=True)
    with Store(tmp_path / "db", create=True) as store:
        with store.transaction():
            JobTable(store).put([SEEN])
            JobTable(store).set_mark("node-1", SEEN.id, 1)
        yield Known(JobTable(store), Directory(), tmp_path)  # type: ignore[arg-type]


def spooled(known: Known, number: int, owner: str = "demo", state: int = 3) -> None:
    job = [
        wire.attribute(wire.INTEGER, "job-id", number),
        wire.attribute(wire.URI, "job-uuid", f"urn:uuid:{number}"),
        wire.attribute(wire.URI, "job-printer-uri", "ipp://localhost/printers/office"),
        wire.attribute(wire.NAME, "job-originating-user-name", owner),
        wire.attribute(wire.ENUM, "job-state", state),
    ]
    control = wire.message(b"\2\0", 0, 1, [bytes([wire.JOB]) + b"".join(job)])
    (known.folders / "node-1" / "spool" / f"c{number}").write_bytes(control)


def test_what_came_after_the_last_reading_is_in_the_spool(known: Known) -> None:
    spooled(known, SEEN.id)
    spooled(known, 1_000_002)
    spooled(known, 1_000_003, state=9)
    assert [job.id for job in known.search("open", node="node-1")] == [SEEN.id, 1_000_002]
    assert [job.id for job in known.search("ended", node="node-1")] == [1_000_003]
    assert {job.id for job in known.search("all", node="node-1")} == {SEEN.id, 1_000_002, 1_000_003}
    late = known.by_id(1_000_002)
    assert late is not None
    assert (late.owner, late.queue, late.state) == ("demo", "office", "pending")
    assert known.by_id(SEEN.id) == SEEN


def test_a_proof_is_nobodys_job_and_a_broken_file_hides_no_other(known: Known) -> None:
    spooled(known, 1_000_002, owner="cupsfleet")
    (known.folders / "node-1" / "spool" / "c1000003").write_bytes(b"half")
    spooled(known, 1_000_004)
    assert [job.id for job in known.search("open", node="node-1")] == [SEEN.id, 1_000_004]


def test_servers_elsewhere_have_no_spool_here(known: Known) -> None:
    assert known.search("open", node="node-2") == []
    assert known.by_id(2_000_001) is None
    assert known.by_id(9_000_001) is None
