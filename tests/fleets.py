"""Fleets of real processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.fleet import Fleet, free_port


@contextmanager
def made(environment: dict[str, str]) -> Iterator[Fleet]:
    """A fleet of its own, not started; whatever runs of it at the end is ended."""
    fleet = Fleet(Path(tempfile.mkdtemp(prefix="fleet-")) / "state", free_port(), environment)
    try:
        yield fleet
    finally:
        fleet.run("down")
        shutil.rmtree(fleet.state.parent)


@contextmanager
def running(environment: dict[str, str]) -> Iterator[Fleet]:
    with made(environment) as fleet:
        fleet.up()
        yield fleet


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Three nodes that serve, for tests that leave them so."""
    with running({"CUPSFLEET_NODES__MIN": "3"}) as fleet:
        yield fleet


@pytest.fixture
def own_fleet() -> Iterator[Fleet]:
    """A fleet of two nodes, not started, for a test that breaks it."""
    with made({}) as fleet:
        yield fleet
