"""Real proxies in front of real print servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from haproxy.install import Proxy
from machine.programs import program
from tests.process.edge.door import Site, answering_for, make_edge
from tests.process.edge.nodes import Node, until


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say loudly what is missing instead of failing in a fixture."""
    reasons = [] if os.geteuid() == 0 else ["these tests start cupsd as root"]
    reasons += [f"{tool} is not installed" for tool in ("haproxy", "cupsd", "openssl") if not program(tool)]
    for item in items:
        if reasons and "process/edge" in str(item.path):
            item.add_marker(pytest.mark.skip(reason="; ".join(reasons)))


@contextmanager
def running_site(
    folder: Path,
    slots: int = 2,
    stopped: bool = True,
    folder_name: str = "haproxy",
    with_service: bool = False,
    **more: object,
) -> Iterator[Site]:
    """with_service: of the whole queue, which is asked about the first slot's jobs too, as if some had been moved. Else
    it is down."""
    folder.chmod(0o755)
    nodes = [Node(folder, slot, stopped_queue=stopped) for slot in range(1, slots + 1)]
    proxy = Proxy(folder / folder_name)
    with ExitStack() as stack:
        for node in nodes:
            stack.callback(node.start().kill)
        service = None
        if with_service:
            port, service = stack.enter_context(answering_for(folder, nodes))
            more = {"whole_port": port, "moved_slots": (1,), **more}
        edge = make_edge(folder, nodes, **more)
        stack.callback(proxy.stop, grace=1)
        proxy.start(edge)
        yield Site(edge, proxy, nodes, folder, service)


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A door with two nodes and the service for the whole queue, shared by tests that leave it as they found it."""
    with running_site(tmp_path_factory.mktemp("site"), with_service=True) as made:
        yield made


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """A door with two nodes that a test may break; the service for the whole queue is down."""
    with running_site(tmp_path) as made:
        yield made


__all__ = ["until"]
