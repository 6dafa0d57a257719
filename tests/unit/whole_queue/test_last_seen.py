"""Jobs of nodes that are down, slow, or have left, as they are told."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from controller.jobs.table import Job, JobTable
from controller.snapshot import Node, NodeState
from controller.store import Store
from controller.whole_queue import last_seen
from controller.whole_queue.last_seen import MOST, Asker
from controller.whole_queue.nodes import Directory
from controller.whole_queue.unseen import Known
from probes import wire
from tests.unit.whole_queue.test_merge import integer, keyword, question

NOW = int(time.time())
JOBS = [
    Job("urn:uuid:a", 1_000_001, "node-1", "office", "demo", "pay.pdf", "processing", "job-printing", created=10),
    Job("urn:uuid:b", 1_000_002, "node-1", "office", "alice", "b.pdf", "held", "job-hold-until-specified", created=11),
    Job("urn:uuid:c", 1_000_003, "node-1", "lab", "demo", "c.pdf", "pending", "none", created=12),
    Job("urn:uuid:d", 1_000_004, "node-1", "office", "demo", "d.pdf", "completed", "job-completed-successfully",
        created=1, completed=NOW),
]  # fmt: skip
DEAD = Node("node-1", 1, "process", "127.0.0.1", 1, NodeState.DEAD)
SLOW = Node("node-1", 1, "process", "127.0.0.1", 1, NodeState.READY)
LEFT = [Node(f"node-{slot}", slot, "process", "127.0.0.1", slot, NodeState.RETIRED) for slot in (2, 3)]
MINE = wire.attribute(wire.BOOLEAN, "my-jobs", 1)


class Fleet(Directory):
    def __init__(self) -> None:
        pass


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    with Store(tmp_path / "db", create=True) as store:
        with store.transaction():
            JobTable(store).put(JOBS)
        yield Known(JobTable(store), Fleet(), tmp_path)


def put(known: Known, jobs: Iterable[Job]) -> None:
    with known.table.store.transaction():
        known.table.put(jobs)


def queue(name: str) -> bytes:
    return wire.attribute(wire.URI, "printer-uri", f"ipp://h/printers/{name}")


ALL = keyword("requested-attributes", "all")


class Told:
    """What is told of node-1's jobs, which does not answer, or of nodes that have left."""

    def __init__(self, known: Known, node: Node = DEAD, left: Iterable[Node] = ()) -> None:
        self.known, self.silent, self.left = known, [] if left else [node], left

    def all(self, *attributes: bytes, user: str = "demo") -> list[dict[str, list[bytes]]]:
        asked, asker = question(*attributes), Asker(user, "print:631")
        groups = last_seen.jobs(self.known, self.silent, self.left, NOW - 86400, asked, asker)
        return [
            {one.name.decode(): [value for _, value in one.values] for one in wire.attributes(group.raw)}
            for group in groups
        ]

    def ids(self, *attributes: bytes, user: str = "demo") -> list[int]:
        return [int.from_bytes(job["job-id"][0], "big") for job in self.all(*attributes, user=user)]


def test_what_printed_on_a_dead_node_has_stopped_and_says_why(known: Known) -> None:
    first, second, *_ = Told(known).all(ALL)
    assert first["job-state"] == [b"\0\0\0\6"]
    assert first["job-state-reasons"] == [b"printer-stopped"]
    assert first["job-state-message"] == [b"The print server that has this job does not answer; it is being restarted."]
    assert second["job-state"] == [b"\0\0\0\4"]
    assert second["job-state-reasons"] == [b"job-hold-until-specified", b"printer-stopped"]


def test_what_prints_on_a_node_that_is_only_slow_prints_as_it_was_last_seen(known: Known) -> None:
    slow = Told(known, SLOW)
    first, *_ = slow.all(ALL)
    assert first["job-state"] == [b"\0\0\0\5"]
    assert first["job-state-reasons"] == [b"job-printing"]
    assert first["job-state-message"] == [b"As last seen. The print server that has this job does not answer now."]
    assert slow.ids(keyword("which-jobs", "processing")) == [1_000_001]
    assert slow.ids(keyword("which-jobs", "processing-stopped")) == []


def test_an_ended_job_is_told_as_it_ended(known: Known) -> None:
    told = Told(known)
    (ended,) = told.all(ALL, keyword("which-jobs", "completed"))
    assert ended["job-state"] == [b"\0\0\0\t"]
    assert ended["job-state-reasons"] == [b"job-completed-successfully"]
    assert told.ids(keyword("which-jobs", "canceled")) == []


def test_names_are_for_owners(known: Known) -> None:
    told = Told(known)
    mine, other, *_ = told.all(ALL)
    assert (mine["job-name"], mine["job-originating-user-name"]) == ([b"pay.pdf"], [b"demo"])
    assert not {"job-name", "job-originating-user-name"} & set(other)
    assert told.ids(MINE) == [1_000_001]
    assert told.ids(MINE, user="Alice") == [1_000_002]


def test_filters_mean_what_they_mean_in_cups(known: Known) -> None:
    ids = Told(known).ids
    assert ids() == [1_000_001, 1_000_002]  # of the queue office
    assert ids(keyword("which-jobs", "all")) == [1_000_001, 1_000_002, 1_000_004]
    assert ids(keyword("which-jobs", "pending-held")) == [1_000_002]
    assert ids(keyword("which-jobs", "processing")) == []
    assert ids(keyword("which-jobs", "processing-stopped")) == [1_000_001]
    assert ids(keyword("which-jobs", "odd")) == []
    assert ids(integer("first-job-id", 1_000_002)) == [1_000_002]
    assert ids(integer("first-job-id", 1_000_002), integer("first-index", 2)) == [1_000_001, 1_000_002]


def test_only_what_was_requested_is_told_beside_what_the_order_needs(known: Known) -> None:
    first, *_ = Told(known).all(keyword("requested-attributes", "job-name"))
    assert set(first) == {"job-name", "job-id", "job-priority", "time-at-creation"}


def test_no_open_job_gives_way_to_an_ended_one(known: Known) -> None:
    held = [
        Job(f"urn:uuid:h{n}", 1_010_000 + n, "node-1", "office", "bob", state="held", created=20) for n in range(600)
    ]
    put(known, held)
    put(known, (ended(n, 1) for n in range(MOST + 100)))
    told = Told(known).ids(keyword("which-jobs", "all"))
    assert {job.id for job in held} <= set(told)
    assert len([number for number in told if number > 1_020_000]) == MOST - 1  # and one more of JOBS
    first = integer("first-job-id", 1_010_300)
    assert {job.id for job in held[300:]} <= set(
        Told(known).ids(keyword("which-jobs", "all"), first, integer("limit", 5))
    )


def ended(number: int, slot: int, owner: str = "bob", state: str = "completed") -> Job:
    """The higher the number, the earlier it was made and the later it ended."""
    return Job(f"urn:uuid:{slot}-{number}", slot * 1_000_000 + 20_000 + number, f"node-{slot}", "office", owner,
               state=state, created=NOW - 2000 - number, completed=NOW - 1000 + number)  # fmt: skip


def test_of_nodes_that_have_left_no_more_is_read_than_is_told(known: Known) -> None:
    put(
        known,
        (ended(2 * n + slot, slot, state="canceled" if n < 3 else "completed") for slot in (2, 3) for n in range(300)),
    )
    put(known, [ended(2_000, 2, "Demo")])
    told, completed = Told(known, left=LEFT), keyword("which-jobs", "completed")
    assert len(told.ids(completed)) == MOST
    newest = [2_022_000, 3_020_601, 2_020_600, 3_020_599, 2_020_598]
    assert told.ids(completed, integer("limit", 5)) == newest
    assert told.ids(completed, integer("limit", 2), integer("first-index", 4)) == newest
    assert told.ids(completed, MINE, integer("limit", 1)) == [2_022_000]
    assert told.ids(completed, MINE, integer("limit", 1), user="Bob") == [3_020_601]
    assert told.ids(keyword("which-jobs", "canceled"), integer("limit", 2)) == [3_020_007, 2_020_006]
    oldest = [2_022_000, 3_020_601, 2_020_600]  # by when they were made
    assert told.ids(keyword("which-jobs", "all"), integer("limit", 3)) == oldest
    first = integer("first-job-id", 2_020_010)
    assert told.ids(keyword("which-jobs", "all"), integer("limit", 3), first) == [2_020_010, 2_020_012, 2_020_014]
    assert told.ids() == []


def test_what_ended_too_long_ago_for_a_server_is_not_told(known: Known) -> None:
    old = Job("urn:uuid:z", 2_000_001, "node-2", "office", "demo", state="completed", created=1, completed=NOW - 90_000)
    put(known, [old])
    assert Told(known, left=LEFT).ids(keyword("which-jobs", "completed")) == []
