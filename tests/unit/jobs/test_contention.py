"""Whether jobs print side by side or wait for each other, told from when they printed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.jobs.contention import FEW, Printed, contention

SPEED = 1.5
"""Seconds for each page."""


def printed(chance: random.Random, jobs: int, nodes: int, one_device: bool, gap: float = 20.0) -> list[Printed]:
    """As many jobs at random, in whole seconds as the table knows them, by nodes that share a device or do not."""
    free, device, at = [0.0] * nodes, 0.0, 0.0
    found = []
    for _ in range(jobs):
        at += chance.expovariate(1 / gap)
        node, pages = min(range(nodes), key=lambda number: free[number]), 1 + int(chance.expovariate(1 / 5))
        begin = max(at, free[node])
        free[node] = (max(begin, device) if one_device else begin) + 1 + SPEED * pages
        device = free[node]
        found.append(Printed(int(begin), int(free[node]), pages))
    return found


@pytest.mark.parametrize("nodes", [2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_one_device_is_told_from_many(nodes: int, seed: int) -> None:
    assert contention(printed(random.Random(seed), 60, nodes, one_device=True)) > 0.2
    assert contention(printed(random.Random(seed), 60, nodes, one_device=False)) < 0.05


def test_long_jobs_at_busy_times_are_no_contention() -> None:
    """A class that prints a whole book at once, on as many devices."""
    alone = [Printed(100 * n, 100 * n + 2 + n % 2, 1) for n in range(10)]
    book = [Printed(2000 + n, 2150 + n, 100 + n % 2) for n in range(10)]
    assert contention([*alone, *book]) < 0.05


def test_a_few_jobs_say_nothing() -> None:
    assert contention(printed(random.Random(1), FEW - 1, 2, one_device=True, gap=0.1)) == 0.0
    assert contention([Printed(5.0, 5.0, 1)] * 100) == 0.0, "whole seconds do not tell"


MOMENTS = st.integers(0, 10_000)


@given(st.lists(st.builds(Printed, MOMENTS, MOMENTS, st.integers(0, 500)), max_size=30))
def test_it_is_a_share_whatever_was_printed(prints: list[Printed]) -> None:
    assert 0.0 <= contention(prints) <= 1.0
