"""/fleet/ on the way to the dashboard: who it is, and that nobody can pretend."""

from __future__ import annotations

import socket
import ssl
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
            kept = b"Cache-Control: public, immutable, max-age=100\r\n" if b"/static/" in head else b""
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + kept + b"Content-Length: 4\r\nConnection: close\r\n\r\npage")
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


@pytest.mark.parametrize("name", ["admin", "demo"])
def test_the_dashboard_learns_who_it_is(site: Site, dashboard: Dashboard, name: str) -> None:
    forged = {"X-Fleet-User": "root", "X-FLEET-Secret": "guess", "x-fleet-other": "1"}
    answer = site.client(name).send(method="GET", path="/fleet/nodes", headers=forged)
    assert (answer.status, answer.body) == (200, b"page")
    head = dashboard.heads[0]
    assert head.startswith("get /fleet/nodes http/1.1\r\n")
    assert head.count("x-fleet-") == 2
    assert f"\r\nx-fleet-user: {name}\r\n" in head
    assert f"\r\nx-fleet-secret: {SECRET}\r\n" in head
    assert "authorization" not in head
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


def test_nobody_reaches_it_without_a_login(site: Site, dashboard: Dashboard) -> None:
    forged = {"X-Fleet-User": "admin", "X-Fleet-Secret": SECRET}
    assert site.client(None).send(method="GET", path="/fleet/", headers=forged).status == 401
    assert site.client("demo", "guess").send(method="GET", path="/fleet/", headers=forged).status == 401
    assert dashboard.heads == []


def test_the_dashboards_program_comes_from_memory_to_those_who_logged_in(site: Site, dashboard: Dashboard) -> None:
    for name in ("admin", "demo", "admin"):
        anew = {"Cache-Control": "no-cache", "Pragma": "no-cache"}
        answer = site.client(name).send(method="GET", path="/fleet/static/js/index.a1b2.js", headers=anew)
        assert (answer.status, answer.body) == (200, b"page")
    assert site.client(None).send(method="GET", path="/fleet/static/js/index.a1b2.js").status == 401
    assert len(dashboard.heads) == 1


def upgraded(site: Site, connection: ssl.SSLSocket, more: str) -> bytes:
    """The answer to a browser that remembers the password and is told to open a websocket."""
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    upgrade += f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: {basic('admin', 'admin')}\r\n"
    connection.sendall(f"GET /fleet/_stcore/stream HTTP/1.1\r\nHost: localhost:8631\r\n{upgrade}{more}\r\n".encode())
    return connection.recv(4096)


@pytest.mark.parametrize("origin", ["", "Origin: https://localhost:8631\r\n", "Origin: https://LOCALHOST:8631\r\n"])
def test_websockets_pass(site: Site, dashboard: Dashboard, origin: str) -> None:
    with raw(site.edge.port) as connection:
        assert b" 101 " in upgraded(site, connection, origin)
        connection.sendall(b"ping")
        assert connection.recv(100) == b"ping"


@pytest.mark.parametrize(
    "origins",
    [
        ["http://localhost:8501"],
        ["http://localhost:8631"],
        ["https://localhost"],
        ["https://localhost:86310"],
        ["https://localhost:8631.example.org"],
        ["https://evil.example"],
        ["null"],
        [""],
        ["https://evil.example", "https://localhost:8631"],
        ["https://localhost:8631", "https://evil.example"],
    ],
)
def test_a_page_of_another_site_opens_no_websocket(site: Site, dashboard: Dashboard, origins: list[str]) -> None:
    """Streamlit alone would let pages of any other port of this machine in."""
    with raw(site.edge.port) as connection:
        answer = upgraded(site, connection, "".join(f"Origin: {origin}\r\n" for origin in origins))
    assert b" 403 " in answer
    assert dashboard.heads == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_page_of_another_site_asks_for_nothing_else(site: Site, dashboard: Dashboard, method: str) -> None:
    answer = site.client("admin").send(
        b"" if method != "GET" else None, method, "/fleet/_stcore/upload_file/x", {"Origin": "https://evil.example"}
    )
    assert answer.status == 403
    assert dashboard.heads == []
