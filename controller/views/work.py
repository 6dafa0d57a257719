"""Jobs and waiting times, as rows for people."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from controller.costs.ledger import Ledger
from controller.costs.rates import money
from controller.costs.standing import why_held
from controller.jobs.table import OPEN, Job, JobTable
from controller.store import Store


def jobs(
    store: Store,
    printer: str = "",
    user: str = "",
    state: str = "",
    limit: int = 100,
    offset: int = 0,
    node: str = "",
) -> list[dict[str, Any]]:
    """Everybody's jobs. state: one of jobs.table's words, or `open`, `ended`, `all`; '' is `open`."""
    found = JobTable(store).search(state or "open", user, printer, node, limit, offset)
    return _everybodys(store, found)


def job(store: Store, uuid: str) -> dict[str, Any] | None:
    found = JobTable(store).by_uuid(uuid)
    return _everybodys(store, [found])[0] if found else None


def _everybodys(store: Store, found: list[Job]) -> list[dict[str, Any]]:
    rows = zip(_rows(store, found), found, strict=True)
    return [{**row, "user": job.owner, "node": job.node} for row, job in rows]


def jobs_of(store: Store, user: str, state: str = "", limit: int = 100, offset: int = 0) -> list[dict[str, Any]]:
    """A person's own jobs with what each was charged, and nobody else's."""
    if not user:
        return []
    found = JobTable(store).search(state or "open", user, limit=limit, offset=offset)
    ledger = Ledger(store)
    return [{**row, **_charged(ledger, job)} for row, job in zip(_rows(store, found), found, strict=True)]


def _rows(store: Store, found: list[Job]) -> list[dict[str, Any]]:
    held = why_held(store, [job.uuid for job in found if job.state == "held"])
    return [_row(job, held.get(job.uuid, "")) for job in found]


def _row(job: Job, held: str) -> dict[str, Any]:
    return {
        "uuid": job.uuid,
        "id": job.id,
        "printer": job.queue,
        "title": job.title,
        "state": job.state,
        "reasons": job.told_reasons,
        "why": job.why or held,
        "size": job.size_kb,
        "created_at": job.created,
        "waiting": _waiting(job, time.time()),
    }


def _waiting(job: Job, now: float) -> float:
    """Seconds from its acceptance, or from its release, to its first page, or to now, or to its end without one. Of one
    that is held: since its acceptance."""
    begun = job.processing or (job.completed if job.state not in OPEN else 0) or now
    return max(0.0, begun - (job.created if job.state == "held" else max(job.created, job.released)))


def _charged(ledger: Ledger, job: Job) -> dict[str, Any]:
    """cost: None while it is not charged. account: the shared account that pays, '' for the person."""
    entries = ledger.of_job(job.uuid)
    if not entries:
        return {"pages": None, "cost": None, "account": ""}
    return {
        "pages": sum(entry.pages for entry in entries),
        "cost": money(sum(entry.amount for entry in entries)),
        "account": entries[0].account,
    }


def counts(store: Store) -> dict[str, int]:
    """How many open jobs are in each state."""
    return dict.fromkeys(OPEN, 0) | JobTable(store).count_open()


def wait_ahead(store: Store, nodes: Iterable[Mapping[str, Any]]) -> float | None:
    """Seconds until the last waiting job starts, by measured times; None while a node that has jobs is silent."""
    table, longest = JobTable(store), 0.0
    for node in nodes:
        if node.get("wait") is not None:
            longest = max(longest, node["wait"])
        elif any(job.state in _MOVING_ON for job in table.open_on(node["name"]).values()):
            return None
    return longest


_MOVING_ON = ("pending", "processing")


def finish(node: Mapping[str, Any]) -> float | None:
    """Seconds until a node's open jobs are finished, by its pace while it drains, else by measured times.

    None when it does not answer, and while jobs are stuck there (held, stopped, no paper): those end by nobody's work.
    """
    if node.get("stuck") is None or node["stuck"]:
        return None
    by_pace: float | None = (node["progress"] or {}).get("seconds")
    by_times: float | None = node.get("work")
    return by_times if by_pace is None else by_pace
