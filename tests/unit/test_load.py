"""What scaling knows beside the newest readings, and what is told of its decisions."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import pytest

from controller.config import Scaling
from controller.decide import decide
from controller.diary import Diary, in_words, told
from controller.jobs.demand import Calendar, demands, measure, measured, weeks_before
from controller.jobs.table import Job, JobTable
from controller.load import STARTS, LoadMemory, Wishes, start_up
from controller.plan import Ask, Plan, Scale
from controller.simulate.trace import Arrival
from controller.simulate.world import World
from controller.snapshot import Backlog, Load, Node, NodeState, QueueWork, Wish
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


def test_a_longer_window_finds_what_a_shorter_one_left_out() -> None:
    """A reload may raise `cool_down`; what is told must be known for as long as is said."""
    wishes = Wishes()
    for at, nodes in ((0.0, 5), (100.0, 3)):
        wishes.add(at, nodes, certain=True)
    assert wishes.told(100.0, window=20) == (Wish(0.0, 3),)
    assert wishes.told(100.0, window=300) == (Wish(100.0, 5), Wish(0.0, 3))


def test_what_is_in_doubt_begins_no_history() -> None:
    wishes = Wishes()
    wishes.add(0.0, 2, certain=False)
    assert wishes.known_for(10.0) == 0.0


class TestDemand:
    NOW = 1.8e9

    def test_a_minute_that_was_busier_by_more_than_chance_is_told_apart(self) -> None:
        arrivals = [self.NOW - second for second in range(60, 0, -2)]
        found = measure("office", arrivals, [4.0, 8.0] * 99, self.NOW, believed=6.0)
        assert (found.rate, found.burst, found.peak, found.service) == (0.1, 58.0, 0.5, 6.0)
        assert found.latest == pytest.approx((30 - 30**0.5) / 60)
        assert found.variation == pytest.approx((198 * 40 + 2 * 72) / 200 / 36 - 1)
        usual = [self.NOW - second for second in range(290, 0, -10)] + [self.NOW - 1.5]
        assert measure("office", usual, [], self.NOW).latest == pytest.approx(0.1), "one more than six is chance"

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

    def bursts(self, *moments: float, seconds: int = 300) -> list[float]:
        """A job a second, from each of these on."""
        return sorted(moment + second for moment in moments for second in range(seconds))

    def forecast(self, arrivals: list[float], now: float = NOW, **known) -> float:
        return measure("office", arrivals, [5.0], now, **known).forecast

    def test_what_came_at_this_time_of_two_earlier_weeks_is_expected_again(self) -> None:
        newest, older, *_ = weeks_before(self.NOW)
        both = self.bursts(newest, older)
        assert self.forecast(both) == 1.0, "of lectures' five minutes, not of the quarter of an hour around"
        assert self.forecast(self.bursts(newest)) == 0.0, "what came once is not"
        holiday = datetime.fromtimestamp(older).astimezone().date()
        assert self.forecast(both, calendar=Calendar(holidays=(holiday,))) == 0.0

    @pytest.mark.parametrize(("start_up", "ahead", "expected"), [(2, 60, 1.0), (2, 400, 0.0), (200, 400, 1.0)])
    def test_it_is_asked_for_early_enough_to_start_nodes_and_no_earlier(self, start_up, ahead, expected) -> None:
        learned = self.bursts(*(week + ahead for week in weeks_before(self.NOW)))
        assert self.forecast(learned, start_up=start_up) == expected

    @pytest.mark.parametrize("day", ["2027-03-29", "2027-11-01"])
    def test_weeks_follow_the_clock_on_the_wall(self, day, monkeypatch) -> None:
        """Both are Mondays after a change of the clocks: lectures begin at nine in March and in April."""
        monkeypatch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        try:
            nine = datetime.fromisoformat(f"{day}T09:00").astimezone()
            earlier = [nine.replace(tzinfo=None) - timedelta(weeks=n) for n in (4, 3, 2, 1)]
            learned = self.bursts(*(moment.timestamp() for moment in earlier))
            assert self.forecast(learned, nine.timestamp()) == 1.0
            assert [self.forecast(learned, nine.timestamp() + off) for off in (-3600, 3600)] == [0.0, 0.0]
            assert self.simulated(learned, nine.timestamp()) == 1.0
        finally:
            monkeypatch.undo()
            time.tzset()

    @pytest.mark.parametrize("day", ["2027-03-29", "2027-11-01"])
    def test_or_the_clock_of_another_place(self, day) -> None:
        calendar = Calendar(ZoneInfo("Europe/Berlin"))
        nine = datetime.fromisoformat(f"{day}T09:00").replace(tzinfo=calendar.zone)
        learned = self.bursts(*((nine - timedelta(weeks=n)).timestamp() for n in (4, 3, 2, 1)))
        around = [self.forecast(learned, nine.timestamp() + off, calendar=calendar) for off in (-3600, 0, 3600)]
        assert around == [0.0, 1.0, 0.0]
        assert self.simulated(learned, nine.timestamp(), time_zone="Europe/Berlin") == 1.0

    def simulated(self, arrivals: list[float], now: float, **scaling) -> float:
        """The same in a simulation."""
        there = settings().model_copy(update={"scaling": Scaling(**scaling)})
        world = World(there, [Arrival(at, "office", 1.0) for at in (*arrivals, now)], 2.0, now)
        world.run()
        world.now, world._measured_at = now, float("-inf")
        return world.snapshot(there).load.demands[0].forecast

    def test_it_is_read_from_the_table_of_jobs(self, store, monkeypatch) -> None:
        monkeypatch.setattr("controller.jobs.demand.time.time", lambda: self.NOW)
        at = int(self.NOW) - 30
        jobs = [Job(f"u{n}", n, "node-1", "office", "a", state="completed", created=at) for n in range(12)]
        with store.transaction():
            JobTable(store).put([replace(job, processing=at + 1, completed=at + 8) for job in jobs])
            held = [replace(job, uuid=f"held{job.id}", state="held") for job in jobs]
            JobTable(store).put([*held, replace(jobs[0], uuid="gone", state="canceled")])
        (found,) = demands(store)
        assert (found.queue, found.rate, found.peak) == ("office", 0.04, 0.2)
        assert found.service == pytest.approx((12 * 7 + 2 * 5) / 14)

    def test_it_is_read_by_indexes(self, store) -> None:
        """It is asked for every five seconds; a year of jobs would be walked through in half a second."""
        asked: list[str] = []
        store._db.conn.set_trace_callback(asked.append)
        demands(store)
        store._db.conn.set_trace_callback(None)
        questions = [sql for sql in asked if sql.startswith("select") and " jobs" in sql]
        assert questions
        for sql in questions:
            steps = [row["detail"] for row in store.rows(f"explain query plan {sql}")]
            scans = [step for step in steps if step.startswith("SCAN jobs") and "USING INDEX jobs_open" not in step]
            assert not scans, sql

    def test_a_job_that_was_held_comes_when_it_is_released(self, store, monkeypatch) -> None:
        """As in a simulation. A hundred that were released at nine are nine o'clock's, not the night's."""
        monkeypatch.setattr("controller.jobs.demand.time.time", lambda: self.NOW)
        night, now = int(self.NOW) - 8 * 3600, int(self.NOW)
        job = Job("u", 1, "node-1", "office", "a", state="completed", created=night, processing=now, completed=now)
        with store.transaction():
            JobTable(store).put(replace(job, uuid=f"u{n}", id=n) for n in range(30))
            store.execute("update jobs set released = ?", [now - 60])
            JobTable(store).put([replace(job, uuid="later", created=now - 10)])
        (found,) = demands(store)
        assert found.rate == pytest.approx(31 / 300)
        monkeypatch.setattr("controller.jobs.demand.time.time", lambda: float(night + 60))
        assert demands(store) == ()

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


@pytest.mark.parametrize(("starts", "told"), [([2.0, 60.0], 60.0), ([*[2.0] * 9, 60.0], 2.0), ([2.0], 2.0), ([], 0.0)])
def test_nine_of_ten_starts_take_no_longer_than_is_told(store, starts, told) -> None:
    with store.transaction():
        store.put_fact(STARTS, {"process": starts})
    assert start_up(store, "process") == told


def test_times_of_day_are_those_of_the_zone_that_is_configured(store) -> None:
    far_east = settings().model_copy(update={"scaling": Scaling(time_zone="Pacific/Kiritimati")})
    local = LoadMemory(store).look([], 0.0, far_east).local
    assert local is not None
    assert local.utcoffset() == timedelta(hours=14)


def test_wishes_are_kept_for_as_long_as_they_count(store, monkeypatch) -> None:
    """A start takes longer than the cool-down, so that is what the cool-down lasts."""
    clock = [1000.0]
    monkeypatch.setattr("controller.load.time.monotonic", lambda: clock[0])
    hasty = settings().model_copy(update={"scaling": Scaling(cool_down=20)})
    with store.transaction():
        store.put_fact(STARTS, {"process": [100.0]})
    memory = LoadMemory(store)
    memory.decided(Scale(5, 5, "", wanted=5, certain=True))
    clock[0] += 90.0
    assert memory.look([], 1.0, hasty).wishes == (Wish(90.0, 5),)


def test_a_clock_that_is_set_to_tomorrow_and_back_gives_no_budget_anew(store, monkeypatch) -> None:
    node, found = Node("node-1", 1, "process", "127.0.0.1", 6001, state=NodeState.READY), []
    for day in (4, 4, 5, 4, 5, 6):
        moment = datetime(2027, 1, day, 12, tzinfo=UTC)
        monkeypatch.setattr("controller.load.datetime", Mock(now=Mock(return_value=moment)))
        memory = LoadMemory(store)
        found.append(memory.look([node], 3600.0, settings()).node_hours)
        with store.transaction():
            memory.keep()
    assert found == [1.0, 2.0, 1.0, 3.0, 2.0, 1.0]


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
    assert "done    node-3 ordered: 18 open jobs" in said
    assert busy.sentence().startswith("node-3 ordered (18 open jobs for 2 servers")
    assert in_words(oldest)[-1] == "  done    nothing, for nodes.min is 2; 2 are meant to serve"
    assert told(store, 10, until=oldest["at"]) == [oldest]


@pytest.mark.parametrize("free", [range(20, 40), ()])
def test_a_note_whose_numbers_alone_change_is_no_news(store, free) -> None:
    """Neither of a dry run nor of one that would grow and has no slot left."""
    told_only = settings().model_copy(update={"scaling": Scaling(dry_run=bool(free))})
    diary = Diary(store)
    with store.transaction():
        for more in range(3):
            sights = [sight(slot, backlog=Backlog((QueueWork("office", 9, 60.0 + more),))) for slot in (1, 2)]
            plan = decide(snapshot(*sights, load=Load(start_up=2.0), free_slots=tuple(free)), told_only)
            assert f"{120 + 2 * more} s of work wait" in plan.notes[0]
            diary.keep(plan)
    assert len(told(store, 10)) == 1


def test_another_bound_is_news_and_another_number_of_it_is_not(store) -> None:
    diary = Diary(store)
    with store.transaction():
        for clamp in (
            "2 instead of 5: scaling.step is 3",
            "2 instead of 6: scaling.step is 3",
            "2 instead of 6: no money",
        ):
            diary.keep(Plan(Scale(2, 2, "why", rule="threshold", clamps=(clamp,))))
    assert [one["clamps"] for one in told(store, 10)] == [
        ["2 instead of 6: no money"],
        ["2 instead of 5: scaling.step is 3"],
    ]


def test_only_the_ask_that_won_is_said_to_have(store) -> None:
    """The rule of the timetable may ask more than once."""
    asks = (Ask("schedule", 3, "one"), Ask("schedule", 5, "another"), Ask("forecast", 5, "a third"))
    with store.transaction():
        Diary(store).keep(Plan(Scale(5, 1, "another", rule="schedule", asks=asks)))
    first, *lines = in_words(told(store, 1)[0])
    assert first == "1 server serves, 5 should: another"
    assert [line for line in lines if line.endswith("which won")] == ["  asked   schedule: 5, for another, which won"]
