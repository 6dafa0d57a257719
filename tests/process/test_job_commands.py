"""What the dashboard asks of a running fleet: what is to be done to a job, by whom, and what there is to be shown."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pyipp.enums import IppOperation
from pyipp.parser import parse

from controller.state import State
from controller.store import Store
from controller.views import Views
from tests.process.fleet import Fleet, encode, eventually
from tests.process.test_jobs import held, held_document, jobs


@pytest.fixture
def job(fleet: Fleet) -> dict[str, Any]:
    """A held job of demo's with its document."""
    number = held_document(fleet)
    return eventually(lambda: [one for one in jobs(fleet) if one["id"] == number and one["size_kb"]])[0]


def asked(fleet: Fleet, verb: str, argument: str, who: str) -> tuple[str, str]:
    """As the dashboard asks; what has become of it."""
    with Store(fleet.state / "cupsfleet.db") as store:
        number = store.ask(verb, argument, who)
        return ended(store, number)


def ended(store: Store, number: int) -> tuple[str, str]:
    eventually(lambda: store.command(number)["state"] not in ("asked", "running"))
    row = store.command(number)
    return row["state"], row["outcome"]


def state_at_node(fleet: Fleet, number: int) -> int:
    said = parse(fleet.ipp(encode(IppOperation.GET_JOB_ATTRIBUTES, {"job-id": number}))[1])["jobs"]
    return int(said[0]["job-state"]) if said else 0


def test_an_owner_releases_holds_and_cancels(fleet: Fleet, job: dict[str, Any]) -> None:
    number, uuid = job["id"], job["uuid"]
    assert asked(fleet, "hold-job", uuid, "demo") == ("done", f"job {number} is held")
    assert asked(fleet, "cancel-job", uuid, "demo") == ("done", f"job {number} is canceled")
    assert state_at_node(fleet, number) == 7
    eventually(lambda: uuid not in {one["uuid"] for one in jobs(fleet)})
    assert asked(fleet, "release-job", uuid, "demo") == ("refused", f"job {number} is canceled already")


def test_a_released_job_prints(fleet: Fleet, job: dict[str, Any]) -> None:
    before = len(fleet.printed())
    state, said = asked(fleet, "release-job", job["uuid"], "demo")
    assert state == "done", said
    eventually(lambda: len(fleet.printed()) == before + 1)
    eventually(lambda: state_at_node(fleet, job["id"]) == 9)
    state, said = asked(fleet, "hold-job", job["uuid"], "demo")
    assert state == "refused"
    assert f"job {job['id']} is completed" in said


def test_others_jobs_are_left_alone(fleet: Fleet, job: dict[str, Any]) -> None:
    fleet.done("user", "add", "carol", stdin="a password\n")
    for verb in ("cancel-job", "hold-job", "release-job"):
        assert asked(fleet, verb, job["uuid"], "carol") == ("refused", "carol has no such job")
    for name in ("carol", "demo"):
        state, said = asked(fleet, "move-job", job["uuid"], name)
        assert (state, "no administrator" in said) == ("refused", True)
    assert state_at_node(fleet, job["id"]) == 4


def test_nobody_but_an_administrator_commands_the_fleet(fleet: Fleet) -> None:
    before = fleet.nodes()
    for verb, argument in (("retire", before[0]["name"]), ("add", ""), ("pause", "scaling"), ("drain", "node-1")):
        for name in ("demo", "somebody", "Admin", ""):
            assert asked(fleet, verb, argument, name) == ("refused", f"{name} is no administrator")
    assert [node["name"] for node in fleet.nodes()] == [node["name"] for node in before]


def test_an_administrator_moves_a_job_and_cancels_it_there(fleet: Fleet, job: dict[str, Any]) -> None:
    state, said = asked(fleet, "move-job", f"{job['uuid']} node-99", "admin")
    assert (state, said.split(";")[0]) == ("refused", "node-99 takes no jobs of office now")
    other = next(node["name"] for node in fleet.nodes() if node["name"] != job["node"])
    state, said = asked(fleet, "move-job", f"{job['uuid']} {other}", "admin")
    assert state == "done", said
    (moved,) = eventually(
        lambda: [one for one in jobs(fleet) if one["uuid"] == job["uuid"] and one["node"] != job["node"]]
    )
    assert said == f"job {job['id']} is job {moved['id']} of {other} now"
    assert (moved["state"], moved["owner"]) == ("held", "demo")
    assert asked(fleet, "cancel-job", job["uuid"], "admin") == ("done", f"job {moved['id']} is canceled")


def test_the_command_line_does_the_same(fleet: Fleet, job: dict[str, Any]) -> None:
    fleet.done("jobs", "move", job["uuid"])
    # by the number that it had before, too
    fleet.done("jobs", "cancel", str(job["id"]))
    eventually(lambda: job["uuid"] not in {one["uuid"] for one in jobs(fleet)})
    run = fleet.run("jobs", "release", job["uuid"])
    assert run.returncode == 1
    assert "already" in run.stderr
    assert "there is no job 7" in fleet.run("jobs", "hold", "7").stderr


def test_a_job_without_its_document_does_not_move(fleet: Fleet) -> None:
    number = held(fleet)
    (waiting,) = eventually(lambda: [one for one in jobs(fleet) if one["id"] == number])
    with Store(fleet.state / "cupsfleet.db") as store:
        command = store.ask("move-job", waiting["uuid"], "admin")
        eventually(lambda: store.command(command)["state"] == "running")
    fleet.ipp(encode(IppOperation.CANCEL_JOB, {"job-id": number}))
    with Store(fleet.state / "cupsfleet.db") as store:
        assert ended(store, command) == ("failed", "it is canceled already")


def test_what_the_pages_show_of_a_running_fleet(fleet: Fleet) -> None:
    with Store(fleet.state / "cupsfleet.db") as store:
        views, now = Views(State(fleet.state), store), time.time()
        last = eventually(lambda: [row for row in views.series(now - 600, now + 600) if row["ready"] == 3.0])[-1]
        assert (last["nodes"], last["cost_per_hour"]) == (3.0, 0)
        node = fleet.nodes()[0]["name"]
        assert eventually(lambda: [probe for probe in views.probes(node) if not probe["error"]])
        assert {"order", "starting", "proved", "admit"} <= {row["kind"] for row in views.history(node)}
        found = {row["name"]: (row["value"], row["source"]) for row in views.scaling()["thresholds"]}
        assert (found["nodes.min"], found["nodes.max"]) == (("3", "environment"), ("8", "default"))
