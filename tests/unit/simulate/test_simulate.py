"""The fleet in simulated time: made-up traces, files, and what comes of them."""

from __future__ import annotations

from datetime import date, datetime, time
from pathlib import Path
from statistics import fmean
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from controller.cli import app
from controller.config import Nodes, Scaling, Schedule, Settings
from controller.jobs.table import Job, JobTable
from controller.shares import percentile
from controller.simulate.left_out import left_out
from controller.simulate.summary import plot, summary
from controller.simulate.trace import (
    DAY,
    MONDAY,
    PER_PAGE,
    SET_UP,
    Arrival,
    Trace,
    TraceError,
    campus,
    from_csv,
    from_store,
)
from controller.simulate.world import World
from controller.state import State
from controller.store import Store
from tests.builders import printed_at_one_device

WEEK = 7 * DAY
FIXED: dict[str, Any] = {"policy": "threshold", "queue_depth_per_node": 1e9, "queue_depth_per_node_down": 1e8}


def run(trace: list[Arrival], start_up: float = 2.0, minimum: int = 2, **scaling) -> World:
    world = World(Settings(nodes=Nodes(min=minimum), scaling=Scaling(**scaling)), trace, start_up, trace[0].at)
    world.run()
    return world


def burst(count: int = 60, seconds: float = 5.0) -> list[Arrival]:
    """A job a second, then one an hour later."""
    return [Arrival(MONDAY + number, "office", seconds) for number in range(count)] + [
        Arrival(MONDAY + 3600, "office", seconds)
    ]


def test_a_campus_is_the_same_for_the_same_seed_and_as_published() -> None:
    week = campus(3, jobs_per_day=500)
    assert week == campus(3, jobs_per_day=500) != campus(4, jobs_per_day=500)
    by_day = [sum((one.at - MONDAY) // 86400 == day for one in week) for day in range(7)]
    assert max(by_day) == by_day[0]
    pages = fmean((one.seconds - SET_UP) / PER_PAGE for one in week)
    assert 5 < pages < 7


@pytest.mark.parametrize("policy", ["threshold", "wait-target"])
def test_it_grows_for_a_burst_and_is_small_again(policy) -> None:
    world = run(burst(), policy=policy)
    assert max(size for _, size in world.outcome.sizes) > 2
    assert world.outcome.sizes[-1][1] == 2
    assert len(world.outcome.waits) == 61
    assert world.outcome.undone == 0
    fixed = run(burst(), **FIXED)
    assert percentile(sorted(world.outcome.waits), 0.95) < percentile(sorted(fixed.outcome.waits), 0.95)
    assert fixed.outcome.sizes == []


def test_it_is_deterministic() -> None:
    day = campus(1, days=1, jobs_per_day=300)
    assert run(day).outcome == run(day).outcome


def test_weights_by_work_help_where_one_job_is_long() -> None:
    """One of two nodes is taken up by a long job; round robin alone would put every other job behind it."""
    jobs = [Arrival(MONDAY, "office", 3000.0)]
    jobs += [Arrival(MONDAY + 60 + 20 * n, "office", 4.0) for n in range(100)]
    late = sum(wait > 30 for wait in run(jobs, **FIXED).outcome.waits)
    assert late < 25


def test_it_looks_when_a_job_has_ended() -> None:
    """As a fleet does, which looks each second: what comes next goes to the node that has nothing to do."""
    looks: list[float] = []

    def look(now: float, world: World, settings: Settings) -> Settings:
        looks.append(now - MONDAY)
        return settings

    jobs = [Arrival(MONDAY, "office", 4.0), Arrival(MONDAY + 60, "office", 4.0)]
    World(Settings(nodes=Nodes(min=2)), jobs, 2.0, MONDAY, override=look).run()
    assert any(4 <= at <= 5 for at in looks)


def test_a_summary_says_what_it_was(tmp_path: Path) -> None:
    world = run(burst())
    found = summary(world.outcome, world.settings)
    assert (found["jobs"], found["most_nodes"]) == (61, max(size for _, size in world.outcome.sizes))
    assert plot(world.outcome, 2, world.begin, world.now).endswith(f"at most {found['most_nodes']} nodes")


class TestWhatTheConfigurationSays:
    """What bounds or feeds the decision holds in a simulation as well."""

    def simulated(self, trace: list[Arrival], nodes: Nodes | None = None, **scaling: Any) -> World:
        settings = Settings(nodes=nodes or Nodes(), scaling=Scaling(**scaling))
        world = World(settings, trace, 2.0, trace[0].at)
        world.run()
        return world

    def most(self, world: World) -> int:
        return max((size for _, size in world.outcome.sizes), default=2)

    def test_servers_that_exist_serve_from_the_beginning_and_stay(self) -> None:
        trace = [Arrival(MONDAY + number, "office", 4.0) for number in range(90)]
        trace.append(Arrival(MONDAY + 3600, "office", 1.0))
        world = self.simulated(trace, Nodes(min=2, max=8, existing=("print2.example.org:631",)))
        assert 2 < self.most(world) <= 8
        assert (world.outcome.sizes[-1][1], world.outcome.undone) == (2, 0)
        assert [one.node.address for one in world.nodes.values() if one.node.driver == "existing"] == [
            "print2.example.org:631"
        ]

    def test_they_count_although_they_are_more_than_the_least(self) -> None:
        existing = tuple(f"print{number}.example.org:631" for number in range(3))
        world = self.simulated(burst(1), Nodes(min=1, existing=existing))
        found = summary(world.outcome, world.settings)
        assert (len(world.nodes), found["actions"], found["most_nodes"]) == (3, 0, 3)

    def test_a_dry_run_shows_what_would_be(self) -> None:
        assert self.simulated(burst(), dry_run=True).outcome == self.simulated(burst()).outcome

    def test_a_budget_holds_it_small(self) -> None:
        assert self.most(self.simulated(burst())) > 2
        assert self.most(self.simulated(burst(), max_node_hours_per_day=48.0)) == 2

    def test_a_timetable_is_followed_but_on_a_holiday(self) -> None:
        lecture = Schedule(days=("mon",), start=time(9), end=time(10), min=4)
        trace = [Arrival(MONDAY + hour * 3600, "office", 1.0) for hour in range(8, 13)]
        world = self.simulated(trace, schedule=(lecture,), **FIXED)
        (grown, _), *_, (shrunk, _) = world.outcome.sizes
        assert self.most(world) == 4
        assert 0 <= grown - (MONDAY + 9 * 3600) <= 120
        assert 0 <= shrunk - (MONDAY + 10 * 3600 + 300) <= 180
        holiday = date(2027, 1, 4)
        assert self.simulated(trace, schedule=(lecture,), holidays=(holiday,), **FIXED).outcome.sizes == []

    def test_a_timetable_may_be_of_another_place(self) -> None:
        zone = ZoneInfo("Pacific/Kiritimati")
        nine = datetime(2027, 1, 4, 9, tzinfo=zone).timestamp()
        lecture = Schedule(days=("mon",), start=time(9), end=time(10), min=4)
        trace = [Arrival(nine + hour * 3600, "office", 1.0) for hour in range(-1, 4)]
        world = self.simulated(trace, schedule=(lecture,), time_zone=zone.key, **FIXED)
        assert 0 <= world.outcome.sizes[0][0] - nine <= 120

    def test_one_of_each_queue_prints_at_a_time(self) -> None:
        trace = [Arrival(MONDAY, queue, 60.0) for queue in ("office", "lab") for _ in range(2)]
        assert self.simulated(trace, **FIXED).outcome.waits == [0.0] * 4
        assert sorted(self.simulated(trace, Nodes(min=1), **FIXED).outcome.waits) == [0.0, 0.0, 60.0, 60.0]

    @pytest.mark.parametrize(
        ("start_up", "scaling", "said"),
        [
            (60.0, {}, "a start takes 60 s and nodes.start_timeout is 30 s, so that no server would come up"),
            (30.0, {"dry_run": True}, "scaling.dry_run is true"),
        ],
    )
    def test_what_would_not_be_so_is_said(self, start_up: float, scaling: dict[str, Any], said: str) -> None:
        trace = Trace((Arrival(0.0, "office", 1.0), Arrival(1.0, "office", 1.0)), 1.0)
        assert list(left_out(trace, Settings(), {}, 30.0)) == []
        sentence, *more = left_out(trace, Settings(scaling=Scaling(**scaling)), {}, start_up)
        assert said in sentence
        assert more == []


class TestFiles:
    def write(self, folder: Path, text: str) -> Path:
        path = folder / "trace.csv"
        path.write_text(text)
        return path

    def test_a_csv_is_read(self, tmp_path) -> None:
        path = self.write(tmp_path, f"arrival,pages,queue\n2027-01-04T11:00:00,6,office\n{MONDAY},1,lab\n")
        assert from_csv(path).arrivals == (
            Arrival(MONDAY, "lab", SET_UP + PER_PAGE),
            Arrival(MONDAY + 39600, "office", SET_UP + 6 * PER_PAGE),
        )

    def test_so_is_one_that_a_spreadsheet_wrote(self, tmp_path) -> None:
        path = self.write(tmp_path, "\ufeffarrival,pages,queue\n0,1,office\n")
        assert from_csv(path).arrivals == (Arrival(0.0, "office", SET_UP + PER_PAGE),)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("when,pages,queue\n", "the column arrival is missing in the first line, 'when,pages,queue'"),
            ("arrival;pages;queue\n1;1;office\n", "'arrival;pages;queue'; allowed is arrival,pages,queue with commas"),
            ("", "the column arrival is missing"),
            (f"arrival,pages,queue\n1,1,{'x' * 131073}\n", "is no CSV file"),
            ("arrival,pages,queue\n", "there is no printed job"),
            ("arrival,pages,queue\n1,many,office\n", "line 2: '1,many,office' was given"),
            ("arrival,pages,queue\nnan,1,office\n", "line 2"),
            ("arrival,pages,queue\n1e300,1,office\n", "line 2"),
            (
                "arrival,pages,queue\n0,1,office\n2027-01-04,1,office\n",
                "days between first and last job, allowed are 366",
            ),
            ("arrival,pages,queue\n1,-1,office\n", "line 2"),
            ("arrival,pages,queue\n1\n", "line 2"),
        ],
    )
    def test_a_bad_one_is_told_by_line(self, tmp_path, text, said) -> None:
        with pytest.raises(TraceError, match=said):
            from_csv(self.write(tmp_path, text))

    def test_one_that_is_missing_or_no_text_is_told(self, tmp_path) -> None:
        with pytest.raises(TraceError, match=r"none.csv: can't be read \(No such file or directory\)"):
            from_csv(tmp_path / "none.csv")
        (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff")
        with pytest.raises(TraceError, match="is not text in UTF-8"):
            from_csv(tmp_path / "picture.csv")

    def test_the_command_prints_waits_and_node_hours(self, tmp_path, capsys) -> None:
        path = self.write(tmp_path, "arrival,pages,queue\n0,6,office\n1,2,office\n")
        app(["simulate", "--trace", str(path), "--json"], standalone_mode=False)
        assert '"jobs": 2' in capsys.readouterr().out

    def test_it_says_what_it_can_not_know(self, tmp_path, capsys) -> None:
        path = self.write(tmp_path, "arrival,pages,queue\n0,6,office\n")
        app(["simulate", "--trace", str(path)], standalone_mode=False)
        said = capsys.readouterr()
        assert "1 job; 100.0% began" in said.out
        assert "nothing was learned before" in said.err


class TestOwnJobs:
    """What was printed here."""

    NOW = MONDAY + 21 * DAY + 37800
    """Half past ten of a Monday, three weeks on."""

    @pytest.fixture
    def state(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
        monkeypatch.setattr("controller.simulate.trace.time.time", lambda: self.NOW)
        state = State(tmp_path)
        state.prepare()
        Store(state.database, create=True).close()
        return state

    def put(self, state: State, begins: list[float], seconds: int = 20) -> None:
        """A job a second for five minutes from each of these times on, printed where it does not wait."""
        moments = [int(begin) + second for begin in begins for second in range(300)]
        with Store(state.database) as store, store.transaction():
            JobTable(store).put(
                Job(f"u{n}", n, "node-1", "office", "a", "", "completed", "", "", 1, 1, at, at, at + seconds)
                for n, at in enumerate(moments)
            )

    def test_what_came_at_this_time_of_earlier_weeks_is_learned(self, state) -> None:
        self.put(state, [self.NOW - week * WEEK - 1800 for week in (2, 1, 0)])
        with Store(state.database) as store:
            trace = from_store(store, 3600.0)
        assert (trace.begin, len(trace.simulated), len(trace.arrivals)) == (self.NOW - 1800 * 2, 300, 900)

        def wait(forecast: bool) -> float:
            settings = Settings(nodes=Nodes(max=40), scaling=Scaling(forecast=forecast, step=40))
            world = World(settings, trace.arrivals, 20.0, trace.begin)
            return fmean(world.run().waits)

        assert wait(forecast=True) < wait(forecast=False) / 2

    def test_a_fleet_that_is_younger_begins_with_its_first_job(self, state) -> None:
        self.put(state, [self.NOW - 1800])
        with Store(state.database) as store:
            assert from_store(store, 7 * DAY).begin == self.NOW - 1800

    def test_servers_that_idle_until_now_are_paid_for(self, state, capsys) -> None:
        """A job a week and an hour ago, and one five days ago: two servers, for all the week."""
        with Store(state.database) as store, store.transaction():
            JobTable(store).put(
                Job(f"u{at}", at, "node-1", "office", "a", "", "completed", "", "", 1, 1, at, at, at + 5)
                for at in (int(self.NOW - WEEK - 60), int(self.NOW - 5 * DAY))
            )
        app(["simulate", "--since", "7d", "--state", str(state.folder)], standalone_mode=False)
        assert "336.0 node-hours in 168.0 hours" in " ".join(capsys.readouterr().out.split())

    def test_old_jobs_alone_are_nothing_to_simulate(self, state) -> None:
        self.put(state, [self.NOW - WEEK])
        with Store(state.database) as store, pytest.raises(TraceError, match="there is no printed job"):
            from_store(store, DAY)

    def test_that_they_waited_for_each_other_is_told(self, state, capsys) -> None:
        with Store(state.database) as store, store.transaction():
            JobTable(store).put(printed_at_one_device(int(self.NOW) - 1800))
        app(["simulate", "--since", "1h", "--state", str(state.folder)], standalone_mode=False)
        assert "jobs of office wait for each other at one device (each takes 100% longer" in capsys.readouterr().err
