"""A node proves that it prints: by a job that runs to its end, and that nobody else sees."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from pyipp.enums import IppOperation

from controller.nodes import proof
from controller.nodes.driver import NodeError
from controller.nodes.existing import ExistingDriver
from controller.nodes.queues import Queue
from probes import ipp
from probes.attributes import Attributes
from probes.cups import Call, call
from probes.errors import Refused
from tests.process.nodes.conftest import DEADLINE, Node, Printer


def queues_seen(node: Node, user: str) -> list[str]:
    printers = node.ask(user, IppOperation.CUPS_GET_PRINTERS, requested_attributes=["printer-name"])["printers"]
    return sorted(printer["printer-name"] for printer in printers)


def every_job(node: Node) -> list[Attributes]:
    server = ipp.Server(node.spec.host, node.spec.port, node.driver.token(node.spec).user)
    asked = ipp.Request(IppOperation.GET_JOBS, {"which-jobs": "all"})
    jobs: list[Attributes] = ipp.question(server, asked, DEADLINE)["jobs"]
    return jobs


def administer(node: Node, *calls: Call) -> None:
    call(node.spec.host, node.spec.port, node.driver.token(node.spec), calls, DEADLINE)


def test_a_job_runs_to_its_end_and_leaves_nothing_behind(office: Node, printer: Printer) -> None:
    assert [proof.prove(office.driver, office.spec, "office") for _ in range(2)] == [3_000_001, 3_000_002]
    assert every_job(office) == []
    assert queues_seen(office, "alice") == queues_seen(office, office.driver.token(office.spec).user) == ["office"]
    spool = [path.name for path in (office.spec.folder / "spool").iterdir()]
    assert spool == ["tmp"]
    assert office.declare(Queue("office", printer.device)) == []
    default = office.ask("alice", IppOperation.CUPS_GET_DEFAULT)["printers"]
    assert [one.get("printer-name") for one in default] in ([], ["office"])


def test_nobody_else_prints_into_the_queue(office: Node) -> None:
    proof.prove(office.driver, office.spec, "office")
    server = ipp.Server(office.spec.host, office.spec.port, "alice")
    for operation in (IppOperation.PRINT_JOB, IppOperation.CREATE_JOB):
        with pytest.raises(Refused):
            ipp.question(server, ipp.Request(operation, {}, proof.QUEUE, b"x"), DEADLINE)
    assert every_job(office) == []


@pytest.mark.parametrize(
    "spoil",
    [
        (Call("rejectJobs", (proof.QUEUE,)),),
        (Call("setPrinterUsersAllowed", (proof.QUEUE, ["all"])), Call("disablePrinter", (proof.QUEUE,))),
        (Call("addPrinter", (proof.QUEUE,), {"device": "socket://127.0.0.1:9"}),),
        (Call("deletePrinter", (proof.QUEUE,)),),
    ],
    ids=lambda spoil: spoil[-1].method,
)
def test_a_queue_that_somebody_changed_is_set_right(office: Node, spoil: tuple[Call, ...]) -> None:
    proof.prove(office.driver, office.spec, "office")
    administer(office, *spoil)
    proof.prove(office.driver, office.spec, "office")
    assert queues_seen(office, "alice") == ["office"]


def test_a_server_that_begins_no_jobs_fails_and_keeps_none(office: Node) -> None:
    proof.prove(office.driver, office.spec, "office")
    with pytest.raises(NodeError, match="did not print a proof in time: job 3000002 is in state"):
        _with_a_stopped_queue(office, lambda: proof.printed_job(_server(office), time.monotonic() + 3.0))
    assert every_job(office) == []


def _with_a_stopped_queue(node: Node, work: Callable[[], int]) -> None:
    everybody, us = (Call("setPrinterUsersAllowed", (proof.QUEUE, [who])) for who in ("all", proof.OWNER))
    administer(node, everybody, Call("disablePrinter", (proof.QUEUE,)), us)
    work()


def _server(node: Node) -> ipp.Server:
    return ipp.Server(node.spec.host, node.spec.port, proof.OWNER, tls=True)


def test_an_id_of_another_slot_fails(office: Node) -> None:
    with pytest.raises(NodeError, match="gave a job the id 3000001, but slot 4 owns 4000001 to 5000000"):
        proof.prove(office.driver, replace(office.spec, slot=4), "office")


def test_on_someone_elses_server_no_queue_is_made(office: Node) -> None:
    assert proof.prove(ExistingDriver(), office.spec, "office") == 3_000_001
    assert queues_seen(office, proof.OWNER) == ["office"]
    assert every_job(office) == []


def test_the_fleets_own_jobs_are_nobodys_work(office: Node) -> None:
    held = {"job-hold-until": "indefinite"}
    office.ask(proof.OWNER, IppOperation.CREATE_JOB, held)
    reading = office.reading()
    assert (reading.jobs, reading.highest_job_id) == ((), 3_000_001)
