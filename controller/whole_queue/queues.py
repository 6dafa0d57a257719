"""What is said of queues: Get-Printer-Attributes, CUPS-Get-Default and CUPS-Get-Printers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.snapshot import Node
from controller.whole_queue import merge, request, silence
from controller.whole_queue.answer import Answer, is_success, lacks_it, refused
from controller.whole_queue.asking import Asking
from controller.whole_queue.last_seen import Asker
from controller.whole_queue.nodes import answers
from controller.whole_queue.request import Request
from probes import wire


@dataclass(frozen=True)
class Queues:
    asking: Asking

    async def told(self, asked: Request, asker: Asker) -> Answer:
        extras = request.printer_extras(asked)
        # people would be told that their printer is off while its one server is late only
        replies = await self.asking.all(_question(asked, extras), asker.host, merge.PRINTER_SPOTS, patiently=True)
        good = merge.succeeded(answers(replies))
        if not good:
            return refused(replies)
        lost = [reply.node for reply in replies if not is_success(reply) and not lacks_it(reply)]
        waiting = {node: self.asking.table.waiting_on(node.name) for node in lost}
        missing = [node for node, jobs in waiting.items() if (jobs.get(asked.queue) if asked.queue else jobs)]
        said = silence.missing_sentence(missing, "jobs there are counted as they were last seen")
        others = self._others(waiting.values(), [reply.node for reply in replies if is_success(reply)])
        others[""] = others[asked.queue]  # of the one queue that is told of without its name
        listed = asked.number("limit") or request.LARGEST_INTEGER
        most = listed if asked.operation == request.CUPS_GET_PRINTERS else 0
        body = merge.printers(good, [name.encode() for name in extras], others, most, said)
        return Answer(body, alike=asked.operation == request.GET_PRINTER_ATTRIBUTES and not said and merge.alike(good))

    def _others(self, waiting: Iterable[dict[str, int]], heard: Sequence[Node]) -> Counter[str]:
        """What is to be added to the queues' counts: jobs of nodes that were not heard, but not the copies of jobs that
        are being moved, which their old nodes count too."""
        others: Counter[str] = Counter()
        for jobs in waiting:
            others.update(jobs)
        copies = self.asking.moves.standing_twice()
        for node in heard:
            others.subtract(copies.get(node.name, {}))
        return others


def _question(asked: Request, extras: Sequence[str]) -> bytes:
    if not extras:
        return asked.as_asked()
    wanted = wire.attribute(wire.KEYWORD, "requested-attributes", *asked.texts("requested-attributes"), *extras)
    return asked.as_asked(drop=["requested-attributes"], add=[wanted])
