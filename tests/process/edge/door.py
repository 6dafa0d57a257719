"""A client of the front door for tests: TLS without verification, keep-alive, raw bytes where needed."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from controller import snapshot
from controller.state import State
from controller.store import Store
from haproxy import stats
from haproxy.install import Proxy
from haproxy.model import Edge, User, slot_of
from machine.files import replace_file
from tests.process.edge import ippwire
from tests.process.edge.nodes import Node, listens, until
from tests.process.fleet import free_port

READY = snapshot.NodeState.READY
SECRET = "test-secret-0123456789"


@cache
def password_hash(password: str) -> str:
    command = ["openssl", "passwd", "-6", "-stdin"]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()


def certificate(folder: Path, name: str = "site.pem") -> Path:
    """A self-signed certificate and its key in one file."""
    key, chain, both = folder / "key.pem", folder / "chain.pem", folder / name
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "30"]
    subprocess.run([*command, *subject, "-keyout", key, "-out", chain], check=True, capture_output=True)
    both.write_text(chain.read_text() + key.read_text())
    return both


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@cache
def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


class Client:
    """One person at the door. source: the address to come from, such as 127.0.1.1."""

    def __init__(
        self, port: int, name: str | None = "demo", password: str = "demo", timeout: float = 30, source: str = ""
    ) -> None:
        self.port = port
        self.authorization = basic(name, password) if name else None
        self.connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=timeout, context=context(), source_address=(source, 0) if source else None
        )

    def __del__(self) -> None:
        self.connection.close()

    def send(
        self,
        body: bytes | Iterable[bytes] | None = None,
        method: str = "POST",
        path: str = "/printers/office",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {"Content-Type": "application/ipp"} if method == "POST" else {}
        if self.authorization:
            sent["Authorization"] = self.authorization
        sent |= headers or {}
        try:
            self.connection.request(method, path, body=body, headers=sent)
            answer = self.connection.getresponse()
            return Answer(answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()})
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def ipp(self, body: bytes | Iterable[bytes], path: str = "/printers/office") -> bytes:
        """An answer that has to come from a node."""
        answer = self.send(body, path=path)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.body

    def print(self, *attributes: bytes, groups: bytes = b"", document: bytes = b"hello") -> int:
        """Submit a job; its id."""
        body = self.ipp(ippwire.print_job(*attributes, groups=groups, document=document))
        assert ippwire.status(body) < 0x100, hex(ippwire.status(body))
        return ippwire.integers(body, "job-id")[0]

    def owner_of(self, job: int) -> bytes:
        asked = ippwire.attribute(0x21, "job-id", job)
        body = self.ipp(ippwire.request(0x0009, ippwire.printer(), asked))
        assert ippwire.status(body) < 0x100, hex(ippwire.status(body))
        return ippwire.values(body, "job-originating-user-name")[0]


def raw(port: int) -> ssl.SSLSocket:
    """A TLS connection to speak HTTP on by hand."""
    return context().wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30))


def make_edge(folder: Path, nodes: Iterable[Node], **more: object) -> Edge:
    users = (
        User("demo", password_hash("demo")),
        User("alice", password_hash("alice")),
        User("admin", password_hash("admin"), admin=True),
    )
    given = {
        "port": free_port(),
        "certificate": certificate(folder),
        "users": users,
        "servers": tuple(node.server for node in nodes),
        "max_slots": 5,
        "dashboard_port": free_port(),
        "stats_port": free_port(),
        "whole_port": free_port(),  # nobody listens there, unless `answering_for` is told to
        "secret": SECRET,
        "listen": "127.0.0.1",
    }
    return Edge(**(given | more))  # type: ignore[arg-type]


@contextmanager
def answering_for(folder: Path, nodes: Iterable[Node]) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The service for the whole queue, as the controller runs it: its port and its process."""
    state, port = State(folder / "state"), free_port()
    state.prepare()
    replace_file(state.folder / "secret", SECRET)
    with Store(state.database, create=True) as store, store.transaction():
        for node in nodes:
            store.put_node(snapshot.Node(node.spec.name, node.slot, "process", "127.0.0.1", node.port, READY))
    command = [sys.executable, "-m", "controller.whole_queue", "--state", str(state.folder), "--port", str(port)]
    service = subprocess.Popen(command)
    try:
        until("the service listens", lambda: listens(port))
        yield port, service
    finally:
        service.terminate()
        service.wait(20)


@dataclass
class Site:
    """Nodes and the proxy before them."""

    edge: Edge
    proxy: Proxy
    nodes: list[Node]
    folder: Path
    service: subprocess.Popen[bytes] | None = None
    """The one for the whole queue, where there is one."""

    def client(self, name: str | None = "demo", password: str | None = None) -> Client:
        return Client(self.edge.port, name, password if password is not None else (name or ""))

    def up(self, *slots: int) -> bool:
        """Whether the proxy takes all these nodes for well."""
        servers = stats.read(self.edge)
        return all(servers.server("pool", slot).up for slot in slots)

    def job_on_each(self, client: Client) -> list[int]:
        """Jobs of a client, one on each node at least: one that was late with a check gets none for a moment."""
        made: list[int] = []

        def on_each() -> bool:
            made.append(client.print())
            return {slot_of(job) for job in made} == {node.slot for node in self.nodes}

        until("each node has a job", on_each)
        return made

    @property
    def log(self) -> str:
        return (self.proxy.folder / "haproxy.log").read_text(errors="replace")
