"""Documents that were made to do harm, on a real node: each is printed, within bounded time and memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import processes
from controller.costs.counter import COUNT_SECONDS, MEMORY
from controller.nodes import settings
from tests import hostile
from tests.documents import pdf
from tests.process.costs.conftest import Books, Node, Printer, attempts, ends, eventually, pages, send

SLACK_SECONDS = 20.0
"""For a busy machine, beyond the time after which a count is given up."""
UNKNOWN = ("encrypted", "nested arrays")
"""Some of those that nobody can count."""


def documents(folder: Path) -> Iterator[tuple[str, Path]]:
    sent = [one for one in (*hostile.pdfs(), *hostile.others()) if one[1]]  # an empty one no client sends
    for number, (name, content) in enumerate(sent):
        path = folder / f"{number}"
        path.write_bytes(content)
        yield name, path
    yield "10,000 pages", pdf(folder / "many.pdf", 10_000)


@pytest.mark.timeout(400)
def test_no_document_hangs_or_kills_a_node(counting: Node, books: Books, printer: Printer, tmp_path: Path) -> None:
    """Some twenty seconds, for a bomb takes its time."""
    highest, found = 0, {}
    for number, (name, path) in enumerate(documents(tmp_path)):
        send(counting, path, "-o", "raw")

        def ended(wanted: int = number + 1) -> bool:
            nonlocal highest
            highest = max(highest, memory(counting))
            return len([one for one in attempts(counting) if one.ended and one.count]) == wanted

        eventually(ended, COUNT_SECONDS + SLACK_SECONDS)
        found[name] = ends(counting)[-1].known
    assert {one.origin for one in found.values()} <= {"counted", "estimated", "unknown"}
    assert found["10,000 pages"].pages == 10_000
    assert {name for name, one in found.items() if one.origin == "unknown"} >= set(UNKNOWN)
    assert 0 < highest < 2 * MEMORY
    send(counting, pdf(tmp_path / "3.pdf", 3), "-o", "raw")
    assert pages(ends(counting, len(found) + 1)[-1]) == 3
    assert len(eventually(lambda: made if len(made := printer.printed()) > len(found) else [])) == len(found) + 1
    charged = books.charged()
    assert len(charged) == len(found) + 1
    assert all(one.pages == 1 for one in charged if one.origin == "unknown")


def memory(node: Node) -> int:
    """Bytes that the largest process of a node's backends has."""
    return max((_resident(pid) for pid in processes.marked(settings.mark_of(node.spec.folder))), default=0)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
