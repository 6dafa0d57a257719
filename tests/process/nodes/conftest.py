"""Real nodes and a real socket printer on free ports. pytest's folders are of mode 700, so that as root every test
here also shows that a node below such a folder prints."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyipp.enums import IppOperation

from controller import processes
from controller.nodes import queues
from controller.nodes.driver import NodeSpec
from controller.nodes.process import SOCKET_BACKEND, Backend, ProcessDriver
from controller.nodes.queues import Queue
from probes import ipp
from probes.reading import OpenJob, Reading
from probes.sweep import Target, sweep
from tests.process.fleet import eventually, free_port

__all__ = ["DEADLINE", "Node", "Printer", "eventually", "node", "office", "printer"]

DEADLINE = 30.0
"""Seconds for one question, on a busy machine."""


@dataclass
class Printer:
    """A virtual printer in a process of its own."""

    folder: Path
    port: int = field(default_factory=free_port)
    options: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        return f"socket://127.0.0.1:{self.port}"

    @property
    def _record(self) -> Path:
        return self.folder.parent / "printer.json"

    def start(self, *options: str) -> None:
        arguments = ["--folder", str(self.folder), "--port", str(self.port), *options]
        command = [sys.executable, "-m", "controller.virtual_printer", *arguments]
        processes.spawn(command, self._record, self.folder.parent / "printer.log", dict(os.environ))

    def stop(self) -> None:
        processes.end(self._record)

    def printed(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if path.suffix != ".partial" and path.name[0] != ".")


@dataclass
class Node:
    driver: ProcessDriver
    spec: NodeSpec

    def start(self) -> None:
        self.driver.start(self.spec)

    def declare(self, *wanted: Queue) -> list[str]:
        return queues.declare(self.spec.host, self.spec.port, self.driver.token(self.spec), wanted, DEADLINE)

    def kill(self) -> None:
        os.kill(self.pid(), signal.SIGKILL)

    def pid(self) -> int:
        pid = processes.recorded_pid(self.spec.folder / "process")
        assert pid
        return pid

    def lp(self, user: str, *arguments: str, text: str = "page\n", queue: str = "office") -> int:
        """Print through libcups; returns the job's id."""
        server = f"{self.spec.host}:{self.spec.port}"
        command = ["lp", "-h", server, "-U", user, "-d", queue, *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split()[3].rsplit("-", 1)[1])

    def ask(
        self, user: str, operation: IppOperation, job: dict[str, Any] | None = None, **attributes: Any
    ) -> ipp.Answer:
        """An operation on the queue `office`; job_id=5 is the attribute job-id, job holds attributes of the job."""
        server = ipp.Server(self.spec.host, self.spec.port, user)
        named = {name.replace("_", "-"): value for name, value in attributes.items()}
        return ipp.question(server, ipp.Request(operation, named, "office", job=job or {}), DEADLINE)

    def reading(self, user: str | None = None, deadline: float = 5.0) -> Reading:
        name = user or self.driver.token(self.spec).user
        target = Target(self.spec.name, self.spec.host, self.spec.port, name)
        return asyncio.run(sweep([target], deadline))[self.spec.name]

    def jobs(self) -> dict[int, OpenJob]:
        reading = self.reading()
        assert reading.error is None
        return {job.id: job for job in reading.jobs}


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[Printer]:
    made = Printer(tmp_path / "printed")
    yield made
    made.stop()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    driver = ProcessDriver(backends=[Backend("socket", SOCKET_BACKEND)])
    spec = NodeSpec("n3", 3, 3_000_001, "127.0.0.1", free_port(), tmp_path / "nodes/n3")
    yield Node(driver, spec)
    driver.remove(spec)


@pytest.fixture
def office(node: Node, printer: Printer) -> Node:
    """A running node with the queue `office`, whose printer is not started yet."""
    node.start()
    node.declare(Queue("office", printer.device))
    return node
