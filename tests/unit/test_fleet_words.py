"""What the first sentence says, on every page and in `status`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.decide import decide
from controller.snapshot import NodeSight
from controller.state import State
from controller.store import Store
from controller.views import Views, publish
from controller.views.fleet_words import sentence
from probes.reading import OpenJob, QueueReading
from tests.builders import job, queue, reading, settings, sight, snapshot

PENDING, HELD = 3, 4


@pytest.fixture
def views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Views]:
    state = State(tmp_path)
    state.prepare()
    monkeypatch.setattr(State, "controller", lambda self: 1)
    with Store(state.database, create=True) as store:
        yield Views(state, store)


def said(views: Views, *sights: NodeSight) -> str:
    found = snapshot(*sights)
    publish(views.store, found, decide(found, settings()), settings(), [])
    return sentence(views.status())


def with_jobs(slot: int, *queues: QueueReading, jobs: tuple[OpenJob, ...] = ()) -> NodeSight:
    return sight(slot, reading=replace(reading(f"node-{slot}", queues=queues), jobs=jobs))


def of(queue: str, number: int, state: int = PENDING, *reasons: str) -> OpenJob:
    return replace(job(number), queue=queue, state=state, state_reasons=reasons)


EMPTY = queue("lab", 5, reasons=("media-empty-error",))


def test_a_printer_out_of_paper_comes_first_with_what_waits_for_it(views: Views) -> None:
    jobs = (of("lab", 0), of("lab", 1), of("lab", 2, HELD))
    sights = (with_jobs(1, EMPTY, queue(), jobs=jobs), with_jobs(2, EMPTY, queue(), jobs=(of("lab", 3),)))
    assert said(views, *sights) == (
        "Printer lab does not print (media empty); 3 jobs wait until somebody sees to it. All 2 servers ready. "
        "No other job waits. 1 is held or stopped."
    )


def test_of_a_printer_that_one_server_complains_of_the_others_may_print_to_it(views: Views) -> None:
    assert said(views, with_jobs(1, EMPTY, jobs=(of("lab", 0),)), with_jobs(2, queue("lab"))).startswith(
        "Printer lab has a fault (media empty); 1 job waits until somebody sees to it. "
    )


def test_of_many_printers_there_is_a_number(views: Views) -> None:
    stopped = [queue(f"lab{number}", 5) for number in range(4)]
    assert said(views, with_jobs(1, *stopped), with_jobs(2, *stopped)).startswith("4 of 1 printers do not print. All")
