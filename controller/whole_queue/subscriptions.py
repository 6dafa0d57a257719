"""Get-Subscriptions, Get-Notifications over several subscriptions, and subscriptions to a job."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from controller.nodes.settings import HISTORY_SECONDS
from controller.snapshot import Node
from controller.whole_queue import merge, request, silence
from controller.whole_queue.answer import Answer, Unanswerable, as_it_came, refused
from controller.whole_queue.asking import JOBS, Asking
from controller.whole_queue.last_seen import Asker
from controller.whole_queue.nodes import answers, silent
from controller.whole_queue.request import Request
from haproxy.model import slot_of
from probes import wire
from probes.wire import Group

_SUBSCRIPTIONS = frozenset({b"notify-subscription-id"})


@dataclass(frozen=True)
class Subscriptions:
    asking: Asking

    async def listed(self, asked: Request, asker: Asker) -> Answer:
        replies = await self.asking.all(asked.as_asked(), asker.host, _SUBSCRIPTIONS)
        good = merge.succeeded(answers(replies))
        if not good:
            return refused(replies)
        said = silence.missing_sentence(silent(replies), "subscriptions there are left out")
        return Answer(merge.subscriptions(asked.number("limit"), good, said))

    async def notifications(self, asked: Request, asker: Asker) -> Answer:
        ids, first = asked.numbers("notify-subscription-ids"), asked.numbers("notify-sequence-numbers")
        if not ids:
            return as_it_came(await self.asking.anyone(asked.as_asked(), asker.host))
        numbers = dict(zip(ids, first, strict=False))
        questions = {}
        for node, own in self.asking.by_owner(ids).items():
            parts = [wire.attribute(wire.INTEGER, "notify-subscription-ids", *own)]
            if first:
                sequence = [numbers.get(one, 1) for one in own]
                parts.append(wire.attribute(wire.INTEGER, "notify-sequence-numbers", *sequence))
            questions[node] = asked.as_asked(drop=("notify-subscription-ids", "notify-sequence-numbers"), add=parts)
        replies = await self.asking.nodes.ask_each(questions, asker.host, merge.EVENT_SPOTS)
        if lost := silent(replies):
            raise Unanswerable(silence.of_one_of("subscriptions", lost))
        if len(merge.succeeded(answers(replies))) < len(replies):
            return refused(replies)
        telling = [reply.node for reply in replies if reply.answer and _tells_of_jobs(reply.answer.of(wire.EVENT))]
        if not telling:  # as most polls end
            return Answer(merge.notifications(ids, answers(replies), frozenset()))
        mine = await self._owned(asked, telling, asker)
        doubles = self.asking.moves.doubles(time.time() - HISTORY_SECONDS)
        return Answer(merge.notifications(ids, answers(replies), mine, doubles.counts))

    async def _owned(self, asked: Request, telling: list[Node], asker: Asker) -> frozenset[int]:
        """Ids of the asker's jobs on the nodes that told of jobs; of a silent one none is known."""
        own = await self.asking.nodes.ask_each(dict.fromkeys(telling, request.my_jobs(asked)), asker.host, JOBS)
        return frozenset(job.number(b"job-id") for one in answers(own) for job in one.of(wire.JOB))

    async def to_a_job(self, asked: Request, asker: Asker) -> Answer:
        """A subscription to a job, made as one to its printer: CUPS would give it to everybody."""
        asked = request.subscribing(asked, self.asking.moves.now)
        jobs = request.subscribed(asked)
        if len({slot_of(job) for job in jobs}) > 1:
            said = "one request can subscribe to jobs of one print server only"
            return Answer(merge.answer(asked.message.version, merge.BAD_REQUEST, said=said))
        node = self.asking.owner(min(jobs, default=0))
        own = await self.asking.nodes.ask(node, request.my_jobs(asked), asker.host, JOBS)
        if own.silent:
            raise Unanswerable(silence.of_a_job(node))
        mine = {job.number(b"job-id") for one in answers([own]) for job in one.of(wire.JOB)}
        if not jobs <= mine:
            said = "only a job's owner may subscribe to it, and there is no other job of this number"
            return Answer(merge.answer(asked.message.version, merge.NOT_FOUND, said=said))
        return as_it_came(await self.asking.nodes.ask(node, asked.as_asked(), asker.host))


def _tells_of_jobs(events: Iterable[Group]) -> bool:
    return any(b"notify-job-id" in event.spots for event in events)
