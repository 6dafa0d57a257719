"""What an administrator is told."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller import state as state_module
from controller.config import Costs, Printer
from controller.decide import decide
from controller.snapshot import Goal, NodeSight, NodeState
from controller.state import State
from controller.store import Store
from controller.views import Views, publish
from tests.builders import queue, reading, settings, sight, snapshot


@pytest.fixture
def views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Views]:
    state = State(tmp_path)
    state.prepare()
    monkeypatch.setattr(State, "controller", lambda self: 1)
    store = Store(state.database, create=True)
    yield Views(state, store)
    store.close()


def status(views: Views, *sights: NodeSight, **seen):
    found = snapshot(*sights, **seen)
    publish(views.store, found, decide(found, settings()), settings(), [])
    return views.status()


def problems(views: Views, *sights: NodeSight, **seen) -> list[str]:
    found: list[str] = status(views, *sights, **seen)["problems"]
    return found


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (sight(1, tls_error="over TLS: broken"), "node-1 is unhealthy: over TLS: broken"),
        (sight(1, up=False), "node-1 is disputed: it answers the prober, but proxy 1 hears nothing (L4TOUT)"),
        (
            sight(1, error="timed out", silent_for=99.0),
            "node-1 is disputed: the prober hears nothing (timed out), but proxy 1 does",
        ),
        (sight(1, error="timed out", up=False), "node-1 is unknown: no answer for 0 s (timed out)"),
        (sight(1, NodeState.UNHEALTHY), "node-1 is well again and gets new work soon; what was wrong: "),
        (
            sight(1, NodeState.PROVING, up=False, in_state=40.0),
            "node-1 has been proving for 40 s: it answers the prober, but proxy 1 hears nothing (L4TOUT)",
        ),
    ],
)
def test_each_way_of_not_being_well_has_its_word(views: Views, seen: NodeSight, said: str) -> None:
    assert problems(views, seen, sight(2), sight(3)) == [said]


def test_what_is_well_or_has_its_time_is_no_problem(views: Views) -> None:
    assert problems(views, sight(1), sight(2), sight(3, NodeState.PROVING, up=False, in_state=3.0)) == []


def test_health_stands_beside_the_state(views: Views) -> None:
    nodes = status(views, sight(1), sight(2, up=False), sight(3, NodeState.STARTING))["nodes"]
    assert [(node["state"], node["health"]) for node in nodes] == [
        ("ready", "healthy"),
        ("ready", "disputed"),
        ("starting", ""),
    ]


def test_a_printer_without_paper_is_named_with_who_says_so(views: Views) -> None:
    empty = queue(state=5, reasons=("media-empty-warning", "toner-low-report"))
    sights = [sight(slot, reading=reading(f"node-{slot}", queues=(empty,))) for slot in (1, 2)]
    assert problems(views, *sights, sight(3)) == [
        "printer office: media empty, says node-1, node-2; its jobs wait until somebody sees to it"
    ]


def test_a_printer_that_no_server_prints_to_is_named(views: Views) -> None:
    def stands(slot: int, state: int) -> NodeSight:
        return sight(slot, reading=reading(f"node-{slot}", queues=(queue("lab", state, reasons=("paused",)), queue())))

    said = "printer lab is stopped at every server; its jobs wait until it is started at each of them"
    assert any(one.startswith(said) for one in problems(views, stands(1, 5), stands(2, 5)))
    assert [(one["name"], one["everywhere"]) for one in views.status()["standing"]] == [("lab", True)]
    assert not any(one.startswith(said) for one in problems(views, stands(1, 5), stands(2, 3)))
    assert views.status()["standing"] == []


def test_a_printer_that_takes_no_more_jobs_prints_those_it_has(views: Views) -> None:
    attic = replace(queue("attic"), accepting=False)
    assert problems(views, sight(1, reading=reading("node-1", queues=(attic, queue())))) == []


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"deaths": 1}, "it is started again now (start 1 of 8, then its jobs go to other servers)"),
        (
            {"deaths": 8, "in_state": 18.5},
            "it is started again in 42 s (start 8 of 8, then its jobs go to other servers)",
        ),
        (
            {"deaths": 3, "retry_in": 15.5},
            "it is started again in 16 s (start 3 of 8, then its jobs go to other servers)",
        ),
        ({"deaths": 9}, "it is given up, and its jobs go to other servers"),
        ({"driver": "existing", "alive": None}, "it is someone else's to start again"),
    ],
)
def test_of_a_dead_server_it_is_said_who_starts_it_and_when(views: Views, seen: dict[str, Any], said: str) -> None:
    dead = sight(1, NodeState.DEAD, error="refused", **{"alive": False, **seen})
    assert problems(views, dead, sight(2))[0] == f"node-1 is dead: ; {said}"


def test_a_job_that_prints_without_end_is_named_unless_the_printer_says_why(views: Views) -> None:
    endless = reading("node-1", jobs=2)
    found = sight(1, reading=endless, longest_print=(1_000_002, 3660.0))
    said = "job 1000002 of demo has been printing on node-1 for 61 min: is office well?"
    assert problems(views, found, sight(2)) == [said]
    assert problems(views, replace(found, longest_print=(1_000_002, 3540.0)), sight(2)) == []
    empty = replace(endless, queues=(queue(reasons=("media-empty-error",)),))
    assert problems(views, replace(found, reading=empty), sight(2)) == [
        "printer office: media empty, says node-1; its jobs wait until somebody sees to it"
    ]


def test_where_no_limit_holds_a_job_is_said_as_long_as_there_are_limits(views: Views) -> None:
    printers = (
        Printer(name="attic", device="ipp://me:secret@10.0.0.1/ipp/print"),
        Printer(name="office", device="virtual"),
    )
    for costs, said in (
        (Costs(), []),
        (
            Costs(prepaid=True),
            [
                "printer attic: its jobs are held by no limit of an account, for its device has a login",
                "node-2: its jobs are held by no limit of an account, for it is someone else's",
            ],
        ),
    ):
        rules = settings().model_copy(update={"printers": printers, "costs": costs})
        found = snapshot(sight(1), sight(2, driver="existing"))
        publish(views.store, found, decide(found, settings()), rules, [])
        assert views.status()["problems"] == said


def test_a_node_tells_what_waits_there_and_for_how_long(views: Views) -> None:
    found = status(views, sight(1, jobs=5), sight(2), sight(3, error="refused"))["nodes"]
    assert [(row["waiting"], row["stuck"], row["wait"]) for row in found] == [(4, 0, 20.0), (0, 0, 0.0), (None,) * 3]
    assert [row["error"] for row in found] == ["", "", "refused"]
    assert found[0]["proxies"] == [{"proxy": 1, "up": True, "sessions": 0, "check": "L7OK"}]


def test_of_many_faulty_printers_each_node_names_some(views: Views) -> None:
    empty = tuple(queue(f"q{number}", state=5, reasons=("media-empty-error",)) for number in range(9))
    (row, *_) = status(views, sight(1, reading=reading("node-1", queues=empty)), sight(2))["nodes"]
    assert len(row["faults"]) == 5
    assert row["faults"][0] == "q0: media empty"


def test_what_is_held_back_is_a_problem(views: Views) -> None:
    bad = [sight(slot, tls_error="over TLS: broken", bad_readings=3) for slot in (1, 2)]
    assert problems(views, *bad, sight(3))[-1].startswith("nothing is taken away: 2 of 3 servers look bad at once")


def test_a_draining_node_tells_what_is_left(views: Views) -> None:
    draining = sight(1, NodeState.DRAINING, Goal.RETIRE, jobs=3, finished=6)
    draining = replace(draining, node=replace(draining.node, reason="admin asked to retire it"))
    (row, *_) = status(views, draining, sight(2), sight(3))["nodes"]
    assert row["progress"] == {"jobs_left": 3, "finished": 6, "seconds": 30.0}
    assert row["reason"] == "admin asked to retire it; 3 jobs left, about 30 s"


def test_a_full_disk_is_named_whatever_the_controller_can_write(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(views, sight(1), sight(2)) == []
    monkeypatch.setattr(state_module, "SPACE_NEEDED", 2**60)
    (problem,) = views.status()["problems"]
    assert "MB left and spools need room" in problem
    assert "choose another" not in problem


def test_a_database_that_somebody_locks_is_named(views: Views) -> None:
    status(views, sight(1), sight(2))
    seen = views.store.fact("sight")
    with views.store.transaction():
        views.store.put_fact("sight", {**seen, "at": time.time() - 60})
    other = sqlite3.connect(views.state.database, isolation_level=None)
    other.execute("begin immediate")
    silent, locked = views.status()["problems"]
    assert "has not reported for 60 s" in silent
    assert "can't be written: database is locked" in locked
    other.close()
    assert len(views.status()["problems"]) == 1
