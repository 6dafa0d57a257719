"""What clients meet at the door: TLS in both ways, bodies of every shape, the right node for each job."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from haproxy.model import slot_of
from tests.process.edge import ippwire
from tests.process.edge.conftest import running_site
from tests.process.edge.door import Site, basic, context, raw
from tests.process.edge.ippwire import attribute, user
from tests.process.edge.nodes import until
from tests.process.fleet import with_password


def test_haproxy_finds_nothing_odd_in_its_configuration(site: Site) -> None:
    said = (site.proxy.folder / "haproxy.log").read_text()
    assert [line for line in said.splitlines() if "config : " in line] == []


def test_no_http_2_in_plain_text(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.edge.port), timeout=30) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        with suppress(ConnectionResetError):
            assert connection.recv(4096) == b""


@pytest.mark.parametrize("encryption", [["-E"], []], ids=["required", "on demand"])
def test_lp_upgrades_to_tls(site: Site, encryption: list[str], tmp_path: Path) -> None:
    path = f"{tmp_path}/document.txt"
    with open(path, "w") as document:
        document.write("hello\n")
    command = ["lp", *encryption, "-h", f"localhost:{site.edge.port}", "-U", "demo", "-d", "office", path]
    code, shown = with_password(command, "demo")
    assert code == 0, shown
    job = int(shown.split("office-")[1].split()[0])
    assert site.client().owner_of(job) == b"demo"


def test_cups_own_commands_work_through_the_door(site: Site) -> None:
    jobs = [site.client().print() for _ in range(2)]
    door = ["-h", f"localhost:{site.edge.port}", "-U", "demo"]
    for job in jobs:  # one on each node
        code, shown = with_password(["lp", "-E", *door, "-i", f"office-{job}", "-H", "hold"], "demo")
        assert code == 0, shown
        code, shown = with_password(["cancel", "-E", *door, f"office-{job}"], "demo")
        assert code == 0, shown
        asked = ippwire.request(9, ippwire.printer(), attribute(0x21, "job-id", job))
        assert ippwire.integers(site.client().ipp(asked), "job-state") == [7]
    code, shown = with_password(["lpstat", "-E", *door, "-p"], "demo")
    assert code == 0, shown
    assert "office" in shown


def test_plain_http_is_told_to_use_tls(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.edge.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = connection.recv(4096)
    assert b" 426 " in answer
    assert b"ipps://" in answer


def test_ipptool_over_ipps(site: Site) -> None:
    uri = f"ipps://demo:demo@localhost:{site.edge.port}/printers/office"
    command = ["ipptool", "-tv", uri, "get-jobs.test"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stdout


def suite(uri: str, document: Path) -> list[str]:
    """The verdict on each test of the IPP/1.1 suite."""
    command = ["ipptool", "-tI", "-f", str(document), uri, "ipp-1.1.test"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return [line.strip() for line in result.stdout.splitlines() if line.rstrip().endswith(("[PASS]", "[FAIL]"))]


def test_the_conformance_suite_answers_as_a_node_does(tmp_path: Path) -> None:
    """Asked twice: it cancels a job that it takes for printed, which on a busy machine it may not be yet."""
    document = tmp_path / "document.txt"
    document.write_text("hello\n")
    with running_site(tmp_path, stopped=False) as site:
        for _ in site.nodes:  # Get-Jobs lists the jobs of one node; each must have had some
            site.client().print()
        direct = suite(f"ipp://localhost:{site.nodes[0].port}/printers/office", document)
        through = [suite(f"ipps://demo:demo@localhost:{site.edge.port}/printers/office", document) for _ in range(2)]
    assert min(map(len, through)) > 25
    failed = [{line for line in lines if line.endswith("[FAIL]")} for lines in through]
    assert failed[0] & failed[1] <= set(direct)


def pieces(total: int, size: int = 65536) -> Iterator[bytes]:
    yield ippwire.print_job(user("x" * 100), document=b"")
    for _ in range(total // size):
        yield b"d" * size


def spooled(site: Site, job: int) -> int:
    node = site.nodes[(job - 1) // 1_000_000 - 1]
    return (node.folder / "spool" / f"d{job:05}-001").stat().st_size


def test_100_megabytes_chunked(site: Site) -> None:
    size = 100 * 1024 * 1024
    body = site.client().ipp(pieces(size))
    assert spooled(site, ippwire.integers(body, "job-id")[0]) == size


def test_100_megabytes_with_a_length(site: Site) -> None:
    size = 100 * 1024 * 1024
    job = site.client().print(user("y" * 50), document=b"d" * size)
    assert spooled(site, job) == size


def test_expect_100_continue(site: Site) -> None:
    request = ippwire.print_job(user("alice"), document=b"d" * 50000)
    with raw(site.edge.port) as connection:
        connection.sendall(head(site, len(request), "Expect: 100-continue\r\n"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 100")
        connection.sendall(request)
        assert answered(connection).startswith(b"HTTP/1.1 200")


def head(site: Site, length: int | None, more: str = "") -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST /printers/office HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
        f"Authorization: {basic('demo', 'demo')}\r\n{framing}\r\n{more}\r\n"
    ).encode()


def answered(connection: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        data = connection.recv(65536)
        if not data:
            break
        found += data
    return found


def test_a_head_in_small_pieces_is_read_whole(site: Site) -> None:
    request = ippwire.print_job(user("alice"), document=b"rest")
    with raw(site.edge.port) as connection:
        connection.sendall(head(site, len(request)))
        for at in range(0, len(request), 20):
            connection.sendall(request[at : at + 20])
            time.sleep(0.01)
        assert answered(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_slow_document_after_a_whole_head_goes_through(site: Site, chunked: bool) -> None:
    request, pause = ippwire.print_job(user("alice"), document=b""), 12.0

    def framed(data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data) if chunked else data

    with raw(site.edge.port) as connection:
        connection.sendall(head(site, None if chunked else len(request) + 4) + framed(request))
        time.sleep(pause)
        connection.sendall(framed(b"late") + (b"0\r\n\r\n" if chunked else b""))
        assert answered(connection).startswith(b"HTTP/1.1 200")


def test_an_incomplete_head_is_given_up(site: Site) -> None:
    request = ippwire.print_job(user("alice"))
    with raw(site.edge.port) as connection:
        start = time.monotonic()
        connection.sendall(head(site, len(request)) + request[:100])
        assert b" 408 " in answered(connection)
        assert 9 < time.monotonic() - start < 25


@pytest.mark.parametrize("operation", [0x0009, 0x0008], ids=["read", "cancel"])
@pytest.mark.parametrize("by", ["job-id", "job-uri"])
def test_a_job_is_found_wherever_it_is(site: Site, by: str, operation: int) -> None:
    client = site.client()
    for job in site.job_on_each(client):
        named = [ippwire.printer(), attribute(0x21, "job-id", job)]
        if by == "job-uri":
            named = [attribute(0x45, "job-uri", f"ipp://localhost/jobs/{job}")]
        assert ippwire.status(client.ipp(ippwire.request(operation, *named), path="/jobs/")) < 0x100


def test_a_job_is_found_however_its_uri_is_spelt(site: Site) -> None:
    """cupsd 2.4.2 knows attributes in capitals too, 2.4.10 misses them: whoever understands it has to be its node."""
    job = site.client().print()
    node = site.nodes[slot_of(job) - 1]
    before = node.access_log().count("Get-Job-Attributes")
    asked = ippwire.request(9, attribute(0x45, "Job-URI", f"ipp://localhost/jobs/{job}"))
    assert ippwire.status(site.client().ipp(asked, path="/jobs/")) in (0, 0x0400)
    until("its node was asked", lambda: node.access_log().count("Get-Job-Attributes") > before)


def test_a_job_of_an_empty_slot_is_not_found(site: Site) -> None:
    asked = attribute(0x21, "job-id", 4_000_001)
    assert ippwire.status(site.client().ipp(ippwire.request(9, ippwire.printer(), asked))) == 0x0406


def test_ids_of_two_nodes_contradict(site: Site) -> None:
    asked = attribute(0x21, "job-id", 1_000_001) + attribute(0x45, "job-uri", "ipp://localhost/jobs/2000001")
    assert site.client().send(ippwire.request(9, asked)).status == 400


def test_a_subscription_is_found(site: Site) -> None:
    client = site.client()
    for _ in range(3):
        wanted = b"\x06" + attribute(0x44, "notify-pull-method", "ippget") + attribute(0x44, "notify-events", "all")
        made = client.ipp(ippwire.request(0x0016, ippwire.printer(), groups=wanted))
        number = ippwire.integers(made, "notify-subscription-id")[0]
        asked = attribute(0x21, "notify-subscription-id", number)
        assert ippwire.status(client.ipp(ippwire.request(0x0018, ippwire.printer(), asked))) < 0x100


def test_failed_logins_are_slowed_but_not_for_those_known(own_site: Site) -> None:
    good = own_site.client()
    assert good.send(ippwire.jobs_request()).status == 200
    statuses = [own_site.client("demo", f"guess{n}").send(ippwire.jobs_request()).status for n in range(14)]
    assert statuses[:9] == [401] * 9
    assert 429 in statuses
    assert good.send(ippwire.jobs_request()).status == 200
    # somebody else behind the same address still gets in, at one guess a second
    until("alice logs in", lambda: own_site.client("alice").send(ippwire.jobs_request()).status == 200, 20)


def guesses(site: Site, addresses: list[str]) -> list[bytes]:
    """The answer to a wrong password from each of these addresses; the front socket believes the one before it."""
    statuses = []
    for number, address in enumerate(addresses):
        inner = socket.socket(socket.AF_UNIX)
        inner.connect(str(site.proxy.folder / "tls0.sock"))
        to = "::1" if ":" in address else "127.0.0.1"
        inner.sendall(f"PROXY TCP{6 if ':' in address else 4} {address} {to} 5000 631\r\n".encode())
        with context().wrap_socket(inner) as connection:
            login = basic("demo", f"guess{number}")
            connection.sendall(f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {login}\r\n\r\n".encode())
            statuses.append(connection.recv(4096)[9:12])
    return statuses


def test_failed_logins_count_for_a_whole_ipv6_network_and_for_one_ipv4_address(own_site: Site) -> None:
    for pattern in ("::ffff:10.0.0.{}", "10.0.1.{}", "2001:db8:0:{}::1"):
        assert guesses(own_site, [pattern.format(n) for n in range(1, 15)]) == [b"401"] * 14, pattern
    assert b"429" in guesses(own_site, [f"2001:db8:1:1::{n}" for n in range(1, 15)])


def test_the_log_names_who_did_what_and_no_secret(site: Site) -> None:
    site.client().print()
    until("a log line", lambda: 'user="demo" op=0002' in site.log)
    assert basic("demo", "demo") not in site.log
    assert site.edge.secret not in site.log
