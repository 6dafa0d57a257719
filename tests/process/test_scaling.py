"""A fleet that grows by itself under a burst, and is small again afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyipp.enums import IppOperation

from tests.fleets import running
from tests.process.fleet import Fleet, encode, eventually

JOBS = 200
PAGES_A_MINUTE = 120


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with running(
        {
            "CUPSFLEET_VIRTUAL_PRINTER__PAGES_PER_MINUTE": str(PAGES_A_MINUTE),
            "CUPSFLEET_SCALING__COOL_DOWN": "10s",
            "CUPSFLEET_NODES__MAX": "4",
        }
    ) as fleet:
        yield fleet


@pytest.mark.timeout(500)
def test_a_burst_makes_it_grow_and_its_end_makes_it_shrink(fleet: Fleet) -> None:
    document = encode(IppOperation.PRINT_JOB, {"document-format": "application/octet-stream"}) + b"a line of text\n"
    begun = time.time()
    with ThreadPoolExecutor(4) as people:
        answers = people.map(lambda _: fleet.ipp(document)[0], range(JOBS))
        eventually(lambda: len(fleet.nodes()) > 2, deadline=60)
        assert list(answers) == [200] * JOBS
    events = json.loads(fleet.done("explain", "--json", "--last", "500"))["events"]
    grown = min(event["at"] for event in events if event["kind"] == "admit" and event["node"] == "node-3") - begun
    print(f"from the first job to the first extra node serving: {grown:.1f} s")

    eventually(lambda: len(fleet.printed()) >= JOBS, deadline=150, pause=0.5)
    eventually(lambda: len(fleet.status()["nodes"]) == 2, deadline=200, pause=0.5)
    jobs = json.loads(fleet.done("jobs", "--which", "all", "--json"))
    assert [job["state"] for job in jobs] == ["completed"] * JOBS
    assert len(fleet.printed()) == JOBS, "each is printed once"

    eventually(lambda: [fleet.status()["scaling"][name] for name in ("desired", "actual")] == [2, 2])
    told = json.loads(fleet.done("explain", "--json", "--last", "500"))["scaling"]
    (first, *_) = [passed for passed in reversed(told) if passed["rule"] == "wait-target"]
    assert any(action.startswith("order node-3") for action in first["actions"])
    assert "s of work wait" in first["reason"]
    fleet.done("pause", "scaling")
    assert eventually(lambda: fleet.status()["scaling"]["paused_by"])
    fleet.done("resume", "scaling")
