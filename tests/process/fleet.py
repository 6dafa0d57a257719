"""A whole fleet for tests, started and asked as an administrator would: by the command line."""

from __future__ import annotations

import base64
import http.client
import json
import os
import pty
import select
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyipp.enums import IppOperation
from pyipp.serializer import encode_dict

from controller import processes
from machine.ports import unused

T = TypeVar("T")


def eventually(look: Callable[[], T], deadline: float = 40.0, pause: float = 0.05) -> T:
    """The first true answer; AssertionError with the last one when there is none in time (seconds)."""
    until = time.monotonic() + deadline
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, f"not within {deadline:g} s; the last answer was {found!r}"
        time.sleep(pause)


def free_port() -> int:
    """One that is free at every address of both families: a front door with a public name listens at all of them."""
    return unused("::")


def encode(operation: IppOperation, attributes: dict[str, Any], job: dict[str, Any] | None = None) -> bytes:
    """An IPP request on the queue `office`, in the name of somebody who did not log in."""
    charset = {"attributes-charset": "utf-8", "attributes-natural-language": "en"}
    target = {"printer-uri": "ipp://localhost/printers/office", "requesting-user-name": "somebody"}
    message = {"version": (2, 0), "operation": operation, "request-id": 1, "data": b""}
    message["operation-attributes-tag"] = {**charset, **target, **attributes}
    return bytes(encode_dict(message | ({"job-attributes-tag": job} if job else {})))


@dataclass
class Fleet:
    state: Path
    port: int
    environment: dict[str, str]
    python: Sequence[str] = (sys.executable,)
    """How a command begins, up to the interpreter."""

    def run(self, *arguments: str, stdin: str = "", timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """A command; arguments come first, the state folder is added."""
        command = [*self.python, "-m", "controller", *arguments, "--state", str(self.state)]
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )

    def done(self, *arguments: str, stdin: str = "") -> str:
        """The output of a command that must succeed."""
        run = self.run(*arguments, stdin=stdin)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def up(self) -> str:
        return self.done("up", "--detach", "--port", str(self.port))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return found

    def nodes(self, state: str = "ready") -> list[dict[str, Any]]:
        return [node for node in self.status()["nodes"] if node["state"] == state]

    def password(self, name: str = "demo") -> str:
        lines = (self.state / "passwords").read_text().splitlines()
        return dict(line.split(" ", 1) for line in lines)[name]

    def uri(self, user: str = "demo", queue: str = "office") -> str:
        return f"ipps://{user}:{self.password(user)}@localhost:{self.port}/printers/{queue}"

    def controller(self) -> int:
        pid: int = self.status()["controller"]["pid"]
        return pid

    def running_pid(self, node: str) -> int | None:
        """None while it does not run."""
        return processes.recorded_pid(self.state / "nodes" / node / "process")

    def pid_of(self, node: str) -> int:
        pid = self.running_pid(node)
        assert pid is not None
        return pid

    def printed(self, queue: str = "office") -> list[bytes]:
        folder = self.state / "printed" / queue
        return [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []

    def ipptool(self, test: str, *options: str, document: Path | None = None) -> subprocess.CompletedProcess[str]:
        """One of CUPS's own test files (or a path) against the door, as demo.

        Never with -T: over TLS, ipptool 2.4.2 then gives up each connection after its first answer, for ever.
        """
        files = ["-f", str(document)] if document else []
        command = ["ipptool", "-tv", *files, *options, self.uri(), test]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def ipp(self, request: bytes, user: str = "demo", queue: str = "office", password: str = "") -> tuple[int, bytes]:
        """One encoded IPP request through the door; HTTP status and body. password: of one added later."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=15, context=context)
        login = base64.b64encode(f"{user}:{password or self.password(user)}".encode()).decode()
        headers = {"Content-Type": "application/ipp", "Authorization": f"Basic {login}"}
        try:
            connection.request("POST", f"/printers/{queue}", request, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def print_document(self, document: Path) -> None:
        run = self.ipptool("print-job.test", document=document)
        assert run.returncode == 0, run.stdout


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that hangs meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def with_password(command: list[str], password: str, timeout: float = 30) -> tuple[int, str]:
    """Run a program that asks for a password on its terminal; its exit code and what it wrote there."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    said, answered = b"", 0
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        readable, _, _ = select.select([terminal], [], [], 0.1)
        try:
            chunk = os.read(terminal, 4096) if readable else b""
        except OSError:  # the terminal closes with the program
            break
        said += chunk
        if said.lower().count(b"password") > answered:
            answered += 1
            os.write(terminal, password.encode() + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said.decode(errors="replace")
