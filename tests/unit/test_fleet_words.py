"""What the first sentence says, on every page and in `status`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.decide import decide
from controller.jobs.table import Job, JobTable
from controller.snapshot import NodeSight, NodeState
from controller.state import State
from controller.store import Store
from controller.views import Views, printers, publish, publish_stop
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


def test_what_is_not_ready_is_named_while_it_is_little(views: Views) -> None:
    ill = sight(3, NodeState.UNHEALTHY, tls_error="over TLS: broken")
    assert said(views, sight(1), sight(2, NodeState.DEAD, alive=False), ill).startswith(
        "People can print: 1 of 3 servers ready; node-2 is dead, node-3 is unhealthy. "
    )
    dead = (sight(slot, NodeState.DEAD, alive=False) for slot in range(3, 7))
    assert "2 of 6 servers ready; 4 dead. " in said(views, sight(1), sight(2), *dead)


def test_a_server_that_can_not_be_started_says_so(views: Views) -> None:
    dead = sight(2, NodeState.DEAD, alive=False)
    dead = replace(dead, node=replace(dead.node, failure="restart failed: no such file", deaths=3))
    with views.store.transaction():
        JobTable(views.store).put([Job("uuid", 2_000_001, "node-2", "office", "demo")])
    assert "; node-2 is dead and does not start. " in said(views, sight(1), dead)
    assert views.status()["problems"] == [
        "node-2 is dead: ; restart failed: no such file; it is started again now (start 3 of 8, then its jobs go "
        "to other servers); 1 job waits there"
    ]


def test_a_job_that_its_account_holds_is_no_job_that_somebody_holds(
    views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printers, "why_held", lambda store, uuids: dict.fromkeys(uuids[:1], "limit"))
    jobs = (of("office", 0, HELD), of("office", 1, HELD))
    assert said(views, with_jobs(1, queue(), jobs=jobs), sight(2)) == (
        "All 2 servers ready. No job waits. 1 job is held until the account allows it. 1 is held or stopped."
    )


def test_nobody_looking_after_the_servers_comes_first(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    said(views, sight(1), sight(2))
    monkeypatch.setattr(State, "controller", lambda self: None)
    alone = "No controller runs, so nothing is repaired; start it with: ./cupsfleet up. "
    assert sentence(views.status()) == f"{alone}All 2 servers ready. No job waits."
    assert sentence(views.status(), lambda at: "03:12").startswith(f"{alone}As of 03:12: All 2")


def test_a_fleet_that_was_stopped_says_so_and_nothing_else(views: Views) -> None:
    said(views, sight(1), sight(2))
    publish_stop(views.store)
    assert sentence(views.status()) == "Nobody can print: the fleet is stopped. Start it with: ./cupsfleet up"


def test_a_controller_that_begins_is_not_called_silent(views: Views) -> None:
    begun = "The controller has not looked at the fleet yet. Nobody can print: there is no server yet."
    assert sentence(views.status()) == begun


def test_a_controller_that_hangs_is_called_silent(views: Views) -> None:
    said(views, sight(1), sight(2))
    seen = views.store.fact("sight")
    views.store.put_fact("sight", {**seen, "at": seen["at"] - 60})
    assert sentence(views.status()).startswith("The controller does not report, so nothing may be repaired. All 2")
