"""What a server answers when it is asked about a job that is moved."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from controller.jobs import remote
from probes import ipp
from probes.errors import Unintelligible


class Chatter(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ipp.Server]:
    with http.server.HTTPServer(("127.0.0.1", 0), Chatter) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield ipp.Server("127.0.0.1", made.server_port, "root")
        made.shutdown()
        thread.join()


def test_what_is_no_ipp_is_said_to_be_none(server: ipp.Server) -> None:
    with pytest.raises(Unintelligible, match="does not answer in IPP"):
        remote.hold(server, 1_000_001)
