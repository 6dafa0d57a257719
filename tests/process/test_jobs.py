"""Every accepted job is known, from acceptance to its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from pyipp.enums import IppOperation
from pyipp.parser import parse

from haproxy.model import slot_of
from tests.process.fleet import Fleet, encode, eventually


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "document.txt"
    path.write_bytes(os.urandom(2000).hex().encode())
    return path


def jobs(fleet: Fleet, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.done("jobs", "--json", *options))
    return found


def held(fleet: Fleet) -> int:
    """The id of a new job that waits for its documents and for its release."""
    answer = parse(
        fleet.ipp(encode(IppOperation.CREATE_JOB, {"job-name": "waits"}, {"job-hold-until": "indefinite"}))[1]
    )
    return int(answer["jobs"][0]["job-id"])


def completed(fleet: Fleet) -> int:
    return sum(job["state"] == "completed" for job in jobs(fleet, "--which", "ended"))


def test_jobs_are_known_from_acceptance_to_their_end(fleet: Fleet, document: Path) -> None:
    for _ in range(5):
        fleet.print_document(document)
    eventually(lambda: completed(fleet) == 5)
    ended = jobs(fleet, "--which", "ended", "--user", "demo", "--printer", "office")
    assert len({job["uuid"] for job in ended}) == 5
    for job in ended:
        assert (job["owner"], job["queue"], job["state"]) == ("demo", "office", "completed")
        assert job["created"] <= job["processing"] <= job["completed"]
        assert job["size_kb"] == 4
    waiting = held(fleet)
    eventually(lambda: [job["id"] for job in jobs(fleet)] == [waiting])
    fleet.ipp(encode(IppOperation.CANCEL_JOB, {"job-id": waiting}))
    eventually(lambda: not jobs(fleet))
    assert [one["state"] for one in jobs(fleet, "--which", "ended") if one["id"] == waiting] == ["canceled"]


def test_what_ended_without_a_controller_is_found_and_a_node_leaves_only_when_read(
    own_fleet: Fleet, document: Path
) -> None:
    own_fleet.up()
    os.kill(own_fleet.controller(), signal.SIGKILL)
    eventually(lambda: own_fleet.controller() is None)
    for _ in range(8):
        own_fleet.print_document(document)
    eventually(lambda: len(own_fleet.printed()) == 8)
    own_fleet.environment["CUPSFLEET_NODES__MIN"] = "1"
    own_fleet.up()
    node = own_fleet.nodes()[0]["name"]
    own_fleet.done("retire", node, "--wait")
    eventually(lambda: completed(own_fleet) == 8)
    assert {job["node"] for job in jobs(own_fleet, "--which", "ended")} == {"node-1", "node-2"}


def test_a_node_that_cannot_be_started_again_gives_its_jobs_to_another(own_fleet: Fleet) -> None:
    own_fleet.environment |= {"CUPSFLEET_HEALTH__MAX_RESTARTS": "2", "CUPSFLEET_HEALTH__RESTART_BACKOFF_MAX": "1s"}
    own_fleet.up()
    held_document(own_fleet)
    (job,) = eventually(lambda: [one for one in jobs(own_fleet) if one["size_kb"]])
    lost = job["node"]
    conf = own_fleet.state / "nodes" / lost / "etc" / "cupsd.conf"
    conf.unlink()
    conf.mkdir()  # its settings can't be written any more
    conf.joinpath("in the way").touch()
    os.kill(own_fleet.pid_of(lost), signal.SIGKILL)
    eventually(lambda: len(own_fleet.nodes()) == 2 and lost not in {one["name"] for one in own_fleet.nodes()}, 60)
    (moved,) = eventually(lambda: [one for one in jobs(own_fleet) if one["node"] != lost])
    assert (moved["uuid"], moved["owner"], moved["title"]) == (job["uuid"], job["owner"], job["title"])
    own_fleet.ipp(encode(IppOperation.RELEASE_JOB, {"job-id": moved["id"]}))
    eventually(lambda: own_fleet.printed() == [b"held\n"])
    eventually(lambda: not (own_fleet.state / "nodes" / lost).exists())
    eventually(lambda: own_fleet.status()["problems"] == [])
    eventually(lambda: [one["state"] for one in jobs(own_fleet, "--which", "all")] == ["completed"])
    assert charged(own_fleet) == [(f"job:{job['uuid']}", "demo", 1)]


def test_waiting_jobs_are_moved_by_command(own_fleet: Fleet) -> None:
    own_fleet.up()
    held(own_fleet)  # without a document it stays where it is
    job = held_document(own_fleet)
    (before,) = eventually(lambda: [one for one in jobs(own_fleet) if one["id"] == job and one["size_kb"]])
    own_fleet.done("evacuate", before["node"])
    (moved,) = eventually(
        lambda: [one for one in jobs(own_fleet) if one["uuid"] == before["uuid"] and one["id"] != job]
    )
    assert moved["node"] != before["node"]
    assert (moved["state"], moved["size_kb"]) == ("held", before["size_kb"])
    own_fleet.ipp(encode(IppOperation.RELEASE_JOB, {"job-id": moved["id"]}))
    eventually(lambda: own_fleet.printed() == [b"held\n"])
    assert charged(own_fleet) == [(f"job:{before['uuid']}", "demo", 1)]


def charged(fleet: Fleet) -> list[tuple[str, str, int]]:
    """Key, user and pages of each entry in the ledger, as soon as there is one."""
    entries = eventually(lambda: json.loads(fleet.done("costs", "jobs", "--json")))
    return [(one["key"], one["user"], one["pages"]) for one in entries]


def held_document(fleet: Fleet) -> int:
    """The id of a new job that is whole and waits for its release."""
    asked = encode(IppOperation.PRINT_JOB, {"document-format": "text/plain"}, {"job-hold-until": "indefinite"})
    job: int = parse(fleet.ipp(asked + b"held\n")[1])["jobs"][0]["job-id"]
    return job


def test_a_deleted_spool_names_the_jobs_that_are_lost(own_fleet: Fleet) -> None:
    own_fleet.up()
    job = held(own_fleet)
    eventually(lambda: [one["id"] for one in jobs(own_fleet)] == [job])
    node = next(one["name"] for one in own_fleet.nodes() if one["slot"] == slot_of(job))
    pid = own_fleet.pid_of(node)
    os.kill(pid, signal.SIGSTOP)  # it writes nothing meanwhile
    shutil.rmtree(own_fleet.state / "nodes" / node)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: any(f"lost with {node}" in problem for problem in own_fleet.status()["problems"]))
    [problem] = [one for one in own_fleet.status()["problems"] if "lost" in one]
    assert f"{job} of demo ('waits')" in problem
    assert not jobs(own_fleet)
    [lost] = jobs(own_fleet, "--which", "ended")
    assert (lost["id"], lost["state"]) == (job, "lost")
    assert "came back without it" in lost["why"]
    assert time.time() - 60 < lost["completed"] <= time.time()
