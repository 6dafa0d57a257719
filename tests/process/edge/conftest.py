"""Real proxies in front of real print servers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from haproxy.install import Proxy
from tests.process.edge.door import Site, make_edge
from tests.process.edge.nodes import Node, until


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say loudly what is missing instead of failing in a fixture."""
    reasons = [] if os.geteuid() == 0 else ["these tests start cupsd as root"]
    reasons += [f"{tool} is not installed" for tool in ("haproxy", "cupsd", "openssl") if not shutil.which(tool)]
    for item in items:
        if reasons and "process/edge" in str(item.path):
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))


@contextmanager
def running_site(
    folder: Path, slots: int = 2, stopped: bool = True, folder_name: str = "haproxy", **more: object
) -> Iterator[Site]:
    folder.chmod(0o755)
    nodes = [Node(folder, slot, stopped_queue=stopped) for slot in range(1, slots + 1)]
    proxy = Proxy(folder / folder_name)
    try:
        for node in nodes:
            node.start()
        edge = make_edge(folder, nodes, **more)
        proxy.start(edge)
        yield Site(edge, proxy, nodes, folder)
    finally:
        proxy.stop(grace=1)
        for node in nodes:
            node.kill()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A door with two nodes, shared by tests that leave it as they found it."""
    with running_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """A door with two nodes that a test may break."""
    with running_site(tmp_path) as made:
        yield made


__all__ = ["until"]
