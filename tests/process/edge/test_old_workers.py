"""What a worker that a reload left behind still carries."""

from __future__ import annotations

import socket
from dataclasses import replace

from haproxy import old_workers, stats
from haproxy.runtime import Processes, Runtime
from tests.process.edge import ippwire
from tests.process.edge.door import Site, basic, context
from tests.process.fleet import eventually


def test_an_upload_that_outlives_a_reload_is_seen(own_site: Site) -> None:
    site, runtime = own_site, Runtime(own_site.proxy.folder)
    ports = {node.port for node in site.nodes}
    body = ippwire.print_job(ippwire.user("x"), document=b"d" * 1000)
    head = (
        "POST /printers/office HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        f"Authorization: {basic('demo', 'demo')}\r\nContent-Length: {len(body) + 1000}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", site.edge.port)) as plain, context().wrap_socket(plain) as upload:
        upload.sendall(head.encode() + body)
        eventually(lambda: any(row.current_sessions for row in stats.read(site.edge).servers))
        site.proxy.apply(replace(site.edge, check_interval=site.edge.check_interval + 0.1))
        eventually(lambda: ports & set(old_workers.connections(runtime)))
        eventually(lambda: not old_workers.listening(runtime))  # the reload itself waits for that for some time only
    eventually(lambda: not ports & set(old_workers.connections(runtime)))


class Told(Runtime):
    """Calls the worker that serves an old one, which is how it is between the signal and what it does upon it."""

    def processes(self) -> Processes:
        now = super().processes()
        return replace(now, old_workers=now.workers)


def test_one_that_does_not_know_yet_that_it_is_old_is_seen(site: Site) -> None:
    assert old_workers.listening(Told(site.proxy.folder))
    assert not old_workers.listening(Runtime(site.proxy.folder))
