"""A server that somebody else runs; here one of ours stands in for it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from controller import processes
from controller.nodes.driver import NodeError, NodeSpec
from controller.nodes.existing import ExistingDriver
from tests.process.fleet import free_port
from tests.process.nodes.conftest import Node, eventually


def test_a_server_that_fits_is_taken_and_left_alone(office: Node) -> None:
    driver = ExistingDriver()
    driver.start(office.spec)
    assert driver.alive(office.spec) is None
    driver.stop(office.spec)
    driver.remove(office.spec)
    assert office.driver.alive(office.spec)


def test_it_is_reached_over_tls(office: Node) -> None:
    ExistingDriver(tls=True).start(office.spec)
    with pytest.raises(NodeError, match="certificate"):
        ExistingDriver(tls=True, verify=True).start(office.spec)


def test_a_foreign_range_of_numbers_is_answered_with_the_commands(office: Node) -> None:
    spec = replace(office.spec, slot=7, next_id=7_000_321)
    with pytest.raises(NodeError) as caught:
        ExistingDriver().start(spec)
    text = str(caught.value)
    assert "(echo 'NextJobId 7000321';" in text
    assert "(echo 'NextSubscriptionId 7000321';" in text
    assert "7. wait a minute: the check is tried again by itself" in text


def test_a_server_without_queues_is_answered_with_the_command(node: Node) -> None:
    node.start()
    with pytest.raises(NodeError, match=r"1\. lpadmin -p QUEUE"):
        ExistingDriver().start(node.spec)


def test_nobody_there(office: Node) -> None:
    spec = replace(office.spec, port=free_port())
    with pytest.raises(NodeError, match=rf"yet: 127.0.0.1:{spec.port}: Connection refused\.\n.*\n  1\. .*Listen 127"):
        ExistingDriver().start(spec)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>", "does not answer in IPP"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP status 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n\2\0\0\0\0\0\0\1\1\x44" + b"\xff\xfd" * 5, "in IPP"),
    ],
)
def test_one_that_is_no_print_server(node: Node, said: bytes, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(said)
                time.sleep(0.1)

        threading.Thread(target=talk, daemon=True).start()
        with pytest.raises(NodeError, match=rf"{words}\.\nOn that server, as root:\n  1\. ss -ltnp"):
            ExistingDriver().start(replace(node.spec, port=listener.getsockname()[1]))


def test_one_that_is_stopped(office: Node) -> None:
    os.kill(office.pid(), signal.SIGSTOP)
    with pytest.raises(NodeError, match="did not answer within 3 s"):
        ExistingDriver().start(office.spec)


def test_one_that_wants_another_host_name(office: Node) -> None:
    """On loopback cupsd insists on localhost, whatever ServerAlias says."""
    with pytest.raises(NodeError, match="ServerAlias"):
        ExistingDriver(host_header="print.example.org").start(office.spec)


def test_one_that_lets_only_authenticated_users_in(office: Node) -> None:
    office.driver.stop(office.spec)
    pid = _start_with(
        office,
        "<Limit Create-Job Print-Job Validate-Job Cancel-My-Jobs>",
        "    AuthType Basic\n    Require valid-user\n",
    )
    try:
        with pytest.raises(NodeError, match="neither AuthType nor Require"):
            ExistingDriver().start(office.spec)
    finally:
        os.kill(pid, signal.SIGKILL)


def _start_with(office: Node, section: str, lines: str) -> int:
    """Start the node's cupsd with lines added to its settings, which the driver would not do."""
    conf = office.spec.folder / "etc/cupsd.conf"
    conf.write_text(conf.read_text().replace(f"{section}\n", f"{section}\n{lines}"))
    assert lines in conf.read_text()
    command = office.driver._command(office.spec.folder.resolve())
    record = office.spec.folder / "process"
    pid = processes.spawn(command, record, office.spec.folder / "log/output", dict(os.environ))
    eventually(lambda: office.reading().error is None)
    return pid


STOCK = Path("/usr/share/cups/cupsd.conf.default")


@dataclass
class Stock:
    """cupsd with Debian's own settings, moved into a folder."""

    root: Path
    port: int

    @property
    def conf(self) -> Path:
        return self.root / "etc/cups/cupsd.conf"

    @property
    def socket(self) -> Path:
        return self.root / "run/cups/cups.sock"

    def install(self) -> None:
        for part in (
            "etc/cups/ssl",
            "etc/cups/ppd",
            "var/spool/cups/tmp",
            "var/cache/cups",
            "run/cups",
            "var/log/cups",
        ):
            (self.root / part).mkdir(parents=True)
        text = STOCK.read_text().replace("Listen localhost:631", f"Listen localhost:{self.port}")
        self.conf.write_text(text.replace("/run/cups/cups.sock", str(self.socket)))
        moved = {"ServerRoot": "etc/cups", "ServerKeychain": "etc/cups/ssl", "RequestRoot": "var/spool/cups"}
        moved |= {"TempDir": "var/spool/cups/tmp", "CacheDir": "var/cache/cups", "StateDir": "run/cups"}
        moved |= {f"{kind}Log": f"var/log/cups/{kind.lower()}_log" for kind in ("Access", "Error", "Page")}
        lines = [f"{word} {self.root}/{place}\n" for word, place in moved.items()]
        self.conf.with_name("cups-files.conf").write_text("SystemGroup root lpadmin\n" + "".join(lines))
        shutil.copy("/usr/sbin/cupsd", self.root / "cupsd")

    def start(self) -> None:
        files = self.conf.with_name("cups-files.conf")
        command = [str(self.root / "cupsd"), "-f", "-c", str(self.conf), "-s", str(files)]
        processes.spawn(command, self.root / "process", self.root / "output")
        eventually(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        processes.end(self.root / "process")

    def run(self, step: str) -> None:
        """A step as it was printed, with the paths of the copy."""
        moved = re.sub(r" (/etc|/var)/", rf" {self.root}\1/", step)
        subprocess.run(["sh", "-c", moved], check=True, timeout=30)


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[Stock]:
    made = Stock(tmp_path, free_port())
    made.install()
    made.start()
    yield made
    made.stop()


@pytest.mark.skipif(os.geteuid() != 0 or not STOCK.exists(), reason="Debian's settings are made for root")
def test_a_stock_server_serves_once_the_printed_steps_are_done(stock: Stock) -> None:
    spec = NodeSpec("n5", 5, 5_000_001, "127.0.0.1", stock.port, stock.root / "none")
    assert _steps(spec)[0].startswith("lpadmin -p QUEUE")
    at = ["-h", str(stock.socket)]
    queue = "-p office -v socket://127.0.0.1:9 -m raw -o printer-is-shared=true -E"
    subprocess.run(["lpadmin", *at, *queue.split()], check=True, capture_output=True, timeout=30)
    # The server has a history, which it keeps.
    subprocess.run(["lp", *at, "-d", "office", "-H", "hold"], input=b"page\n", check=True, timeout=30)
    subprocess.run(["cancel", *at, "-a"], check=True, timeout=30)
    steps = _steps(spec)
    assert steps[1] == "systemctl stop cups.path cups.socket cups"
    stock.stop()
    stock.run(steps[2])
    stock.run(steps[3])
    words = re.findall(r"`([^`]*)`", steps[4])
    assert words == ["DirtyCleanInterval 0", "IdleExitTimeout 0"]
    lines = [line for line in stock.conf.read_text().splitlines() if not line.startswith("IdleExitTimeout")]
    stock.conf.write_text("\n".join([*words, *lines]) + "\n")
    stock.start()
    ExistingDriver().start(spec)
    finished = subprocess.check_output(["lpstat", *at, "-W", "completed", "-o"], text=True)
    assert finished.startswith("office-1 ")


def _steps(spec: NodeSpec) -> list[str]:
    with pytest.raises(NodeError) as caught:
        ExistingDriver().start(spec)
    return re.findall(r"^  \d+\. (.*)$", str(caught.value), re.MULTILINE)
