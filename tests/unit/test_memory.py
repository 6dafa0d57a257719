"""What is remembered between two looks."""

from __future__ import annotations

from dataclasses import replace

from controller.config import Health
from controller.decide.health import Life
from controller.memory import Memory
from controller.snapshot import Node, NodeState, ProxySight
from probes.reading import Reading
from tests.builders import job, queue, reading

NODE = Node("node-1", 1, "process", "127.0.0.1", 6001, state=NodeState.READY)
SILENCE = reading("node-1", error="timed out")


class Watch:
    """A memory, and a clock that moves a second with each look."""

    def __init__(self) -> None:
        self.now = 100.0
        self.memory = Memory((NODE.state, NODE.since), self.now, tls_due=self.now + 7)

    def see(self, seen: Reading | None, node: Node = NODE, *, gap: float = 1.0, errors: int = 0, obeyed: bool = True):
        self.now += gap
        proxies = (ProxySight(1, True, 0, "L7OK", errors),)
        limit = min(gap, Health().stale_after)
        self.memory.see(
            node, seen, proxies, now=self.now, looked_for=limit, obeyed=obeyed, health=Health(tls_interval=30.0)
        )
        return self.memory


def test_silence_grows_with_each_look_and_ends_with_an_answer() -> None:
    watch = Watch()
    assert [watch.see(SILENCE).silent_for for _ in range(3)] == [1.0, 2.0, 3.0]
    assert watch.see(reading("node-1")).silent_for == 0.0


def test_time_in_which_nobody_looked_is_no_silence() -> None:
    assert Watch().see(SILENCE, gap=3600.0).silent_for == Health().stale_after


def test_a_new_start_is_a_new_chance() -> None:
    watch = Watch()
    for _ in range(20):
        watch.see(SILENCE)
    assert watch.see(SILENCE, replace(NODE, state=NodeState.DEAD, since=1.0)).silent_for == 21.0
    watch.memory.outdated, watch.memory.tls_error = True, "over TLS: broken"
    started = watch.see(SILENCE, replace(NODE, state=NodeState.STARTING, since=2.0))
    assert (started.silent_for, started.outdated, started.tls_error) == (1.0, False, "")


def test_idle_readings_are_fresh_and_in_a_row() -> None:
    watch = Watch()
    assert [watch.see(reading("node-1")).idle_readings for _ in range(2)] == [1, 2]
    assert watch.see(reading("node-1", jobs=1)).idle_readings == 0
    assert watch.see(reading("node-1")).idle_readings == 1
    assert watch.see(SILENCE).idle_readings == 0
    assert watch.see(reading("node-1"), obeyed=False).idle_readings == 0
    watch.see(reading("node-1"))
    assert watch.see(reading("node-1"), replace(NODE, state=NodeState.DRAINING)).idle_readings == 1


def test_good_and_bad_answers_are_counted_in_a_row() -> None:
    watch = Watch()
    for life, bad, good in (
        (Life.UNHEALTHY, 1, 0),
        (Life.UNHEALTHY, 2, 0),
        (Life.HEALTHY, 0, 1),
        (Life.DISPUTED, 0, 2),
    ):
        watch.see(reading("node-1")).count(life)
        assert (watch.memory.bad_readings, watch.memory.good_readings) == (bad, good)


def test_silence_between_is_neither_good_nor_bad() -> None:
    watch = Watch()
    watch.see(reading("node-1")).count(Life.UNHEALTHY)
    watch.see(SILENCE).count(Life.UNKNOWN)
    assert watch.memory.bad_readings == 1
    watch.see(reading("node-1")).count(Life.HEALTHY)
    watch.see(SILENCE).count(Life.UNKNOWN)
    assert (watch.memory.bad_readings, watch.memory.good_readings) == (0, 0)


class TestStuck:
    def waiting(self, state: int = 3, of_job: int = 3) -> Reading:
        return replace(reading("node-1", queues=(queue(state=state),)), jobs=(replace(job(1), state=of_job),))

    def test_a_job_that_waits_in_an_idle_queue(self) -> None:
        watch = Watch()
        assert [watch.see(self.waiting()).stuck_for(watch.now) for _ in range(3)] == [0.0, 1.0, 2.0]

    def test_it_is_forgotten_when_the_queue_works_or_the_job_is_held(self) -> None:
        for other in (self.waiting(state=4), self.waiting(state=5), self.waiting(of_job=4), reading("node-1")):
            watch = Watch()
            watch.see(self.waiting())
            watch.see(other)
            assert watch.see(self.waiting()).stuck_for(watch.now) == 0.0

    def test_a_busy_queue_has_other_jobs_each_time(self) -> None:
        watch = Watch()
        for number in range(9):
            seen = replace(reading("node-1"), jobs=(job(number),))
            assert watch.see(seen).stuck_for(watch.now) == 0.0


def test_the_job_that_prints_for_longest() -> None:
    watch = Watch()
    assert watch.see(reading("node-1", jobs=2)).longest_print(watch.now) == (0, 0.0)
    for printing in ((2,), (1, 2), (1, 2)):
        jobs = tuple(replace(job(number), state=5) for number in printing)
        watch.see(replace(reading("node-1"), jobs=jobs))
    assert watch.memory.longest_print(watch.now) == (1_000_003, 2.0)


class TestTls:
    def test_it_is_asked_again_after_the_interval(self) -> None:
        watch = Watch()
        assert watch.see(reading("node-1")).tls_due == 107.0
        assert watch.see(reading("node-1", tls_error="")).tls_due == watch.now + 30.0

    def test_one_that_failed_is_asked_at_every_look(self) -> None:
        watch = Watch()
        assert watch.see(reading("node-1", tls_error="over TLS: broken")).tls_due == watch.now
        assert watch.see(SILENCE).tls_error == "over TLS: broken"
        assert watch.see(reading("node-1", tls_error="")).tls_error == ""

    def test_a_connection_that_failed_at_a_proxy_is_a_reason_to_ask_at_once(self) -> None:
        watch = Watch()
        assert watch.see(reading("node-1"), errors=5).tls_due == 107.0  # they may be of long ago
        assert watch.see(reading("node-1"), errors=6).tls_due == watch.now
        watch.see(reading("node-1", tls_error=""), errors=6)
        assert watch.see(reading("node-1"), errors=0).tls_due == watch.now + 29.0  # the proxy was reloaded


def test_a_job_whose_id_is_not_of_the_slot_is_noticed_as_long_as_it_is_open() -> None:
    watch = Watch()
    strange = replace(reading("node-1"), jobs=(job(0), replace(job(0), id=41)))
    assert watch.see(reading("node-1", jobs=3)).strays == frozenset()
    assert watch.see(strange).strays == {41}
    assert watch.see(SILENCE).strays == {41}
    assert watch.see(reading("node-1", jobs=3)).strays == frozenset()


def test_what_somebody_elses_server_had_before_is_no_stray() -> None:
    watch, theirs = Watch(), replace(NODE, driver="existing")
    jobs = tuple(replace(job(0), id=number) for number in (41, 42))
    assert watch.see(replace(reading("node-1"), jobs=jobs[:1]), theirs).strays == frozenset()
    assert watch.see(replace(reading("node-1"), jobs=jobs), theirs).strays == {42}
