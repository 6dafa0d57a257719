"""A whole fleet with prices: each job is charged once, to the one who logged in, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.documents import pdf
from tests.fleets import running
from tests.process.fleet import Fleet, eventually

PRICES = '[{"per_page": "0.05"}]'


@pytest.fixture(scope="module")
def priced() -> Iterator[Fleet]:
    with running({"CUPSFLEET_COSTS__PRICES": PRICES}) as fleet:
        yield fleet


def entries(fleet: Fleet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.done("costs", "jobs", "--json"))
    return found


def send(fleet: Fleet, document: Path, *options: str) -> None:
    run = subprocess.run(
        ["ipptool", "-tv", "-f", str(document), *options, fleet.uri(), "print-job.test"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_jobs_through_the_door_are_charged_to_the_one_who_logged_in(priced: Fleet, tmp_path: Path) -> None:
    before = len(entries(priced))
    for pages in (1, 10, 300):
        send(priced, pdf(tmp_path / f"{pages}.pdf", pages))
    charged = eventually(lambda: found if len(found := entries(priced)[before:]) == 3 else [], 60)
    assert sorted((one["user"], one["pages"], one["amount"], one["origin"]) for one in charged) == [
        ("demo", 1, "0.05", "counted"),
        ("demo", 10, "0.50", "counted"),
        ("demo", 300, "15.00", "counted"),
    ]
    [row] = json.loads(priced.done("costs", "--by", "user", "--json"))
    assert (row["name"], row["pages"]) == ("demo", sum(one["pages"] for one in entries(priced)))


@pytest.mark.timeout(400)
def test_kills_of_nodes_and_controller_charge_nothing_twice_and_miss_nothing(priced: Fleet, tmp_path: Path) -> None:
    before, known = {one["key"] for one in entries(priced)}, {one["uuid"] for one in _jobs(priced, "all")}
    document = pdf(tmp_path / "7.pdf", 7)
    for number in range(20):
        send(priced, document)
        if number in (2, 7, 9, 17):  # somebody must be left to take the next job
            eventually(lambda: len(priced.nodes()) == 2, 90)
        if number == 9:
            os.kill(priced.controller(), signal.SIGKILL)
        if number in (2, 7, 12, 17):
            os.kill(priced.pid_of(priced.nodes()[0]["name"]), signal.SIGKILL)
        if number == 14:
            priced.up()
    # a node that was killed is restarted first, and prints
    ended = eventually(lambda: found if len(found := _jobs(priced, "ended")) >= len(known) + 20 else [], 110)
    wanted = {f"job:{one['uuid']}" for one in ended if one["uuid"] not in known}
    charged = eventually(lambda: found if len(found := _new(priced, before)) >= 20 else [], 60)
    assert len(charged) == 20
    assert {one["key"] for one in charged} <= wanted
    assert {one["pages"] for one in charged} == {7}


def _jobs(fleet: Fleet, which: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.done("jobs", "--which", which, "--json"))
    return found


def _new(fleet: Fleet, before: set[str]) -> list[dict[str, Any]]:
    return [one for one in entries(fleet) if one["key"] not in before]


@pytest.mark.timeout(240)
def test_a_retired_node_leaves_no_charge_behind(priced: Fleet, tmp_path: Path) -> None:
    eventually(lambda: len(priced.nodes()) == 2, 90)
    before = {one["key"] for one in entries(priced)}
    document = pdf(tmp_path / "2.pdf", 2)
    for _ in range(6):
        send(priced, document)
    priced.done("retire", priced.nodes()[0]["name"], "--wait")
    charged = eventually(lambda: found if len(found := _new(priced, before)) >= 6 else [], 60)
    assert [one["pages"] for one in charged] == [2] * 6
