"""The proof that a node prints, and numbers its jobs as its slot demands. It uses no paper.

On a node of ours a job runs to its end in a queue of the fleet's own, whose device swallows everything. Nobody else may
print there, and CUPS shows such a queue in no list of others (scheduler/ipp.c, get_printers: user_allowed). On a server
that someone else runs no queue is made: there the job is held in one of its queues, and cancelled.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace

from pyipp.enums import IppOperation

from controller.nodes.driver import Driver, NodeError, NodeSpec
from haproxy.model import SLOT_IDS, first_id, slot_of
from probes import ipp, reading
from probes.attributes import number, text
from probes.cups import Call, Token, call
from probes.errors import ProbeError, Refused
from probes.ipp import Request, Server

OWNER = reading.OURS
"""Owner of proof jobs; never the controller's token, for an owner's name is seen by many."""
QUEUE, DEVICE = "cupsfleet-proof", "file:///dev/null"
"""cupsd takes this one file for a device even where FileDevice is off (scheduler/ipp.c, add_printer)."""
LOOK_AGAIN = 0.02
"""Seconds between two looks whether the job has ended; it takes about 15 ms."""
_STOPPED, _COMPLETED, _ENDED = 5, 9, (7, 8, 9)
"""printer-state and job-state (RFC 8011 5.4.11, 5.3.7)."""
_NAME = {"job-name": "cupsfleet proof"}


def prove(driver: Driver, spec: NodeSpec, queue: str, deadline: float = 10.0) -> int:
    """Have the node do a job; returns its id, which lies in the slot's range.

    Over TLS, as the proxies ask; the first such connection also makes cupsd write its certificate, before people wait
    for it. queue: one that takes jobs, for a server that someone else runs. deadline: seconds for all of it. Raises
    NodeError when the node refuses, is late, does not print, or numbers jobs otherwise.
    """
    server, until = Server(spec.host, spec.port, OWNER, tls=True), time.monotonic() + deadline
    if driver.owns_queues:
        _open_queue(replace(server, tls=False), driver.token(spec), deadline)
        given = printed_job(server, until)
    else:
        given = held_job(server, queue, deadline)
    if slot_of(given) != spec.slot:
        raise NodeError(
            f"{server} gave a job the id {given}, but slot {spec.slot} owns {first_id(spec.slot)} to "
            f"{(spec.slot + 1) * SLOT_IDS}: stop it, and write NextJobId into its job.cache"
        )
    return given


def _open_queue(server: Server, token: Token, deadline: float) -> None:
    """Make the queue, or set right what somebody changed."""
    wanted = ["printer-state", "printer-is-accepting-jobs", "device-uri"]
    asked = Request(IppOperation.GET_PRINTER_ATTRIBUTES, {"requested-attributes": wanted}, QUEUE)
    # While only some may print, CUPS lets nobody else start the queue again, its administrator included.
    calls = [
        Call("addPrinter", (QUEUE,), {"device": DEVICE, "ppdname": "raw", "info": "proof that this server prints"}),
        Call("setPrinterUsersAllowed", (QUEUE, ["all"])),
        Call("enablePrinter", (QUEUE,)),
        Call("acceptJobs", (QUEUE,)),
        Call("setPrinterUsersAllowed", (QUEUE, [OWNER])),
    ]
    try:
        found = ipp.question(server, asked, deadline)["printers"]
        stands = found and number(found[0], "printer-is-accepting-jobs") and text(found[0], "device-uri") == DEVICE
        if not stands or number(found[0], "printer-state") == _STOPPED:
            call(server.host, server.port, token, calls, deadline)
    except ProbeError as error:
        raise NodeError(f"{server} has no queue for its proof: {error}") from error


def printed_job(server: Server, until: float) -> int:
    """The id of a job that ran to its end in the queue for proofs, and is forgotten. until: monotonic seconds.

    Only the job itself is sent over TLS, which takes longer than the rest together. Raises NodeError.
    """
    plain = replace(server, tls=False)
    try:
        job = _made(server, Request(IppOperation.PRINT_JOB, _NAME, QUEUE, b"proof\n"), _left(until))
        try:
            _see_it_printed(plain, job, until)
        finally:  # so that the history that people see stays theirs, and nothing is left to be done
            with suppress(ProbeError):
                _purge(plain, job, QUEUE, 1.0)
    except ProbeError as error:
        raise NodeError(f"{server} did not print a proof: {error}") from error
    return job


def _see_it_printed(server: Server, job: int, until: float) -> None:
    asked = Request(IppOperation.GET_JOB_ATTRIBUTES, {"job-id": job, "requested-attributes": ["job-id", "job-state"]})
    while True:
        jobs = ipp.question(server, asked, _left(until))["jobs"]
        state = number(jobs[0], "job-state") if jobs else 0
        if state == _COMPLETED:
            return
        if not state or state in _ENDED:
            raise NodeError(
                f"{server} did not print a proof: job {job} {f'ended in state {state}' if state else 'is gone'}"
            )
        if time.monotonic() > until:
            raise NodeError(f"{server} did not print a proof in time: job {job} is in state {state}")
        time.sleep(LOOK_AGAIN)


def held_job(server: Server, queue: str, deadline: float, headers: dict[str, str] | None = None) -> int:
    """The id of a job that was created, held, and cancelled by its owner. Raises NodeError."""
    until, held = time.monotonic() + deadline, {"job-hold-until": "indefinite"}
    try:
        job = _made(server, Request(IppOperation.CREATE_JOB, _NAME, queue, job=held), deadline, headers)
        _purge(server, job, queue, _left(until), headers)
    except Refused as error:
        raise NodeError(f"{server} refused a held job in {queue}, or its cancellation by its owner: {error}") from error
    except ProbeError as error:
        raise NodeError(f"{server} did not handle a held job: {error}") from error
    return job


def _made(server: Server, request: Request, deadline: float, headers: dict[str, str] | None = None) -> int:
    jobs = ipp.question(server, request, deadline, headers)["jobs"]
    job = number(jobs[0], "job-id") if jobs else 0
    if not job:
        raise NodeError(f"{server} has no queue {request.queue}")
    return job


def _purge(server: Server, job: int, queue: str, deadline: float, headers: dict[str, str] | None = None) -> None:
    ipp.question(server, Request(IppOperation.CANCEL_JOB, {"job-id": job, "purge-job": True}, queue), deadline, headers)


def _left(until: float) -> float:
    return max(0.1, until - time.monotonic())
