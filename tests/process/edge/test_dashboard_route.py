"""/fleet/ on the way to the dashboard: who it is, and that nobody can pretend."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.process.edge.door import SECRET, Site, basic, raw


class Dashboard:
    """Keeps each request's head; answers an upgrade with an echo, anything else with a page."""

    def __init__(self, port: int) -> None:
        self.heads: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", port))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.thread.join(5)
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        self.heads.append(head.decode().lower())
        if b"upgrade: websocket" not in head.lower():
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\npage")
            return
        upgraded = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        connection.sendall(upgraded + b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")  # RFC 6455, 1.3
        while data := connection.recv(100):
            connection.sendall(data)


@pytest.fixture
def dashboard(site: Site) -> Iterator[Dashboard]:
    made = Dashboard(site.edge.dashboard_port)
    yield made
    made.stop()


def test_the_dashboard_learns_who_it_is(site: Site, dashboard: Dashboard) -> None:
    forged = {"X-Fleet-User": "root", "X-FLEET-Secret": "guess", "x-fleet-other": "1"}
    answer = site.client("admin").send(method="GET", path="/fleet/nodes", headers=forged)
    assert (answer.status, answer.body) == (200, b"page")
    head = dashboard.heads[0]
    assert head.startswith("get /fleet/nodes http/1.1\r\n")
    assert head.count("x-fleet-") == 2
    assert "\r\nx-fleet-user: admin\r\n" in head
    assert f"\r\nx-fleet-secret: {SECRET}\r\n" in head
    assert "authorization" not in head


def test_others_never_reach_it(site: Site, dashboard: Dashboard) -> None:
    assert site.client("demo").send(method="GET", path="/fleet/").status == 403
    assert site.client(None).send(method="GET", path="/fleet/").status == 401
    assert dashboard.heads == []


def test_websockets_pass(site: Site, dashboard: Dashboard) -> None:
    with raw(site.edge.port) as connection:
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        upgrade += f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: {basic('admin', 'admin')}\r\n"
        connection.sendall(f"GET /fleet/_stcore/stream HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())
        assert b" 101 " in connection.recv(4096)
        connection.sendall(b"ping")
        assert connection.recv(100) == b"ping"
