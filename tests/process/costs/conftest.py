"""A node whose queues have the counting backend in front of their devices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.costs import install, journal
from controller.costs.attempts import Attempt, put_together
from controller.nodes.driver import NodeSpec
from controller.nodes.process import SOCKET_BACKEND, Backend, ProcessDriver
from controller.nodes.queues import Queue
from tests.contract.test_driver import free_port
from tests.process.nodes.conftest import Node, Printer, eventually

__all__ = ["Node", "Printer", "attempts", "counting", "ends", "eventually", "printer"]


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[Printer]:
    made = Printer(tmp_path / "printed")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def counting(tmp_path: Path, printer: Printer) -> Iterator[Node]:
    """A running node with the raw queue `office`."""
    driver = ProcessDriver(backends=[Backend("socket", SOCKET_BACKEND), install.backend()])
    made = Node(driver, NodeSpec("n3", 3, 3_000_001, "127.0.0.1", free_port(), tmp_path / "nodes/n3"))
    made.start()
    made.declare(driver.queue(Queue("office", printer.device)))
    yield made
    driver.remove(made.spec)


def attempts(node: Node) -> list[Attempt]:
    """What the node wrote down, in the order of time."""
    folder = str(node.spec.folder)
    records = [record for path in journal.files(folder) for record, _ in journal.read(path, 0)]
    return list(put_together(records, {}).values())


def ends(node: Node, count: int = 1) -> list[Attempt]:
    """The attempts that have ended and are counted, once there are so many."""
    return eventually(lambda: found if len(found := _counted(node)) >= count else [], 30)


def _counted(node: Node) -> list[Attempt]:
    return [one for one in attempts(node) if one.ended and one.count]
