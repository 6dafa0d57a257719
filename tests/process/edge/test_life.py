"""Starting, adopting, breaking and repairing a proxy."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from haproxy.errors import ConfigRefused, FolderUnusable, PortTaken, ProxyDown, ReloadFailed
from haproxy.install import Proxy
from haproxy.model import User, slot_of
from haproxy.render import CONFIG, MAP
from machine.identity import identity_of
from tests.process.edge import ippwire
from tests.process.edge.conftest import running_site, until
from tests.process.edge.door import Site, make_edge, password_hash


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


def test_a_node_whose_weight_is_lowered_forgets_its_turn(own_site: Site) -> None:
    """It has got work. Round robin had promised it one job in five, and gave it that all the same."""
    client, (first, second) = own_site.client(), own_site.edge.servers

    def weigh(weight: int) -> None:
        own_site.proxy.apply(replace(own_site.edge, servers=(first, replace(second, weight=weight))))

    def forgets() -> bool:
        weigh(25)
        had_its_turn = any(slot_of(client.print()) == second.slot for _ in range(10))
        others = [client.print(), client.print()]
        weigh(3)
        others += [client.print() for _ in range(6)]
        return had_its_turn and {slot_of(job) for job in others} == {first.slot}

    until("the second node forgets its turn, each time", lambda: all(forgets() for _ in range(3)))


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


def test_it_can_not_be_applied_to_when_down(tmp_path: Path) -> None:
    with pytest.raises(ProxyDown):
        Proxy(tmp_path / "none").apply(make_edge(tmp_path, []))
    assert Proxy(tmp_path / "none").drift(make_edge(tmp_path, []))


def test_no_secret_on_the_command_line(site: Site) -> None:
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert site.edge.secret not in shown
    assert password_hash("demo") not in shown
