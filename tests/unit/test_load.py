"""What scaling knows beside the newest readings, and what is told of its decisions."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from controller.config import Scaling
from controller.decide import decide
from controller.diary import Diary, in_words, told
from controller.jobs.demand import WEEK, demands, measure, measured
from controller.jobs.table import Job, JobTable
from controller.load import LoadMemory, Wishes, start_up
from controller.snapshot import Node, NodeState, Wish
from controller.store import Store
from tests.builders import settings, sight, snapshot


@pytest.fixture
def store(tmp_path: Path):
    store = Store(tmp_path / "cupsfleet.db", create=True)
    yield store
    store.close()


def test_only_the_largest_wishes_are_kept_and_old_ones_go() -> None:
    wishes = Wishes()
    for at, nodes in ((0.0, 5), (10.0, 3), (20.0, 4), (30.0, 2)):
        wishes.add(at, nodes, certain=True)
    assert wishes.told(31.0, window=300) == (Wish(31.0, 5), Wish(11.0, 4), Wish(1.0, 2))
    assert wishes.told(31.0, window=20) == (Wish(11.0, 4), Wish(1.0, 2))
    assert wishes.known_for(31.0) == 31.0
    wishes.gap()
    assert wishes.known_for(31.0) == 0.0


def test_what_is_in_doubt_begins_no_history() -> None:
    wishes = Wishes()
    wishes.add(0.0, 2, certain=False)
    assert wishes.known_for(10.0) == 0.0


class TestDemand:
    NOW = 1.8e9

    def test_a_minute_that_was_busier_by_more_than_chance_is_told_apart(self) -> None:
        arrivals = [self.NOW - second for second in range(60, 0, -2)]
        found = measure("office", arrivals, [4.0, 8.0] * 99, self.NOW, believed=6.0)
        assert (found.rate, found.latest, found.burst, found.peak, found.service) == (0.1, 0.5, 58.0, 0.5, 6.0)
        assert found.variation == pytest.approx((198 * 40 + 2 * 72) / 200 / 36 - 1)
        usual = [self.NOW - second for second in range(290, 0, -10)] + [self.NOW - 1.5]
        assert measure("office", usual, [], self.NOW).latest == pytest.approx(0.1), "seven instead of six are chance"

    def test_what_is_believed_of_a_queue_has_the_weight_of_two_jobs(self) -> None:
        assert [measure("office", [], [0.5] * count, self.NOW).service for count in (0, 2, 18)] == [5.0, 2.75, 0.95]

    def test_a_new_queue_is_believed_to_print_as_the_others_do(self) -> None:
        times = {"office": [20.0] * 98, "hall": [30.0] * 98, "lab": [80.0] * 98, "new": [], "gone": [1.0]}
        found = {one.queue: one.service for one in measured(dict.fromkeys(("new", "office"), ()), times, self.NOW)}
        assert found == {"new": 25.0, "office": pytest.approx((98 * 20 + 2 * 30) / 100)}

    def test_one_that_waited_for_paper_counts_as_a_stray(self) -> None:
        assert measure("office", [], [5.0] * 99 + [1e6], self.NOW).service == pytest.approx((101 * 5 + 100) / 102)
        few = measure("office", [], [0.5] * 3 + [100.0], self.NOW)
        assert few.service == pytest.approx((2 * 5 + 1.5 + 20) / 6), "what is believed makes no stray likely"

    def test_how_long_one_may_print_is_known_from_those_that_have(self) -> None:
        assert [measure("office", [], [1.0] * count, self.NOW).longest for count in (0, 2, 18)] == [0.0, 10.0, 18.0]

    def test_the_same_hour_of_earlier_weeks_is_learned(self) -> None:
        last_week = [self.NOW - WEEK + second for second in range(900)]
        assert measure("office", last_week, [5.0], self.NOW).forecast == 1.0
        holiday = datetime.fromtimestamp(self.NOW - WEEK).astimezone().date()
        assert measure("office", last_week, [5.0], self.NOW, holidays=(holiday,)).forecast == 0.0

    def test_it_is_read_from_the_table_of_jobs(self, store, monkeypatch) -> None:
        monkeypatch.setattr("controller.jobs.demand.time.time", lambda: self.NOW)
        at = int(self.NOW) - 30
        jobs = [Job(f"u{n}", n, "node-1", "office", "a", state="completed", created=at) for n in range(12)]
        with store.transaction():
            JobTable(store).put([replace(job, processing=at + 1, completed=at + 8) for job in jobs])
            held = [replace(job, uuid=f"held{job.id}", state="held") for job in jobs]
            JobTable(store).put([*held, replace(jobs[0], uuid="gone", state="canceled")])
        (found,) = demands(store)
        assert (found.queue, found.rate, found.latest) == ("office", 0.04, 0.2)
        assert found.service == pytest.approx((12 * 7 + 2 * 5) / 14)

    def test_jobs_that_are_open_since_long_ask_for_what_their_queue_took(self, store, monkeypatch) -> None:
        monkeypatch.setattr("controller.jobs.demand.time.time", lambda: self.NOW)
        old = Job("u1", 1, "node-1", "office", "a", state="completed", created=5, processing=10, completed=50)
        with store.transaction():
            JobTable(store).put([old, replace(old, uuid="u2", id=2, state="held", processing=0, completed=0)])
        (found,) = demands(store)
        assert found.rate == 0.0
        assert found.service == pytest.approx((40 + 2 * 5) / 3)

    def test_jobs_that_wait_for_each_other_at_one_device_are_noticed(self, store, monkeypatch) -> None:
        """Two at a time on two nodes, and each takes twice as long as one that is alone."""
        monkeypatch.setattr("controller.jobs.demand.time.time", lambda: self.NOW)
        at = int(self.NOW) - 900
        alone = [(at + 20 * n, at + 20 * n + 5) for n in range(10)]
        beside = [(at + 300 + 10 * n, at + 310 + 10 * n) for n in range(10)] * 2
        with store.transaction():
            JobTable(store).put(
                Job(f"u{n}", n, "node-1", "office", "a", "", "completed", "", "", 1, 5, begin, begin, end)
                for n, (begin, end) in enumerate([*alone, *beside])
            )
        (found,) = demands(store)
        assert found.contention == pytest.approx(1.0)


def test_start_up_time_and_node_hours_are_measured(store, monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("controller.load.time.monotonic", lambda: clock[0])
    memory, node = LoadMemory(store), Node("node-1", 1, "process", "127.0.0.1", 6001)
    assert memory.look([node], 0.0, settings()).start_up == 0.0
    clock[0] += 3.0
    found = memory.look([replace(node, state=NodeState.READY)], 3.0, settings())
    assert found.start_up == 3.0
    assert found.node_hours == pytest.approx(3 / 3600)
    assert LoadMemory(store).look([], 0.0, settings()).start_up == 3.0, "a new controller knows it"
    assert (start_up(store, "process"), start_up(store, "docker")) == (3.0, 0.0)


def test_the_diary_keeps_what_changed_and_says_why_nothing_was_done(store) -> None:
    counted = settings().model_copy(update={"scaling": Scaling(policy="threshold")})
    diary, quiet = Diary(store), decide(snapshot(sight(1), sight(2)), counted)
    busy = decide(snapshot(sight(1, jobs=9), sight(2, jobs=9)), counted)
    with store.transaction():
        for plan in (quiet, quiet, busy):
            diary.keep(plan)
    newest, oldest = told(store, limit=10)
    said = "\n".join(in_words(newest))
    assert "asked   threshold: 5, for 18 open jobs for 2 servers, more than 4 each, which won" in said
    assert "done    order node-3" in said
    assert in_words(oldest)[-1] == "  done    nothing, for nodes.min is 2; 2 are meant to serve"
    assert told(store, 10, until=oldest["at"]) == [oldest]
