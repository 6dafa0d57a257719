"""Printers in words: those that print nothing though the servers before them are well, and what waits for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from controller.config import Settings
from controller.config_values import holds_login
from controller.costs.standing import why_held
from controller.decide.health import printer_faults
from controller.snapshot import NodeSight, NodeState, Snapshot
from controller.store import Store
from probes.reading import QueueReading

IN_SERVICE = (NodeState.READY, NodeState.UNHEALTHY, NodeState.DRAINING)
"""States in which a node should answer everybody."""
NAMED = 5
"""Servers that a sentence names."""
_HELD = 4
"""job-state (RFC 8011, 5.3.7)."""


def standing(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Printers that nothing comes out of, as far as a server knows: name; why, '' where they were only stopped;
    everywhere, whether no server prints to it; jobs that wait for it, held ones not."""
    names: dict[str, str] = {}
    why: dict[str, str] = {}
    going: set[str] = set()
    for _, queue in _queues(snapshot):
        key = queue.name.lower()
        names.setdefault(key, queue.name)
        if faults := printer_faults(queue):
            why.setdefault(key, in_words(faults[0]))
        elif not queue.stopped:
            going.add(key)
    return [
        {"name": name, "why": why.get(key, ""), "everywhere": key not in going, "jobs": _waiting_for(key, snapshot)}
        for key, name in sorted(names.items())
        if key in why or key not in going
    ]


def _waiting_for(name: str, snapshot: Snapshot) -> int:
    """Jobs at servers where it stands still. name: the printer's, in lower case."""
    return sum(
        job.queue.lower() == name and job.state != _HELD
        for sight in snapshot.nodes
        if sight.reading and sight.backlog and name in sight.backlog.standing
        for job in sight.reading.jobs
    )


def over_limit(store: Store, snapshot: Snapshot) -> int:
    """How many jobs are held because of the account that pays for them."""
    readings = (sight.reading for sight in snapshot.nodes if sight.reading)
    return len(why_held(store, [job.uuid for reading in readings for job in reading.jobs if job.state == _HELD]))


def printer_problems(snapshot: Snapshot, stand: Iterable[Mapping[str, Any]], settings: Settings) -> list[str]:
    """What the servers say of the printers themselves, or should, and which of them no server prints to. No node is at
    fault; nothing is done about one. stand: as of `standing`."""
    said: dict[tuple[str, str], list[str]] = {}
    for node, queue in _queues(snapshot):
        for fault in printer_faults(queue):
            said.setdefault((queue.name, in_words(fault)), []).append(node)
    return [
        *(
            f"printer {queue}: {fault}, says {_some(names)}; its jobs wait until somebody sees to it"
            for (queue, fault), names in said.items()
        ),
        *(
            f"printer {printer['name']} is stopped at every server; its jobs wait until it is started at each of them, "
            f"such as with: CUPS_SERVER=STATE/nodes/NODE/run/cups.sock cupsenable {printer['name']}"
            for printer in stand
            if not printer["why"]
        ),
        *(told for sight in snapshot.nodes if (told := _long_print(sight, settings))),
    ]


def limit_problems(snapshot: Snapshot, settings: Settings) -> list[str]:
    """Where jobs are printed without asking whether their account may, though accounts have limits."""
    if not settings.costs.limited:
        return []
    devices = [printer.name for printer in settings.printers if holds_login(printer.device)]
    return [
        *(
            f"printer {name}: its jobs are held by no limit of an account, for its device has a login"
            for name in devices
        ),
        *(
            f"{sight.node.name}: its jobs are held by no limit of an account, for it is someone else's"
            for sight in snapshot.nodes
            if sight.node.driver == "existing" and sight.node.state in IN_SERVICE
        ),
    ]


def _some(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _queues(snapshot: Snapshot) -> Iterator[tuple[str, QueueReading]]:
    """Those of nodes that should print, with the node's name."""
    for sight in snapshot.nodes:
        if sight.reading and sight.node.state in IN_SERVICE:
            yield from ((sight.node.name, queue) for queue in sight.reading.queues)


def in_words(fault: str) -> str:
    """A printer-state-reason as words: `media empty` for media-empty-warning."""
    return _DEGREE.sub("", fault).replace("-", " ")


_DEGREE = re.compile("-(report|warning|error)$")
"""What ends a printer-state-reason (RFC 8011, 5.4.12)."""


def _long_print(sight: NodeSight, settings: Settings) -> str:
    """A sentence about a job that prints without end, although its printer has no complaint; '' for none."""
    number, seconds = sight.longest_print
    reading = sight.reading
    job = next((job for job in reading.jobs if job.id == number), None) if reading else None
    if reading is None or job is None or seconds < settings.health.long_print:
        return ""
    if any(printer_faults(queue) for queue in reading.queues if queue.name.lower() == job.queue.lower()):
        return ""
    printing = f"has been printing on {sight.node.name} for {seconds / 60:.0f} min"
    return f"job {number} of {job.owner} {printing}: is {job.queue} well?"
