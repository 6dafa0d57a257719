"""Whoever logged in owns the job, whatever the request says."""

from __future__ import annotations

import contextlib
import http.client
import struct
import time

import pytest

from tests.process.edge import ippwire
from tests.process.edge.door import Answer, Site, basic, raw
from tests.process.edge.ippwire import attribute, user
from tests.process.edge.nodes import until

VICTIM = "alice"
LANGUAGE = struct.pack(">H", 2) + b"en" + struct.pack(">H", 5) + b"alice"
COLLECTION = (
    attribute(0x34, "requesting-user-name", b"")
    + attribute(0x4A, "", "requesting-user-name")
    + attribute(0x42, "", VICTIM)
    + attribute(0x37, "", b"")
)

CLAIMS = {
    "nothing": b"",
    "another": user(VICTIM),
    "windows": user("HOST\\alice"),
    "long": user("a" * 255),
    "twice": user(VICTIM) + user("mallory"),
    "in capitals": attribute(0x42, "Requesting-User-Name", VICTIM),
    "both cases": user("x") + attribute(0x42, "REQUESTING-USER-NAME", VICTIM),
    "more values": user("x") + attribute(0x42, "", VICTIM) + attribute(0x42, "", "y"),
    "with language": attribute(0x36, "requesting-user-name", LANGUAGE),
    "collection": COLLECTION,
    "keyword": attribute(0x44, "requesting-user-name", VICTIM),
    "originating": attribute(0x42, "job-originating-user-name", VICTIM),
    "originating in capitals": attribute(0x42, "Job-Originating-User-Name", VICTIM) + user(VICTIM),
    "apart": user(VICTIM) + attribute(0x42, "job-name", "x") + attribute(0x42, "Requesting-user-name", VICTIM),
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS.keys())
@pytest.mark.parametrize("where", ["before", "after"])
def test_the_login_owns_the_job(site: Site, claim: bytes, where: str) -> None:
    client = site.client()
    if where == "before":
        head = b"\x02\x00" + struct.pack(">Hi", 2, 9) + ippwire.OPERATION + ippwire.charset()
        body = client.ipp(head + claim + ippwire.printer() + ippwire.END + b"document")
        job = ippwire.integers(body, "job-id")[0]
    else:
        job = client.print(claim)
    assert client.owner_of(job) == b"demo"


def test_the_same_bytes_from_two_people_are_two_peoples_jobs(site: Site) -> None:
    body = ippwire.print_job(user(VICTIM), document=b"the same")
    for name in ("demo", "alice", "demo", "demo", "alice"):
        client = site.client(name)
        assert client.owner_of(ippwire.integers(client.ipp(body), "job-id")[0]) == name.encode()


def test_a_question_that_is_known_opens_no_way_for_another_operation(site: Site) -> None:
    client = site.client()
    for _ in range(3):
        assert ippwire.status(client.ipp(ippwire.request(0x000B, ippwire.printer()))) == 0
    assert client.send(ippwire.request(0x0010, ippwire.printer())).status == 403
    assert client.send(ippwire.request(0x000B, ippwire.printer(), version=b"\x09\x00")).status == 400


def test_a_validation_bears_the_login_however_often_it_came_before(own_site: Site) -> None:
    """The nodes let nobody but demo validate a job, and so tell by whose name they are asked."""
    for node in own_site.nodes:
        settings = node.folder / "cupsd.conf"
        limit = "  <Limit Validate-Job>\n    Require user demo\n    Order deny,allow\n  </Limit>\n"
        shipped = settings.read_text()
        assert " Validate-Job " in shipped
        settings.write_text(shipped.replace(" Validate-Job ", " ").replace("  <Limit All>", limit + "  <Limit All>"))
        node.kill()
        node.start()
    until("the nodes are back", lambda: own_site.up(1, 2))
    far = user("demo") + attribute(0x41, "one", "x" * 1000) + attribute(0x41, "two", "x" * 1000) + user("alice")
    for claim in (b"", user("demo"), user("alice"), user("a" * 255), user("demo") + user("alice"), far):
        for version in (b"\x01\x01", b"\x02\x00"):
            body = ippwire.request(0x0004, ippwire.printer(), claim, version=version)
            for name in ("alice", "demo", "demo", "alice", "alice", "demo"):
                assert own_site.client(name).send(body).status == (200 if name == "demo" else 403)
            assert own_site.client("alice").send(iter([body[:100], body[100:]])).status == 403


@pytest.mark.parametrize("operation", [0x0004, 0x000B])
def test_a_beginning_that_is_known_opens_no_way_for_another_end(site: Site, operation: int) -> None:
    """What came before counts only when it is here as a whole."""
    poll = (attribute(0x44, "requested-attributes", "printer-state"), attribute(0x42, "one", "x"))
    known = ippwire.request(operation, ippwire.printer(), *poll)
    other = ippwire.request(operation, ippwire.printer(), *poll, attribute(0x37, "", b""))
    cut = len(known) - 1
    assert known[8:cut] == other[8:cut]
    for body, status in ((known, 200), (known, 200), (other, 400), (other, 400)):
        with raw(site.edge.port) as connection:
            head = (
                f"POST /printers/office HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic('demo', 'demo')}\r\n"
                f"Content-Type: application/ipp\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body[:cut])
            time.sleep(0.2)
            connection.sendall(body[cut:])
            assert connection.recv(4096).startswith(f"HTTP/1.1 {status}".encode())


def test_what_only_servers_say_of_a_job_is_taken_out(site: Site) -> None:
    invented = "urn:uuid:00000000-0000-0000-0000-000000000001"
    group = ippwire.JOB + attribute(0x45, "job-uuid", invented) + attribute(0x42, "Job-Originating-User-Name", VICTIM)
    client = site.client()
    job = client.print(groups=group)
    asked = attribute(0x21, "job-id", job)
    body = client.ipp(ippwire.request(0x0009, ippwire.printer(), asked))
    assert ippwire.values(body, "job-uuid")[0].decode() != invented
    assert ippwire.values(body, "job-originating-user-name") == [b"demo"]


def test_the_owner_outlives_a_restart_of_the_node(own_site: Site) -> None:
    group = ippwire.JOB + attribute(0x42, "job-originating-user-name", VICTIM)
    job = own_site.client().print(attribute(0x42, "JOB-originating-user-name", VICTIM), groups=group)
    node = own_site.nodes[(job - 1) // 1_000_000 - 1]
    node.kill()
    node.start()
    until("it is back", lambda: own_site.up(node.slot))
    assert own_site.client().owner_of(job) == b"demo"


def test_a_job_is_not_given_away_afterwards(site: Site) -> None:
    client = site.client()
    job = client.print()
    change = ippwire.JOB + attribute(0x42, "Job-Originating-User-Name", VICTIM)
    body = ippwire.request(0x0014, ippwire.printer(), attribute(0x21, "job-id", job), groups=change)
    assert client.send(body).status == 400
    assert client.owner_of(job) == b"demo"


def test_others_can_not_cancel_it(site: Site) -> None:
    job = site.client().print()
    cancel = ippwire.request(0x0008, ippwire.printer(), attribute(0x21, "job-id", job), user("demo"))
    assert site.client("alice").send(cancel).status == 403
    assert ippwire.status(site.client().ipp(cancel)) < 0x100


REFUSED = {
    "empty": b"",
    "short": b"\x02\x00\x00\x02",
    "no end": ippwire.print_job()[:40],
    "version 9": ippwire.request(2, ippwire.printer(), version=b"\x09\x00"),
    "no operation group": b"\x02\x00\x00\x02\x00\x00\x00\x01" + ippwire.JOB + ippwire.charset() + ippwire.END,
    "second operation group": ippwire.print_job(groups=ippwire.OPERATION + user(VICTIM)),
    "user in the job group": ippwire.print_job(groups=ippwire.JOB + user(VICTIM)),
    "value without attribute": b"\x02\x00\x00\x02\x00\x00\x00\x01\x01" + attribute(0x42, "", "x") + ippwire.END,
    "name with a zero byte": ippwire.print_job(attribute(0x42, b"requesting-user-name\0x", VICTIM)),
    "name with options in it": ippwire.print_job(groups=ippwire.JOB + attribute(0x22, "x job-uuid=urn:uuid:1", b"\1")),
    "extension tag": ippwire.print_job(b"\x7f\x00\x00\x00\x42" + attribute(0x42, "requesting-user-name", VICTIM)[1:]),
    "unknown tag": ippwire.print_job(attribute(0x77, "what", "x")),
    "unknown group": ippwire.print_job(groups=b"\x0d"),
    "length beyond the body": ippwire.request(2, b"\x42\x00\x04user\x7f\xff"),
    "integer of 3 bytes": ippwire.print_job(attribute(0x21, "copies", b"abc")),
    "mixed types": ippwire.print_job(user("x"), attribute(0x21, "", 4)),
    "end inside a collection": ippwire.print_job(attribute(0x34, "media-col", b""), ippwire.END),
    "collection not ended": ippwire.request(2, ippwire.printer(), attribute(0x34, "media-col", b"")),
    "end of no collection": ippwire.print_job(attribute(0x37, "", b"")),
    "named member": ippwire.print_job(attribute(0x34, "media-col", b""), user(VICTIM), attribute(0x37, "", b"")),
    "language lies": ippwire.print_job(attribute(0x36, "requesting-user-name", b"\x00\x02en\x00\x09alice")),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_bad_framing_never_reaches_a_node(site: Site, body: bytes) -> None:
    answer = site.client().send(body)
    assert answer.status == 400, answer


def owned(site: Site) -> list[int]:
    """Jobs of the victim on any node."""
    asked = attribute(0x22, "my-jobs", b"\1") + attribute(0x44, "which-jobs", "all") + user(VICTIM)
    found = []
    for node in site.nodes:
        request = ippwire.request(0x000A, ippwire.printer(), asked)
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", "/printers/office", request, {"Content-Type": "application/ipp"})
            found += ippwire.integers(connection.getresponse().read(), "job-id")
    return sorted(found)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/printers/office.ppd", "/icons/office.png"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_hides_in_no_body_that_nobody_reads(site: Site, method: str, path: str, chunked: bool) -> None:
    """cupsd takes the body of a GET or HEAD for the next request."""
    before = owned(site)
    job = ippwire.print_job(user(VICTIM))
    hidden = (
        "POST /printers/office HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        f"Content-Length: {len(job)}\r\n\r\n"
    ).encode() + job
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden) if chunked else hidden
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(hidden)}"
    with raw(site.edge.port) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic('demo', 'demo')}\r\n{length}"
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
    for _ in range(4):  # whichever connections to nodes there are
        site.client().send(method="GET", path="/icons/office.png")
    assert owned(site) == before


def test_only_http_1_is_spoken(site: Site) -> None:
    with raw(site.edge.port) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        answer = connection.recv(4096)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


def test_a_content_type_with_parameters_reaches_nodes_as_they_know_it(site: Site) -> None:
    answer = site.client().send(
        ippwire.request(0x000B, ippwire.printer()), headers={"Content-Type": "Application/IPP; charset=utf-8"}
    )
    assert (answer.status, ippwire.status(answer.body)) == (200, 0)


def test_content_type_is_required(site: Site) -> None:
    assert site.client().send(ippwire.print_job(), headers={"Content-Type": "text/plain"}).status == 400
    assert site.client().send(ippwire.print_job(), headers={"Content-Encoding": "gzip"}).status == 415


def test_an_oversized_head_is_refused(site: Site) -> None:
    filler = b"".join(attribute(0x42, f"x-{n}", "y" * 200) for n in range(300))
    assert site.client().send(ippwire.print_job(filler)).status == 413


def test_two_logins_in_one_request_are_refused(site: Site) -> None:
    assert site.client().send(ippwire.jobs_request()).status == 200  # remembered now
    both = f"{basic('alice', 'wrong')}, {basic('demo', 'demo')}"
    assert site.client().send(ippwire.print_job(), headers={"Authorization": both}).status == 400
    with raw(site.edge.port) as connection:
        lines = f"Authorization: {basic('alice', 'wrong')}\r\nAuthorization: {basic('demo', 'demo')}\r\n"
        connection.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
        assert b" 400 " in connection.recv(100)


def test_nobody_gets_in_without_the_password_and_no_node_hears_of_it(site: Site) -> None:
    def asked() -> list[str]:
        lines = [line for node in site.nodes for line in node.access_log().splitlines()]
        return [line for line in lines if "without-password" in line]

    def send(name: str | None, password: str) -> Answer:
        return site.client(name, password).send(ippwire.print_job(), path="/printers/without-password")

    answer = send(None, "")
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert send("demo", "wrong").status == 401
    assert send("nobody", "demo").status == 401
    assert send("demo", "demo").status == 200
    until("a node hears of the one who may", asked)
    assert len(asked()) == 1


@pytest.mark.parametrize("operation", [0x10, 0x11, 0x12, 0x13, 0x22, 0x23, 0x4003, 0x4004, 0x4009, 0x400A, 0x400D])
def test_administration_is_refused_even_to_administrators(site: Site, operation: int) -> None:
    assert site.client("admin").send(ippwire.request(operation, ippwire.printer())).status == 403


def test_paths(site: Site) -> None:
    client = site.client()
    assert client.send(method="GET", path="/admin/").status == 403
    assert client.send(ippwire.jobs_request(), path="/admin/").status == 403
    assert client.send(method="GET", path="/printers/../admin").status == 404
    assert client.send(ippwire.jobs_request(), path="/elsewhere").status == 404
    assert client.send(ippwire.jobs_request(), path="/").status == 200
    assert client.send(ippwire.jobs_request(), path="/ipp/print").status == 200
    assert client.send(b"x", method="PUT").status == 405


@pytest.mark.parametrize("name", ["admin", "demo"])
def test_everybody_who_logs_in_is_led_to_the_dashboard(site: Site, name: str) -> None:
    answer = site.client(name).send(method="GET", path="/fleet/")
    assert answer.status == 503
    assert b"dashboard is not running" in answer.body
    answer = site.client(name).send(method="GET", path="/")
    assert (answer.status, answer.headers["location"]) == (302, "/fleet/")


def test_an_operation_nobody_knows_is_the_nodes_to_answer(site: Site) -> None:
    assert ippwire.status(site.client().ipp(ippwire.request(0x3FFF, ippwire.printer()))) == 0x0501
