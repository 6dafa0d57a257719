"""Starting, changing, breaking and repairing a proxy while people print."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from controller.certificate import trusted
from haproxy import stats
from haproxy.diff import Reload, Step, changes
from haproxy.errors import ConfigRefused, FolderUnusable, PortTaken, ProxyDown, ReloadFailed, RuntimeRefused
from haproxy.install import Proxy
from haproxy.model import Edge, Server, User
from haproxy.render import CONFIG, MAP
from haproxy.runtime import Runtime
from machine.identity import identity_of
from tests.process.edge import ippwire
from tests.process.edge.conftest import running_site
from tests.process.edge.door import Answer, Client, Site, certificate, make_edge, password_hash
from tests.process.edge.nodes import Node, free_port, until


@contextmanager
def load(site: Site, clients: int = 4) -> Iterator[list[tuple[str, float]]]:
    """Keep-alive clients that submit jobs all the time; yields what went wrong, with when."""
    wrong: list[tuple[str, float]] = []
    done = threading.Event()
    counts = [0] * clients

    def work(number: int) -> None:
        client = site.client()
        while not done.is_set():
            try:
                answer = client.send(ippwire.print_job(ippwire.user("x" * 30)))
                if answer.status != 200 or ippwire.status(answer.body) >= 0x100:
                    wrong.append((f"{answer.status} {answer.body[:80]!r}", time.monotonic()))
                counts[number] += 1
            except Exception as error:
                wrong.append((repr(error), time.monotonic()))

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


def test_a_new_object_adopts_the_running_proxy(own_site: Site) -> None:
    before = own_site.proxy.runtime.worker()
    adopted = Proxy(own_site.proxy.folder)
    assert adopted.running()
    applied = adopted.start(own_site.edge)
    assert (applied.worker, applied.changed) == (before, False)
    assert adopted.drift(own_site.edge) == []


def test_it_survives_its_starter(tmp_path: Path) -> None:
    edge = make_edge(tmp_path, [])
    folder = tmp_path / "haproxy"
    program = "import pickle, sys; from haproxy.install import Proxy; from pathlib import Path\n"
    program += f"Proxy(Path({str(folder)!r})).start(pickle.load(sys.stdin.buffer))"
    import pickle

    subprocess.run([sys.executable, "-c", program], input=pickle.dumps(edge), check=True, timeout=60)
    proxy = Proxy(folder)
    assert proxy.running()
    assert proxy.drift(edge) == []
    proxy.stop(grace=1)
    assert not proxy.running()
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", edge.port)) != 0


def test_a_deep_folder_and_a_worker_that_is_not_root(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with running_site(deep, slots=1, run_as="nobody") as site:
        assert site.client().print() == 1_000_001
        status = Path(f"/proc/{site.proxy.runtime.worker()}/status").read_text()
        assert "\nUid:\t65534" in status
        changed = replace(site.edge, users=site.edge.users[:1])
        site.proxy.apply(changed)
        assert site.client().print() == 1_000_002
        assert (site.proxy.folder / CONFIG).stat().st_mode & 0o777 == 0o600
        site.proxy.stop(grace=1)


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        edge = make_edge(tmp_path, [], port=other.getsockname()[1])
        proxy = Proxy(tmp_path / "haproxy")
        with pytest.raises(PortTaken, match=str(edge.port)):
            proxy.start(edge)
        assert not proxy.running()


def test_a_proxy_whose_starter_died_before_it_wrote_that_down_is_taken_over(own_site: Site) -> None:
    before, record = own_site.proxy.runtime.processes().master, own_site.proxy.folder / "master.json"
    record.unlink()
    users = (*own_site.edge.users, User("new", password_hash("new")))
    Proxy(own_site.proxy.folder).start(replace(own_site.edge, users=users))
    assert own_site.proxy.runtime.processes().master == before
    assert own_site.client("new").send(ippwire.print_job()).status == 200
    record.write_text('{"pid": ')
    own_site.proxy.stop(grace=1)
    assert identity_of(before) is None


def test_a_port_taken_at_a_reload_leaves_the_old_worker(own_site: Site) -> None:
    good = (own_site.proxy.folder / CONFIG).read_text()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        (own_site.proxy.folder / "haproxy.log").unlink()  # from which the reason would be read
        with pytest.raises(ReloadFailed):
            own_site.proxy.apply(replace(own_site.edge, stats_port=other.getsockname()[1]))
    assert (own_site.proxy.folder / CONFIG).read_text() == good
    assert own_site.client().print()
    own_site.proxy.apply(own_site.edge)
    assert own_site.proxy.drift(own_site.edge) == []


def test_a_refused_configuration_changes_nothing(own_site: Site) -> None:
    good = (own_site.proxy.folder / CONFIG).read_text()
    worker = own_site.proxy.runtime.worker()
    broken = own_site.folder / "broken.pem"
    broken.write_text("not a certificate")
    with pytest.raises(ConfigRefused, match="broken"):
        own_site.proxy.apply(replace(own_site.edge, certificate=broken))
    assert (own_site.proxy.folder / CONFIG).read_text() == good
    assert own_site.proxy.runtime.worker() == worker
    assert own_site.proxy.drift(own_site.edge) == []


def fill(path: Path) -> None:
    with suppress(OSError), path.open("wb", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            pass


def test_a_full_disk_leaves_the_last_good_file(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", small], check=False).returncode:
        pytest.skip("a small file system can't be mounted here")
    proxy, edge = Proxy(small / "haproxy"), make_edge(tmp_path, [])
    try:
        proxy.start(edge)
        good = (proxy.folder / CONFIG).read_text()
        fill(small / "filler")
        with pytest.raises(FolderUnusable):
            proxy.apply(replace(edge, users=edge.users[:1]))
        assert (proxy.folder / CONFIG).read_text() == good
        (small / "filler").unlink()
        proxy.apply(replace(edge, users=edge.users[:1]))
    finally:
        proxy.stop(grace=1)
        subprocess.run(["umount", "-l", small], check=False)


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


def test_a_certificate_that_a_death_kept_from_being_loaded_is_loaded_later(own_site: Site) -> None:
    proxy, edge, folder = own_site.proxy, own_site.edge, own_site.proxy.folder
    certificate(own_site.folder)
    dying = Proxy(folder)
    dying.runtime = DiesFirst(folder)
    with pytest.raises(Killed):
        dying.apply(edge)
    assert any("certificate" in sentence for sentence in proxy.drift(edge))
    worker = proxy.runtime.worker()
    assert Proxy(folder).start(edge).worker != worker
    assert proxy.drift(edge) == []
    assert ssl.get_server_certificate(("127.0.0.1", edge.port)) in edge.certificate.read_text()


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


class Interrupted(Runtime):
    """Carries out so many steps and then meets `end`."""

    def __init__(self, folder: Path, steps: int, end: BaseException) -> None:
        super().__init__(folder)
        self.steps, self.end = steps, end

    def carry_out(self, step: Step) -> None:
        if self.steps == 0:
            raise self.end
        self.steps -= 1
        super().carry_out(step)


class Killed(BaseException):
    """What stands for the controller's death: nothing of ours runs after it."""


def rearranged(site: Site) -> Edge:
    """Another edge, which needs a step of each kind: one node's address changes, one drains, one comes."""
    first, second = (node.server for node in site.nodes)
    moved, drained, new = (
        replace(first, port=free_port()),
        replace(second, weight=0),
        Server(4, "127.0.0.1", free_port()),
    )
    return replace(site.edge, servers=(moved, drained, new))


@pytest.mark.parametrize("users", [3, 2], ids=["at run time", "with a reload"])
def test_a_plan_that_fails_at_any_step_leaves_file_and_worker_as_they_were(own_site: Site, users: int) -> None:
    old, folder = own_site.edge, own_site.proxy.folder
    new = replace(rearranged(own_site), users=old.users[:users])
    steps = sum(not isinstance(step, Reload) for step in changes(old, new).steps)
    assert steps > 5
    for done in range(steps):
        good = (folder / CONFIG).read_text()
        breaking = Proxy(folder)
        breaking.runtime = Interrupted(folder, done, RuntimeRefused("an answer that nobody knows"))
        with pytest.raises(RuntimeRefused):
            breaking.apply(new)
        assert (folder / CONFIG).read_text() == good
        assert Proxy(folder).drift(old) == []
        assert own_site.client().print()


def test_a_plan_that_a_death_interrupts_anywhere_is_finished_or_taken_back(own_site: Site) -> None:
    old, new, folder = own_site.edge, rearranged(own_site), own_site.proxy.folder
    for done in range(len(changes(old, new).steps)):
        for then in (new, old):
            dying = Proxy(folder)
            dying.runtime = Interrupted(folder, done, Killed())
            with pytest.raises(Killed):
                dying.apply(new)
            after = Proxy(folder)
            after.apply(then)
            assert after.drift(then) == []
            after.apply(old)
    assert own_site.client().print()


class DiesFirst(Runtime):
    def order_reload(self) -> str:
        raise Killed


class Dying(Runtime):
    def order_reload(self) -> str:
        os.kill(self.processes().master, signal.SIGKILL)
        return ""


def test_a_death_in_the_middle_of_a_reload_is_seen_at_once(own_site: Site) -> None:
    """Until then nobody else could start it again."""
    folder, good = own_site.proxy.folder, (own_site.proxy.folder / CONFIG).read_text()
    dying = Proxy(folder)
    dying.runtime = Dying(folder)
    with pytest.raises(ReloadFailed, match="ended while it was reloaded"):
        dying.apply(replace(own_site.edge, users=own_site.edge.users[:1]))
    assert (folder / CONFIG).read_text() == good
    assert own_site.proxy.revive()
    assert own_site.client().print()


def test_drift_is_told_and_repaired(own_site: Site) -> None:
    proxy, edge = own_site.proxy, own_site.edge
    proxy.runtime.ask("set server pool/n1 weight 3")
    proxy.runtime.ask("set server pool/n2 state drain")
    proxy.runtime.ask(f"del map {MAP} 1")
    proxy.runtime.ask(f"add map {MAP} 4 n4")
    (proxy.folder / CONFIG).write_text("nonsense\n")
    told = proxy.drift(edge)
    assert len(told) == 4, told
    applied = proxy.apply(edge)
    assert not applied.plan.reloads
    assert proxy.drift(edge) == []


BY_HAND = {
    "disable frontend door": "frontend door is PAUSED",
    "shutdown frontend anynode": "frontend anynode is STOP",
    "set maxconn frontend front 1": "frontend front takes 1 connections only",
    "set server dashboard/dashboard state maint": "server dashboard/dashboard was taken out",
    "set server whole/service state maint": "server whole/service was taken out",
    "disable server reads/n2": "server reads/n2 was taken out",
    "disable health pool/n1": "server pool/n1 is not checked",
    "set server owner/n1 ssl off": "server owner/n1 is spoken to without TLS",
    "set maxconn global 500": "the worker takes 500 connections only",
    "set rate-limit sessions global 1": "SessRateLimit is 1",
}


def test_what_no_command_of_ours_undoes_is_told_and_a_reload_repairs_it(own_site: Site) -> None:
    proxy, edge = own_site.proxy, own_site.edge
    for command in BY_HAND:
        assert "annot" not in proxy.runtime.ask(command)
    assert set(proxy.drift(edge)) == set(BY_HAND.values())
    assert proxy.apply(edge).plan.reloads
    assert proxy.drift(edge) == []
    assert not proxy.apply(edge).changed
    assert own_site.client().print()


def test_a_killed_node_is_out_within_a_second_and_costs_no_new_job(own_site: Site) -> None:
    job = until("a job on node 1", lambda: (lambda j: j if j < 2_000_000 else None)(own_site.client().print()))
    with load(own_site) as wrong:
        time.sleep(0.5)
        own_site.nodes[0].kill()
        killed = time.monotonic()
        until("it is out", lambda: not stats.read(own_site.edge).server("pool", 1).up, 3)
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
    until("it is back", lambda: stats.read(own_site.edge).server("pool", 1).up, 5)
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
            assert stats.read(own_site.edge).server("pool", 1).up, "a slow answer must not count at once"
            until("it is out", lambda: not stats.read(own_site.edge).server("pool", 1).up, 10)
            answer = asking.result(timeout=15)
            assert answer.status in (503, 504)
            assert b"does not answer now; try again in a moment" in answer.body
            assert answer.headers["retry-after"] == "5"
        finally:
            node.signal(18)
    until("it is back", lambda: stats.read(own_site.edge).server("pool", 1).up, 10)


def test_it_can_not_be_applied_to_when_down(tmp_path: Path) -> None:
    with pytest.raises(ProxyDown):
        Proxy(tmp_path / "none").apply(make_edge(tmp_path, []))
    assert Proxy(tmp_path / "none").drift(make_edge(tmp_path, []))


def test_no_secret_on_the_command_line(site: Site) -> None:
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert site.edge.secret not in shown
    assert password_hash("demo") not in shown
