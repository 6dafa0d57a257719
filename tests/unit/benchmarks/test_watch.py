"""What a campaign's watch makes of a proxy's log and of the ends of processes."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.faults import Fault
from benchmarks.site import Site
from benchmarks.verdict import Death, Told
from benchmarks.watch import Watch, cuts, violent
from tests.process.fleet import Fleet

DEATH = Death("node-1", at=100.0, wall=1000.0, lag=0.1, pid=77)
KILLED = Fault("node killed", ("node-1",), begun=99.95, ended=100.0, pid=77)


def watch() -> Watch:
    return Watch(Site(Fleet(Path("nowhere"), 0, {}), random.Random(1)))


def line(client: str, server: str, status: int = 503) -> bytes:
    request = (
        f'{client} user="demo" op=0002 slot=- {server} status={status} ms=0/0/1/14/15 bytes=900/300 ---- retries=0'
    )
    return f'{request} POST "/printers/office" why=""\n'.encode()


def test_the_log_says_where_a_client_s_failed_request_went() -> None:
    seen, started = watch(), time.monotonic()
    text = line("127.0.1.1", "pool/n3") + line("127.0.1.2", "owner/n4") + line("::ffff:127.0.1.1", "owner/n5")
    text += line("127.0.1.1", "whole/service") + line("127.0.1.1", "pool/n6", 200)
    seen._read(text[:90])
    seen._read(text[90:])
    failed = Told("1-1", "demo", started, time.monotonic(), status=503)
    before, well = replace(failed, ended=started - 5, started=started - 6), replace(failed, accepted=True)
    seen.follow([before, failed], 0)
    seen.follow([well], 0)
    assert (failed.sent_to, before.sent_to, well.sent_to) == (frozenset({3, 5}), frozenset(), frozenset())


def test_a_line_is_about_no_request_that_was_over_before() -> None:
    seen = watch()
    seen._read(line("127.0.1.1", "pool/n3", -1))
    now = time.monotonic()
    cut, following = Told("1-1", "demo", now - 0.8, now - 0.7), Told("1-2", "demo", now - 0.1, now)
    seen.follow([cut, following], 0)
    assert (cut.sent_to, following.sent_to) == (frozenset(), frozenset({3}))


def test_a_node_that_ends_without_a_fault_excuses_nothing() -> None:
    assert violent([DEATH], [KILLED], {"node-1": 1}) == [replace(DEATH, slot=1)]
    assert violent([DEATH], [], {"node-1": 1}) == []
    assert violent([replace(DEATH, orderly=True)], [KILLED], {"node-1": 1}) == []
    for other in ({"pid": 78}, {"kind": "disk full"}, {"begun": 150.0}, {"begun": 20.0, "ended": 20.0}):
        assert violent([DEATH], [replace(KILLED, **other)], {"node-1": 1}) == []


def test_a_node_that_was_stopped_until_it_died_was_mute_since() -> None:
    stopped = replace(KILLED, kind="node stopped", begun=88.0, ended=110.0)
    (death,) = violent([DEATH], [stopped], {"node-1": 1})
    assert (death.lag, death.mute) == (0.1, 12.0)
    (death,) = violent([DEATH], [replace(stopped, ended=95.0)], {"node-1": 1})
    assert death.mute == 0.0
    assert violent([DEATH], [replace(stopped, begun=60.0, ended=70.0)], {"node-1": 1}) == []


def test_a_node_that_the_proxy_can_t_reach_is_known_by_its_slot() -> None:
    cut = replace(KILLED, kind="proxy cut off from one")
    assert cuts([KILLED, cut], {"node-1": 4}) == [(4, 99.95, 100.0)]
