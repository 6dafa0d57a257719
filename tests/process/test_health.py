"""Nodes that run and are not well, in a whole fleet."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.nodes.driver import NodeSpec
from controller.nodes.process import ProcessDriver
from probes.cups import Call, call
from tests.fleets import end, make_fleet
from tests.process.fleet import Fleet, eventually

IMPATIENT = {
    "CUPSFLEET_NODES__MIN": "3",
    "CUPSFLEET_HEALTH__TLS_INTERVAL": "1s",
    "CUPSFLEET_HEALTH__RISE": "3",
    "CUPSFLEET_HEALTH__DEADLINE": "1s",
    "CUPSFLEET_HEALTH__DEAD_AFTER": "3s",
}


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = make_fleet(IMPATIENT)
    try:
        fleet.up()
        yield fleet
    finally:
        end(fleet)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "document.txt"
    path.write_text("a page\n")
    return path


def node(fleet: Fleet, name: str) -> dict[str, Any]:
    return next(one for one in fleet.status()["nodes"] if one["name"] == name)


def events(fleet: Fleet, name: str) -> list[str]:
    """What befell a node, oldest first."""
    found = json.loads(fleet.done("explain", "--json", "--limit", "200"))["events"]
    return [event["kind"] for event in reversed(found) if event["node"] == name]


def test_a_node_whose_tls_is_broken_gets_no_work_until_it_is_mended(fleet: Fleet, document: Path) -> None:
    """The proxies' checks and the ordinary look are plain, and both are content with it."""
    keychain = fleet.state / "nodes" / "node-1" / "etc" / "ssl"
    whole = {path: path.read_bytes() for path in keychain.iterdir() if path.is_file()}
    assert whole
    for path in whole:
        path.write_bytes(b"broken")
    (sick,) = eventually(lambda: fleet.nodes("unhealthy"))
    assert (sick["name"], sick["weight"], sick["health"]) == ("node-1", 0, "unhealthy")
    assert "over TLS" in sick["reason"]
    assert [said for said in fleet.status()["problems"] if said.startswith("node-1 is unhealthy: over TLS")]
    for _ in range(6):
        fleet.print_document(document)
    for path, content in whole.items():
        path.write_bytes(content)
    eventually(lambda: len(fleet.nodes()) == 3)
    eventually(lambda: fleet.status()["problems"] == [])


def test_a_queue_that_stopped_on_one_node_is_started_again(fleet: Fleet) -> None:
    folder = fleet.state / "nodes" / "node-2"
    spec = NodeSpec("node-2", 2, 0, "127.0.0.1", 0, folder)
    call("127.0.0.1", 0, ProcessDriver().token(spec), [Call("disablePrinter", ("office",))], 10)
    eventually(lambda: "suspend" in events(fleet, "node-2"))
    eventually(lambda: events(fleet, "node-2")[-2:] == ["declared", "admit"], deadline=20)
    assert node(fleet, "node-2")["state"] == "ready"


def test_when_most_nodes_hang_others_are_added_before_any_is_touched(fleet: Fleet, document: Path) -> None:
    pids = {name: fleet.pid_of(name) for name in ("node-1", "node-2")}
    for pid in pids.values():
        os.kill(pid, signal.SIGSTOP)
    eventually(
        lambda: any("nothing is taken away: 2 of 3 nodes look bad" in said for said in fleet.status()["problems"])
    )
    assert all(fleet.pid_of(name) == pid for name, pid in pids.items())
    eventually(lambda: len(fleet.nodes()) == 5, deadline=60)
    assert all(fleet.pid_of(name) != pid for name, pid in pids.items())
    eventually(lambda: fleet.status()["problems"] == [])
    fleet.print_document(document)
