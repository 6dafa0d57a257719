"""Many people who ask for their own jobs at once cost a list or two, and each sees own jobs only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.snapshot import Node
from controller.whole_queue import request
from controller.whole_queue.crowd import JOBS_PER_QUESTION, LONGEST, Crowd
from controller.whole_queue.nodes import Reply
from controller.whole_queue.request import JOB_SPOTS, JobsQuestion
from probes import wire
from tests.process.edge import ippwire
from tests.unit.whole_queue.test_merge import keyword

NODES = tuple(Node(f"node-{slot}", slot, "process", "127.0.0.1", slot) for slot in (1, 2))
SILENT = Node("node-3", 3, "process", "127.0.0.1", 3)
PEOPLE = [f"person{number}" for number in range(50)]


def job(number: int, owner: str) -> bytes:
    named = wire.attribute(wire.INTEGER, "job-id", number) + wire.attribute(
        wire.NAME, "job-originating-user-name", owner
    )
    return bytes([wire.JOB]) + named


@dataclass
class Slow:
    """Nodes that each have a job of everybody, and their directory. asked: as whom, at each question."""

    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def directory(self) -> Slow:
        return self

    def operator(self, node: Node) -> str:
        return f"operator of {node.name}"

    async def ask_each(self, bodies: Mapping[Node, bytes], host: str, wanted: frozenset[bytes]) -> list[Reply]:
        self.asked += [ippwire.values(body, "requesting-user-name")[0].decode() for body in bodies.values()]
        await self.gate.wait()
        return [Reply(node) if node == SILENT else self._reply(node, body) for node, body in bodies.items()]

    def _reply(self, node: Node, body: bytes) -> Reply:
        who = ippwire.values(body, "requesting-user-name")[0].decode()
        mine = bool(ippwire.values(body, "my-jobs"))
        assert mine != who.startswith("operator")
        jobs = [
            job(node.slot * 1_000_000 + n, name.title()) for n, name in enumerate(PEOPLE) if not mine or name == who
        ]
        head = bytes([wire.OPERATION]) + ippwire.charset()
        return Reply(node, wire.split(wire.message(b"\2\0", 0, 1, [head, *jobs]), JOB_SPOTS))


def question(user: str, *attributes: bytes) -> JobsQuestion:
    mine = wire.attribute(wire.BOOLEAN, "my-jobs", 1)
    return JobsQuestion(request.read(ippwire.request(0x000A, ippwire.printer(), mine, *attributes), user))


def crowded(nodes: Sequence[Node], *attributes: bytes, jobs: int = 100) -> tuple[list[str], list[list[Reply]]]:
    """As whom nodes were asked, and what each of PEOPLE got, when all asked at once."""

    async def scene() -> tuple[list[str], list[list[Reply]]]:
        slow = Slow()
        crowd = Crowd(slow, lambda: jobs)  # type: ignore[arg-type]
        asking = [asyncio.create_task(crowd.own_jobs(question(who, *attributes), nodes, "host")) for who in PEOPLE]
        await asyncio.sleep(0.01)
        slow.gate.set()
        return slow.asked, [await one for one in asking]

    return asyncio.run(scene())


def ids(reply: Reply) -> list[int]:
    return [group.number(b"job-id") for group in reply.answer.of(wire.JOB)] if reply.answer else []


def test_each_gets_own_jobs_whoever_was_asked_for_them() -> None:
    asked, got = crowded(NODES)
    for number, replies in enumerate(got):
        assert [ids(reply) for reply in replies] == [[1_000_000 + number], [2_000_000 + number]]
    few = 13  # so many pay for a list of 100 jobs
    assert 2 * few * JOBS_PER_QUESTION >= 100 > 2 * (few - 1) * JOBS_PER_QUESTION
    assert len(asked) <= 2 * (few + 2)
    assert asked[: 2 * few] == [who for who in PEOPLE[:few] for _ in NODES]
    assert set(asked[2 * few :]) == {"operator of node-1", "operator of node-2"}


def test_a_list_that_costs_more_than_all_questions_is_not_made() -> None:
    each = [who for who in PEOPLE for _ in NODES]
    assert crowded(NODES, jobs=2 * len(PEOPLE) * JOBS_PER_QUESTION)[0] == each
    many = [replace(NODES[0], name=f"node-{slot}", slot=slot) for slot in range(1, 21)]
    assert len(crowded(many, jobs=LONGEST)[0]) < len(PEOPLE) * len(many)
    assert len(crowded(many, jobs=LONGEST + 1)[0]) == len(PEOPLE) * len(many)


def test_a_single_question_is_asked_as_it_came() -> None:
    assert not crowded(NODES, jobs=0)[0][0].startswith("operator")


def test_who_has_none_gets_none_and_a_silent_node_is_silent_for_all() -> None:
    _, got = crowded([NODES[0], SILENT], keyword("requested-attributes", "all"))
    assert all(ids(replies[0]) and replies[1].silent for replies in got)


def test_what_a_server_of_someone_else_shows_and_ended_jobs_are_asked_for_by_each() -> None:
    foreign = [replace(node, driver="existing") for node in NODES]
    assert crowded(foreign)[0] == [who for who in PEOPLE for _ in NODES]
    assert crowded(NODES, keyword("which-jobs", "completed"))[0] == [who for who in PEOPLE for _ in NODES]
