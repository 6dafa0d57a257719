"""A proxy that dies while nobody else looks is back soon, with the same routes; one that was stopped stays down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from haproxy import process
from haproxy.errors import ProxyDown
from haproxy.install import Proxy
from tests.process.edge.conftest import running_site
from tests.process.edge.door import Site
from tests.process.edge.nodes import until


@contextmanager
def keeper(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen([sys.executable, "-m", "haproxy.keeper", str(folder)])
    try:
        yield running
    finally:
        running.terminate()
        assert running.wait(30) == 0


@contextmanager
def kept_site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path, slots=2, folder_name="proxy-1") as site, keeper(tmp_path):
        yield site


def worker(proxy: Proxy) -> int:
    """The worker that answers; 0 while none does."""
    try:
        return proxy.runtime.worker()
    except ProxyDown:
        return 0


def test_a_killed_proxy_is_back_with_its_routes(tmp_path: Path) -> None:
    with kept_site(tmp_path) as site:
        jobs = [site.client().print() for _ in range(2)]
        for _ in range(2):
            master = process.recorded(site.proxy.folder)
            before = worker(site.proxy)
            assert master
            os.kill(master.pid, signal.SIGKILL)
            until("another worker answers", lambda old=before: worker(site.proxy) not in (0, old))
            until("its master is known", site.proxy.running)
            assert process.recorded(site.proxy.folder) != master
            assert site.proxy.drift(site.edge) == []
            assert [site.client().owner_of(job) for job in jobs] == [b"demo", b"demo"]


def test_a_stopped_proxy_stays_down_and_one_that_is_started_again_is_not_disturbed(tmp_path: Path) -> None:
    with kept_site(tmp_path) as site:
        site.proxy.stop(grace=1)
        time.sleep(3)  # thrice the keeper's patience
        assert not site.proxy.running()
        started = site.proxy.start(site.edge).worker
        time.sleep(3)
        assert worker(site.proxy) == started


def test_what_can_not_be_started_is_tried_again(tmp_path: Path) -> None:
    with kept_site(tmp_path) as site:
        moved = site.edge.certificate.rename(tmp_path / "elsewhere.pem")
        master = process.recorded(site.proxy.folder)
        assert master
        os.kill(master.pid, signal.SIGKILL)
        until("it is gone", lambda: not worker(site.proxy))
        time.sleep(3)
        assert worker(site.proxy) == 0  # a master may live for a moment: the keeper's next attempt
        moved.rename(site.edge.certificate)
        until("it is back", lambda: worker(site.proxy))
        assert site.client().print()
