"""Get-Jobs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from controller.jobs.moves import Doubles
from controller.nodes.settings import HISTORY_SECONDS
from controller.whole_queue import last_seen, merge, request, silence
from controller.whole_queue.answer import Answer, Unanswerable, as_it_came, is_success, lacks_it, refused
from controller.whole_queue.asking import JOBS, NOTHING, Asking
from controller.whole_queue.crowd import Crowd
from controller.whole_queue.last_seen import Asker
from controller.whole_queue.nodes import Reply, answers, silent
from controller.whole_queue.request import JobsQuestion, Request
from probes import wire

MEETS_OLD_ONES = 300.0
"""Seconds after a move in which a list of open jobs may meet the old one; one of ended jobs meets it for as long as its
node tells of it."""


@dataclass(frozen=True)
class Lists:
    asking: Asking
    crowd: Crowd = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "crowd", Crowd(self.asking.nodes, self.asking.table.count_open))

    async def jobs(self, asked: Request, asker: Asker) -> Answer:
        question = JobsQuestion(asked)
        ids = self.asking.now(asked)
        if ids and any(asked.find(name, tag) for name, tag in request.CONFLICTING):
            return as_it_came(await self.asking.anyone(asked.as_asked(), asker.host))
        doubles = self._doubles(question)
        copies = bool(doubles.copied) and question.which not in request.FINISHED
        question = replace(question, doubles=doubles, with_uuid=copies)
        if ids:
            return await self._named(question, ids, asker)
        if len(self.asking.serving()) == 1 and doubles == Doubles() and question.which in request.ACTIVE:
            (reply,) = await self.asking.all(asked.as_asked(), asker.host, NOTHING)
            if not reply.silent:
                return as_it_came(reply)
        replies = await self._ask(question, asker)
        return self._merged(question.moved_to(self._doubles(question)), replies, asker)

    def _doubles(self, question: JobsQuestion) -> Doubles:
        lately = MEETS_OLD_ONES if question.which in request.ACTIVE else HISTORY_SECONDS
        return self.asking.moves.doubles(time.time() - lately)

    async def _ask(self, question: JobsQuestion, asker: Asker) -> list[Reply]:
        if question.mine:
            return await self.crowd.own_jobs(question, self.asking.serving(), asker.host)
        return await self.asking.nodes.ask_each(question.for_each(self.asking.serving()), asker.host, JOBS)

    def _merged(self, question: JobsQuestion, replies: list[Reply], asker: Asker) -> Answer:
        good = merge.succeeded(answers(replies))
        if not good and any(not reply.silent for reply in replies):
            return refused(replies)
        gone = [reply.node for reply in replies if not is_success(reply) and not lacks_it(reply)]
        if not good and (not gone or question.which not in request.WHICH):
            # whether a word is one that it knows is for a server to say
            raise Unanswerable(silence.NOBODY_ANSWERS if gone else silence.NOBODY_THERE)
        told, since = {reply.node.name for reply in replies}, time.time() - HISTORY_SECONDS
        # one that has left since it was asked tells of its jobs by itself
        left = [node for node in self.asking.nodes.directory.departed() if node.name not in told]
        others = last_seen.jobs(self.asking.table, gone, left, since, question, asker)
        if not good:  # no node at all answers, but what they had is known
            good = [wire.split(merge.answer(question.request.message.version, merge.OK), JOBS)]
        if ageless := question.ageless(job for one in good for job in one.of(wire.JOB)):
            question = replace(question, ages=self.asking.table.ages(ageless))
        missing = [node for node in gone if self.asking.table.has_jobs(node.name)]
        said = silence.missing_sentence(missing, "its jobs are shown as they were last seen")
        return Answer(merge.jobs(question, good, others, said))

    async def _named(self, question: JobsQuestion, ids: list[int], asker: Asker) -> Answer:
        """Each id is asked of the node that owns it. One that is unknown makes the answer `not found`, as in CUPS."""
        left = self.asking.left_behind(ids)
        others = [one for one in ids if one not in left]
        replies = await self.asking.owners(question.for_nodes, others, asker)
        if wrong := [reply for reply in replies if not reply.silent and not is_success(reply)]:
            return refused(wrong)
        lost, owned = silent(replies), self.asking.by_owner(others)
        known = [(self.asking.remembered(one, node), node) for node in lost for one in owned[node]]
        wanted = (*question.requested, "job-id")
        groups = [
            last_seen.described(job, node, asker, wanted)
            for job, node in (*((job, None) for job in left.values()), *known)
        ]
        return Answer(merge.named_jobs(ids, answers(replies), groups, question))
