"""Cancel-My-Jobs and Cancel-Jobs. Nodes are asked in the name of the one who asks, but for Cancel-Jobs: the edge lets
administrators only come here, and nodes obey their operator only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from controller.jobs.table import Job
from controller.whole_queue import merge, request, silence
from controller.whole_queue.answer import Answer, Unanswerable, as_it_came, is_success, refused
from controller.whole_queue.asking import NOTHING, Asking
from controller.whole_queue.last_seen import Asker
from controller.whole_queue.nodes import Reply, answers, silent
from controller.whole_queue.request import Request
from probes import wire
from probes.wire import Group


@dataclass(frozen=True)
class Cancelling:
    """All jobs that are named are cancelled, or none: they are looked at first when more than one node has them."""

    asking: Asking

    async def my_jobs(self, asked: Request, asker: Asker) -> Answer:
        if ids := self.asking.now(asked):
            return await self._named(asked, ids, asker)
        replies = await self.asking.all(asked.as_asked(), asker.host, NOTHING)
        return self._outcome(asked, replies, asker.owns, asker.user)

    async def _named(self, asked: Request, ids: list[int], asker: Asker) -> Answer:
        if not asked.find("printer-uri", wire.URI):  # which any node refuses for that, before it looks at the jobs
            return as_it_came(await self.asking.anyone(asked.as_asked(), asker.host))
        if len(self.asking.by_owner(ids)) > 1 and (
            missing := await self._not_all(asked, ids, asker, partial(_owns, asker))
        ):
            return missing
        replies = await self.asking.owners(asked.as_asked, ids, asker)
        return self._outcome(asked, replies, lambda job: job.id in ids)

    async def _not_all(
        self, asked: Request, ids: list[int], asker: Asker, meant: Callable[[Group], bool]
    ) -> Answer | None:
        """What is said when one of these jobs is not there, or not meant; None when all are."""
        wanted = partial(request.jobs_question, asked, ("job-id", request.OWNER))
        replies = await self.asking.owners(wanted, ids, asker)
        if lost := silent(replies):
            raise Unanswerable(silence.of_one_of("jobs", lost))
        if len(merge.succeeded(answers(replies))) < len(replies):
            return refused(replies)
        found = {job.number(b"job-id") for one in answers(replies) for job in one.of(wire.JOB) if meant(job)}
        foreign = next((one for one in ids if one not in found), None)
        if foreign is None:
            return None
        return Answer(merge.answer(asked.message.version, merge.NOT_FOUND, said=f"Job #{foreign} does not exist."))

    async def anybodys_jobs(self, asked: Request, asker: Asker) -> Answer:
        ids = self.asking.now(asked)
        named = self.asking.by_owner(ids)
        if len(named) > 1 and (missing := await self._not_all(asked, ids, asker, lambda _: True)):
            return missing
        directory = self.asking.nodes.directory
        bodies = {
            node: asked.as_asked(
                user=directory.operator(node),
                drop=["job-ids"],
                add=[wire.attribute(wire.INTEGER, "job-ids", *named[node])] if ids else [],
            )
            for node in (named if ids else directory.nodes())
        }
        replies = await self.asking.nodes.ask_each(bodies, asker.host, NOTHING)
        return self._outcome(asked, replies, lambda job: not ids or job.id in ids)

    def _outcome(self, asked: Request, replies: list[Reply], meant: Callable[[Job], bool], owner: str = "") -> Answer:
        """A client takes a success for the end of every job that was meant, so one node that does not do it speaks for
        all, if it has such a job. owner: whose jobs are meant only; '' for everybody's."""
        left = [
            (job, reply)
            for reply in replies
            if not is_success(reply)
            for job in self.asking.table.open_of(reply.node.name, owner)
            if meant(job) and asked.concerns(job.queue)
        ]
        if unheard := {job.id: reply.node for job, reply in left if reply.silent}:
            said = silence.not_cancelled(unheard, unheard.values())
            return Answer(merge.answer(asked.message.version, merge.TEMPORARY_ERROR, said=said))
        if left:
            return refused(reply for _, reply in left)
        done = next((reply for reply in replies if is_success(reply)), None)
        return as_it_came(done) if done else refused(replies)


def _owns(asker: Asker, job: Group) -> bool:
    spot = job.spots.get(request.OWNER.encode())
    return spot is not None and spot.value.decode(errors="replace").lower() == asker.user.lower()
