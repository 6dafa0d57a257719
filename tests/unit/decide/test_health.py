"""What is made of one look at a node, beside the others."""

from __future__ import annotations

import pytest

from controller.config import Health, Printer, Settings
from controller.decide.health import Life, Verdict, printer_faults, verdicts
from controller.snapshot import NodeSight, NodeState, ProxySight
from tests.builders import queue, reading, settings, sight, snapshot


def judged(seen: NodeSight, *others: NodeSight) -> Verdict:
    return verdicts(snapshot(seen, *(others or (sight(2), sight(3)))), settings())[seen.node.name]


def saw(**values) -> NodeSight:
    """Node 1 with a reading that says so."""
    return sight(1, reading=reading("node-1", **values))


@pytest.mark.parametrize(
    ("seen", "life", "why"),
    [
        (sight(1), Life.HEALTHY, "it answers"),
        (sight(1, alive=False), Life.DEAD, "process is gone"),
        (sight(1, reading=None), Life.UNKNOWN, "not asked yet"),
        (sight(1, reading_age=9.1), Life.UNKNOWN, "9 s old"),
        (sight(1, reading_age=8.9), Life.HEALTHY, "it answers"),
        (sight(1, error="timed out", up=False, silent_for=9.0), Life.UNKNOWN, "no answer for 9 s"),
        (sight(1, error="timed out", up=False, silent_for=11.0), Life.DEAD, "silent to the prober and to every proxy"),
        (sight(1, error="timed out", proxies=(), silent_for=600.0), Life.UNKNOWN, "no proxy could be asked"),
        (sight(1, error="timed out", up=True, silent_for=600.0), Life.DISPUTED, "but proxy 1 does"),
        (sight(1, up=False), Life.DISPUTED, "proxy 1 hears nothing (L4TOUT)"),
        (sight(1, proxies=(ProxySight(1, False, 0, ""),)), Life.HEALTHY, "it answers"),
        (saw(error="refuses with 0x0500", refused=True), Life.UNHEALTHY, "answers with an error"),
        (saw(latency=1.1), Life.UNHEALTHY, "after 1.1 s, most others after 0.01 s"),
        (saw(latency=0.9), Life.HEALTHY, "it answers"),
        (sight(1, tls_error="over TLS: broken"), Life.UNHEALTHY, "over TLS: broken"),
        (sight(1, strays=(41,)), Life.UNHEALTHY, "gives out ids that are not of its slot: 41"),
        (sight(1, proof_error="it did not print a proof"), Life.UNHEALTHY, "it did not print a proof"),
        (sight(1, stuck_for=120.0), Life.UNHEALTHY, "waited for 120 s in an idle queue"),
        (sight(1, stuck_for=119.0), Life.HEALTHY, "it answers"),
        (saw(queues=()), Life.UNHEALTHY, "the queue office is missing here and runs elsewhere"),
        (saw(queues=(queue(state=5, reasons=("paused",)),)), Life.UNHEALTHY, "office is stopped here"),
        (saw(queues=(queue(accepting=False),)), Life.UNHEALTHY, "office takes no jobs here"),
        (saw(queues=(queue("Office"),)), Life.HEALTHY, "it answers"),
        (saw(queues=(queue(), queue("theirs", state=5))), Life.HEALTHY, "it answers"),
    ],
)
def test_one_look(seen: NodeSight, life: Life, why: str) -> None:
    verdict = judged(seen)
    assert verdict.life is life
    assert why in verdict.reason


MEGABYTE = 2**20


@pytest.mark.parametrize(
    ("free", "size", "life"),
    [
        (63, 100_000, Life.UNHEALTHY),
        (64, 100_000, Life.HEALTHY),
        (2, 30, Life.UNHEALTHY),
        (3, 30, Life.HEALTHY),
        (0, 30, Life.UNHEALTHY),
    ],
)
def test_a_disk_that_is_nearly_full_is_bad_whatever_its_size(free: int, size: int, life: Life) -> None:
    seen = sight(1, free_bytes=free * MEGABYTE, disk_bytes=size * MEGABYTE)
    assert judged(seen).life is life


def test_the_reserve_may_be_none() -> None:
    none = Settings(health=Health(spool_reserve_mb=0))
    seen = sight(1, free_bytes=0, disk_bytes=100)
    assert verdicts(snapshot(seen), none)["node-1"].life is Life.HEALTHY


def test_when_all_are_slow_none_is() -> None:
    slow = [sight(slot, reading=reading(f"node-{slot}", latency=2.0)) for slot in (2, 3)]
    assert judged(saw(latency=2.5), *slow).life is Life.HEALTHY


def test_all_ailments_are_named() -> None:
    seen = sight(1, tls_error="over TLS: broken", reading=reading("node-1", latency=2.0, queues=()))
    assert judged(seen).reason.count(";") == 2


@pytest.mark.parametrize(
    "reason", ["media-empty-warning", "media-jam", "offline-report", "door-open-error", "toner-empty", "shutdown"]
)
def test_a_printer_that_stopped_is_no_unhealthy_node(reason: str) -> None:
    stopped = queue(state=5, reasons=(reason,))
    assert printer_faults(stopped) == (reason,)
    assert judged(saw(queues=(stopped,))).life is Life.HEALTHY


@pytest.mark.parametrize(
    "reason", ["paused", "toner-low-report", "connecting-to-device", "cups-missing-filter-warning"]
)
def test_what_stops_no_printer_is_no_fault_of_it(reason: str) -> None:
    assert printer_faults(queue(reasons=(reason,))) == ()


def test_a_queue_that_is_stopped_everywhere_is_no_nodes_fault() -> None:
    stopped = (queue(state=5, reasons=("paused",)),)
    others = [sight(slot, reading=reading(f"node-{slot}", queues=stopped)) for slot in (2, 3)]
    assert judged(saw(queues=stopped), *others).life is Life.HEALTHY


def test_a_node_that_does_not_serve_is_no_measure() -> None:
    coming = [sight(slot, NodeState.PROVING) for slot in (2, 3)]
    assert judged(saw(queues=()), *coming).life is Life.HEALTHY


def test_a_printer_that_some_servers_lack_is_that_of_the_configuration() -> None:
    two = Settings(printers=(Printer(name="office", device="virtual"), Printer(name="lab", device="virtual")))
    lacking, having = sight(1), sight(2, reading=reading("node-2", queues=(queue(), queue("lab"))))
    found = verdicts(snapshot(lacking, having), two)
    assert (found["node-1"].life, found["node-2"].life) == (Life.UNHEALTHY, Life.HEALTHY)
