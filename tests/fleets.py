"""Fleets of real processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.fleet import Fleet, free_port


def make_fleet(environment: dict[str, str]) -> Fleet:
    return Fleet(Path(tempfile.mkdtemp(prefix="fleet-")) / "state", free_port(), environment)


def end(fleet: Fleet) -> None:
    fleet.run("down")
    shutil.rmtree(fleet.state.parent)


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    """Three nodes that serve, for tests that leave them so."""
    fleet = make_fleet({"CUPSFLEET_NODES__MIN": "3"})
    try:
        fleet.up()
        yield fleet
    finally:
        end(fleet)


@pytest.fixture
def own_fleet() -> Iterator[Fleet]:
    """A fleet of two nodes, not started, for a test that breaks it."""
    fleet = make_fleet({})
    try:
        yield fleet
    finally:
        end(fleet)
