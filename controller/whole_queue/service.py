"""What is answered to each whole-queue operation: every node is asked, and what they say is merged.

Nodes are asked in the name of the one who asks, with one exception (`cancelling`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from controller.jobs.table import Job
from controller.snapshot import Node
from controller.whole_queue import last_seen, merge, request, silence
from controller.whole_queue.answer import Answer, Unanswerable, as_it_came
from controller.whole_queue.asking import Asking, Moves
from controller.whole_queue.cancelling import Cancelling
from controller.whole_queue.last_seen import Asker, Table
from controller.whole_queue.lists import Lists
from controller.whole_queue.nodes import Nodes
from controller.whole_queue.queues import Queues
from controller.whole_queue.request import Request
from controller.whole_queue.subscriptions import Subscriptions
from controller.whole_queue.together import Together
from probes import wire

_STATES = frozenset({b"job-id", b"job-state"})
_Way: TypeAlias = Callable[[Request, Asker], Awaitable[Answer]]


@dataclass
class WholeQueue:
    """Answers requests; `table` and `moves` are what is known about jobs of nodes that don't answer."""

    nodes: Nodes
    table: Table
    moves: Moves
    together: Together[Answer] = field(default_factory=Together)
    asking: Asking = field(init=False)
    lists: Lists = field(init=False)
    questions: Mapping[int, _Way] = field(init=False)
    """Operations that only ask, each with its way to an answer."""
    changes: Mapping[int, _Way] = field(init=False)
    """Those that change something, or whose answer is never the same."""

    def __post_init__(self) -> None:
        self.asking = Asking(self.nodes, self.table, self.moves)
        self.lists = Lists(self.asking)
        queues, subscriptions, cancelling = Queues(self.asking), Subscriptions(self.asking), Cancelling(self.asking)
        self.questions = {
            request.GET_JOBS: self.lists.jobs,
            request.GET_SUBSCRIPTIONS: subscriptions.listed,
            request.GET_PRINTER_ATTRIBUTES: queues.told,
            request.CUPS_GET_DEFAULT: queues.told,
            request.CUPS_GET_PRINTERS: queues.told,
        }
        self.changes = {
            request.GET_NOTIFICATIONS: subscriptions.notifications,
            request.CANCEL_JOB: self._cancel_one,
            request.CANCEL_MY_JOBS: cancelling.my_jobs,
            request.CANCEL_JOBS: cancelling.anybodys_jobs,
            request.CREATE_PRINTER_SUBSCRIPTIONS: subscriptions.to_a_job,
        }

    async def answer(self, asked: Request, host: str) -> Answer:
        """Raises Unanswerable, StoreError."""
        if asked.message.request_id < 1:  # nodes are asked under ids of our own, and would not notice (RFC 8011, 4.1.1)
            said = f"Bad request ID {asked.message.request_id}."
            return Answer(merge.answer(asked.message.version, merge.BAD_REQUEST, said=said))
        asker = Asker(asked.user, host)
        if way := self.questions.get(asked.operation):
            question = (asked.user, host, asked.as_asked())
            return await self.together.ask(question, lambda: way(asked, asker))
        return await self.changes.get(asked.operation, self._about_a_job)(asked, asker)

    async def _cancel_one(self, asked: Request, asker: Asker) -> Answer:
        """Number 0 is the job that the queue has come to, as `cancel office` means it: the first one in its list that
        is not stopped, or else the first (CUPS 2.4, scheduler/ipp.c, cancel_job)."""
        if asked.job or not asked.queue:
            return await self._about_a_job(asked, asker)
        listed = await self.lists.jobs(request.jobs_that_wait(asked), asker)
        answer = wire.split(listed.body, _STATES) if listed.status == 200 else None
        if answer is None or not merge.success(answer):
            return listed
        stopped = last_seen.STATES["stopped"]
        current = min(answer.of(wire.JOB), key=lambda job: job.number(b"job-state") == stopped, default=None)
        if current is None:
            said = f"No active jobs on {asked.queue}."
            return Answer(merge.answer(asked.message.version, merge.NOT_POSSIBLE, said=said))
        body = asked.about(current.number(b"job-id"))
        return await self._about_a_job(request.read(body, asked.user), asker)

    async def _about_a_job(self, asked: Request, asker: Asker) -> Answer:
        """A job whose node is down or has left, or that is elsewhere now."""
        number = self.moves.now(asked.job)
        if known := self.asking.left_behind([number]).get(number):
            return self._from_memory(asked, known, None, asker)
        node = self.asking.owner(number)
        body = asked.as_asked() if number == asked.job else asked.about(number)
        reply = await self.nodes.ask(node, body, asker.host)
        if not reply.silent:
            return as_it_came(reply)
        return self._from_memory(asked, self.asking.remembered(number, node), node, asker)

    def _from_memory(self, asked: Request, job: Job, node: Node | None, asker: Asker) -> Answer:
        version = asked.message.version
        if asked.operation == request.GET_JOB_ATTRIBUTES:
            group = last_seen.described(job, node, asker, last_seen.requested_of(asked))
            return Answer(merge.answer(version, merge.OK, groups=[group.raw]))
        if job.open:
            raise Unanswerable(silence.of_a_job(node))
        said = f"Job #{job.id} has ended, and nothing can be done with it any more."
        return Answer(merge.answer(version, merge.NOT_POSSIBLE, said=said))
