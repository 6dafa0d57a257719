"""The proof that a node takes jobs and numbers them as its slot demands. It uses no paper."""

from __future__ import annotations

import time

from pyipp.enums import IppOperation

from controller.nodes.driver import NodeError
from haproxy.model import SLOT_IDS, first_id, slot_of
from probes import ipp
from probes.attributes import number
from probes.errors import ProbeError, Refused
from probes.ipp import Request, Server

OWNER = "cupsfleet"
"""Owner of proof jobs; never the controller's token, for an owner's name is seen by many."""


def prove(host: str, port: int, slot: int, queue: str, deadline: float = 10.0) -> int:
    """Make a held job in a queue and cancel it; returns its id, which lies in the slot's range.

    Over TLS, as the proxies ask; the first such connection also makes cupsd write its certificate, before people wait
    for it. deadline: seconds for all of it. Raises NodeError when the node refuses, is late, or numbers jobs otherwise.
    """
    number_given = proof_job(Server(host, port, OWNER, tls=True), queue, deadline)
    if slot_of(number_given) != slot:
        raise NodeError(
            f"{host}:{port} gave a job the id {number_given}, but slot {slot} owns {first_id(slot)} to "
            f"{(slot + 1) * SLOT_IDS}: stop it, and write NextJobId into its job.cache"
        )
    return number_given


def proof_job(server: Server, queue: str, deadline: float, headers: dict[str, str] | None = None) -> int:
    """The id of a job that was created, held, and cancelled by its owner. Raises NodeError."""
    until = time.monotonic() + deadline
    name, held = {"job-name": "cupsfleet proof"}, {"job-hold-until": "indefinite"}
    create = Request(IppOperation.CREATE_JOB, name, queue, job=held)
    try:
        jobs = ipp.question(server, create, deadline, headers)["jobs"]
        job = number(jobs[0], "job-id") if jobs else 0
        if not job:
            raise NodeError(f"{server} has no queue {queue}")
        # Purged, so that the history that people see stays theirs.
        cancel = Request(IppOperation.CANCEL_JOB, {"job-id": job, "purge-job": True}, queue)
        ipp.question(server, cancel, max(0.1, until - time.monotonic()), headers)
    except Refused as error:
        raise NodeError(f"{server} refused a held job in {queue}, or its cancellation by its owner: {error}") from error
    except ProbeError as error:
        raise NodeError(f"{server} did not handle a held job: {error}") from error
    return job
