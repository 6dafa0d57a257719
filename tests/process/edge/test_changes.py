"""Changes of people, passwords and certificates count at once, on connections that stand as well."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable
from dataclasses import replace

from controller.certificate import trusted
from haproxy.model import Edge, Server, User
from tests.process.edge import ippwire
from tests.process.edge.door import Answer, Client, Site, certificate, password_hash


def with_changed(edge: Edge, name: str, user: User | None) -> Edge:
    """user: what becomes of the one who has the name; None removes."""
    return replace(edge, users=tuple(new for old in edge.users if (new := user if old.name == name else old)))


def test_a_changed_password_counts_at_once(own_site: Site) -> None:
    assert own_site.client().send(ippwire.jobs_request()).status == 200
    own_site.proxy.apply(with_changed(own_site.edge, "demo", User("demo", password_hash("new"))))
    assert own_site.client().send(ippwire.jobs_request()).status == 401
    assert own_site.client("demo", "new").send(ippwire.jobs_request()).status == 200


Body = bytes | Iterable[bytes]
LISTS, PRINTS = ippwire.jobs_request(), ippwire.print_job(ippwire.user("x"))


def opened(site: Site, name: str, count: int) -> list[Callable[[Body], Answer]]:
    """Connections of someone whom the door remembers; each sends one more request."""

    def last(client: Client) -> Callable[[Body], Answer]:
        def send(body: Body) -> Answer:
            assert client.connection.sock, "the connection was closed"
            return client.send(body)

        return send

    clients = [site.client(name) for _ in range(count)]
    for client in clients:
        assert [client.send(body).status for body in (LISTS, PRINTS, LISTS, PRINTS)] == [200] * 4
    return [last(client) for client in clients]


def test_a_change_counts_on_connections_that_stood_before_it(own_site: Site) -> None:
    """They stay with the worker that a reload left behind, which still takes one request from each."""
    demo, admin, alice = (opened(own_site, name, 4) for name in ("demo", "admin", "alice"))
    edge = with_changed(own_site.edge, "alice", None)
    own_site.proxy.apply(edge)
    assert [send(body).status for send, body in zip(alice, (LISTS, PRINTS) * 2, strict=True)] == [401] * 4
    assert [demo[0](LISTS).status, demo[1](PRINTS).status] == [200, 200]
    edge = with_changed(edge, "demo", User("demo", password_hash("new")))
    edge = with_changed(edge, "admin", User("admin", password_hash("admin")))
    own_site.proxy.apply(edge)  # these connections are of the last worker but one
    assert [demo[2](LISTS).status, demo[3](PRINTS).status] == [401, 401]
    assert admin[0](ippwire.request(0x0038, ippwire.printer())).status == 403  # Cancel-Jobs is an administrator's
    own_site.proxy.apply(replace(edge, servers=edge.servers[1:]))
    jobs = [ippwire.integers(send(PRINTS).body, "job-id")[0] for send in admin[1:]]
    assert all(job > 2_000_000 for job in jobs), "sent to a node that was taken away"


def test_a_document_over_a_connection_that_stood_before_a_reload_arrives_whole(own_site: Site) -> None:
    connections = opened(own_site, "demo", 2)
    own_site.proxy.apply(with_changed(own_site.edge, "alice", None))
    body = ippwire.print_job(ippwire.user("x"), document=os.urandom(20_000_000))
    ways: tuple[Body, Body] = (body, iter([body[:50], body[50:9000], body[9000:]]))
    for send, sent in zip(connections, ways, strict=True):
        job = ippwire.integers(send(sent).body, "job-id")[0]
        document = own_site.nodes[job // 1_000_000 - 1].folder / "spool" / f"d{job:05}-001"
        assert body.endswith(document.read_bytes())
        assert document.stat().st_size == 20_000_000
        assert own_site.client().owner_of(job) == b"demo"


def test_a_renewed_certificate_is_loaded(own_site: Site) -> None:
    certificate(own_site.folder)
    assert any("certificate" in sentence for sentence in own_site.proxy.drift(own_site.edge))
    worker = own_site.proxy.runtime.worker()
    assert own_site.proxy.apply(own_site.edge).worker != worker
    assert own_site.proxy.drift(own_site.edge) == []


def test_authorities_that_go_hold_up_no_other_change(own_site: Site) -> None:
    edge, own, made = own_site.edge, own_site.folder / "authorities", own_site.folder / "tls" / "door.pem"
    made.parent.mkdir()
    own.write_text("".join(ssl.get_server_certificate(("127.0.0.1", node.port)) for node in own_site.nodes))

    def judged_by() -> tuple[Server, ...]:
        return tuple(replace(server, ca_file=trusted(own, made)[0]) for server in edge.servers)

    own_site.proxy.apply(replace(edge, servers=judged_by()))
    assert own_site.client("alice").print()
    own.unlink()
    edge = with_changed(edge, "alice", None)
    own_site.proxy.apply(replace(edge, servers=judged_by()))
    assert own_site.client("alice").send(LISTS).status == 401
    assert own_site.client().print()
