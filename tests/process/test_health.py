"""Nodes that run and are not well, in a whole fleet."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyipp.enums import IppOperation
from pyipp.parser import parse

from controller.nodes import proof
from controller.nodes.driver import NodeSpec
from controller.nodes.process import ProcessDriver
from haproxy.model import slot_of
from probes.cups import Call, call
from tests.fleets import running
from tests.process.fleet import Fleet, encode, eventually

IMPATIENT = {
    "CUPSFLEET_NODES__MIN": "3",
    "CUPSFLEET_HEALTH__TLS_INTERVAL": "1s",
    "CUPSFLEET_HEALTH__PROOF_INTERVAL": "10s",
    "CUPSFLEET_HEALTH__RISE": "3",
    "CUPSFLEET_HEALTH__DEADLINE": "1s",
    "CUPSFLEET_HEALTH__DEAD_AFTER": "3s",
    "CUPSFLEET_NODES__DRAIN_DEADLINE": "2s",
    "CUPSFLEET_SCALING__POLICY": "threshold",  # lets what was added stand for longer than any test takes
}


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with running(IMPATIENT) as fleet:
        yield fleet


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "document.txt"
    path.write_text("a page\n")
    return path


def node(fleet: Fleet, name: str) -> dict[str, Any]:
    return next(one for one in fleet.status()["nodes"] if one["name"] == name)


def happened(fleet: Fleet) -> list[tuple[str, str]]:
    """What befell which node, oldest first."""
    found = json.loads(fleet.done("explain", "--json", "--limit", "1000"))["events"]
    return [(event["kind"], event["node"]) for event in reversed(found)]


def events(fleet: Fleet, name: str) -> list[str]:
    """What befell a node, oldest first."""
    return [kind for kind, node in happened(fleet) if node == name]


def problems(fleet: Fleet, beginning: str) -> list[str]:
    return [said for said in fleet.status()["problems"] if said.startswith(beginning)]


def test_a_node_whose_tls_is_broken_gets_no_work_until_it_is_mended(fleet: Fleet, document: Path) -> None:
    """The proxies' checks and the ordinary look are plain, and both are content with it."""
    keychain = fleet.state / "nodes" / "node-1" / "etc" / "ssl"
    whole = {path: path.read_bytes() for path in keychain.iterdir() if path.is_file()}
    assert whole
    for path in whole:
        path.write_bytes(b"broken")
    (sick,) = eventually(lambda: [one for one in fleet.nodes("unhealthy") if "over TLS" in one["reason"]])
    assert (sick["name"], sick["weight"], sick["health"]) == ("node-1", 0, "unhealthy")
    eventually(lambda: problems(fleet, "node-1 is unhealthy: over TLS"))
    for _ in range(6):
        fleet.print_document(document)
    for path, content in whole.items():
        path.write_bytes(content)
    eventually(lambda: len(fleet.nodes()) == 3)
    eventually(lambda: fleet.status()["problems"] == [])


def administer(fleet: Fleet, name: str, slot: int, *calls: Call) -> None:
    spec = NodeSpec(name, slot, 0, "127.0.0.1", 0, fleet.state / "nodes" / name)
    call("127.0.0.1", 0, ProcessDriver().token(spec), calls, 10)


def test_a_node_that_answers_and_does_not_print_its_proof_gets_no_work_until_it_does(fleet: Fleet) -> None:
    administer(fleet, "node-3", 3, Call("setPrinterUsersAllowed", (proof.QUEUE, ["nobody"])))
    proofless = "did not print a proof"
    (sick,) = eventually(lambda: [one for one in fleet.nodes("unhealthy") if proofless in one["reason"]], deadline=90)
    assert (sick["name"], sick["weight"]) == ("node-3", 0)
    eventually(lambda: problems(fleet, "node-3 is unhealthy: "))
    administer(fleet, "node-3", 3, Call("setPrinterUsersAllowed", (proof.QUEUE, [proof.OWNER])))
    eventually(lambda: len(fleet.nodes()) == 3, deadline=90)
    eventually(lambda: fleet.status()["problems"] == [])


def test_a_queue_that_stopped_on_one_node_is_started_again(fleet: Fleet) -> None:
    administer(fleet, "node-2", 2, Call("disablePrinter", ("office",)))
    eventually(lambda: "suspend" in events(fleet, "node-2"))
    eventually(lambda: events(fleet, "node-2")[-2:] == ["declared", "admit"])
    eventually(lambda: node(fleet, "node-2")["state"] == "ready")


def test_when_most_nodes_hang_others_are_added_before_any_is_touched(fleet: Fleet, document: Path) -> None:
    pids = {name: fleet.pid_of(name) for name in ("node-1", "node-2")}
    before = len(happened(fleet))
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    eventually(
        lambda: any("nothing is taken away: 2 of 3 servers look bad" in said for said in fleet.status()["problems"])
    )
    eventually(lambda: all(fleet.running_pid(name) not in (None, pid) for name, pid in pids.items()), deadline=60)
    order = happened(fleet)[before:]
    added = next(place for place, (kind, name) in enumerate(order) if kind == "admit" and name not in pids)
    assert all(added < order.index(("takeout", name)) for name in pids), order  # the first of two spares, whichever
    eventually(lambda: fleet.status()["problems"] == [])
    fleet.print_document(document)


def test_a_node_of_a_former_release_is_replaced_by_a_new_one(fleet: Fleet) -> None:
    with (fleet.state / "nodes" / "node-3" / "etc" / "cupsd.conf").open("a") as settings:
        settings.write("# as an older release wrote it\n")
    eventually(lambda: {one["name"] for one in fleet.status()["nodes"]} == {"node-1", "node-2", "node-4"}, deadline=60)
    eventually(lambda: len(fleet.nodes()) == 3)
    eventually(lambda: fleet.status()["problems"] == [])


def test_jobs_that_do_not_end_go_to_other_nodes_at_the_deadline(fleet: Fleet) -> None:
    held = encode(IppOperation.PRINT_JOB, {}, {"job-hold-until": "indefinite"}) + b"a page\n"
    created = parse(fleet.ipp(held)[1])
    slot = slot_of(created["jobs"][0]["job-id"])
    name = next(one["name"] for one in fleet.nodes() if one["slot"] == slot)
    fleet.done("retire", name)
    eventually(lambda: name not in {one["name"] for one in fleet.status()["nodes"]}, deadline=60)
    (job,) = json.loads(fleet.done("jobs", "--json"))
    assert (job["owner"], job["state"], job["node"] != name) == ("demo", "held", True)
