"""Documents that were made to do harm: bounded time and memory, then `unknown`, and nobody else's charge waits."""

from __future__ import annotations

import os
import random
import resource
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.costs import count
from controller.costs.counter import COUNT_SECONDS, MEMORY
from tests import hostile
from tests.documents import pdf, rendered
from tests.unit.costs.test_count import counted, streamed
from tests.unit.costs.test_ledger import DAY, World, job

CORPUS = dict([*hostile.pdfs(), *hostile.others()])
SLACK_SECONDS = 20.0
"""For a busy machine, beyond the time after which a count is given up."""


@pytest.mark.parametrize("name", CORPUS)
def test_harm_is_bounded(name: str, tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(CORPUS[name])
    begun = time.monotonic()
    found = counted(path)
    assert time.monotonic() - begun < COUNT_SECONDS + SLACK_SECONDS
    assert found.origin in ("counted", "estimated", "unknown")
    assert found.pages * found.copies <= count.MOST_PAGES
    assert found.origin != "unknown" or found.why
    # Of the largest child so far, this test's own Python included.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10 < 2 * MEMORY + _own_memory()


def _own_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@cache
def documents() -> list[bytes]:
    with tempfile.TemporaryDirectory() as name:
        source = pdf(Path(name) / "a.pdf", 3)
        made = [rendered(device, source, Path(name) / device) for device in ("ps2write", "pwgraster", "cups", "ljet4")]
        return [path.read_bytes() for path in (source, *made)]


@settings(max_examples=40)
@given(st.integers(0, 1 << 32))
def test_any_change_of_a_document_ends_in_an_answer(seed: int) -> None:
    chance = random.Random(seed)
    document = hostile.mutated(chance.choice(documents()), chance.randrange)
    assert streamed(document).origin in ("counted", "estimated", "unknown")


def test_a_lie_about_pages_stops_nobodys_charge(tmp_path: Path) -> None:
    """In a journal, as a backend of before would have written it: no database holds such a number."""
    world = World(tmp_path)
    world.tried("node-1", "a", "liar", 1_000_001, 10**40, whole=True)
    world.tried("node-1", "b", "honest", 1_000_002, 3, whole=True)
    world.put(job("liar"), job("honest", id=1_000_002))
    world.charger.collect()
    charged = {one.key: (one.pages, one.origin) for one in world.entries()}
    assert charged == {"job:liar": (1, "unknown"), "job:honest": (3, "counted")}


def test_a_title_that_is_no_text_stops_nobodys_charge(tmp_path: Path) -> None:
    world = World(tmp_path)
    facts = {"uuid": "u", "job": 1_000_001, "user": "x", "queue": "office", "title": os.fsdecode(b"\xff")}
    count_ = {"count": ["counted", [["", False, 3]], 1, "", ""], "copies": 1}
    world.line(
        "node-1", {"event": "begin", "run": "r", "at": DAY, **facts, "driver": False, "options": {}, "separately": 0}
    )
    end = {"event": "end", "run": "r", "at": DAY, "status": 0, "whole": True, "share": 1.0, "reported": 10**40}
    world.line("node-1", {**end, **count_})
    world.charger.collect()
    world.charger.clear()
    assert [(one.pages, one.title) for one in world.entries()] == [(3, "?")]
