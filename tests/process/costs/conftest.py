"""A node whose queues have the counting backend in front of their devices."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from controller import processes
from controller.config import Price
from controller.costs import install, journal
from controller.costs.attempts import Attempt, put_together
from controller.costs.charge import Site
from controller.costs.collect import Charger
from controller.costs.ledger import Entry, Ledger
from controller.costs.rates import Tariff
from controller.jobs.table import ATTRIBUTES, Job, JobTable, from_attributes
from controller.nodes import settings
from controller.nodes.driver import NodeSpec
from controller.nodes.process import SOCKET_BACKEND, Backend, ProcessDriver
from controller.nodes.queues import Queue
from controller.store import Store
from machine.identity import stat_fields
from probes import ipp
from tests.process.fleet import free_port
from tests.process.nodes.conftest import Node, Printer, eventually

__all__ = ["Node", "Printer", "attempts", "counting", "ends", "eventually", "printer"]

MODELS = {
    "pdf": "/usr/share/ppd/cupsfilters/Generic-PDF_Printer-PDF.ppd",
    "postscript": "drv:///sample.drv/generic.ppd",
    "pwg": "drv:///cupsfilters.drv/pwgrast.ppd",
    "pcl": "drv:///sample.drv/generpcl.ppd",
}
"""A driver of each kind, by the name of a queue."""
SITE = Site(Tariff((Price(per_page=Decimal("0.05")),)))
PATIENCE = 30.0
"""Seconds for a job on a busy machine."""


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
    return eventually(lambda: found if len(found := _counted(node)) >= count else [], PATIENCE)


def _counted(node: Node) -> list[Attempt]:
    return [one for one in attempts(node) if one.ended and one.count]


def send(node: Node, document: Path, *options: str, queue: str = "office", user: str = "alice") -> None:
    command = ["lp", "-h", f"{node.spec.host}:{node.spec.port}", "-U", user, "-d", queue, *options, str(document)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def pages(attempt: Attempt) -> int:
    return attempt.known.pages * attempt.known.copies * attempt.copies


def our_backend(node: Node) -> int:
    """The process that cupsd started, 0 for none; those that it forked have its name as well."""
    marked = processes.marked(settings.mark_of(node.spec.folder))
    found = {pid for pid in marked if b"/backend/cupsfleet" in command_of(pid)}
    return next((pid for pid in found if _parent(pid) not in found), 0)


def _parent(pid: int) -> int:
    """Itself, of one that is gone."""
    try:
        return int(stat_fields(pid)[1])
    except OSError:
        return pid


def both_backends(node: Node) -> list[int]:
    """Our backend and the real one, once both run."""

    def look() -> list[int]:
        found = processes.marked(settings.mark_of(node.spec.folder))
        real, ours = [pid for pid in found if b"/backend/socket" in command_of(pid)], our_backend(node)
        return [ours, real[0]] if ours and real else []

    return eventually(look, PATIENCE)


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@dataclass
class Stalling:
    """A printer that takes so many bytes and then no more, until it may. Switched off it takes no connection."""

    size: int
    taken: threading.Event = field(default_factory=threading.Event)
    _go_on: threading.Event = field(default_factory=threading.Event)
    _listener: socket.socket = field(default_factory=socket.socket)

    def __post_init__(self) -> None:
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self._listener.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="stalling printer", daemon=True)

    @property
    def device(self) -> str:
        return f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    def switch_on(self) -> None:
        self._listener.listen()
        self._thread.start()

    def go_on(self) -> None:
        """Take everything from now on."""
        self._go_on.set()
        if not self._thread.is_alive():
            self.switch_on()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                with self._listener.accept()[0] as printer:
                    left = 1 << 62 if self._go_on.is_set() else self.size
                    while left > 0 and (chunk := printer.recv(min(left, 1 << 20))):
                        left -= len(chunk)
                    self.taken.set()
                    self._go_on.wait()
                    with suppress(ConnectionError):
                        while printer.recv(1 << 20):
                            pass

    def close(self) -> None:
        self._go_on.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)


@contextmanager
def stalling(size: int, on: bool = True) -> Iterator[Stalling]:
    made = Stalling(size)
    if on:
        made.switch_on()
    try:
        yield made
    finally:
        made.close()


@dataclass
class Books:
    """What a controller knows of a node: its jobs by its own word, and the ledger."""

    node: Node
    database: Path

    def __post_init__(self) -> None:
        with Store(self.database, create=True):
            pass
        self.charger = Charger(lambda: Store(self.database), self.node.spec.folder.parent, lambda: SITE)

    def jobs(self) -> list[Job]:
        """All jobs of the node by its own word."""

        async def told() -> list[Job]:
            spec = self.node.spec
            server = ipp.Server(spec.host, spec.port, self.node.driver.token(spec).user)
            async with ipp.session() as http:
                said = [one async for one in ipp.all_jobs(http, server, ATTRIBUTES)]
            return [from_attributes(spec.name, one) for one in said]

        return asyncio.run(told())

    def put(self) -> None:
        """Into the table of jobs what the node says."""
        with Store(self.database) as store, store.transaction():
            JobTable(store).put(self.jobs())

    def collect(self) -> None:
        self.put()
        self.charger.collect()

    def charged(self) -> list[Entry]:
        """Once all jobs have ended: the ledger, after everything was read several times over."""
        eventually(lambda: (jobs := self.jobs()) and not any(job.open for job in jobs), PATIENCE)
        for _ in range(3):
            self.collect()
            with Store(self.database) as store, store.transaction():
                store.execute("delete from journals")
        with Store(self.database) as store:
            return Ledger(store).entries(date(1970, 1, 1), date(2100, 1, 1))


@pytest.fixture
def books(counting: Node, tmp_path: Path) -> Books:
    return Books(counting, tmp_path / "books.db")
