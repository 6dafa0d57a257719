"""What a client gets: of the replies of several nodes the one that says most, as it came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.whole_queue import merge, silence
from controller.whole_queue.nodes import Reply


@dataclass(frozen=True)
class Answer:
    """What the client gets; `body` is IPP when the status is 200."""

    body: bytes
    status: int = 200
    alike: bool = False
    """Whether it is about a queue of which every node said that it is idle and takes jobs."""


class Unanswerable(Exception):
    """Nobody who could answer did. The message says who."""


def is_success(reply: Reply) -> bool:
    return reply.answer is not None and merge.success(reply.answer)


def lacks_it(reply: Reply) -> bool:
    """Whether the node says that it has no such queue, and so none of its jobs."""
    return reply.answer is not None and reply.answer.code == merge.NOT_FOUND


def as_it_came(reply: Reply) -> Answer:
    if reply.silent:
        raise Unanswerable(f"the print server that is asked {silence.plight([reply.node])}")
    return Answer(reply.body, reply.http_status or 200)


def refused(replies: Iterable[Reply]) -> Answer:
    """The refusal that says most, as its node wrote it. Raises Unanswerable when nobody refused."""
    said = [reply for reply in replies if not reply.silent and not is_success(reply)]
    if not said:
        raise Unanswerable(silence.NOBODY_ANSWERS)
    return as_it_came(next((one for one in said if not one.answer or one.answer.code != merge.NOT_FOUND), said[0]))
