"""What is answered to each whole-queue operation: every node is asked, and what they say is merged.

Nodes are asked in the name of the one who asks, with one exception that says so where it is made: Cancel-Jobs, for
which the edge lets administrators in only.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from controller.jobs.moves import Doubles
from controller.jobs.table import Job
from controller.nodes.settings import HISTORY_SECONDS
from controller.snapshot import Node, NodeState
from controller.whole_queue import last_seen, merge, request
from controller.whole_queue.answer import Answer, Unanswerable, as_it_came, is_success, refused
from controller.whole_queue.crowd import Crowd
from controller.whole_queue.last_seen import Asker, Table
from controller.whole_queue.nodes import Nodes, Reply, answers, missing_sentence, silent
from controller.whole_queue.request import JobsQuestion, Request, by_slot
from controller.whole_queue.together import Together
from haproxy.model import slot_of
from probes import wire
from probes.wire import Group

_JOBS = frozenset({b"limit", *request.JOB_SPOTS})
_NOTHING: frozenset[bytes] = frozenset()
_SUBSCRIPTIONS = frozenset({b"notify-subscription-id"})
_UNSEEN = "its jobs are shown as they were last seen"


class NamingJobs(Protocol):
    """Makes a question about jobs: some attributes dropped, others added."""

    def __call__(self, *, drop: Iterable[str], add: Iterable[bytes]) -> bytes: ...


class Moves(Protocol):
    """What is read of controller.jobs.moves.MoveTable."""

    def now(self, old_id: int) -> int: ...

    def doubles(self, since: float) -> Doubles: ...


@dataclass
class WholeQueue:
    """Answers requests; `table` and `moves` are what is known about jobs of nodes that don't answer."""

    nodes: Nodes
    table: Table
    moves: Moves
    together: Together[Answer] = field(default_factory=Together)
    crowd: Crowd = field(init=False)

    def __post_init__(self) -> None:
        self.crowd = Crowd(self.nodes, self.table.count_open)

    async def answer(self, asked: Request, host: str) -> Answer:
        """Raises Unanswerable, StoreError."""
        if asked.message.request_id < 1:  # nodes are asked under ids of our own, and would not notice (RFC 8011, 4.1.1)
            said = f"Bad request ID {asked.message.request_id}."
            return Answer(merge.answer(asked.message.version, merge.BAD_REQUEST, said=said))
        asker = Asker(asked.user, host)
        ways: Mapping[int, Callable[[Request, Asker], Awaitable[Answer]]] = {
            request.GET_JOBS: self._get_jobs,
            request.GET_SUBSCRIPTIONS: self._get_subscriptions,
            request.GET_PRINTER_ATTRIBUTES: self._get_printers,
            request.CUPS_GET_DEFAULT: self._get_printers,
            request.CUPS_GET_PRINTERS: self._get_printers,
        }
        if way := ways.get(asked.operation):
            question = (asked.user, host, asked.as_asked())
            return await self.together.ask(question, lambda: way(asked, asker))
        alone: Mapping[int, Callable[[Request, Asker], Awaitable[Answer]]] = {
            request.GET_NOTIFICATIONS: self._get_notifications,
            request.CANCEL_MY_JOBS: self._cancel_my_jobs,
            request.CANCEL_JOBS: self._cancel_jobs,
            request.CREATE_PRINTER_SUBSCRIPTIONS: self._subscribe_to_job,
        }
        return await alone.get(asked.operation, self._about_a_job)(asked, asker)

    # Get-Jobs

    async def _get_jobs(self, asked: Request, asker: Asker) -> Answer:
        doubles = self._doubles()
        question = JobsQuestion(asked, doubles, with_uuid=bool(doubles.copied))
        ids = self._now(asked)
        if ids and any(asked.find(name, tag) for name, tag in request.CONFLICTING):
            return as_it_came(await self._ask_anyone(asked.as_asked(), asker))
        if ids:
            return await self._get_named_jobs(question, ids, asker)
        if len(self._serving()) == 1 and doubles == Doubles() and question.which in request.ACTIVE:
            (reply,) = await self._ask_all(asked.as_asked(), asker.host, _NOTHING)
            if not reply.silent:
                return as_it_came(reply)
        if question.mine:
            replies = await self.crowd.own_jobs(question, self._serving(), asker.host)
        else:
            replies = await self._ask_all(question.for_nodes(), asker.host, _JOBS)
        good = merge.succeeded(answers(replies))
        if not good and any(not reply.silent for reply in replies):
            return refused(replies)
        question = question.moved_to(self._doubles())
        gone = [reply.node for reply in replies if not is_success(reply)]
        if not good and (not gone or question.which not in request.WHICH):
            # whether a word is one that it knows is for a server to say
            raise Unanswerable("no print server answers" if gone else "no print server is there")
        others = last_seen.jobs(self.table, [node.name for node in gone], question, asker)
        left, since = [node.name for node in self.nodes.directory.departed()], time.time() - HISTORY_SECONDS
        others += last_seen.departed(self.table, left, since, question, asker)
        version = asked.message.version
        if not good:  # no node at all answers, but what they had is known
            good = [wire.split(merge.answer(version, merge.OK), _JOBS)]
        if ageless := question.ageless(job for one in good for job in one.of(wire.JOB)):
            question = replace(question, ages=self.table.ages(ageless))
        return Answer(merge.jobs(question, good, others, missing_sentence(self._with_jobs(gone), _UNSEEN)))

    def _doubles(self) -> Doubles:
        return self.moves.doubles(time.time() - HISTORY_SECONDS)

    def _now(self, asked: Request) -> list[int]:
        """The jobs that are named, by the ids under which they live now."""
        return [self.moves.now(one) for one in asked.numbers("job-ids")]

    async def _get_named_jobs(self, question: JobsQuestion, ids: list[int], asker: Asker) -> Answer:
        """Each id is asked of the node that owns it. One that is unknown makes the answer `not found`, as in CUPS."""
        replies = await self._ask_owners(question.for_nodes, ids, asker)
        if wrong := [reply for reply in replies if not reply.silent and not is_success(reply)]:
            return refused(wrong)
        lost = {node.slot for node in silent(replies)}
        jobs = self._remembered(one for one in ids if slot_of(one) in lost)
        known = [last_seen.described(job, asker, (*question.requested, "job-id")) for job in jobs]
        return Answer(merge.named_jobs(ids, answers(replies), known, question))

    async def _ask_owners(self, body: NamingJobs, ids: Iterable[int], asker: Asker) -> list[Reply]:
        """Ask each node about those of the jobs that it owns. Ids that no node owns go to the first one, whose `not
        found` is true."""
        questions = {
            node: body(drop=["job-ids"], add=[wire.attribute(wire.INTEGER, "job-ids", *own)])
            for node, own in self._by_owner(ids).items()
        }
        return await self.nodes.ask_each(questions, asker.host, _JOBS)

    def _by_owner(self, ids: Iterable[int]) -> dict[Node, list[int]]:
        named: dict[Node, list[int]] = {}
        for slot, own in by_slot(ids, slot_of).items():
            named.setdefault(self.nodes.directory.in_slot(slot) or self._first(), []).extend(own)
        return named

    def _serving(self) -> list[Node]:
        """Every node but those that only begin, whose one job is the proof that they work."""
        nodes = self.nodes.directory.nodes()
        starting = [node for node in nodes if node.state is NodeState.STARTING]
        new = set(starting) - set(self._with_jobs(starting))
        return [node for node in nodes if node not in new]

    async def _ask_all(self, body: bytes, host: str, wanted: frozenset[bytes]) -> list[Reply]:
        """The same question to every node; a reply from each, in the order of their slots."""
        return await self.nodes.ask_each(dict.fromkeys(self._serving(), body), host, wanted)

    def _with_jobs(self, nodes: Iterable[Node]) -> list[Node]:
        """Those that the table has jobs of."""
        return [node for node in nodes if self.table.search("all", node=node.name, limit=1)]

    def _first(self) -> Node:
        nodes = self.nodes.directory.nodes()
        if not nodes:
            raise Unanswerable("no print server is there")
        return nodes[0]

    def _remembered(self, ids: Iterable[int]) -> list[Job]:
        """What the table knows of these jobs. Raises Unanswerable when it does not know one."""
        found = []
        for one in ids:
            job = self.table.by_id(one)
            if job is None:
                raise Unanswerable("the print server that has this job does not answer; it is being restarted")
            found.append(job)
        return found

    # Printers

    async def _get_printers(self, asked: Request, asker: Asker) -> Answer:
        extras = request.printer_extras(asked)
        wanted = asked.texts("requested-attributes")
        add = [wire.attribute(wire.KEYWORD, "requested-attributes", *wanted, *extras)] if extras else []
        body = asked.as_asked(drop=["requested-attributes"] if extras else [], add=add)
        replies = await self._ask_all(body, asker.host, merge.PRINTER_SPOTS)
        good = merge.succeeded(answers(replies))
        if not good:
            return refused(replies)
        gone = [reply.node for reply in replies if not is_success(reply)]
        waiting = Counter(job.queue.lower() for node in gone for job in self.table.search("open", node=node.name))
        waiting[""] = waiting[asked.queue]  # of the one queue that is told of without its name
        told = merge.printers(good, [name.encode() for name in extras], waiting)
        return Answer(told, alike=asked.operation == request.GET_PRINTER_ATTRIBUTES and merge.alike(good))

    # Subscriptions

    async def _get_subscriptions(self, asked: Request, asker: Asker) -> Answer:
        replies = await self._ask_all(asked.as_asked(), asker.host, _SUBSCRIPTIONS)
        good = merge.succeeded(answers(replies))
        if not good:
            return refused(replies)
        said = missing_sentence(silent(replies), "subscriptions there are left out")
        return Answer(merge.subscriptions(asked.number("limit"), good, said))

    async def _get_notifications(self, asked: Request, asker: Asker) -> Answer:
        ids, first = asked.numbers("notify-subscription-ids"), asked.numbers("notify-sequence-numbers")
        if not ids:
            return as_it_came(await self._ask_anyone(asked.as_asked(), asker))
        numbers = dict(zip(ids, first, strict=False))
        questions = {}
        for slot, own in by_slot(ids, slot_of).items():
            parts = [wire.attribute(wire.INTEGER, "notify-subscription-ids", *own)]
            if first:
                sequence = [numbers.get(one, 1) for one in own]
                parts.append(wire.attribute(wire.INTEGER, "notify-sequence-numbers", *sequence))
            body = asked.as_asked(drop=("notify-subscription-ids", "notify-sequence-numbers"), add=parts)
            questions[self.nodes.directory.in_slot(slot) or self._first()] = body
        replies = await self.nodes.ask_each(questions, asker.host, merge.EVENT_SPOTS)
        if silent(replies):
            raise Unanswerable("a print server that has one of these subscriptions does not answer")
        if len(merge.succeeded(answers(replies))) < len(replies):
            return refused(replies)
        mine = await self._owned(asked, replies, asker)
        return Answer(merge.notifications(ids, answers(replies), mine))

    async def _owned(self, asked: Request, replies: list[Reply], asker: Asker) -> frozenset[int]:
        """Ids of the asker's jobs on the nodes that told of jobs."""
        telling = [reply.node for reply in replies if reply.answer and _tells_of_jobs(reply.answer.of(wire.EVENT))]
        body = request.my_jobs(asked)
        own = await self.nodes.ask_each(
            dict.fromkeys(telling, body), asker.host, _JOBS
        )  # of a silent one none is known
        return frozenset(job.number(b"job-id") for one in answers(own) for job in one.of(wire.JOB))

    async def _subscribe_to_job(self, asked: Request, asker: Asker) -> Answer:
        """A subscription to a job, made as one to its printer: CUPS would give it to everybody."""
        jobs = {
            number
            for group in asked.message.groups
            for one in wire.attributes(group.raw)
            if one.name.lower() == b"notify-job-id"
            for number in one.integers()
        }
        if len({slot_of(job) for job in jobs}) > 1:
            said = "one request can subscribe to jobs of one print server only"
            return Answer(merge.answer(asked.message.version, merge.BAD_REQUEST, said=said))
        node = self.nodes.directory.in_slot(slot_of(min(jobs, default=0))) or self._first()
        own = await self.nodes.ask(node, request.my_jobs(asked), asker.host, _JOBS)
        if own.silent:
            raise Unanswerable("the print server that has this job does not answer; it is being restarted")
        mine = {job.number(b"job-id") for one in answers([own]) for job in one.of(wire.JOB)}
        if not jobs <= mine:
            said = "only a job's owner may subscribe to it, and there is no other job of this number"
            return Answer(merge.answer(asked.message.version, merge.NOT_FOUND, said=said))
        return as_it_came(await self.nodes.ask(node, asked.as_asked(), asker.host))

    # Cancel

    async def _cancel_my_jobs(self, asked: Request, asker: Asker) -> Answer:
        if ids := self._now(asked):
            return await self._cancel_named(asked, ids, asker)
        replies = await self._ask_all(asked.as_asked(), asker.host, _NOTHING)
        return self._cancelled(asked, replies, asker.owns)

    async def _cancel_named(self, asked: Request, ids: list[int], asker: Asker) -> Answer:
        """All of them or none: they are looked at first when more than one node is concerned."""
        if not asked.find("printer-uri", wire.URI):  # which any node refuses for that, before it looks at the jobs
            return as_it_came(await self._ask_anyone(asked.as_asked(), asker))
        if len(by_slot(ids, slot_of)) > 1:
            mine = partial(_owns, asker)
            if missing := await self._not_all(asked, ids, asker, mine):
                return missing
        replies = await self._ask_owners(asked.as_asked, ids, asker)
        return self._cancelled(asked, replies, lambda job: job.id in ids)

    async def _not_all(
        self, asked: Request, ids: list[int], asker: Asker, meant: Callable[[Group], bool]
    ) -> Answer | None:
        """What is said when one of these jobs is not there, or not meant; None when all are."""
        replies = await self._ask_owners(
            partial(request.jobs_of_all_queues, asked, ("job-id", "job-originating-user-name")), ids, asker
        )
        if any(reply.silent for reply in replies):
            raise Unanswerable("a print server that has one of these jobs does not answer; it is being restarted")
        if len(merge.succeeded(answers(replies))) < len(replies):
            return refused(replies)
        found = {job.number(b"job-id") for one in answers(replies) for job in one.of(wire.JOB) if meant(job)}
        foreign = next((one for one in ids if one not in found), None)
        if foreign is None:
            return None
        return Answer(merge.answer(asked.message.version, merge.NOT_FOUND, said=f"Job #{foreign} does not exist."))

    async def _cancel_jobs(self, asked: Request, asker: Asker) -> Answer:
        """Of everybody: the edge lets administrators only come here, and nodes obey their operator only."""
        ids = self._now(asked)
        named = self._by_owner(ids)
        if len(named) > 1 and (missing := await self._not_all(asked, ids, asker, lambda _: True)):
            return missing
        bodies = {
            node: asked.as_asked(
                user=self.nodes.directory.operator(node),
                drop=["job-ids"],
                add=[wire.attribute(wire.INTEGER, "job-ids", *named[node])] if ids else [],
            )
            for node in (named if ids else self.nodes.directory.nodes())
        }
        replies = await self.nodes.ask_each(bodies, asker.host, _NOTHING)
        return self._cancelled(asked, replies, lambda job: not ids or job.id in ids)

    def _cancelled(self, asked: Request, replies: list[Reply], meant: Callable[[Job], bool]) -> Answer:
        """A client takes a success for the end of every job that was meant, so one node that does not do it speaks for
        all, if it has such a job."""
        left = [
            (job, reply)
            for reply in replies
            if not is_success(reply)
            for job in self.table.search("open", node=reply.node.name)
            if meant(job) and asked.concerns(job.queue)
        ]
        if unheard := [str(job.id) for job, reply in left if reply.silent]:
            said = (
                f"these jobs are on a print server that is being restarted, try again in a moment: {', '.join(unheard)}"
            )
            return Answer(merge.answer(asked.message.version, merge.TEMPORARY_ERROR, said=said))
        if left:
            return refused(reply for _, reply in left)
        done = next((reply for reply in replies if is_success(reply)), None)
        return as_it_came(done) if done else refused(replies)

    # A job whose node is down, or that is elsewhere now

    async def _about_a_job(self, asked: Request, asker: Asker) -> Answer:
        job = self.moves.now(asked.job)
        node = self.nodes.directory.in_slot(slot_of(job))
        body = asked.as_asked() if job == asked.job else asked.about(job)
        if node is None and (known := self.table.by_id(job)):
            return self._from_memory(asked, known, asker)
        reply = await self.nodes.ask(node or self._first(), body, asker.host)
        if not reply.silent:
            return as_it_came(reply)
        return self._from_memory(asked, self._remembered([job])[0], asker)

    def _from_memory(self, asked: Request, job: Job, asker: Asker) -> Answer:
        if asked.operation != request.GET_JOB_ATTRIBUTES:
            raise Unanswerable("the print server that has this job does not answer; it is being restarted")
        group = last_seen.described(job, asker, last_seen.requested_of(asked))
        return Answer(merge.answer(asked.message.version, merge.OK, groups=[group.raw]))

    async def _ask_anyone(self, body: bytes, asker: Asker) -> Reply:
        for node in self.nodes.directory.nodes():
            reply = await self.nodes.ask(node, body, asker.host)
            if not reply.silent:
                return reply
        raise Unanswerable("no print server answers")


def _tells_of_jobs(events: Iterable[Group]) -> bool:
    return any(b"notify-job-id" in event.spots for event in events)


def _owns(asker: Asker, job: Group) -> bool:
    spot = job.spots.get(b"job-originating-user-name")
    return spot is not None and spot.value.decode(errors="replace").lower() == asker.user.lower()
