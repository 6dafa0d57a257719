"""HTTP that a proxy and the server behind it could read differently ends at the door."""

from __future__ import annotations

import re
import socket

import pytest

from tests.process.edge import ippwire
from tests.process.edge.door import Site, basic, raw
from tests.process.edge.ippwire import attribute, user
from tests.process.edge.nodes import until

JOB = ippwire.print_job(user("alice"), document=b"document")
LOGIN = f"Authorization: {basic('demo', 'demo')}".encode()
LENGTH = b"Content-Length: %d" % len(JOB)
CHUNKED = b"Transfer-Encoding: chunked"


def asked(*fields: bytes, first: bytes = b"POST /printers/office HTTP/1.1") -> bytes:
    return b"\r\n".join([first, b"Host: localhost", b"Content-Type: application/ipp", LOGIN, *fields]) + b"\r\n\r\n"


def in_chunks(*pieces: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def answered(site: Site, request: bytes) -> bytes:
    """The status line of the first answer."""
    with raw(site.edge.port) as connection:
        connection.sendall(request)
        return first_line(connection)


def first_line(connection: socket.socket) -> bytes:
    found = b""
    while b"\r\n" not in found and (piece := connection.recv(65536)):
        found += piece
    return found.partition(b"\r\n")[0]


def spooled(site: Site) -> int:
    """Documents that nodes have."""
    return sum(1 for node in site.nodes for _ in (node.folder / "spool").glob("d*-001"))


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/9.9"])
def test_a_version_that_cupsd_reads_in_its_own_way(site: Site, version: bytes) -> None:
    request = asked(LENGTH, first=b"POST /printers/office " + version) + JOB
    assert answered(site, request).startswith(b"HTTP/1.1 505 ")


CODINGS = {
    "an empty one last": (CHUNKED, b"Transfer-Encoding:"),
    "an empty one first": (b"Transfer-Encoding: ", CHUNKED),
    "twice": (CHUNKED, CHUNKED),
    "compressed": (b"Transfer-Encoding: gzip, chunked",),
    "identity": (b"Transfer-Encoding: identity", LENGTH),
    "unknown": (b"Transfer-Encoding: xchunked", LENGTH),
}


@pytest.mark.parametrize("fields", CODINGS.values(), ids=CODINGS.keys())
def test_a_body_in_any_coding_but_one(site: Site, fields: tuple[bytes, ...]) -> None:
    before = spooled(site)
    assert answered(site, asked(*fields) + in_chunks(JOB)).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 422 "))
    assert spooled(site) == before


def test_what_follows_the_last_chunk_is_not_passed_on(site: Site) -> None:
    before = spooled(site)
    for trailers in (b"X: y\r\n", b"X: y\r\nAuthorization: Basic cm9vdDo=\r\nPOST: / HTTP/1.1\r\n"):
        assert answered(site, asked(CHUNKED) + in_chunks(JOB, trailers=trailers)).startswith(b"HTTP/1.1 400 ")
    assert spooled(site) == before
    assert answered(site, asked(CHUNKED) + in_chunks(JOB)) == b"HTTP/1.1 200 OK"
    assert spooled(site) == before + 1


def test_nor_after_a_long_document(site: Site) -> None:
    """Whether the node prints what it had by then is another question: cupsd alone does, now and then."""
    pieces = [JOB, b"d" * 300_000]
    assert answered(site, asked(CHUNKED) + in_chunks(*pieces, trailers=b"X: y\r\n")).startswith(b"HTTP/1.1 400 ")
    assert answered(site, asked(CHUNKED) + in_chunks(*pieces)) == b"HTTP/1.1 200 OK"


def test_trailers_of_a_plain_question_are_not_passed_on_either(site: Site) -> None:
    question = ippwire.request(0x000B, ippwire.printer())
    for trailers, status in ((b"X: y\r\nZ: y\r\n", b"400"), (b"", b"200")):
        line = answered(site, asked(CHUNKED) + in_chunks(question, trailers=trailers))
        assert line.startswith(b"HTTP/1.1 " + status)


def test_a_query_stays_at_the_door(site: Site) -> None:
    first = b"POST /printers/office?%00%0d%0a=../" + b"x" * 5000 + b" HTTP/1.1"
    assert answered(site, asked(LENGTH, first=first) + JOB) == b"HTTP/1.1 200 OK"
    assert not any("?" in node.access_log() for node in site.nodes)


@pytest.mark.parametrize("method", [b"POST", b"GET"])
def test_a_path_that_is_longer_than_cupsd_reads(site: Site, method: bytes) -> None:
    first = method + b" /printers/" + b"x" * 5000 + b".ppd HTTP/1.1"
    assert answered(site, asked(b"Content-Length: 0", first=first)).startswith(b"HTTP/1.1 414 ")


def test_an_unknown_expectation_is_no_reason_for_a_node_to_refuse(site: Site) -> None:
    assert answered(site, asked(LENGTH, b"Expect: a miracle") + JOB) == b"HTTP/1.1 200 OK"


def test_answers_belong_to_their_questions_while_others_break_off(site: Site) -> None:
    """Somebody cuts documents short, over and over; nobody else is given what was meant for him."""
    client = site.client("alice")
    for cut in range(1, 30):
        with raw(site.edge.port) as connection:
            connection.sendall(asked(CHUNKED) + in_chunks(JOB, b"d" * 70_000)[: len(JOB) + 2000 * cut])
        question = ippwire.request(0x000B, ippwire.printer(), attribute(0x42, "name", f"{cut}"))
        assert client.ipp(question)[4:8] == question[4:8]
    until("the door is idle", lambda: answered(site, asked(LENGTH) + JOB) == b"HTTP/1.1 200 OK")


def test_a_head_that_is_known_opens_no_way_for_another(site: Site) -> None:
    name = attribute(0x44, "requested-attributes", "printer-name")
    question = ippwire.request(0x000B, ippwire.printer(), name)
    length = b"Content-Length: %d" % len(question)
    for _ in range(4):
        assert answered(site, asked(length) + question) == b"HTTP/1.1 200 OK"
    assert "gpc0=1" in site.proxy.runtime.ask("show table heads")
    assert "gpt0=1" in site.proxy.runtime.ask("show table requests")
    known = asked(length)
    others = {
        known.replace(b"/printers/office", b"/elsewhere"): b"404",
        known.replace(b"/printers/office", b"/printers/../admin"): b"404",
        known.replace(b"/printers/office", b"/printers/" + b"x" * 5000): b"414",
        known.replace(b"/printers/office", b"/admin/"): b"403",
        known.replace(b"POST ", b"GET "): b"400",
        known.replace(b"HTTP/1.1", b"HTTP/1.2", 1): b"505",
        known.replace(basic("demo", "demo").encode(), basic("demo", "wrong").encode()): b"401",
        known.replace(b"application/ipp", b"text/plain"): b"400",
        asked(length, b"Content-Encoding: gzip"): b"415",
        asked(length, b"Authorization: " + basic("alice", "alice").encode()): b"400",
    }
    for head, status in others.items():
        assert head != known
        for _ in range(3):
            assert answered(site, head + question).startswith(b"HTTP/1.1 " + status), head


@pytest.mark.parametrize("field", [b"X-Fleet-Alone: yes", b"Expect: 100-continue", b"Upgrade: websocket"])
def test_a_head_with_something_to_take_out_is_not_known_again(site: Site, field: bytes) -> None:
    def known() -> set[str]:
        return set(re.findall(r"key=(\w+)", site.proxy.runtime.ask("show table heads")))

    question = ippwire.request(0x000B, ippwire.printer())
    before = known()
    for _ in range(3):
        line = answered(site, asked(b"Content-Length: %d" % len(question), field) + question)
        assert line in (b"HTTP/1.1 200 OK", b"HTTP/1.1 100 Continue")
    assert not known() - before
