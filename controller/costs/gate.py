"""Asked by the nodes' backends whether a job may be printed, and releasing what was held when it may.

A domain socket in each node's folder (costs/gate), which only the account of the backend can reach; beside it gate.json
tells the backend that there are limits, and what to do when nobody answers. A question is one line of JSON: the job's
facts as in the journal, its count and copies. The answer is {"reason": …}, '' to go on.

What was let through counts as used from that moment, so that jobs on several nodes can't each have the same rest. It
is written down before the answer is given, so that the next controller knows as well, and no longer counts when the
job is charged or has ended without a charge (collect.py).
"""

from __future__ import annotations

import json
import logging
import os
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pyipp.enums import IppOperation

from controller.config import Costs
from controller.costs import journal
from controller.costs.attempts import Attempt
from controller.costs.charge import Site, pages_of
from controller.costs.count import from_plain
from controller.costs.ledger import Ledger
from controller.costs.quota import Wish, refusal
from controller.costs.rates import Printed, micros
from controller.costs.rules import Rules, publish
from controller.costs.standing import Standing, refused
from controller.jobs.table import Job, JobTable
from controller.snapshot import Node
from controller.store import Store, StoreError
from machine.files import replace_file
from probes import ipp
from probes.errors import ProbeError
from probes.sweep import Target

RELEASE_SECONDS = 5.0
_LET_THROUGH = "uuid, user, account, pages, amount, at, document"

log = logging.getLogger("cupsfleet")


@dataclass
class Gate:
    """open_store: called in the thread that uses it. rules: the configuration, and the site made of it."""

    open_store: Callable[[], Store]
    nodes: Path
    rules: Callable[[], tuple[Costs, Site]]
    target: Callable[[Node, Store], Target]
    _listening: dict[Path, _Server] = field(default_factory=dict)
    _released: dict[str, str] = field(default_factory=dict)
    """By job-uuid: the attempt after which it was released, so that an owner's own hold is left alone."""
    _in_force: tuple[Costs, Site] = field(default_factory=lambda: (Costs(), Site()))
    """The rules that everybody was told last: nobody must see a job go by others."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ensure(self) -> None:
        """Tell everybody the rules, listen where nodes are, and release what may go on. Raises StoreError."""
        costs, site = self.rules()
        if site is not self._in_force[1]:
            with self.open_store() as store:
                publish(store, Rules(costs, site))
            self._in_force = costs, site
        folders = [path / journal.FOLDER for path in self.nodes.iterdir()] if self.nodes.is_dir() else []
        folders = [folder for folder in folders if (folder / "cupsfleet.json").exists()]
        for gone in set(self._listening) - set(folders):
            self._listening.pop(gone).end()
        for folder in folders:
            self._tell(folder, costs)
        self._release()

    def close(self) -> None:
        for server in self._listening.values():
            server.end()
        self._listening.clear()

    def answer(self, question: Mapping[str, Any]) -> str:
        """Why a job must be held, or ''. Raises KeyError, TypeError or ValueError for what is no question."""
        wish = self._wish(question)
        with self._lock, self.open_store() as store, store.transaction():
            document = _document(wish, store)
            why = self._decide(wish, store)
            store.execute("delete from let_through where uuid = ? and document = ?", [wish.uuid, document])
            if not why:
                _, site = self._in_force
                account = site.account(wish.user, dict(wish.options))
                place = [wish.uuid, wish.user, account, wish.pages, wish.amount, time.time(), document]
                store.execute(f"insert into let_through ({_LET_THROUGH}) values (?, ?, ?, ?, ?, ?, ?)", place)
        return why

    def _tell(self, folder: Path, costs: Costs) -> None:
        rules = folder / "gate.json"
        wanted = json.dumps({"when_unreachable": costs.when_unreachable})
        if not costs.limited:
            rules.unlink(missing_ok=True)
            if folder in self._listening:
                self._listening.pop(folder).end()
            return
        if folder not in self._listening:
            self._listening[folder] = _Server(folder, self)
        if not rules.exists() or rules.read_text() != wanted:
            replace_file(rules, wanted)

    def _wish(self, question: Mapping[str, Any]) -> Wish:
        options = {str(name): str(value) for name, value in question["options"].items()}
        attempt = Attempt(
            run="",
            uuid=str(question["uuid"]),
            user=str(question["user"]),
            queue=str(question["queue"]),
            driver=bool(question["driver"]),
            options=options,
            copies=int(question["copies"]),
            separately=int(question.get("separately", 0)),
            count=from_plain(question["count"]),
        )
        return self._wished(attempt)

    def _wished(self, attempt: Attempt) -> Wish:
        _, site = self._in_force
        pages = pages_of(attempt, site.unknown_pages)
        department = site.department(attempt.user)
        printed = Printed(int(time.time()), attempt.queue, department, pages.sides, pages.parts, pages.copies)
        options = tuple(sorted(attempt.options.items()))
        amount = micros(site.tariff.amount(printed))
        return Wish(attempt.uuid, attempt.user, printed.pages, amount, options, max(1, attempt.separately))

    def _decide(self, wish: Wish, store: Store) -> str:
        """Called under the lock."""
        costs, site = self._in_force
        if Ledger(store).entry(f"job:{wish.uuid}"):
            return ""  # it was charged, and prints again because its node died
        standing = Standing(store, but=(wish.uuid, _document(wish, store)))
        used = partial(standing.used, wish.user)
        return refusal(wish, costs, site, used, standing.balance, site.tariff.today())

    def _release(self) -> None:
        """Let go on what was held here and may be printed now."""
        with self.open_store() as store:
            nodes = {node.name: node for node in store.nodes()}
            for job, attempt in _held(store):
                if attempt.run == self._released.get(job.uuid) or job.node not in nodes:
                    continue
                with self._lock:
                    refused = self._decide(self._wished(attempt), store)
                if not refused and _release_job(self.target(nodes[job.node], store), job):
                    self._released[job.uuid] = attempt.run


def _document(wish: Wish, store: Store) -> int:
    """Which of its job's documents a wish stands for. None says so, and one that is tried again asks again: it is a new
    one until there are as many as the job has, and then the one that was let through first."""
    rows = store.rows("select document from let_through where uuid = ? order by at", [wish.uuid])
    known = [row["document"] for row in rows]
    new = (number for number in range(wish.documents) if number not in known)
    return next(new, known[0] if known else 0)


def _held(store: Store) -> list[tuple[Job, Attempt]]:
    """Jobs that are held and whose newest attempt was refused."""
    table = JobTable(store)
    held = [row["uuid"] for row in store.rows("select uuid from jobs where open = 1 and state = 'held'")]
    found = ((table.by_uuid(uuid), attempt) for uuid, attempt in refused(store, held).items())
    return [(job, attempt) for job, attempt in found if job]


def _release_job(target: Target, job: Job) -> bool:
    server = ipp.Server(target.host, target.port, target.user, target.tls, target.verify)
    request = ipp.Request(IppOperation.RELEASE_JOB, {"job-id": job.id}, job.queue)
    try:
        ipp.question(server, request, RELEASE_SECONDS)
    except ProbeError as error:
        log.warning("job %s could not be released: %s", job.said(), error)
        return False
    return True


class _Handler(socketserver.StreamRequestHandler):
    timeout = RELEASE_SECONDS

    def handle(self) -> None:
        gate: Gate = self.server.gate  # type: ignore[attr-defined]
        try:
            answer = {"reason": gate.answer(json.loads(self.rfile.readline(1 << 20)))}
        except (StoreError, OSError, ValueError, KeyError, TypeError) as error:
            answer = {"error": str(error)}  # the backend does as it was told for when nobody answers
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class _Listener(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class _Server:
    """A socket's address holds 107 bytes and paths may be longer, so it is made by way of its folder's descriptor."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        self._path = folder / "gate"
        self._path.unlink(missing_ok=True)
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            self._server = _Listener(f"/proc/self/fd/{handle}/gate", _Handler)
        finally:
            os.close(handle)
        self._server.gate = gate  # type: ignore[attr-defined]
        threading.Thread(target=self._server.serve_forever, name="gate", daemon=True).start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)
