"""Which node is asked what: what all answers have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from controller.jobs.moves import Doubles
from controller.jobs.table import Job
from controller.snapshot import Node, NodeState
from controller.whole_queue import request, silence
from controller.whole_queue.answer import Unanswerable
from controller.whole_queue.last_seen import Asker, Table
from controller.whole_queue.nodes import Nodes, Reply
from controller.whole_queue.request import Request
from haproxy.model import slot_of
from probes import wire

JOBS = frozenset({b"limit", *request.JOB_SPOTS})
NOTHING: frozenset[bytes] = frozenset()


class NamingJobs(Protocol):
    """Makes a question about jobs: some attributes dropped, others added."""

    def __call__(self, *, drop: Iterable[str], add: Iterable[bytes]) -> bytes: ...


class Moves(Protocol):
    """What is read of controller.jobs.moves.MoveTable."""

    def now(self, old_id: int) -> int: ...

    def doubles(self, since: float) -> Doubles: ...

    def standing_twice(self) -> dict[str, dict[str, int]]: ...


@dataclass(frozen=True)
class Asking:
    """The nodes, and what is known of jobs whose node does not answer."""

    nodes: Nodes
    table: Table
    moves: Moves

    def now(self, asked: Request) -> list[int]:
        """The jobs that are named, by the ids under which they live now."""
        return [self.moves.now(one) for one in asked.numbers("job-ids")]

    def serving(self) -> list[Node]:
        """Every node but those that only begin, whose one job is the proof that they work."""
        nodes = self.nodes.directory.nodes()
        return [node for node in nodes if node.state is not NodeState.STARTING or self.table.has_jobs(node.name)]

    def first(self) -> Node:
        nodes = self.nodes.directory.nodes()
        if not nodes:
            raise Unanswerable(silence.NOBODY_THERE)
        return nodes[0]

    def owner(self, number: int) -> Node:
        """The node that has this job or subscription. What no node has goes to the first one, whose `not found` is
        true."""
        return self.nodes.directory.in_slot(slot_of(number)) or self.first()

    def by_owner(self, ids: Iterable[int]) -> dict[Node, list[int]]:
        named: dict[Node, list[int]] = {}
        for one in ids:
            named.setdefault(self.owner(one), []).append(one)
        return named

    def left_behind(self, ids: Iterable[int]) -> dict[int, Job]:
        """Those of these jobs that ended on nodes which have left, or were lost with them. Another node may be in the
        slot by now, and does not know them."""
        directory = self.nodes.directory
        left, here = {node.slot for node in directory.departed()}, {node.name for node in directory.nodes()}
        among = [one for one in ids if slot_of(one) in left or directory.in_slot(slot_of(one)) is None]
        known = {one: self.table.by_id(one) for one in among}
        return {one: job for one, job in known.items() if job and job.node not in here}

    def remembered(self, number: int, node: Node) -> Job:
        """What is known of a job of a silent node. Raises Unanswerable when that is nothing."""
        job = self.table.by_id(number)
        if job is None:
            raise Unanswerable(silence.of_a_job(node))
        return job

    async def all(self, body: bytes, host: str, wanted: frozenset[bytes], patiently: bool = False) -> list[Reply]:
        """The same question to every node; a reply from each, in the order of their slots; none where there is no node.
        patiently: as in `Nodes.ask_each`."""
        return await self.nodes.ask_each(dict.fromkeys(self.serving(), body), host, wanted, patiently)

    async def owners(self, body: NamingJobs, ids: Iterable[int], asker: Asker) -> list[Reply]:
        """Each node is asked about those of the jobs that it owns."""
        questions = {
            node: body(drop=["job-ids"], add=[wire.attribute(wire.INTEGER, "job-ids", *own)])
            for node, own in self.by_owner(ids).items()
        }
        return await self.nodes.ask_each(questions, asker.host, JOBS)

    async def anyone(self, body: bytes, host: str, wanted: frozenset[bytes] = NOTHING) -> Reply:
        """The first reply of any node. Raises Unanswerable where none comes."""
        reply = await self.nodes.ask_any(self.nodes.directory.nodes(), body, host, wanted)
        if reply is None:
            raise Unanswerable(silence.NOBODY_ANSWERS)
        return reply
