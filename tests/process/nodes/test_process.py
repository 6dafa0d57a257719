"""Stock cupsd under the process driver."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pyipp.enums import IppOperation

from controller import processes
from controller.nodes import proof, settings
from controller.nodes.driver import NodeError
from controller.nodes.process import ProcessDriver
from controller.nodes.queues import Queue
from haproxy.model import slot_of
from machine.files import replace_file
from machine.identity import boot_id
from probes import ipp
from probes.cups import Call, Token, call
from probes.errors import Overdue, ProbeError, Refused
from tests.process.nodes.conftest import DEADLINE, Node, Printer, eventually

HELD = ("-H", "hold")


def test_a_document_arrives_unchanged_and_its_id_is_the_slots(office: Node, printer: Printer) -> None:
    printer.start()
    job = office.lp("alice", text="one page\n" * 1000)
    [document] = eventually(printer.printed)
    assert document.read_text() == "one page\n" * 1000
    assert slot_of(job) == office.spec.slot


def test_it_answers_soon_after_start(node: Node) -> None:
    begun = time.monotonic()
    node.start()
    assert node.reading().error is None
    assert time.monotonic() - begun < 1.0


def test_a_kill_loses_no_job_and_reuses_no_id(office: Node, printer: Printer) -> None:
    first = [office.lp("alice", *HELD) for _ in range(5)]
    office.kill()
    office.start()
    assert sorted(office.jobs()) == first
    assert office.lp("alice", *HELD) > max(first)


def test_an_id_of_a_finished_and_forgotten_job_is_not_reused(office: Node, printer: Printer) -> None:
    printer.start()
    job = office.lp("alice")
    eventually(lambda: not office.jobs())
    office.driver.stop(office.spec)
    for part in ("spool", "cache"):
        shutil.rmtree(office.spec.folder / part)
    office.driver.start(replace(office.spec, next_id=job + 1))
    assert office.lp("alice", *HELD) == job + 1


def printed_once(office: Node, printer: Printer) -> None:
    printer.start()
    eventually(lambda: not office.jobs())
    assert [document.read_text() for document in printer.printed()] == ["only once\n"]


def test_a_running_job_goes_on_after_a_kill_without_a_second_sender(office: Node, printer: Printer) -> None:
    """The backend waits for a printer that is away; it must not survive its server."""
    office.lp("alice", text="only once\n")
    mark = settings.mark_of(office.spec.folder)
    eventually(lambda: len(list(processes.marked(mark))) == 2)
    before = set(processes.marked(mark))
    office.kill()
    office.start()
    assert not before & set(processes.marked(mark))
    printed_once(office, printer)


def test_leftovers_that_are_stopped_or_have_gone_astray_are_ended_too(office: Node, printer: Printer) -> None:
    office.lp("alice", text="only once\n")
    mark = settings.mark_of(office.spec.folder)
    eventually(lambda: len(list(processes.marked(mark))) == 2)
    # As a filter would that makes a daemon of itself: in a session of its own, with nobody for a parent. Without a
    # shell, whose own processes would be met on their way out.
    environment = {**os.environ, processes.MARK: mark}
    subprocess.run(["setsid", "--fork", "sleep", "300"], env=environment, check=True)
    before = eventually(lambda: found if len(found := set(processes.marked(mark))) == 3 else set())
    for pid in before - {office.pid()}:
        os.kill(pid, signal.SIGSTOP)
    office.kill()
    office.start()
    assert not before & set(processes.marked(mark))
    printed_once(office, printer)


def test_a_document_keeps_its_type_over_a_kill(office: Node) -> None:
    """Read from the spool alone, a raw document that looks like text would be converted."""
    office.lp("alice", "-o", "raw", *HELD)
    office.kill()
    office.start()
    office.lp("alice", *HELD)  # makes cupsd write its cache
    cache = eventually(lambda: (office.spec.folder / "cache/job.cache").read_text())
    assert cache.count("application/vnd.cups-raw") == 1


def test_stop_ends_everything(office: Node) -> None:
    office.lp("alice")
    mark = settings.mark_of(office.spec.folder)
    eventually(lambda: len(list(processes.marked(mark))) == 2)
    office.driver.stop(office.spec)
    assert list(processes.marked(mark)) == []
    assert not office.driver.alive(office.spec)


def test_a_running_node_is_adopted_by_the_next_controller(office: Node) -> None:
    pid = office.pid()
    another = ProcessDriver(allow=["10.9.8.7"])
    another.start(office.spec)
    assert office.pid() == pid
    assert another.outdated(office.spec)
    assert not office.driver.outdated(office.spec)
    another.stop(office.spec)
    another.start(office.spec)
    assert not another.outdated(office.spec)


def test_a_start_right_after_a_kill_adopts_no_dying_process(office: Node) -> None:
    for _ in range(5):
        pid = office.pid()
        os.kill(pid, signal.SIGKILL)
        office.start()
        assert office.pid() != pid
        assert office.reading().error is None


def test_one_that_is_ending_is_not_adopted(office: Node) -> None:
    """It has closed its port, and lives on for a second."""
    pid = office.pid()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: office.reading().error)
    office.start()
    assert office.pid() != pid
    assert office.reading().error is None


def test_a_recycled_process_id_is_not_taken_for_the_node(office: Node, tmp_path: Path) -> None:
    record = office.spec.folder / "process"
    office.driver.stop(office.spec)
    replace_file(record, f'{{"pid": {os.getpid()}, "started": 1, "boot": "{boot_id()}"}}')
    assert not office.driver.alive(office.spec)


def test_administration_needs_the_right_account(office: Node) -> None:
    host, port, token = office.spec.host, office.spec.port, office.driver.token(office.spec)
    stop = [Call("disablePrinter", ("office",))]
    for user in ("alice", "root", token.user):
        with pytest.raises(Refused):
            call(host, port, Token(user), stop, DEADLINE)
    call(host, port, token, stop, DEADLINE)
    assert office.reading().queues[0].state == 5


def test_no_operation_that_changes_the_server_passes_without_it(office: Node) -> None:
    for name in settings.ADMINISTRATOR_OPERATIONS:
        member = name.replace("-", "_").upper()
        if operation := getattr(IppOperation, member, None):
            # Those that CUPS does not know answer with an IPP status, the others with HTTP 401.
            with pytest.raises(Refused):
                office.ask("alice", operation, job_id=3_000_001)


OWNERS = [
    IppOperation.HOLD_JOB,
    IppOperation.RELEASE_JOB,
    IppOperation.CUPS_GET_DOCUMENT,
    IppOperation.CANCEL_JOB,
]


@pytest.mark.parametrize("operation", OWNERS)
def test_a_job_obeys_its_owner_and_the_operator_only(office: Node, operation: IppOperation) -> None:
    for allowed in ("alice", office.driver.token(office.spec).user):
        job = office.lp("alice", *HELD)
        for stranger in ("bob", "root", "cupsfleet", ""):
            with pytest.raises(Refused):
                office.ask(stranger, operation, job_id=job, document_number=1)
        answer = office.ask(allowed, operation, job_id=job, document_number=1)
        assert answer["data"] == (b"page\n" if operation == IppOperation.CUPS_GET_DOCUMENT else b"")


def test_the_operator_moves_a_job(office: Node, printer: Printer) -> None:
    office.declare(Queue("office", printer.device), Queue("other", printer.device))
    job = office.lp("alice", *HELD)
    token = office.driver.token(office.spec)
    target = {"job-printer-uri": "ipp://localhost/printers/other"}
    with pytest.raises(Refused):
        office.ask("bob", IppOperation.CUPS_MOVE_JOB, target, job_id=job)
    office.ask(token.user, IppOperation.CUPS_MOVE_JOB, target, job_id=job)
    assert office.jobs()[job].queue == "other"


def test_owners_are_told_to_the_operator_only(office: Node) -> None:
    job = office.lp("alice", *HELD)
    assert office.jobs()[job].owner == "alice"
    assert [seen.owner for seen in office.reading("bob").jobs] == [""]


def test_the_operators_name_is_in_no_log(office: Node) -> None:
    name = office.driver.token(office.spec).user
    office.declare(Queue("office", "socket://127.0.0.1:1"))
    job = office.lp("alice", *HELD)
    office.ask(name, IppOperation.CANCEL_JOB, job_id=job)
    logs = [path for path in (office.spec.folder / "log").iterdir() if name in path.read_text()]
    assert logs == []


def test_a_stopped_server_holds_nobody_longer_than_the_deadline(office: Node) -> None:
    os.kill(office.pid(), signal.SIGSTOP)
    begun = time.monotonic()
    token = office.driver.token(office.spec)
    with pytest.raises(Overdue):
        call(office.spec.host, office.spec.port, token, [Call("getPrinters")], 0.5)
    assert "no answer within 0.5 s" in str(office.reading(deadline=0.5).error)
    with pytest.raises(NodeError):
        proof.prove(office.driver, office.spec, "office", 0.5)
    assert time.monotonic() - begun < 10
    assert office.driver.alive(office.spec)
    office.driver.stop(office.spec)
    assert not office.driver.alive(office.spec)


def test_declarations_are_idempotent_and_corrected(node: Node) -> None:
    node.start()
    one, two = Queue("a", "socket://127.0.0.1:1", options=(("sides", "two-sided-long-edge"),)), Queue("b", "ipp://x/y")
    assert node.declare(one, two) == ["a: made", "b: made"]
    assert node.declare(one, two) == []
    token = node.driver.token(node.spec)
    spoil = [Call("disablePrinter", ("a",)), Call("rejectJobs", ("a",)), Call("setPrinterShared", ("a", False))]
    call(node.spec.host, node.spec.port, token, spoil, DEADLINE)
    assert node.declare(one, two) == ["a: sharing corrected, enabled, accepts jobs"]
    assert node.declare(replace(one, device="socket://127.0.0.1:2"), two) == ["a: device corrected"]
    assert node.declare(one, two) == ["a: device corrected"]
    assert node.declare(replace(one, options=()), two) == ["a: model and options set"]
    assert node.declare(replace(one, options=()), two) == []
    assert node.declare(replace(one, options=())) == ["b: takes no more jobs, for it is declared no longer"]
    assert node.declare(replace(one, options=())) == ["b: removed, for it is declared no longer"]


def test_a_queue_with_open_jobs_and_one_of_others_stay(office: Node, printer: Printer) -> None:
    job = office.lp("alice", *HELD)
    token = office.driver.token(office.spec)
    foreign = [Call("addPrinter", ("theirs",), {"device": printer.device})]
    call(office.spec.host, office.spec.port, token, foreign, DEADLINE)
    new = Queue("new", printer.device)
    assert office.declare(new) == ["new: made", "office: takes no more jobs, for it is declared no longer"]
    assert office.declare(new) == []
    assert {queue.name for queue in office.reading().queues} == {"office", "theirs", "new"}
    assert job in office.jobs()


def test_a_cupsd_that_ends_at_once_is_an_error_with_its_words(node: Node, tmp_path: Path) -> None:
    broken = tmp_path / "cupsd"
    broken.write_text("#!/bin/sh\necho cannot go on; exit 1\n")
    with pytest.raises(NodeError, match="cannot go on"):
        ProcessDriver(cupsd=broken).start(node.spec)


def test_a_raw_document_is_sent_once_for_each_copy(office: Node, printer: Printer) -> None:
    printer.start()
    office.lp("alice", "-n", "3", "-o", "raw", text="copy\n")
    [document] = eventually(printer.printed)
    assert document.read_text() == "copy\n" * 3


def test_a_printer_that_breaks_off_gets_the_job_again(office: Node, printer: Printer) -> None:
    printer.start("--parallel", "one", "--pages-per-minute", "20")
    office.lp("alice", text="whole\n")
    eventually(lambda: list(printer.folder.glob(".incoming-*")))
    time.sleep(0.3)
    printer.stop()
    printer.start()
    [document] = eventually(printer.printed)
    assert document.read_text() == "whole\n"
    eventually(lambda: not office.jobs())


def test_a_missing_backend_is_an_error_in_words(node: Node) -> None:
    node.start()
    with pytest.raises(NodeError, match="queues could not be set up"):
        node.declare(Queue("office", "nosuch://127.0.0.1"))


def test_jobs_are_paged_in_the_order_of_their_ids(office: Node) -> None:
    server = ipp.Server(office.spec.host, office.spec.port, office.driver.token(office.spec).user)
    jobs = [_cancelled(office) for _ in range(12)]

    async def collect() -> list[int]:
        async with ipp.session() as http:
            return [job["job-id"] async for job in ipp.all_jobs(http, server, ("job-uuid",), jobs[3])]

    page, ipp.PAGE = ipp.PAGE, 5
    try:
        assert asyncio.run(collect()) == jobs[3:]
    finally:
        ipp.PAGE = page


def _cancelled(office: Node) -> int:
    job: int = office.ask("alice", IppOperation.CREATE_JOB)["jobs"][0]["job-id"]
    office.ask("alice", IppOperation.CANCEL_JOB, job_id=job)
    return job


def test_a_wrong_call_is_not_taken_for_a_refusal(office: Node) -> None:
    with pytest.raises(ProbeError, match="nosuch"):
        call(office.spec.host, office.spec.port, Token("alice"), [Call("nosuch")], DEADLINE)


def test_a_stopped_and_started_node_prints_what_it_held(office: Node, printer: Printer) -> None:
    jobs = [office.lp("alice", text=f"job {number}\n") for number in range(3)]
    office.driver.stop(office.spec)
    office.start()
    assert sorted(office.jobs()) == jobs
    printer.start()
    eventually(lambda: not office.jobs())
    assert [path.read_text() for path in printer.printed()] == ["job 0\n", "job 1\n", "job 2\n"]


def test_many_kills_in_a_row_lose_nothing_and_number_nothing_twice(office: Node) -> None:
    seen: list[int] = []
    for _ in range(6):
        seen += [office.lp("alice", *HELD) for _ in range(3)]
        office.kill()
        office.start()
        assert sorted(office.jobs()) == seen
    assert len(set(seen)) == len(seen)
