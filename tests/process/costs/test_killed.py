"""Backend, node and controller are killed by SIGKILL at every moment of charging: no double and no missing charge."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from controller import processes
from controller.nodes import settings
from controller.nodes.queues import Queue
from tests.documents import heavy, pdf
from tests.hostile import same_page
from tests.process.costs.conftest import (
    PATIENCE,
    Books,
    Node,
    Printer,
    Stalling,
    attempts,
    both_backends,
    command_of,
    ends,
    eventually,
    our_backend,
    pages,
    send,
    stalling,
)

Moment: TypeAlias = Callable[[Node, Path], AbstractContextManager[Stalling]]
"""Brings a job of a node to a moment of its charging, with the printer that prints it."""
PAGES, PAGE = 8, 2 << 20


@contextmanager
def before_it_begins(node: Node, folder: Path) -> Iterator[Stalling]:
    """It asks whether it may print, and nobody answers."""
    place = node.spec.folder / "costs"
    place.mkdir(exist_ok=True)
    (place / "gate.json").write_text(json.dumps({"when_unreachable": "allow"}))
    with socket.socket(socket.AF_UNIX) as gate, stalling(0) as printer:
        handle = os.open(place, os.O_PATH)
        gate.bind(f"/proc/self/fd/{handle}/gate")
        os.close(handle)
        gate.listen()
        gate.settimeout(PATIENCE)
        _send(node, printer, pdf(folder / "a.pdf", PAGES))
        with gate.accept()[0]:
            (place / "gate.json").unlink()
            yield printer


@contextmanager
def before_it_has_counted(node: Node, folder: Path) -> Iterator[Stalling]:
    """The document takes seconds of counting."""
    document = folder / "a.pdf"
    document.write_bytes(same_page(900_000))
    with stalling(0) as printer:
        _send(node, printer, document)
        assert printer.taken.wait(PATIENCE)
        yield printer


@contextmanager
def before_anything_was_sent(node: Node, folder: Path) -> Iterator[Stalling]:
    """It is counted, and the printer is off."""
    with stalling(0, on=False) as printer:
        _send(node, printer, pdf(folder / "a.pdf", PAGES))
        eventually(lambda: attempts(node) and attempts(node)[-1].count, PATIENCE)
        yield printer


@contextmanager
def in_the_middle(node: Node, folder: Path) -> Iterator[Stalling]:
    with stalling(2 * PAGE) as printer:
        _send(node, printer, heavy(folder / "a.pdf", PAGES, PAGE))
        eventually(lambda: attempts(node) and attempts(node)[-1].count and attempts(node)[-1].share > 0.2, PATIENCE)
        yield printer


@contextmanager
def before_it_says_that_all_is_printed(node: Node, folder: Path) -> Iterator[Stalling]:
    """It is stopped while the real backend comes to its end."""
    with in_the_middle(node, folder) as printer:
        ours, real = both_backends(node)
        os.kill(ours, signal.SIGSTOP)
        printer.go_on()
        eventually(lambda: not command_of(real), PATIENCE)  # so it is of a process that nobody has waited for
        yield printer


def _send(node: Node, printer: Stalling, document: Path) -> None:
    node.declare(node.driver.queue(Queue("office", printer.device)))
    send(node, document, "-o", "raw")


MOMENTS: tuple[tuple[Moment, int, str], ...] = (
    (before_it_begins, 1, "unknown"),
    (before_it_has_counted, 1, "unknown"),
    (before_anything_was_sent, PAGES, "estimated"),
    (in_the_middle, PAGES, "estimated"),
    (before_it_says_that_all_is_printed, PAGES, "estimated"),
)
"""When a backend is killed, and what its job is charged, for CUPS takes it for printed."""


@pytest.mark.parametrize(("moment", "charged", "origin"), MOMENTS)
def test_a_backend_is_killed(
    counting: Node, books: Books, tmp_path: Path, moment: Moment, charged: int, origin: str
) -> None:
    with moment(counting, tmp_path):
        books.collect()
        os.kill(eventually(lambda: our_backend(counting)), signal.SIGKILL)
        [entry] = books.charged()
    assert (entry.pages, entry.origin) == (charged, origin)
    assert [one.state for one in books.jobs()] == ["completed"]
    mark = settings.mark_of(counting.spec.folder)
    eventually(lambda: not [pid for pid in processes.marked(mark) if b"/backend/" in command_of(pid)])  # no sender


@pytest.mark.parametrize("moment", [moment for moment, *_ in MOMENTS if moment is not before_it_has_counted])
def test_a_node_is_killed(counting: Node, books: Books, tmp_path: Path, moment: Moment) -> None:
    """Its job is printed again from the first page, and charged once."""
    with moment(counting, tmp_path) as printer:
        books.collect()
        counting.kill()
        books.charger.collect()
        printer.go_on()
        counting.start()
        [entry] = books.charged()
    assert (entry.pages, entry.origin) == (PAGES, "counted")


def test_the_real_backend_is_killed(counting: Node, books: Books, printer: Printer, tmp_path: Path) -> None:
    """Stock CUPS takes it for printed. Here the job is tried again."""
    printer.stop()
    send(counting, pdf(tmp_path / "1.pdf", 2), "-o", "raw")
    _, real = both_backends(counting)
    os.kill(real, signal.SIGKILL)
    failed, *_ = ends(counting)
    assert not failed.whole
    printer.start()
    end = ends(counting, 2)[1]
    assert (pages(end), end.whole, end.uuid) == (2, True, failed.uuid)
    assert len(eventually(printer.printed)) == 1
    assert [(one.pages, one.origin) for one in books.charged()] == [(2, "counted")]


CHARGE_FOR_EVER = """
import sys
from pathlib import Path
from controller.costs.charge import Site
from controller.costs.collect import Charger
from controller.store import Store

database = Path(sys.argv[1])
charger = Charger(lambda: Store(database), Path(sys.argv[2]), Site)
while True:
    charger.collect()
    with Store(database) as store, store.transaction():
        store.execute("delete from journals")
    print(flush=True)
"""


def test_a_controller_is_killed_while_it_charges(
    counting: Node, books: Books, printer: Printer, tmp_path: Path
) -> None:
    """It reads everything over and over, and knows of each job before and after its end."""
    chance = random.Random(5)
    command = [sys.executable, "-c", CHARGE_FOR_EVER, str(books.database), str(counting.spec.folder.parent)]
    for count in range(1, 7):
        send(counting, pdf(tmp_path / f"{count}.pdf", count), "-o", "raw")
        with subprocess.Popen(command, stdout=subprocess.PIPE) as controller:
            assert controller.stdout
            books.put()
            for _ in range(chance.randrange(4)):
                controller.stdout.readline()
            ends(counting, count)
            books.put()
            for _ in range(chance.randrange(4)):
                controller.stdout.readline()
            controller.kill()
    assert sorted(one.pages for one in books.charged()) == list(range(1, 7))
