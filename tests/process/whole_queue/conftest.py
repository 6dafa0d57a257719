"""One fleet for all tests here that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from haproxy.model import slot_of
from tests.process.fleet import Fleet, eventually
from tests.process.whole_queue.asking import NODES, PEOPLE, cancelled, create, five_nodes


@pytest.fixture(scope="package")
def five() -> Iterator[Fleet]:
    with five_nodes({"CUPSFLEET_WHOLE_QUEUE__DEADLINE": "1s"}) as fleet:
        yield fleet


@pytest.fixture
def held(five: Fleet) -> Iterator[dict[str, list[int]]]:
    """Held jobs of each person on each node, in the order in which they were made."""
    # Nodes get the same share of what comes, in turn, while all of them are well.
    eventually(lambda: [node["weight"] for node in five.nodes()] == [100] * NODES)
    made: dict[str, list[int]] = {name: [] for name in PEOPLE}
    for turn in range(2):
        for name in PEOPLE:
            made[name] += [create(five, name, f"{name} {turn}.{number}") for number in range(NODES)]
    assert all({slot_of(job) for job in jobs} == set(range(1, NODES + 1)) for jobs in made.values())
    yield made
    for name in PEOPLE:
        eventually(partial(cancelled, five, name), 30)
