"""How is this node? One look at each, compared with the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median_low

from controller.config import Health, Settings
from controller.snapshot import NodeSight, NodeState, Snapshot
from probes.reading import QueueReading

SLOWER_THAN_MOST = 3.0
"""How many times as long as most nodes' an answer must take to be called slow."""
SMALL_DISK_SHARE = 0.1
"""Of a small disk this share must be free, instead of `spool_reserve_mb`."""
_PRINTER_FAULT = re.compile(
    r"((cover|door|interlock)-open|(developer|toner|media|marker-supply)-empty|media-(jam|needed)|fuser-(over|under)-temp"
    r"|(input|output)-tray-missing|marker-supply-missing|(output-area|marker-waste|waste-receptacle)-full|opc-life-over"
    r"|offline|shutdown|timed-out)(-report|-warning|-error)?"
)
"""printer-state-reasons of a printer that has stopped by itself (RFC 8011 5.4.12; CUPS's backend/snmp-supplies.c, which
calls it a mere warning when the paper has run out)."""
_NOT_CHECKED = ("", "INI", "UNK")
"""What a proxy says of a server before its first check, as after each reload (HAProxy, src/check.c)."""
_OURS = (NodeState.READY, NodeState.UNHEALTHY, NodeState.DRAINING)
"""States in which a node can be compared with the others."""


class Life(StrEnum):
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    """It answers and is not well."""
    DEAD = "dead"
    """Its process is gone, or nobody has heard of it for long."""
    DISPUTED = "disputed"
    """The prober hears it and a proxy does not, or the other way round."""
    UNKNOWN = "unknown"
    """It does not answer, and that proves nothing yet; or what was read is old."""


@dataclass(frozen=True)
class Verdict:
    life: Life
    reason: str


@dataclass(frozen=True)
class Peers:
    """What a node is compared with."""

    latency: float
    """Seconds that most nodes take to answer; 0 when none did."""
    running: Mapping[str, int]
    """On how many nodes each queue takes jobs and prints them, by its name in lower case."""


def peers(snapshot: Snapshot) -> Peers:
    readings = [sight.reading for sight in snapshot.nodes if sight.node.state in _OURS and sight.reading]
    latencies = [reading.latency for reading in readings if reading.latency is not None]
    running = Counter(queue.name.lower() for reading in readings for queue in reading.queues if _runs(queue))
    return Peers(median_low(latencies) if latencies else 0.0, running)


def verdicts(snapshot: Snapshot, settings: Settings) -> dict[str, Verdict]:
    """By the nodes' names."""
    others = peers(snapshot)
    return {sight.node.name: judge(sight, others, settings) for sight in snapshot.nodes}


def judge(sight: NodeSight, others: Peers, settings: Settings) -> Verdict:
    """A node is dead when its process is gone, or when prober and every proxy have heard nothing for `dead_after`.

    One view alone is no proof: a prober can lie, a proxy can have lost its own network.
    """
    reading, health = sight.reading, settings.health
    if sight.alive is False:
        return Verdict(Life.DEAD, "its server process is gone")
    if reading is None:
        return Verdict(Life.UNKNOWN, "it was not asked yet")
    if sight.reading_age > health.stale_after:
        return Verdict(Life.UNKNOWN, f"what is known of it is {sight.reading_age:.0f} s old")
    if reading.error and not reading.refused:
        return _silent(sight, reading.error, health)
    if ailments := list(_ailments(sight, others, settings)):
        return Verdict(Life.UNHEALTHY, "; ".join(ailments))
    if deaf := [proxy for proxy in sight.proxies if not proxy.up and proxy.check not in _NOT_CHECKED]:
        said = ", ".join(f"proxy {proxy.proxy} hears nothing ({proxy.check})" for proxy in deaf)
        return Verdict(Life.DISPUTED, f"it answers the prober, but {said}")
    return Verdict(Life.HEALTHY, "it answers")


def _silent(sight: NodeSight, error: str, health: Health) -> Verdict:
    if hearing := [str(proxy.proxy) for proxy in sight.proxies if proxy.up]:
        return Verdict(Life.DISPUTED, f"the prober hears nothing ({error}), but proxy {', '.join(hearing)} does")
    if sight.silent_for < health.dead_after:
        return Verdict(Life.UNKNOWN, f"no answer for {sight.silent_for:.0f} s ({error})")
    if not sight.proxies:
        return Verdict(Life.UNKNOWN, f"the prober hears nothing ({error}) and no proxy could be asked")
    return Verdict(Life.DEAD, f"silent to the prober and to every proxy for {sight.silent_for:.0f} s ({error})")


def _ailments(sight: NodeSight, others: Peers, settings: Settings) -> Iterator[str]:
    """What is wrong with a node that answers, each in words."""
    reading, health = sight.reading, settings.health
    assert reading is not None
    if reading.error:
        yield f"it answers with an error: {reading.error}"
        return
    if sight.node.state in _OURS and not sight.node.proved:
        yield f"it could not be proved since it was started ({sight.node.failure or 'it is being tried'})"
    latency = reading.latency or 0.0
    if latency > health.slow_after and latency > SLOWER_THAN_MOST * others.latency:
        yield f"it answers after {latency:.1f} s, most others after {others.latency:.2g} s"
    if sight.tls_error:
        yield sight.tls_error
    if sight.proof_error:
        yield sight.proof_error
    if sight.strays:
        yield f"it gives out ids that are not of its slot: {', '.join(map(str, sight.strays[:3]))}"
    if sight.free_bytes is not None and sight.free_bytes < _reserve(sight.disk_bytes, health):
        left = f"{sight.free_bytes // 2**20} MB of {sight.disk_bytes // 2**20} are left"
        yield f"the disk of its spool is nearly full, {left}: make room there"
    if sight.stuck_for >= health.stuck_after:
        yield f"a job has waited for {sight.stuck_for:.0f} s in an idle queue"
    yield from queue_faults(sight, others, settings)


def _reserve(disk: int, health: Health) -> float:
    return min(health.spool_reserve_mb * 2**20, SMALL_DISK_SHARE * disk)


def queue_faults(sight: NodeSight, others: Peers, settings: Settings) -> Iterator[str]:
    """Queues that don't run on this node while they do on another: then it is not the printer that is at fault."""
    here = {queue.name.lower(): queue for queue in sight.reading.queues} if sight.reading else {}
    for printer in settings.printers:
        queue = here.get(printer.name.lower())
        if others.running.get(printer.name.lower()) and not (queue and (_runs(queue) or printer_faults(queue))):
            yield f"the queue {printer.name} {_standing(queue)} here and runs elsewhere"


def printer_faults(queue: QueueReading) -> tuple[str, ...]:
    """What a queue's server says is wrong with the printer: no paper, a jam. No node is to blame for it."""
    return tuple(reason for reason in queue.state_reasons if _PRINTER_FAULT.fullmatch(reason))


def _runs(queue: QueueReading) -> bool:
    return not queue.stopped and queue.accepting


def _standing(queue: QueueReading | None) -> str:
    if queue is None:
        return "is missing"
    return "is stopped" if queue.stopped else "takes no jobs"
