"""A whole fleet in which printing is paid for in advance, and one in which it has a limit."""

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

from machine.files import replace_file
from tests.documents import pdf
from tests.fleets import made, running
from tests.process.costs.test_charging import PRICES, send
from tests.process.fleet import Fleet, encode, eventually

QUOTA = "[[costs.quotas]]\nper = 'day'\npages = {pages}\n[[costs.prices]]\nper_page = 0.05\n"


@pytest.fixture
def prepaid() -> Iterator[Fleet]:
    with running({"CUPSFLEET_COSTS__PRICES": PRICES, "CUPSFLEET_COSTS__PREPAID": "true"}) as fleet:
        yield fleet


def open_jobs(fleet: Fleet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(fleet.done("jobs", "--json"))
    return found


def said_of(fleet: Fleet, job: int) -> str:
    """What CUPS tells the owner of a job."""
    request = encode(IppOperation.GET_JOB_ATTRIBUTES, {"job-id": job})
    found = parse(fleet.ipp(request)[1])["jobs"][0]
    return str(found["job-printer-state-message"])


def test_a_job_waits_for_money_and_goes_on_when_it_is_there(prepaid: Fleet, tmp_path: Path) -> None:
    eventually(lambda: len(list(prepaid.state.glob("nodes/*/costs/gate.json"))) == 2)
    document = pdf(tmp_path / "3.pdf", 3)
    send(prepaid, document)
    held = eventually(lambda: [job for job in open_jobs(prepaid) if job["state"] == "held"], 30)
    assert "limit of the account that pays is reached (account-limit-reached)" in said_of(prepaid, held[0]["id"])
    assert prepaid.printed() == []

    prepaid.done("costs", "deposit", "demo", "0.20")
    assert eventually(prepaid.printed, 30) == [document.read_bytes()]
    balance = ("costs", "balance", "demo")
    assert eventually(lambda: prepaid.done(*balance).strip() == "0.05", 30)

    send(prepaid, document)
    eventually(lambda: [job for job in open_jobs(prepaid) if job["state"] == "held"], 30)
    os.kill(prepaid.controller(), signal.SIGKILL)
    send(prepaid, document)  # nobody can be asked, and the configuration says: allow
    eventually(lambda: len(prepaid.printed()) == 2, 30)
    prepaid.up()
    assert eventually(lambda: prepaid.done(*balance).strip() == "-0.10", 60)
    prepaid.done("costs", "deposit", "demo", "1")
    eventually(lambda: len(prepaid.printed()) == 3, 120)


def test_a_job_over_a_quota_waits_until_the_quota_is_raised(tmp_path: Path) -> None:
    """Its owner reads why, and it goes on by itself."""
    config, document = tmp_path / "fleet.toml", pdf(tmp_path / "3.pdf", 3)
    config.write_text(QUOTA.format(pages=4))
    with made({}) as fleet:
        fleet.done("up", "--detach", "--config", str(config), "--port", str(fleet.port))
        fleet.done("user", "add", "demo", stdin="secret\n")
        (fleet.state / "passwords").write_text("demo secret\n")
        eventually(lambda: len(list(fleet.state.glob("nodes/*/costs/gate.json"))) == 2)
        send(fleet, document)
        eventually(lambda: used(fleet) == {"allowed": 4, "used": 3, "left": 1}, 60)
        for _ in range(2):  # one for each node, most likely
            send(fleet, document)
        held = eventually(lambda: found if len(found := open_jobs(fleet)) == 2 and _all_held(found) else [], 60)
        for one in held:
            assert "limit of the account that pays is reached (account-limit-reached)" in said_of(fleet, one["id"])
        assert len(fleet.printed()) == 1

        replace_file(config, QUOTA.format(pages=9))
        eventually(lambda: len(fleet.printed()) == 3, 60)
        assert used(fleet) == {"allowed": 9, "used": 9, "left": 0}


def _all_held(jobs: list[dict[str, Any]]) -> bool:
    return all(job["state"] == "held" for job in jobs)


def used(fleet: Fleet) -> dict[str, int]:
    """Of the only quota: pages."""
    [row] = json.loads(fleet.done("costs", "limits", "demo", "--json"))
    return {name: row[name] for name in ("allowed", "used", "left")}
