"""What is answered when no check passes, when the service for the whole queue is down, and of a queue's state alone."""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from haproxy import render, stats
from haproxy.model import slot_of
from haproxy.render import HEALTH_REQUEST
from tests.process.edge import ippwire
from tests.process.edge.conftest import running_site
from tests.process.edge.door import Client, Site
from tests.process.edge.ippwire import attribute
from tests.process.edge.nodes import PRINTERS_CONF, until

STATE = attribute(0x44, "requested-attributes", "printer-state")
GET_PRINTER, GET_JOBS, CANCEL_JOB = 0x000B, 0x000A, 0x0008


@pytest.fixture
def unchecked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Three nodes that work and pass no check, as on a machine that has too much to do."""
    monkeypatch.setattr(render, "HEALTH_REQUEST", "00" * (len(HEALTH_REQUEST) // 2))
    with running_site(tmp_path, slots=3, with_service=True) as site:
        until("all are out", lambda: not any(row.up for row in stats.read(site.edge).servers if row.backend == "pool"))
        yield site


def test_when_no_check_passes_people_print_on(unchecked: Site) -> None:
    def everything(name: str) -> None:
        client = unchecked.client(name)
        job = client.print(ippwire.user("x" * 40), document=b"d" * 100_000)
        assert client.owner_of(job) == name.encode()
        for _ in range(3):  # read by Lua, and known
            assert ippwire.integers(client.ipp(ippwire.request(GET_PRINTER, ippwire.printer(), STATE)), "printer-state")
            assert ippwire.status(client.ipp(ippwire.request(0x0004, ippwire.printer(), ippwire.user("x")))) == 0
            assert ippwire.status(client.ipp(ippwire.jobs_request())) == 0
        made.append(job)

    made: list[int] = []
    for name in ("demo", "alice") * 3:
        everything(name)
    unchecked.job_on_each(unchecked.client())
    unchecked.nodes[1].kill()
    for name in ("demo", "alice") * 3:
        made.clear()
        everything(name)
        assert (made[0] - 1) // 1_000_000 in (1, 3)


def test_while_no_server_takes_a_connection_people_wait(tmp_path: Path) -> None:
    """All stand still for longer than each is given to take a connection, and are out, one after the other."""
    with running_site(tmp_path) as site, ThreadPoolExecutor() as pool:
        for node in site.nodes:
            node.signal(signal.SIGSTOP)
        # A new connection to each node is needed, and the nodes' listeners still take it: TLS is what does not come.
        jobs = [pool.submit(site.client(name).print) for name in ("demo", "alice")]
        until("all are out", lambda: not any(row.up for row in stats.read(site.edge).servers if row.backend == "pool"))
        time.sleep(1)
        assert not any(job.done() for job in jobs)
        for node in site.nodes:
            node.signal(signal.SIGCONT)
        assert all(job.result() for job in jobs)


def test_a_question_whose_server_ends_is_asked_of_another(own_site: Site) -> None:
    question = ippwire.request(
        GET_PRINTER, ippwire.printer(), attribute(0x44, "requested-attributes", "media-supported")
    )
    clients = [own_site.client(name) for name in ("demo", "alice") * 2]
    for client in clients * 4:  # so that there are connections to both
        client.ipp(question)
    with ThreadPoolExecutor() as pool:
        own_site.nodes[0].signal(signal.SIGSTOP)
        asked = [pool.submit(client.ipp, question) for client in clients]
        until("the other one has answered", lambda: any(one.done() for one in asked))
        time.sleep(0.5)
        assert not all(one.done() for one in asked)
        own_site.nodes[0].kill()
        assert all(ippwire.status(one.result()) == 0 for one in asked)


def test_a_question_in_whose_moment_the_service_ends_is_answered(tmp_path: Path) -> None:
    """All connections to it that are kept end with it, and are tried before the edge has noticed. Where there were more
    of them than tries, one question got no answer every second time."""
    with running_site(tmp_path, with_service=True) as site, ThreadPoolExecutor(16) as pool:
        clients = [site.client() for _ in range(16)]
        until("the service is asked", lambda: b"did not answer" not in clients[0].ipp(ippwire.jobs_request()))
        for _ in range(3):
            list(pool.map(lambda client: client.ipp(ippwire.jobs_request()), clients))
        assert site.service is not None
        site.service.kill()
        for client in clients:
            assert ippwire.status(client.ipp(ippwire.jobs_request())) == 0


def test_without_any_server_an_answer_says_so(own_site: Site) -> None:
    for node in own_site.nodes:
        node.kill()
    for question in (ippwire.request(0x0004, ippwire.printer(), ippwire.user("x")), ippwire.jobs_request()) * 2:
        answer = own_site.client().send(question)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert b"No print server takes anything at the moment" in answer.body


def test_without_the_service_an_answer_says_that_it_is_one_servers(own_site: Site) -> None:
    client = own_site.client()
    own_site.job_on_each(client)
    for size in (2, 2, 40, 400):
        for _ in range(size):
            client.print()
        wanted = attribute(0x44, "requested-attributes", "all")
        for question in (ippwire.request(GET_JOBS, ippwire.printer(), wanted), ippwire.jobs_request()):
            for _ in range(2):  # on the same connection: its length is right
                body = client.ipp(question)
                assert body[4:8] == question[4:8]
                assert ippwire.values(body, "job-id")
                (said,) = ippwire.values(body, "status-message")
                assert b"did not answer in time" in said
                assert [name for name, _ in ippwire.read(body)][:3] == [
                    "attributes-charset",
                    "attributes-natural-language",
                    "status-message",
                ]
    wrong = client.ipp(ippwire.request(GET_JOBS, ippwire.printer(), attribute(0x44, "which-jobs", "nonsense")))
    assert ippwire.status(wrong) == 0x040B
    assert all(b"did not answer" not in said for said in ippwire.values(wrong, "status-message"))


def test_without_the_service_what_one_server_would_get_wrong_is_refused(own_site: Site) -> None:
    def refused(operation: int, *attributes: bytes) -> bytes:
        answer = own_site.client().send(ippwire.request(operation, ippwire.printer(), *attributes))
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        return answer.body

    jobs = own_site.job_on_each(own_site.client())
    events, current = attribute(0x21, "notify-subscription-ids", 1_000_001), attribute(0x21, "job-id", 0)
    for operation, *attributes in ((0x001C, events), (0x0039,), (CANCEL_JOB, current)):
        assert b"The service that asks all print servers does not answer now" in refused(operation, *attributes)
    dead = own_site.nodes[0]
    dead.kill()
    job = attribute(0x21, "job-id", next(job for job in jobs if slot_of(job) == dead.slot))
    assert b"The print server that has this job does not answer now" in refused(CANCEL_JOB, job)
    assert all(slot_of(job) == dead.slot or own_site.client().owner_of(job) == b"demo" for job in jobs)


class TestStateAlone:
    """Two nodes, of which one may be stopped: the queue is idle all the same."""

    @pytest.fixture
    def idle(self, tmp_path: Path) -> Iterator[Site]:
        with running_site(tmp_path, stopped=False, with_service=True, moved_slots=()) as site:
            until("the service is asked", lambda: self.poll(site.client()) == [] and self.by_service(site))
            yield site

    def poll(self, client: Client) -> list[int]:
        """`printer-state`, asked for by a body that comes again byte for byte; [] when it is that of an idle queue."""
        body = client.ipp(ippwire.request(GET_PRINTER, ippwire.printer(), STATE))
        return [state for state in ippwire.integers(body, "printer-state") if state != 3]

    def by_service(self, site: Site) -> int:
        """Requests that the service for the whole queue has got."""
        rows = csv.DictReader(site.proxy.runtime.ask("show stat").removeprefix("# ").splitlines())
        return next(int(row["stot"]) for row in rows if (row["pxname"], row["svname"]) == ("whole", "service"))

    def test_while_all_are_idle_nodes_answer_and_the_service_is_asked_each_second(self, idle: Site) -> None:
        before, begun, polls, client = self.by_service(idle), time.monotonic(), 0, idle.client()
        while (seconds := time.monotonic() - begun) < 4:
            assert self.poll(client) == []
            polls += 1
        asked = self.by_service(idle) - before
        assert 2 <= asked <= seconds + 2
        assert asked < polls

    def test_one_that_is_stopped_does_not_stop_the_queue(self, idle: Site) -> None:
        node = idle.nodes[1]
        node.kill()
        (node.folder / "printers.conf").write_text(PRINTERS_CONF.format(state="Stopped"))
        node.start()
        until("both are in", lambda: idle.up(1, 2))
        time.sleep(1.1)  # what was known before is forgotten
        before = self.by_service(idle)
        for number in range(12):
            assert self.poll(idle.client(("demo", "alice")[number % 2])) == []
        assert self.by_service(idle) - before == 12

    def test_what_is_known_of_one_queue_is_not_said_of_another(self, idle: Site) -> None:
        elsewhere = attribute(0x45, "printer-uri", "ipp://localhost/printers/other")
        for _ in range(3):
            idle.client().ipp(ippwire.request(GET_PRINTER, ippwire.printer(), STATE), path="/printers/other")
            idle.client().ipp(ippwire.request(GET_PRINTER, elsewhere, STATE), path="/printers/third")
        known = idle.proxy.runtime.ask("show table alike")
        assert "key=/printers/other" in known
        assert "gpt0=1" not in "".join(line for line in known.splitlines() if "/printers/office" not in line)
