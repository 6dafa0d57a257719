"""What of the open jobs is work, and how many nodes are asked for by measured times."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import time

import pytest

from controller.config import Scaling
from controller.decide.backlog import backlog
from controller.decide.policies import Fleet, forecast, steady_nodes, wait_target, worth
from controller.jobs.demand import demands, measure
from controller.jobs.table import Job, JobTable
from controller.snapshot import Backlog, Demand, Load, QueueWork
from controller.store import Store
from tests.builders import job, queue, reading, sight
from tests.unit.decide.loads import KNOWN, loaded, orders, plan, with_scaling


@pytest.fixture
def store(tmp_path: Path):
    store = Store(tmp_path / "cupsfleet.db", create=True)
    yield store
    store.close()


class TestBacklog:
    def test_jobs_that_can_print_are_work(self) -> None:
        found = backlog(reading("node-1", jobs=3), {"office": 7.0})
        assert found is not None
        assert (found.jobs, found.seconds, found.stuck) == (3, 21.0, 0)

    def test_held_and_stopped_jobs_are_not(self) -> None:
        jobs = [replace(job(0), state=4), replace(job(1), state=6), job(2)]
        assert backlog(replace(reading("node-1"), jobs=tuple(jobs)), {}) == Backlog((QueueWork("office", 1, 5.0),), 2)

    @pytest.mark.parametrize("blocked", [queue(state=5), queue(state=4, reasons=("media-empty-error",))])
    def test_nor_is_what_waits_for_paper_or_stands_in_a_stopped_queue(self, blocked) -> None:
        assert backlog(reading("node-1", jobs=3, queues=(blocked,)), {}) == Backlog((), 3, frozenset({"office"}), 15.0)

    @pytest.mark.parametrize(("seconds", "stands"), [(0.0, False), (29.0, False), (30.0, True), (1800.0, True)])
    def test_a_printer_that_is_off_stands_still(self, seconds, stands) -> None:
        """CUPS says it at the begin of each job as well, for a moment; only that it lasts tells both apart."""
        jobs = (replace(job(0), state=5), job(1))
        connects = queue(state=4, reasons=("connecting-to-device",))
        found = backlog(reading("node-1", jobs=0, queues=(connects,)), {})
        assert found == Backlog()
        read = replace(reading("node-1", queues=(connects,)), jobs=jobs)
        found = backlog(read, {"office": 2.0}, {jobs[0].id: seconds})
        assert found is not None
        assert (found.jobs, found.stuck, found.standing) == (
            (0, 2, frozenset({"office"})) if stands else (2, 0, frozenset())
        )
        assert found.seconds + found.blocked == max(2.0, seconds) + 2.0

    @pytest.mark.parametrize("more", [0, 9, 29])
    def test_jobs_for_a_printer_that_is_off_order_no_node(self, more) -> None:
        connects = queue(state=4, reasons=("connecting-to-device",))
        jobs = (replace(job(0), state=5), *map(job, range(1, more + 1)))
        found = backlog(replace(reading("node-1", queues=(connects,)), jobs=jobs), {}, {jobs[0].id: 1800.0})
        load = replace(KNOWN, demands=(Demand("office", 0.1, 0.1, 5.0),), start_up=2.0)
        off = [sight(slot, backlog=found) for slot in (1, 2)]
        assert orders(plan(*off, load=load, settings=with_scaling(policy="wait-target"))) == 0

    def test_one_that_has_printed_for_long_goes_on_for_as_long_again(self) -> None:
        jobs = (replace(job(0), state=5), job(1))
        found = backlog(replace(reading("node-1"), jobs=jobs), {"office": 7.0}, {jobs[0].id: 100.0})
        assert found == Backlog((QueueWork("office", 2, 107.0, current=100.0),))

    @pytest.mark.parametrize("blocked", [queue(state=5), queue(state=4, reasons=("media-empty-error",))])
    def test_what_comes_for_a_printer_that_stands_still_everywhere_is_no_reason(self, blocked, store) -> None:
        """Sixty jobs in a minute, and none of them can print before somebody looks after the printer."""
        now = int(time())
        with store.transaction():
            JobTable(store).put(Job(f"u{n}", n, "node-1", "office", "a", created=now - 50 + n) for n in range(50))
        load = replace(KNOWN, demands=demands(store), start_up=2.0)
        assert load.demands[0].latest > 0
        stuck = [sight(slot, reading=reading(f"node-{slot}", jobs=30, queues=(blocked,))) for slot in (1, 2)]
        settings = with_scaling(policy="wait-target")
        found = plan(*stuck, load=load, settings=settings)
        assert (found.scale.wanted, orders(found)) == (2, 0)
        assert any("stands still on every server" in one.value for one in found.scale.inputs)
        assert orders(plan(stuck[0], loaded(2, 30), load=load, settings=settings)) > 0, "on one node it prints"

    def test_silence_is_not_emptiness(self) -> None:
        assert backlog(reading("node-1", error="refused"), {}) is None
        assert backlog(None, {}) is None


class TestWaitTarget:
    SCALING = Scaling(policy="wait-target")
    NOW = 1.8e9

    def fleet(
        self, rate: float, service: float = 10.0, work: float = 0.0, start_up: float = 2.0, ready: int = 2
    ) -> Fleet:
        load = Load((Demand("office", rate, 2 * rate, service),), start_up=start_up)
        return Fleet(ready, ready, (Backlog((QueueWork("office", 1, work),)),), load)

    def test_a_steady_stream_gets_more_nodes_than_it_keeps_busy(self) -> None:
        assert 6 <= wait_target(self.fleet(rate=0.5), self.SCALING).nodes <= 8

    def test_erlang(self) -> None:
        """Ten servers, eight busy on average: 40.9 % of the arrivals wait (Erlang C, from tables)."""
        assert steady_nodes(8.0, 1.0, 1.0, 1e-9, 1 - 0.410) == 10
        assert steady_nodes(8.0, 1.0, 1.0, 1e-9, 1 - 0.408) == 11

    def test_work_that_waits_is_begun_within_the_target(self) -> None:
        """300 s of work; two nodes do 118 of it in 59 s, the two waits less half a start, new ones 57 each."""
        assert wait_target(self.fleet(rate=0.0, work=300.0), self.SCALING).nodes == 2 + 4

    def test_between_what_orders_a_node_and_what_lets_one_go_nothing_changes(self) -> None:
        """Three nodes would do 81 s of work soon enough, and four 236."""

        def nodes(work: float) -> int:
            fleet = Fleet(4, 4, self.fleet(rate=0.0, work=work).backlogs, self.fleet(rate=0.0).load)
            return wait_target(fleet, self.SCALING).nodes

        assert [nodes(work) for work in (81.0, 82.0, 200.0, 236.0, 237.0)] == [3, 4, 4, 4, 5]

    def test_queues_share_nodes_and_the_one_that_needs_most_counts(self) -> None:
        works = Backlog((QueueWork("office", 60, 300.0), QueueWork("lab", 1, 5.0), QueueWork("hall", 1, 5.0)))
        alone = Fleet(2, 2, (Backlog(works.work[:1]),), Load(start_up=2.0))
        together = Fleet(2, 2, (works,), Load(start_up=2.0))
        assert wait_target(together, self.SCALING) == wait_target(alone, self.SCALING)

    def test_a_job_without_end_takes_one_node_and_asks_for_no_second_one(self) -> None:
        endless = Backlog((QueueWork("office", 1, 5000.0, current=5000.0),))
        fleet = Fleet(2, 2, (endless, Backlog()), self.fleet(rate=0.0).load)
        assert wait_target(fleet, self.SCALING).nodes <= 2

    def test_a_job_that_prints_and_prints_where_none_ever_did_is_no_reason_for_another_node(self) -> None:
        """Two that hang at a printer which says nothing, in a queue whose jobs took half a second, or a new one."""
        hangs = (Backlog((QueueWork("office", 1, 200.0, current=200.0),)),) * 2

        def nodes(services: list[float], queue: str = "office") -> int:
            load = Load((measure(queue, [self.NOW - 200] * 2, services, self.NOW),), start_up=2.0)
            return wait_target(Fleet(2, 2, hangs, load), self.SCALING).nodes

        assert max(nodes([0.5] * 20), nodes([]), nodes([], "lab")) <= 2
        assert nodes([30.0] * 20) == 3, "here jobs are long at times, and the next one would wait"

    def test_a_few_quick_jobs_of_a_new_queue_ask_for_nothing(self) -> None:
        """As many as a handful of tests print, of which one stood still for a while."""
        arrivals = [self.NOW - 10 * number for number in range(30, 0, -1)]
        for services in ([], [0.5], [0.5] * 8 + [100.0], [0.1] * 4 + [60.0]):
            load = Load((measure("office", arrivals, services, self.NOW),), start_up=2.0)
            fleet = Fleet(2, 2, (Backlog((QueueWork("office", 2, 10.0, current=5.0),)), Backlog()), load)
            assert wait_target(fleet, self.SCALING).nodes <= 2, services

    def test_a_burst_is_taken_to_go_on_for_as_long_as_it_has_lasted(self) -> None:
        """Fifteen jobs that somebody sent at once, and none since: 75 s of work for two nodes, and no more to come."""
        arrivals = [self.NOW - 5 + number / 15 for number in range(15)]
        demand = measure("office", arrivals, [], self.NOW)
        fleet = Fleet(2, 2, (Backlog((QueueWork("office", 15, 75.0),)),), Load((demand,), start_up=2.0))
        assert wait_target(fleet, self.SCALING).nodes == 2
        lasts = replace(fleet, load=replace(fleet.load, demands=(replace(demand, burst=60.0),)))
        assert wait_target(lasts, self.SCALING).nodes > 2

    def test_where_jobs_wait_for_each_other_only_nodes_that_help_are_asked_for(self) -> None:
        fleet = self.fleet(rate=1.0, work=2000.0)
        (demand,) = fleet.load.demands
        shared = replace(fleet, load=replace(fleet.load, demands=(replace(demand, contention=0.5),)))
        ask = wait_target(shared, self.SCALING)
        assert (wait_target(fleet, self.SCALING).nodes > 20, ask.nodes) == (True, 2)
        assert "more than 2 would print hardly faster" in ask.reason
        assert "; each takes 50% longer for another one beside it" in self.told(0.5)
        assert "longer" not in self.told(0.004), "0% longer says nothing"

    def told(self, contention: float) -> str:
        """What is seen, as it is told, where jobs wait for each other."""
        (demand,) = self.fleet(rate=1.0, work=2000.0).load.demands
        load = Load((replace(demand, contention=contention),), start_up=2.0)
        return "".join(one.value for one in plan(loaded(1, 1), loaded(2, 1), load=load).scale.inputs)

    @pytest.mark.parametrize(("contention", "most"), [(0.0, 16), (0.1, 10), (0.2, 5), (0.5, 2), (0.9, 1), (1.0, 1)])
    def test_a_node_is_worth_a_quarter_of_one(self, contention, most) -> None:
        assert worth(16, contention) == most

    def test_where_a_start_takes_longer_than_the_target_headroom_is_kept_and_told(self) -> None:
        slow, fast = self.fleet(rate=0.2, start_up=120.0), self.fleet(rate=0.2)
        ask = wait_target(slow, self.SCALING)
        assert ask.nodes > wait_target(fast, self.SCALING).nodes
        assert "for a server takes 120 s to start" in ask.reason

    def test_a_node_goes_only_where_chance_would_not_order_it_again_while_it_goes(self) -> None:
        """Thirty jobs a minute of 10 s keep five nodes busy; in 2 s four more may come by chance, for which one has to
        work for 40 of the 59 s, and in 20 s ten."""

        def nodes(work: float, meant: int, start_up: float = 2.0) -> int:
            fleet = self.fleet(0.5, work=work, start_up=start_up, ready=meant)
            return wait_target(fleet, self.SCALING).nodes

        assert [nodes(work, meant=6) for work in (0.0, 59.0, 60.0)] == [6, 6, 7]
        assert [nodes(work, meant=7) for work in (0.0, 19.0, 20.0)] == [6, 6, 7]
        assert nodes(0.0, meant=7, start_up=20.0) == 7

    def test_a_queue_of_long_jobs_keeps_no_node_while_nothing_comes(self) -> None:
        assert wait_target(self.fleet(rate=0.0, service=900.0, start_up=60.0, ready=6), self.SCALING).nodes <= 1

    def test_of_a_steady_stream_only_what_can_not_be_had_in_time_is_kept(self) -> None:
        """Without a job that waits. Six nodes are enough for it by Erlang, of which four must be there where a start
        takes 20 s of the 30 that a job may wait, and one where it takes 2; five are busy with it anyway."""
        demand = Demand("office", 0.5, 0.5, 10.0)

        def kept(start_up: float) -> int:
            load = Load((demand,), start_up=start_up)
            return wait_target(Fleet(5, 5, (Backlog(),), load), self.SCALING).nodes

        assert [kept(start_up) for start_up in (0.0, 2.0, 20.0, 30.0)] == [6, 5, 5, 6]


class TestForecast:
    def ask(self, start_up: float, rate: float = 0.5) -> tuple[int, str]:
        load = Load((Demand("office", 0.0, 0.0, 10.0, forecast=rate),), start_up=start_up)
        found = forecast(Fleet(2, 2, (), load), Scaling())
        assert found is not None
        return found.nodes, found.reason

    def test_only_what_can_not_be_had_in_time_is_asked_for(self) -> None:
        """A minute's 30 jobs of 10 s need six nodes. In 2 s 12 s of work come, in 10 s 60, in 20 s 120: so much is done
        within 30 s by one, two and four."""
        assert [self.ask(start_up)[0] for start_up in (2.0, 10.0, 20.0, 30.0, 60.0)] == [1, 2, 4, 6, 6]

    def test_why_it_is_not_all_is_told(self) -> None:
        assert "of 6 servers that would do the others start in 10.0 s, in time when jobs come" in self.ask(10.0)[1]
        assert "would do" not in self.ask(60.0)[1]

    def test_where_no_start_was_measured_none_is_relied_on(self) -> None:
        assert self.ask(0.0)[0] == 6
