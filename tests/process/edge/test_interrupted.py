"""A change of a proxy that is broken off at any step: file and worker agree all the same."""

from __future__ import annotations

import os
import signal
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from haproxy.diff import Reload, Step, changes
from haproxy.errors import ReloadFailed, RuntimeRefused
from haproxy.install import Proxy
from haproxy.model import Edge, Server
from haproxy.render import CONFIG
from haproxy.runtime import Runtime
from tests.process.edge.door import Site, certificate
from tests.process.fleet import free_port


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
