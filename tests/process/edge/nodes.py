"""Real CUPS servers for tests of the edge: each with its own folder, loopback only, one raw queue `office`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from controller.nodes.driver import NodeSpec
from controller.nodes.settings import MAX_JOBS, render
from haproxy.model import Server, first_id
from tests.process.fleet import free_port

OPERATOR = "cupsfleet-operator"
IN_TESTS = {
    "AccessLogLevel none": "AccessLogLevel all",  # a line for each request, to see what got through
    "LogLevel warn": "LogLevel info",
    "MaxLogSize 2m": "MaxLogSize 0",
    f"MaxJobs {MAX_JOBS}": "MaxJobs {history}",
    "PreserveJobFiles No": "PreserveJobFiles {keep}",
}
"""Where these servers differ from those of a fleet, whose cupsd.conf they have."""

FILES_CONF = """
FileDevice Yes
ServerRoot {folder}
RequestRoot {folder}/spool
TempDir {folder}/tmp
CacheDir {folder}/cache
StateDir {folder}/state
ServerKeychain {folder}/ssl
ErrorLog {folder}/error_log
AccessLog {folder}/access_log
PageLog {folder}/page_log
SystemGroup root
User lp
Group lp
"""

PRINTERS_CONF = """
<Printer office>
Info office
DeviceURI file:///dev/null
State {state}
Accepting Yes
Shared Yes
JobSheets none none
OpPolicy default
ErrorPolicy retry-job
</Printer>
"""


def listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def until(what: str, check, seconds: float = 30.0):
    """The first true answer of `check`; fails with `what` when none comes in time."""
    end = time.monotonic() + seconds
    while True:
        if answer := check():
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Node:
    """One cupsd that owns the ids of its slot."""

    def __init__(
        self, folder: Path, slot: int, port: int | None = None, stopped_queue: bool = True, history: int = 0
    ) -> None:
        """history: finished jobs that are remembered, without their documents; 0 for all, with documents."""
        self.folder, self.slot = folder / f"n{slot}", slot
        self.port = port or free_port()
        self.spec = NodeSpec(f"n{slot}", slot, first_id(slot), "127.0.0.1", self.port, self.folder)
        self.process: subprocess.Popen[bytes] | None = None
        self._write(stopped_queue, history)

    def _write(self, stopped_queue: bool, history: int) -> None:
        for name in ("spool", "tmp", "cache", "state", "ssl", "ppd", "run"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "ssl").chmod(0o700)
        for name in ("spool", "tmp", "cache", "state"):
            shutil.chown(self.folder / name, "root", "lp")
        settings = render(self.spec, self.folder, OPERATOR, allow=()).cupsd
        for shipped, here in IN_TESTS.items():
            assert f"\n{shipped}\n" in settings, shipped
            settings = settings.replace(shipped, here.format(history=history, keep="No" if history else "Yes"))
        (self.folder / "cupsd.conf").write_text(settings)
        (self.folder / "cups-files.conf").write_text(FILES_CONF.format(folder=self.folder))
        (self.folder / "printers.conf").write_text(PRINTERS_CONF.format(state="Stopped" if stopped_queue else "Idle"))
        (self.folder / "cache" / "job.cache").write_text(f"NextJobId {first_id(self.slot)}\n")
        (self.folder / "subscriptions.conf").write_text(f"NextSubscriptionId {first_id(self.slot)}\n")

    def start(self) -> Node:
        command = ["/usr/sbin/cupsd", "-f", "-c", f"{self.folder}/cupsd.conf", "-s", f"{self.folder}/cups-files.conf"]
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=output, stderr=output, start_new_session=True
            )
        until(f"node {self.slot} listens", lambda: listens(self.port))
        return self

    def signal(self, number: int) -> None:
        assert self.process
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End the server's whole process group at once, as `kill -9` would."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def server(self) -> Server:
        return Server(self.slot, "127.0.0.1", self.port)

    def error_log(self) -> str:
        return (self.folder / "error_log").read_text(errors="replace")

    def access_log(self) -> str:
        """A line for each request that this server was sent."""
        return (self.folder / "access_log").read_text(errors="replace")
