"""Nodes come, leave, die and hang while people print: nobody notices more than he must."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from haproxy import stats
from haproxy.model import Server, User
from tests.process.edge import ippwire
from tests.process.edge.conftest import running_site
from tests.process.edge.door import Site, password_hash
from tests.process.edge.nodes import Node, until
from tests.process.fleet import free_port


@contextmanager
def load(site: Site, clients: int = 4) -> Iterator[list[tuple[str, float]]]:
    """Keep-alive clients that submit jobs all the time; yields what went wrong, with when that was sent."""
    wrong: list[tuple[str, float]] = []
    done = threading.Event()
    counts = [0] * clients

    def work(number: int) -> None:
        client = site.client()
        while not done.is_set():
            sent = time.monotonic()
            try:
                answer = client.send(ippwire.print_job(ippwire.user("x" * 30)))
                if answer.status != 200 or ippwire.status(answer.body) >= 0x100:
                    wrong.append((f"{answer.status} {answer.body[:80]!r}", sent))
                counts[number] += 1
            except Exception as error:
                wrong.append((repr(error), sent))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert all(counts)


def test_reloads_and_weights_under_load_cost_nothing(own_site: Site) -> None:
    users, workers = own_site.edge.users, set()
    with load(own_site) as wrong:
        for number in range(6):
            more = User(f"guest{number}", password_hash("guest"))
            workers.add(own_site.proxy.apply(replace(own_site.edge, users=(*users, more))).worker)
            servers = tuple(replace(node.server, weight=50 + number) for node in own_site.nodes)
            own_site.proxy.apply(replace(own_site.edge, users=(*users, more), servers=servers))
            time.sleep(0.3)
    assert wrong == []
    assert len(workers) == 6


def test_a_node_joins_drains_and_leaves_at_runtime(tmp_path: Path) -> None:
    with running_site(tmp_path, with_service=True) as site:
        joins_drains_and_leaves(site)


def joins_drains_and_leaves(site: Site) -> None:
    worker = site.proxy.runtime.worker()
    third = Node(site.folder, 3).start()
    try:
        joined = replace(site.edge, servers=(*site.edge.servers, third.server))
        site.proxy.apply(joined)
        assert site.proxy.drift(joined) == []

        def job_there() -> int | None:
            job = site.client().print()
            return job if job > 3_000_000 else None

        job = until("the new node gets work", job_there)
        drained = replace(joined, servers=(*site.edge.servers, replace(third.server, weight=0)))
        site.proxy.apply(drained)
        assert all(site.client().print() < 3_000_000 for _ in range(12))
        assert site.client().owner_of(job) == b"demo"
        site.proxy.apply(site.edge)
        assert site.proxy.drift(site.edge) == []
        assert site.proxy.runtime.worker() == worker
        asked = ippwire.attribute(0x21, "job-id", job)
        assert ippwire.status(site.client().ipp(ippwire.request(9, ippwire.printer(), asked))) == 0x0406
    finally:
        third.kill()


def test_an_address_where_nothing_answers_gets_no_work(own_site: Site) -> None:
    dead = Server(3, "127.0.0.1", free_port())
    with load(own_site) as wrong:
        own_site.proxy.apply(replace(own_site.edge, servers=(*own_site.edge.servers, dead)))
        time.sleep(0.5)
    assert wrong == []
    assert stats.read(own_site.edge).server("pool", 3).total_sessions == 0


def test_a_killed_node_is_out_within_a_second_and_costs_no_new_job(own_site: Site) -> None:
    job = until("a job on node 1", lambda: (lambda j: j if j < 2_000_000 else None)(own_site.client().print()))
    with load(own_site) as wrong:
        time.sleep(0.5)
        own_site.nodes[0].kill()
        killed = time.monotonic()
        until("it is out", lambda: not own_site.up(1))
        out = time.monotonic() - killed
        time.sleep(1)
    assert out < 1.0
    # what was in flight on the node when it died is lost with it; nothing after that moment may be
    assert [entry for entry in wrong if entry[1] > killed + 0.3] == []
    assert len(wrong) <= 4
    asked = ippwire.attribute(0x21, "job-id", job)
    answer = own_site.client().send(ippwire.request(9, ippwire.printer(), asked))
    assert answer.status == 503
    assert b"does not answer now" in answer.body
    own_site.nodes[0].start()
    until("it is back", lambda: own_site.up(1))
    assert own_site.client().owner_of(job) == b"demo"


def test_a_stopped_node_is_found_out_by_its_silence(own_site: Site) -> None:
    node, client = own_site.nodes[0], own_site.client()
    job = until("a job on node 1", lambda: (lambda j: j if j < 2_000_000 else None)(client.print()))
    assert client.owner_of(job) == b"demo"  # over a connection that stands, so that the next question gets there
    asked = ippwire.request(9, ippwire.printer(), ippwire.attribute(0x21, "job-id", job))
    with ThreadPoolExecutor(1) as aside:
        node.signal(19)
        try:
            asking = aside.submit(client.send, asked)
            time.sleep(1.5)
            assert own_site.up(1), "a slow answer must not count at once"
            until("it is out", lambda: not own_site.up(1))
            answer = asking.result(timeout=30)
            assert answer.status in (503, 504)
            assert b"does not answer now; try again in a moment" in answer.body
            assert answer.headers["retry-after"] == "5"
        finally:
            node.signal(18)
    until("it is back", lambda: own_site.up(1))
