"""A whole fleet in which printing is paid for in advance."""

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

from tests.documents import pdf
from tests.fleets import running
from tests.process.costs.test_charging import PRICES, send
from tests.process.fleet import Fleet, encode, eventually


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
