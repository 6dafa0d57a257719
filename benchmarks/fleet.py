"""A whole fleet to measure, of one size while it runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.process.fleet import Fleet, eventually, free_port


@contextmanager
def running_fleet(nodes: int) -> Iterator[Fleet]:
    """Ready when it comes, and gone with its state afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        size = {"CUPSFLEET_NODES__MIN": str(nodes), "CUPSFLEET_NODES__MAX": str(nodes)}
        fleet = Fleet(Path(folder) / "state", free_port(), size)
        try:
            fleet.up()
            eventually(lambda: len(fleet.nodes()) >= nodes, 30)
            yield fleet
        finally:
            fleet.run("down")
