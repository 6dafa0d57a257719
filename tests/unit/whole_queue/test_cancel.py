"""What one answer says of jobs that were cancelled on some nodes only."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest

from controller.jobs.moves import Doubles
from controller.jobs.table import Ended, Job
from controller.snapshot import Node
from controller.whole_queue import merge, request
from controller.whole_queue.nodes import Reply
from controller.whole_queue.request import CANCEL_JOBS, CANCEL_MY_JOBS
from controller.whole_queue.service import WholeQueue
from probes import wire
from tests.process.edge import ippwire

ONE, TWO = Node("node-1", 1, "process", "127.0.0.1", 1), Node("node-2", 2, "existing", "127.0.0.2", 2)
GONE = Node("node-9", 9, "process", "127.0.0.1", 9)
FORBIDDEN = 0x0403


def said(node: Node, code: int) -> Reply:
    body = merge.answer(b"\2\0", code)
    return Reply(node, wire.split(body), body)


@dataclass
class Fleet:
    """Two nodes that answer what they are told to, as Nodes and as its directory."""

    replies: tuple[Reply, ...]
    asked: dict[str, bytes] = field(default_factory=dict)
    """What each node was asked last, by its name; first: before anything else."""
    first: dict[str, bytes] = field(default_factory=dict)
    late: Reply | None = None
    """What comes where whoever answers first is asked, with more time."""
    left: tuple[Node, ...] = (GONE,)

    @property
    def directory(self) -> Fleet:
        return self

    def nodes(self) -> tuple[Node, ...]:
        return ONE, TWO

    def departed(self) -> tuple[Node, ...]:
        return self.left

    def in_slot(self, slot: int) -> Node | None:
        return next((node for node in self.nodes() if node.slot == slot), None)

    def operator(self, node: Node) -> str:
        return f"operator of {node.name}"

    async def ask_each(
        self, bodies: Mapping[Node, bytes], host: str, wanted: frozenset[bytes], patiently: bool = False
    ) -> list[Reply]:
        assert set(bodies) <= {reply.node for reply in self.replies}
        self.asked = {node.name: body for node, body in bodies.items()}
        self.first = self.first or self.asked
        return [reply for reply in self.replies if reply.node in bodies]

    async def ask(self, node: Node, body: bytes, host: str, wanted: frozenset[bytes] = frozenset()) -> Reply:
        return (await self.ask_each({node: body}, host, wanted))[0]

    async def ask_any(self, nodes: Iterable[Node], body: bytes, host: str, wanted: frozenset[bytes]) -> Reply | None:
        return self.late


@dataclass
class Table:
    jobs: list[Job] = field(default_factory=list)

    def open_of(self, node: str, owner: str = "") -> list[Job]:
        mine = [job for job in self.jobs if owner.lower() in ("", job.owner.lower())]
        return [job for job in mine if job.node == node and job.open]

    def ended(self, wanted: Ended) -> list[Job]:
        return [job for job in self.jobs if job.node in wanted.nodes and not job.open and job.completed > wanted.since]

    def waiting_on(self, node: str) -> dict[str, int]:
        return Counter(job.queue.lower() for job in self.open_of(node))

    def has_jobs(self, node: str) -> bool:
        return any(job.node == node for job in self.jobs)

    def by_id(self, number: int) -> Job | None:
        return next((job for job in self.jobs if job.id == number), None)

    def count_open(self) -> int:
        return 0

    def ages(self, ids: Iterable[int]) -> dict[int, int]:
        return {}


@dataclass
class Moves:
    """Moves that are done: where each job lives now, by its old id; and copies that stand beside their originals."""

    done: dict[int, int] = field(default_factory=dict)
    twice: dict[str, dict[str, int]] = field(default_factory=dict)

    def now(self, old_id: int) -> int:
        return self.done.get(old_id, old_id)

    def doubles(self, since: float) -> Doubles:
        return Doubles(self.done)

    def standing_twice(self) -> dict[str, dict[str, int]]:
        return self.twice


def job(owner: str, queue: str = "office") -> Job:
    return Job("urn:uuid:a", 2_000_007, "node-2", queue, owner)


def outcome(operation: int, second: Reply, jobs: list[Job]) -> int:
    """The status that demo is told when the first node has cancelled everything and the second one answers this."""
    asked = request.read(ippwire.request(operation, ippwire.printer()), "demo")
    whole = WholeQueue(Fleet((said(ONE, merge.OK), second)), Table(jobs), Moves())  # type: ignore[arg-type]
    return wire.split(asyncio.run(whole.answer(asked, "localhost")).body).code


@pytest.mark.parametrize(
    ("operation", "second", "jobs", "code"),
    [
        pytest.param(CANCEL_JOBS, said(TWO, merge.OK), [], merge.OK, id="all have done it"),
        pytest.param(CANCEL_JOBS, said(TWO, FORBIDDEN), [job("bob")], FORBIDDEN, id="one refuses and keeps a job"),
        pytest.param(CANCEL_JOBS, said(TWO, FORBIDDEN), [], merge.OK, id="one refuses and has none"),
        pytest.param(
            CANCEL_JOBS, said(TWO, FORBIDDEN), [job("bob", "lab")], merge.OK, id="its job is in another queue"
        ),
        pytest.param(CANCEL_JOBS, Reply(TWO), [job("bob")], merge.TEMPORARY_ERROR, id="one is silent and has a job"),
        pytest.param(CANCEL_JOBS, Reply(TWO), [], merge.OK, id="one is silent and has none"),
        pytest.param(CANCEL_MY_JOBS, said(TWO, FORBIDDEN), [job("Demo")], FORBIDDEN, id="one keeps mine"),
        pytest.param(CANCEL_MY_JOBS, said(TWO, FORBIDDEN), [job("bob")], merge.OK, id="one keeps somebody else's"),
    ],
)
def test_a_success_means_that_no_job_is_left(operation: int, second: Reply, jobs: list[Job], code: int) -> None:
    assert outcome(operation, second, jobs) == code


@pytest.mark.parametrize(("number", "code"), [(0, merge.BAD_REQUEST), (-1, merge.BAD_REQUEST), (1, merge.OK)])
def test_a_request_id_below_one_is_refused_before_anything_is_done(number: int, code: int) -> None:
    asked = request.read(wire.renumbered(ippwire.request(CANCEL_MY_JOBS, ippwire.printer()), number), "demo")
    whole = WholeQueue(Fleet((said(ONE, merge.OK), said(TWO, merge.OK))), Table(), Moves())  # type: ignore[arg-type]
    assert wire.split(asyncio.run(whole.answer(asked, "localhost")).body).code == code


def test_a_refusal_in_http_is_passed_on() -> None:
    asked = request.read(ippwire.request(CANCEL_JOBS, ippwire.printer()), "demo")
    fleet = Fleet((said(ONE, merge.OK), Reply(TWO, http_status=401)))
    whole = WholeQueue(fleet, Table([job("bob")]), Moves())  # type: ignore[arg-type]
    assert asyncio.run(whole.answer(asked, "localhost")).status == 401


def test_named_jobs_of_anybody_are_cancelled_by_their_nodes_in_the_operators_name() -> None:
    fleet = Fleet((said(TWO, merge.OK),))
    ids = ippwire.attribute(0x21, "job-ids", 2_000_001) + ippwire.attribute(0x21, "", 2_000_002)
    asked = request.read(ippwire.request(CANCEL_JOBS, ippwire.printer(), ids), "admin")
    answer = asyncio.run(WholeQueue(fleet, Table(), Moves()).answer(asked, "localhost"))  # type: ignore[arg-type]
    assert ippwire.status(answer.body) == merge.OK
    assert ippwire.integers(fleet.asked["node-2"], "job-ids") == [2_000_001, 2_000_002]
    assert ippwire.values(fleet.asked["node-2"], "requesting-user-name") == [b"operator of node-2"]
