"""What the pages ask: jobs, money, the past."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from controller.config import Settings
from controller.costs.ledger import Entry, Ledger
from controller.costs.sums import number
from controller.decide import decide
from controller.diary import Diary
from controller.jobs.table import Job, JobTable
from controller.snapshot import NodeSight, NodeState
from controller.state import State
from controller.store import Store
from controller.views import Views, publish, publish_thresholds
from controller.views.export import csv_text
from tests.builders import settings, sight, snapshot

NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
DAY = date(2026, 11, 22)


@pytest.fixture
def views(tmp_path: Path) -> Iterator[Views]:
    state = State(tmp_path)
    state.prepare()
    with Store(state.database, create=True) as store:
        yield Views(state, store)


def job(uuid: str, owner: str = "alice", state: str = "pending", created: int = NOON, **more) -> Job:
    return Job(uuid, 1_000_000 + created % 1000, "node-1", "office", owner, "t", state, created=created, **more)


def put(views: Views, *jobs: Job) -> None:
    with views.store.transaction():
        JobTable(views.store).put(jobs)


def charge(views: Views, *entries: Entry) -> None:
    Ledger(views.store).write_many(entries)


def entry(key: str, user: str = "alice", at: int = NOON, kind: str = "job", pages: int = 2, **more) -> Entry:
    day = number(datetime.fromtimestamp(at, UTC).date())
    return Entry(key, kind, at, day, user, printer="office", pages=pages, amount=50_000 * pages, **more)


def see(views: Views, *sights: NodeSight) -> None:
    seen = snapshot(*sights)
    publish(views.store, seen, decide(seen, settings()), settings(), [])


class TestJobs:
    def test_the_one_that_waits_longest_comes_first(self, views: Views) -> None:
        put(views, job("b", created=NOON + 5), job("a", "bob"), job("c", state="completed"), job("d", state="held"))
        found = views.jobs()
        assert [row["uuid"] for row in found] == ["a", "d", "b"]
        assert (found[0]["user"], found[0]["printer"], found[0]["node"]) == ("bob", "office", "node-1")
        assert found[0]["waiting"] == pytest.approx(time.time() - NOON, abs=5)
        assert [row["uuid"] for row in views.jobs(limit=1, offset=1)] == ["d"]
        assert views.job_counts() == {"pending": 2, "held": 1, "processing": 0, "stopped": 0}

    @pytest.mark.parametrize("state", ["held", "completed", "aborted", "canceled", "lost"])
    def test_a_single_state_can_be_asked_for(self, views: Views, state: str) -> None:
        put(views, job("a", state=state), job("b", "bob", state=state, created=NOON + 1), job("c"))
        assert {row["uuid"] for row in views.jobs(state=state)} == {"a", "b"}
        assert [row["uuid"] for row in views.jobs(state=state, user="bob")] == ["b"]
        assert [row["uuid"] for row in views.jobs(state=state, printer="lab")] == []

    def test_a_job_waited_until_its_first_page(self, views: Views) -> None:
        put(views, job("a", state="completed", processing=NOON + 7, completed=NOON + 9))
        put(views, job("b", state="canceled", completed=NOON + 3))
        assert {row["uuid"]: row["waiting"] for row in views.jobs(state="all")} == {"a": 7, "b": 3}

    def test_a_person_sees_own_jobs_and_what_they_cost_and_no_others(self, views: Views) -> None:
        put(views, job("a", state="completed"), job("b", "bob", state="completed"), job("c"))
        charge(views, entry("job:a"), entry("correction:a:1", kind="correction", pages=1), entry("job:b", "bob"))
        found = views.jobs_of("alice", "all")
        assert {row["uuid"]: (row["pages"], row["cost"]) for row in found} == {
            "a": (3, Decimal("0.15")),
            "c": (None, None),
        }
        assert all("user" not in row and "node" not in row for row in found)
        assert views.jobs_of("", "all") == []


class TestWaiting:
    def test_the_last_waiting_job_and_a_nodes_end_are_told_from_measured_times(self, views: Views) -> None:
        see(views, sight(1, jobs=5), sight(2, jobs=2), sight(3))
        assert views.wait_ahead() == 20.0
        assert (views.finish("node-1"), views.finish("node-3"), views.finish("node-9")) == (25.0, 0.0, None)

    def test_a_silent_node_makes_it_unknown_only_when_it_has_jobs(self, views: Views) -> None:
        see(views, sight(1, error="refused"), sight(2))
        assert views.wait_ahead() == 0.0
        put(views, job("a"))
        assert views.wait_ahead() is None
        assert views.finish("node-1") is None

    def test_a_draining_node_ends_by_its_own_pace(self, views: Views) -> None:
        see(views, sight(1, NodeState.DRAINING, jobs=3, finished=6), sight(2))
        assert views.finish("node-1") == 30.0


class TestMoney:
    def test_today_begins_at_the_viewers_midnight(self, views: Views) -> None:
        hour = 3600
        charge(views, entry("job:a"), entry("job:b", at=NOON - 13 * hour), entry("job:c", at=NOON - 11 * hour, pages=5))
        charge(views, entry("deposit:a", kind="deposit"))
        assert views.today(NOON, UTC) == {"jobs": 2, "pages": 7, "cost": Decimal("0.35")}
        east = timezone(timedelta(hours=2, minutes=30))
        assert views.today(NOON, east) == {"jobs": 3, "pages": 9, "cost": Decimal("0.45")}
        assert [row["jobs"] for row in views.printed(NOON - 12 * hour, NOON + 1)] == [1, 1]

    def test_costs_are_sums_and_lead_to_their_entries(self, views: Views) -> None:
        charge(views, entry("job:a"), entry("job:b", "bob", pages=9), entry("job:c", at=NOON - 86_400))
        tomorrow = DAY + timedelta(1)
        assert [(row["name"], row["amount"]) for row in views.costs("user", DAY, tomorrow)] == [
            ("bob", Decimal("0.45")),
            ("alice", Decimal("0.10")),
        ]
        assert [row["name"] for row in views.costs("user", DAY, tomorrow, limit=1)] == ["bob"]
        assert [row["name"] for row in views.costs("month", date(2026, 1, 1), tomorrow)] == ["2026-11"]
        assert [row["jobs"] for row in views.costs("printer", DAY, tomorrow, user="alice")] == [1]
        assert views.cost_total(DAY - timedelta(1), tomorrow)["amount"] == Decimal("0.65")
        assert [row["key"] for row in views.cost_rows(DAY - timedelta(1), tomorrow, user="alice")] == ["job:a", "job:c"]

    def test_a_persons_costs_leave_out_what_shared_accounts_pay(self, views: Views) -> None:
        with views.store.transaction():
            Ledger(views.store).deposit("1", "alice", 1_000_000, DAY)
        charge(views, entry("job:a"), entry("job:b", account="club"), entry("job:c", "bob"))
        found = views.costs_of("alice", DAY, DAY + timedelta(1))
        assert found == {"jobs": 1, "pages": 2, "amount": Decimal("0.10"), "balance": Decimal("0.90")}

    def test_a_part_of_what_nodes_cost_is_exact(self, views: Views) -> None:
        """Whole millionths, however much it is; a fraction of less than one is left out."""
        with views.store.transaction():
            values = [20261122, 3.0, 3.0, 1.0, 9_000_000_000_000_001]
            views.store.execute("insert into fleet_costs values (?, ?, ?, ?, ?)", values)
        assert views.idle_cost(DAY, DAY + timedelta(1))["idle"] == Decimal("6000000000.000000")

    def test_idle_hours_are_told_from_printing_ones(self, views: Views) -> None:
        with views.store.transaction():
            for day, busy in ((20261121, 1800.0), (20261122, 9000.0)):
                values = [day, 7200.0, 14400.0, busy, 2_000_000]
                views.store.execute("insert into fleet_costs values (?, ?, ?, ?, ?)", values)
        found = views.idle_cost(DAY - timedelta(1), DAY + timedelta(1))
        assert (found["cost"], found["idle"], found["saved"]) == (Decimal(4), Decimal("1.5"), Decimal(4))
        assert (found["node_hours"], found["printing_hours"], found["saved_hours"]) == (4.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=1+1", "'=1+1"), ("-1+1|cmd", "'-1+1|cmd"), ("-1.50", "-1.50"), ("-3", "-3"), ("a-b", "a-b"), ("-", "'-")],
)
def test_a_text_that_a_spreadsheet_would_work_out_is_led_by_an_apostrophe(text: str, cell: str) -> None:
    assert csv_text([{"title": text}], ["title"]).splitlines()[1] == cell


class TestPast:
    def test_decisions_and_commands_stand_in_one_list_that_can_be_searched(self, views: Views) -> None:
        views.store.event("order", "load: 100%_of it", "node-3")
        views.store.event("command", "command 1 done: node-3 is coming", "node-3")
        views.store.ask("add", "", "admin")
        found = views.events()
        assert (found["total"], [row["kind"] for row in found["rows"]]) == (2, ["command", "order"])
        assert (found["rows"][0]["who"], found["rows"][0]["text"]) == ("admin", "add")
        assert [row["kind"] for row in views.events(text="0%_of")["rows"]] == ["order"]
        assert views.events(text="0%of")["total"] == 0
        assert views.events(text="ADMIN")["total"] == 1
        assert views.events(kinds=("order", "leave"))["total"] == 1
        assert views.events(limit=1, offset=1)["rows"][0]["kind"] == "order"
        assert views.events(since=time.time() + 60)["total"] == views.events(until=time.time() - 60)["total"] == 0

    def test_a_node_that_left_keeps_its_history(self, views: Views) -> None:
        views.store.event("order", "load", "node-3")
        views.store.event("retired", "it has no work left", "node-3")
        assert [row["kind"] for row in views.history("node-3")] == ["retired", "order"]

    def test_the_tail_of_a_log_shows_no_password(self, views: Views, tmp_path: Path) -> None:
        folder = tmp_path / "nodes" / "node-1" / "log"
        folder.mkdir(parents=True)
        (folder / "error_log").write_text("old\n" * 100_000 + "E ipp://me:secret@printer/ is down\nlast\n")
        assert views.log_tail("node-1", 2) == ["E ipp://me:…@printer/ is down", "last"]
        assert set(views.log_tail("node-1", 10**6)[:-2]) == {"old"}
        for name in ("node-2", "..", "../nodes/node-1", ""):
            assert views.log_tail(name) == []


class TestScaling:
    def test_each_threshold_says_where_it_comes_from(self, views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUPSFLEET_SCALING__COOL_DOWN", "2m")
        read = Settings.model_validate(
            {"scaling": {"step": 2, "schedule": [{"start": "08:00", "end": "18:00", "min": 3}]}}
        )
        with views.store.transaction():
            publish_thresholds(views.store, read)
        monkeypatch.undo()  # the reader's environment is another one
        found = {row["name"]: row for row in views.scaling()["thresholds"]}
        told = {name: (row["value"], row["default"], row["source"]) for name, row in found.items()}
        assert told["scaling.cool_down"] == ("120s", "300s", "environment")
        assert told["scaling.step"] == ("2", "4", "file")
        assert told["nodes.min"] == ("2", "2", "default")
        assert told["scaling.dry_run"] == ("false", "false", "default")
        assert told["scaling.holidays"] == ("none", "none", "default")
        assert told["scaling.schedule"][0] == "days mon tue wed thu fri sat sun start 08:00:00 end 18:00:00 min 3"
        assert "Nodes that may be on their way at once" in found["scaling.step"]["about"]

    def test_the_last_decision_is_told_in_words(self, views: Views) -> None:
        assert views.scaling() == {"thresholds": [], "decided": None, "words": []}
        with views.store.transaction():
            Diary(views.store).keep(decide(snapshot(sight(1), sight(2)), settings()))
        found = views.scaling()
        assert found["decided"]["actual"] == 2
        assert found["words"][0].startswith("2 servers serve, 2 should")
