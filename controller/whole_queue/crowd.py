"""People who ask for their own jobs, many at the same moment: phones do so every second while they print.

Each question goes to every node, so that they grow with people times nodes. Where one list of everybody's jobs costs
less than the questions that are under way, all who come then share one, and each gets own ones out of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from controller.snapshot import Node
from controller.whole_queue.nodes import Nodes, Reply
from controller.whole_queue.request import ACTIVE, JOB_SPOTS, OWNER, JobsQuestion
from controller.whole_queue.together import Together
from probes import wire
from probes.wire import Group

JOBS_PER_QUESTION = 4
"""A node lists about so many while it answers one question for the few of one person (0.3 and 1.3 ms, measured)."""
LONGEST = 2000
"""Jobs in a list that is shared: on two cores more can't be listed by all nodes within their deadline of 2 s."""
_OWNER = OWNER.encode()


@dataclass(frozen=True)
class _Everybodys:
    """A node's list of all users' jobs. by_owner: in small letters, as cupsd compares names."""

    reply: Reply
    by_owner: dict[bytes, list[Group]]

    def of(self, user: str) -> Reply:
        """The reply as it would be to this user's own question."""
        answer = self.reply.answer
        if answer is None:
            return self.reply
        others = [group for group in answer.groups if group.tag != wire.JOB]
        own = self.by_owner.get(user.lower().encode(), [])
        return replace(self.reply, answer=replace(answer, groups=[*others, *own]))


_Lists: TypeAlias = list[_Everybodys]


@dataclass
class Crowd:
    """Asks nodes for the jobs of one user."""

    nodes: Nodes
    count_open: Callable[[], int]
    """How many open jobs there are, as far as known."""
    _alone: int = 0
    """Questions that are under way, each in the name of the one who asks."""
    _together: Together[_Lists] = field(default_factory=Together)

    async def own_jobs(self, question: JobsQuestion, nodes: Sequence[Node], host: str) -> list[Reply]:
        """A reply from each node, in their order, with jobs of the one who asks."""
        if _can_be_shared(question, nodes) and self._pays(nodes):
            key = (host, tuple(nodes), question.for_everybody())
            lists = await self._together.ask(key, lambda: self._everybodys(question, nodes, host))
            return [one.of(question.request.user) for one in lists]
        self._alone += 1
        try:
            return await self.nodes.ask_each(question.for_each(nodes), host, JOB_SPOTS)
        finally:
            self._alone -= 1

    def _pays(self, nodes: Sequence[Node]) -> bool:
        return self._alone > 0 and self.count_open() <= min(LONGEST, JOBS_PER_QUESTION * self._alone * len(nodes))

    async def _everybodys(self, question: JobsQuestion, nodes: Sequence[Node], host: str) -> _Lists:
        bodies = {node: question.for_everybody(self.nodes.directory.operator(node)) for node in nodes}
        return [_sorted(reply) for reply in await self.nodes.ask_each(bodies, host, JOB_SPOTS)]


def _can_be_shared(question: JobsQuestion, nodes: Sequence[Node]) -> bool:
    """Lists of ended jobs are long, and on someone else's server the operator need not see what an owner sees."""
    return question.which in ACTIVE and all(node.driver == "process" for node in nodes)


def _sorted(reply: Reply) -> _Everybodys:
    by_owner: dict[bytes, list[Group]] = defaultdict(list)
    for job in reply.answer.of(wire.JOB) if reply.answer else ():
        if owner := job.spots.get(_OWNER):
            by_owner[owner.value.decode(errors="replace").lower().encode()].append(job)
    return _Everybodys(reply, by_owner)
