"""Jobs that are cancelled while they print are charged for what the printer took, however their document reaches it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyipp.enums import IppOperation

from controller.costs.attempts import Attempt
from controller.nodes.queues import Queue
from tests.documents import heavy, pdf
from tests.process.costs.conftest import (
    MODELS,
    PATIENCE,
    Books,
    Node,
    Printer,
    attempts,
    both_backends,
    ends,
    eventually,
    pages,
    send,
    stalling,
)

PAGE = 2 << 20
"""Bytes of each page: a printer's connection alone holds two or three of them."""
TAKEN = 3 * PAGE
QUEUES = ("office", "pdf", "postscript")


@dataclass(frozen=True)
class Case:
    name: str
    queue: str = "raw"
    options: tuple[str, ...] = ()
    documents: int = 1
    pages: int = 12
    """Of each document."""
    least: int = TAKEN // PAGE
    """Pages that have come to the printer."""
    limited: bool = False
    """Whether accounts have limits, so that all of it is counted before any of it is sent."""

    @property
    def total(self) -> int:
        return self.pages * self.documents * (2 if self.options else 1)


CASES = (
    Case("a file"),
    Case("two copies of a file", options=("-n", "2"), pages=6),
    Case("two documents", documents=2, pages=6),
    Case("two copies of two documents", options=("-n", "2"), documents=2, pages=3),
    Case("a PDF from a driver", "pdf"),
    Case("PostScript from a driver", "postscript", pages=6, least=1),  # whose pages weigh twice as much
    Case("a file, prepaid", limited=True),
    Case("a PDF from a driver, prepaid", "pdf", limited=True),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_job_that_is_cancelled_half_way_is_charged_for_what_was_taken(
    counting: Node, books: Books, tmp_path: Path, case: Case
) -> None:
    documents = [heavy(tmp_path / f"{number}.pdf", case.pages, PAGE) for number in range(case.documents)]
    with half_taken(counting, case, *documents):
        [number] = counting.jobs()
        counting.ask("alice", IppOperation.CANCEL_JOB, job_id=number)
        [end] = ends(counting)
        [entry] = books.charged()
    assert not end.whole
    assert entry.pages == math.ceil(pages(end) * end.share)
    assert case.least <= entry.pages < case.total
    assert entry.origin == "estimated"


@contextmanager
def half_taken(node: Node, case: Case, *documents: Path) -> Iterator[None]:
    """A job of these documents of which the printer has taken TAKEN, and no more."""
    if case.limited:
        (node.spec.folder / "costs").mkdir(exist_ok=True)
        (node.spec.folder / "costs/gate.json").write_text(json.dumps({"when_unreachable": "allow"}))
    with stalling(TAKEN) as printer:
        node.declare(node.driver.queue(Queue("office", printer.device, MODELS.get(case.queue, "raw"))))
        raw = ("-o", "raw") if case.queue == "raw" else ()
        first, *more = documents
        send(node, first, *case.options, *raw, *(str(path) for path in more))
        assert printer.taken.wait(PATIENCE)
        eventually(lambda: _half(attempts(node)[0], case), PATIENCE)
        yield


def _half(attempt: Attempt, case: Case) -> bool:
    """That it says so, and that all of the document has come, where it comes as fast as it can."""
    return attempt.share > 1 / 5 and (attempt.count is not None or case.queue == "postscript")


def test_a_job_that_is_cancelled_while_it_waits_for_the_printer_has_sent_nothing(
    counting: Node, books: Books, printer: Printer, tmp_path: Path
) -> None:
    printer.stop()
    counting.declare(*(counting.driver.queue(Queue(name, printer.device, MODELS.get(name, "raw"))) for name in QUEUES))
    for number, queue in enumerate(QUEUES):
        send(counting, pdf(tmp_path / "1.pdf", 5), queue=queue)
        both_backends(counting)
        [job] = counting.jobs()
        counting.ask("alice", IppOperation.CANCEL_JOB, job_id=job)
        end = ends(counting, number + 1)[number]
        assert (end.whole, end.share) == (False, 0.0)
    assert books.charged() == []
