"""The setting of a real site: a public name, and more than one proxy."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyipp.enums import IppOperation
from pyipp.parser import parse

from controller import addresses
from controller.config import FrontDoor, Settings
from haproxy.model import slot_of
from machine.files import replace_file
from tests.fleets import running
from tests.process.fleet import Fleet, encode, eventually, free_port

NAME = "print.example.org"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "fleet.toml"


@pytest.fixture
def fleet(config: Path) -> Iterator[Fleet]:
    second = free_port()
    config.write_text(f'[front_door]\nname = "{NAME}"\nmore_ports = [{second}]\n')
    with running({"CUPSFLEET_CONFIG": str(config)}) as made:
        yield made


def ask(fleet: Fleet, operation: IppOperation, **attributes: object) -> dict[str, Any]:
    """As the administrator, who is all there is with a configuration of one's own."""
    named = {name.replace("_", "-"): value for name, value in attributes.items()}
    job = {"job-hold-until": "indefinite"} if operation is IppOperation.CREATE_JOB else None
    status, body = fleet.ipp(encode(operation, named, job), user="admin")
    assert status == 200, (status, body)
    found: dict[str, Any] = parse(body)
    return found


def test_every_proxy_serves_under_the_public_name_and_one_more_or_less_costs_nothing(
    fleet: Fleet, config: Path
) -> None:
    first, second = fleet, replace(fleet, port=int(config.read_text().split("[")[-1].split("]")[0]))
    # On a machine without any address but loopback nodes can't be called by that name, and `status` says so.
    told = addresses.host_header(Settings(front_door=FrontDoor(name=NAME)))
    for door in (first, second):
        (printer,) = ask(door, IppOperation.GET_PRINTER_ATTRIBUTES)["printers"]
        assert printer["printer-uri-supported"] == f"ipps://{told}:{door.port}/printers/office"
    pem = ["openssl", "x509", "-in", f"{fleet.state}/tls/door.pem", "-noout", "-checkhost", NAME]
    assert "does match" in subprocess.run(pem, capture_output=True, text=True, check=True).stdout

    for door, other in ((first, second), (second, first)):
        jobs: list[int] = []
        eventually(partial(on_both_nodes, door, jobs))
        for job in jobs:
            assert ask(other, IppOperation.GET_JOB_ATTRIBUTES, job_id=job)["jobs"][0]["job-id"] == job
            assert ask(other, IppOperation.CANCEL_JOB, job_id=job)["status-code"] == 0

    fleet.done("user", "add", "alice", stdin="wonderland\n")  # returns when both proxies know
    question = encode(IppOperation.GET_PRINTER_ATTRIBUTES, {})
    for door in (first, second):
        assert door.ipp(question, user="alice", password="wonderland")[0] == 200

    replace_file(config, f'[front_door]\nname = "{NAME}"\n')
    eventually(lambda: not answers(second))
    assert answers(first)
    assert not any("proxy 2" in problem for problem in fleet.status()["problems"])


def on_both_nodes(fleet: Fleet, jobs: list[int]) -> bool:
    """Make one more job; whether each node has got one by now."""
    jobs.append(ask(fleet, IppOperation.CREATE_JOB)["jobs"][0]["job-id"])
    return {slot_of(job) for job in jobs} == {1, 2}


def answers(fleet: Fleet) -> bool:
    try:
        return fleet.ipp(encode(IppOperation.GET_PRINTER_ATTRIBUTES, {}), user="admin")[0] == 200
    except OSError:
        return False
