"""What a campaign's watch makes of a proxy's log and of the ends of processes."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.faults import Fault, Site
from benchmarks.verdict import Death, Told
from benchmarks.watch import Watch, cuts, violent
from tests.process.fleet import Fleet

DEATH = Death("node-1", at=100.0, wall=1000.0, lag=0.1)
KILLED = Fault("node killed", ("node-1",), begun=99.9, ended=100.0)


def watch() -> Watch:
    return Watch(Site(Fleet(Path("nowhere"), 0, {}), random.Random(1)))


def line(client: str, server: str) -> bytes:
    request = f'{client} user="demo" op=0002 slot=- {server} status=200 ms=0/0/1/14/15 bytes=900/300 ---- retries=0'
    return f'{request} POST "/printers/office" why=""\n'.encode()


def test_the_log_says_where_a_client_s_failed_request_went() -> None:
    seen, started = watch(), time.monotonic()
    text = line("127.0.1.1", "pool/n3") + line("127.0.1.2", "owner/n4") + line("::ffff:127.0.1.1", "owner/n5")
    text += line("127.0.1.1", "whole/service")
    seen._read(text[:90])
    seen._read(text[90:])
    failed = Told("1-1", "demo", started, time.monotonic())
    before, well = replace(failed, ended=started - 5, started=started - 6), replace(failed, accepted=True)
    seen.follow([failed, before, well], 0)
    assert (failed.sent_to, before.sent_to, well.sent_to) == (frozenset({3, 5}), frozenset(), frozenset())


def test_a_node_that_ends_without_a_fault_excuses_nothing() -> None:
    assert violent([DEATH], [KILLED], {"node-1": 1}) == [replace(DEATH, slot=1)]
    assert violent([DEATH], [], {"node-1": 1}) == []
    for other in ({"nodes": ("node-2",)}, {"kind": "node retired"}, {"begun": 150.0}, {"begun": 20.0, "ended": 20.0}):
        assert violent([DEATH], [replace(KILLED, **other)], {"node-1": 1}) == []


def test_a_stopped_node_counts_as_dead_since_then() -> None:
    stopped = replace(KILLED, kind="node stopped", begun=88.0)
    assert [death.lag for death in violent([DEATH], [stopped], {"node-1": 1})] == [12.0]


def test_a_node_that_the_proxy_can_t_reach_is_known_by_its_slot() -> None:
    cut = replace(KILLED, kind="proxy cut off from one")
    assert cuts([KILLED, cut], {"node-1": 4}) == [(4, 99.9, 100.0)]
