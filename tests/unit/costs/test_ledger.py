"""The ledger, what a job is charged for, and that every job is charged once whatever is read twice or interrupted."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.config import Price
from controller.costs import journal
from controller.costs.attempts import Attempt
from controller.costs.charge import Site, correction, decided, entry, printed_of
from controller.costs.collect import Charger
from controller.costs.count import MOST_PAGES, Count
from controller.costs.ledger import Entry, Ledger
from controller.costs.rates import Tariff
from controller.costs.standing import refused
from controller.costs.sums import number
from controller.jobs.moves import MoveTable
from controller.jobs.table import Job, JobTable
from controller.snapshot import Node, NodeState
from controller.store import Store, StoreError

A4 = "iso_a4_210x297mm"
SITE = Site(Tariff((Price(per_page=Decimal("0.05")),), UTC))
DAY = 1_772_452_800
"""2026-03-02, noon in UTC."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Store(tmp_path / "db", create=True) as store:
        yield Ledger(store)


def charged(key: str, user: str = "alice", pages: int = 1, day: date = date(2026, 3, 2), **more: Any) -> Entry:
    values = {"printer": "office", "department": "Chemistry", "sheets": pages, "amount": 50_000 * pages, **more}
    return Entry(f"job:{key}", "job", DAY, number(day), user, pages=pages, **values)


def attempt(uuid: str = "u", pages: int = 3, **more: Any) -> Attempt:
    values = {"job": 1_000_001, "begun": 1.0, "ended": 2.0, "whole": True, **more}
    return Attempt(f"run-{uuid}", uuid, count=Count("counted", {(A4, False): pages}), **values)


def job(uuid: str = "u", state: str = "completed", **more: Any) -> Job:
    values = {"created": DAY, "completed": DAY, **more}
    return Job(uuid, values.pop("id", 1_000_001), values.pop("node", "node-1"), "office", "alice", "t", state, **values)


class TestLedger:
    def test_a_key_is_written_once(self, ledger: Ledger) -> None:
        assert ledger.write_many([charged("1"), charged("2"), charged("1")]) == 2
        assert ledger.write_many([charged("1", pages=7), charged("3")]) == 1
        [total] = ledger.sums("user", date(2026, 3, 1), date(2026, 4, 1))
        assert (total["name"], total["jobs"], total["pages"], total["amount"]) == ("alice", 3, 3, 150_000)

    def test_entries_are_never_lost_halfway(self, ledger: Ledger) -> None:
        def broken() -> Iterator[Entry]:
            yield charged("1")
            raise StoreError("the disk is full")

        with pytest.raises(StoreError):
            ledger.write_many(broken())
        assert ledger.sums("user", date(2026, 1, 1), date(2027, 1, 1)) == []
        assert ledger.write_many([charged("1")]) == 1

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_sums_of_any_period_are_those_of_its_entries(self, data: st.DataObject) -> None:
        first = date(2025, 11, 20)
        days = st.integers(0, 200).map(lambda count: first + timedelta(count))
        entries = [
            charged(
                str(at), data.draw(st.sampled_from(["alice", "bob"])), data.draw(st.integers(1, 9)), data.draw(days)
            )
            for at in range(data.draw(st.integers(0, 25)))
        ]
        begin, end = data.draw(days), data.draw(days)
        with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "db", create=True) as store:
            ledger = Ledger(store)
            ledger.write_many(entries)
            expected: Counter[str] = Counter()
            for one in entries:
                if number(begin) <= one.day < number(end):
                    expected[one.user] += one.pages
            found = {row["name"]: row["pages"] for row in ledger.sums("user", begin, end)}
            assert found == dict(expected)
            months = {row["name"]: row["pages"] for row in ledger.sums("month", begin, end)}
            assert sum(months.values()) == expected.total()
            assert sum(one.pages for one in ledger.entries(begin, end)) == expected.total()

    def test_a_balance_is_what_was_paid_less_what_was_printed(self, ledger: Ledger) -> None:
        with ledger.store.transaction():
            assert ledger.deposit("1", "alice", 1_000_000, date(2026, 1, 1))
            assert not ledger.deposit("1", "alice", 1_000_000, date(2026, 1, 1))
            assert ledger.deposit("2", "club", 500_000, date(2026, 1, 1), shared=True)
        ledger.write_many([charged("1", pages=2), charged("2", account="club", pages=4)])
        assert ledger.balance("alice") == 900_000
        assert ledger.balance("club", shared=True) == 300_000
        assert ledger.sums("user", date(2026, 1, 1), date(2027, 1, 1))[0]["amount"] == 300_000


class TestDecided:
    def test_the_last_whole_attempt_counts(self) -> None:
        tries = [attempt(pages=3, whole=False, share=0.5), attempt(pages=3), attempt(pages=4)]
        made = decided(job(), tries, 1)
        assert made
        assert (made.pages, made.origin) == (4, "counted")

    def test_documents_that_are_printed_one_by_one_all_count(self) -> None:
        tries = [attempt(pages=9, separately=2), attempt(pages=2, separately=2), attempt(pages=3, separately=2)]
        made = decided(job(), tries, 1)
        assert made
        assert made.pages == 5

    @pytest.mark.parametrize("state", ["canceled", "aborted", "lost"])
    def test_one_that_was_broken_off_costs_what_was_sent(self, state: str) -> None:
        tries = [attempt(pages=10, whole=False, share=0.31), attempt(pages=10, whole=False, share=0.1)]
        made = decided(job(state=state), tries, 1)
        assert made
        assert (made.pages, made.origin) == (4, "estimated")

    def test_one_that_was_broken_off_at_a_server_without_our_backend_costs_what_that_says(self) -> None:
        made = decided(job(state="canceled", impressions=7), [], 1)
        assert made
        assert (made.pages, made.origin) == (7, "estimated")

    def test_one_that_was_cancelled_before_it_began_costs_nothing(self) -> None:
        assert decided(job(state="canceled"), [], 1) is None
        assert decided(job(state="canceled"), [attempt(whole=False, share=0.0)], 1) is None

    def test_a_claim_that_no_printer_prints_is_not_charged(self) -> None:
        """Ten jobs of a line of PostScript would otherwise be more than the ledger's sums can hold."""
        made = decided(job(), [attempt(pages=999_999, copies=9_999)], 1)
        assert made
        assert (made.pages, made.origin, made.why) == (1, "unknown", f"it claims more than {MOST_PAGES} pages")

    def test_copies_multiply(self) -> None:
        made = decided(job(), [replace(attempt(pages=2), copies=3)], 1)
        assert made
        assert (made.pages, made.copies) == (6, 3)

    def test_the_printers_word_beats_the_count(self) -> None:
        made = decided(job(), [attempt(pages=10, reported=4)], 1)
        assert made
        assert (made.pages, made.origin) == (4, "printer")

    def test_a_printers_sheets_are_not_taken_for_its_pages(self) -> None:
        """A printer without job-impressions-completed; on a job that was broken off, less than all is no wonder."""
        duplex = attempt(pages=10, options={"sides": "two-sided-long-edge"})
        for one, pages in (
            (replace(duplex, reported=5), 10),
            (replace(duplex, reported=12), 12),
            (replace(duplex, reported=5, whole=False), 5),
            (replace(duplex, reported=5, count=Count("unknown")), 5),
        ):
            made = decided(job(state="completed" if one.whole else "canceled"), [one], 1)
            assert made
            assert made.pages == pages

    def test_what_could_not_be_counted_is_charged_as_the_site_says(self) -> None:
        unknown = replace(attempt(), count=Count("unknown", why="encrypted"))
        for tries in ([unknown], [replace(attempt(), whole=False, ended=0.0, count=None)], []):
            made = decided(job(), tries, 2)
            assert made
            assert (made.pages, made.origin) == (2, "unknown")

    def test_a_server_without_our_backend_is_believed_as_an_estimate(self) -> None:
        made = decided(job(impressions=7), [], 1)
        assert made
        assert (made.pages, made.origin) == (7, "estimated")

    def test_grey_is_believed_only_where_a_driver_carries_it_out(self) -> None:
        asked, made_up = {"ColorModel": "Gray"}, {"print-color-mode": "monochrome"}
        cases: list[tuple[dict[str, str], bool, bool | None, bool | None]]
        cases = [(asked, True, True, False), (asked, False, True, True)]
        cases += [(made_up, True, True, True), (made_up, True, None, False), (made_up, False, None, None)]
        for options, driver, colour, expected in cases:
            counted = Count("counted", {(A4, colour): 1})
            made = decided(job(), [replace(attempt(), count=counted, options=options, driver=driver)], 1)
            assert made
            assert [part.colour for part in made.parts] == [expected]

    def test_an_entry_can_be_priced_again(self) -> None:
        tries = [replace(attempt(pages=5), options={"sides": "two-sided-long-edge"}, copies=2)]
        made = decided(job(), tries, 1)
        assert made
        one = entry(job(), tries, made, SITE)
        assert (one.pages, one.sheets, one.amount) == (10, 6, 500_000)
        assert SITE.tariff.amount(printed_of(one)) == Decimal("0.50")

    def test_a_correction_is_the_difference(self) -> None:
        old, new = charged("u", pages=3), charged("u", pages=5)
        change = correction([old], new)
        assert change
        assert (change.key, change.kind, change.pages, change.amount) == ("correction:u:1", "correction", 2, 100_000)
        assert correction([old, change], new) is None


class World:
    """Nodes that write journals, a table of jobs, and a controller that may die between any two steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "nodes").mkdir()
        with Store(folder / "db", create=True):
            pass
        self.charger = Charger(lambda: Store(folder / "db"), folder / "nodes", lambda: SITE)

    def tried(self, node: str, run: str, uuid: str, number: int, pages: int, whole: bool, share: float = 1.0) -> None:
        facts = {"uuid": uuid, "job": number, "user": "x", "queue": "office", "title": "t"}
        options = {"driver": False, "options": {}, "separately": 0}
        self.line(node, {"event": "begin", "run": run, "at": DAY, **facts, **options})
        count = ["counted", [[A4, False, pages]], 1, "", ""]
        result = {"status": 0, "whole": whole, "share": share, "reported": 0, "copies": 1, "count": count}
        self.line(node, {"event": "end", "run": run, "at": DAY + 1, **result})

    def line(self, node: str, record: dict[str, Any]) -> None:
        (self.folder / "nodes" / node).mkdir(exist_ok=True)
        journal.append(str(self.folder / "nodes" / node), record, sync=False)

    def put(self, *jobs: Job) -> None:
        with Store(self.folder / "db") as store, store.transaction():
            JobTable(store).put(jobs)

    def entries(self) -> list[Entry]:
        with Store(self.folder / "db") as store:
            return Ledger(store).entries(date(2000, 1, 1), date(2100, 1, 1))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class TestCollecting:
    def test_a_job_is_charged_when_it_has_ended(self, world: World) -> None:
        world.put(job(state="processing"))
        world.tried("node-1", "a", "u", 1_000_001, 3, whole=True)
        world.charger.collect()
        assert world.entries() == []
        world.put(job())
        for _ in range(3):
            world.charger.collect()
        [one] = world.entries()
        assert (one.user, one.pages, one.amount, one.origin) == ("alice", 3, 150_000, "counted")

    def test_a_job_that_ended_while_no_controller_ran_is_found(self, world: World) -> None:
        world.tried("node-1", "a", "u", 1_000_001, 3, whole=True)
        world.put(job())
        world.charger.collect()
        assert [one.pages for one in world.entries()] == [3]

    def test_a_moved_job_is_charged_once_by_what_both_nodes_did(self, world: World) -> None:
        world.tried("node-1", "a", "u", 1_000_001, 10, whole=False, share=0.2)
        world.tried("node-2", "b", "u", 2_000_001, 10, whole=True)
        with Store(world.folder / "db") as store, store.transaction():
            moves = MoveTable(store)
            moves.order(job(state="held"), "test")
            moves.put(moves.open()[0], phase="done", target="node-2", new_id=2_000_001)
        world.put(job(id=2_000_001, node="node-2"))
        world.charger.collect()
        assert [(one.pages, one.node) for one in world.entries()] == [(10, "node-2")]

    def test_a_uuid_that_a_client_copied_pays_for_itself(self, world: World) -> None:
        world.tried("node-1", "a", "u", 1_000_001, 3, whole=True)
        world.tried("node-2", "b", "u", 2_000_001, 50, whole=True)
        world.put(job(), job("u/node-2/2000001", id=2_000_001, node="node-2"))
        world.charger.collect()
        assert sorted(one.pages for one in world.entries()) == [3, 50]

    @pytest.mark.parametrize(("state", "at"), [("lost", DAY + 1), ("completed", DAY + 86_400)])
    def test_one_whose_end_was_noticed_later_is_charged_when_it_was_printed(self, world: World, state, at) -> None:
        world.tried("node-1", "a", "u", 1_000_001, 3, whole=True)
        world.put(job(state=state, completed=DAY + 86_400))
        world.charger.collect()
        assert [one.at for one in world.entries()] == [at]

    def test_a_job_that_turns_out_otherwise_is_corrected(self, world: World) -> None:
        world.tried("node-1", "a", "u", 1_000_001, 10, whole=False, share=0.3)
        world.put(job(state="lost"))
        world.charger.collect()
        world.tried("node-1", "b", "u", 1_000_001, 10, whole=True)
        world.put(job(completed=DAY + 2))
        world.charger.collect()
        world.charger.collect()
        assert [(one.kind, one.pages) for one in world.entries()] == [("job", 3), ("correction", 7)]

    def test_a_job_that_was_held_and_cancelled_costs_nothing(self, world: World) -> None:
        facts = {"uuid": "u", "job": 1_000_001, "user": "x", "queue": "office", "title": "t", "driver": False}
        count = {"count": ["counted", [[A4, False, 3]], 1, "", ""], "copies": 1, "reason": "account-limit-reached"}
        held = {"event": "held", "run": "a", "at": DAY, "options": {}, "separately": 0}
        world.line("node-1", {**held, **facts, **count})
        world.put(job(state="canceled"))
        world.charger.collect()
        assert world.entries() == []

    def test_what_is_known_of_a_job_is_kept_for_as_long_as_it_is_open(self, world: World) -> None:
        """One that a yearly quota holds goes on by its attempt, however old that is."""
        facts = {"uuid": "u", "job": 1_000_001, "user": "x", "queue": "office", "title": "t"}
        more = {"driver": False, "options": {}, "separately": 0, "reason": "account-limit-reached"}
        world.line("node-1", {"event": "held", "run": "a", "at": DAY - 300 * 86_400, **facts, **more})
        for held in (job(state="held"), job("u/node-1/1000001", state="held")):
            world.put(held)
            world.charger.collect()
            world.charger.clear()
            with Store(world.folder / "db") as store:
                assert "u" in refused(store, ["u"])
            world.put(replace(held, state="canceled"))
            world.charger.collect()
        world.charger.clear()
        with Store(world.folder / "db") as store:
            assert not refused(store, ["u"])

    def test_half_a_line_and_rubbish_in_a_journal_stop_nothing(self, world: World) -> None:
        world.tried("node-1", "a", "u", 1_000_001, 3, whole=True)
        path = journal.files(str(world.folder / "nodes/node-1"))[0]
        with open(path, "ab") as file:
            file.write(b'rubbish\n[1]\n{"run": "c"}\n{"run": "d", "event": "begin"}\n{"run": "e", "ev')
        world.put(job())
        world.charger.collect()
        world.tried("node-1", "f", "v", 1_000_002, 4, whole=True)
        world.put(job("v", id=1_000_002))
        world.charger.collect()
        assert [one.pages for one in world.entries()] == [3, 4]

    def test_a_count_that_comes_late_corrects_the_charge(self, world: World) -> None:
        """The machine slept, or its clock was put forward, while a document was counted."""
        facts = {"uuid": "u", "job": 1_000_001, "user": "x", "queue": "office", "title": "t", "driver": False}
        world.line("node-1", {"event": "begin", "run": "a", "at": DAY, "options": {}, "separately": 0, **facts})
        result = {"status": 0, "whole": True, "share": 1.0, "reported": 0, "copies": 1, "count": None}
        world.line("node-1", {"event": "end", "run": "a", "at": DAY + 1, **result})
        world.put(job())
        world.charger.collect()
        world.line("node-1", {"event": "count", "run": "a", "count": ["counted", [[A4, False, 300]], 1, "", ""]})
        for _ in range(3):
            world.charger.collect()
        found = [(one.kind, one.pages, one.amount, one.origin) for one in world.entries()]
        assert found == [("job", 1, 50_000, "unknown"), ("correction", 299, 14_950_000, "counted")]

    def test_a_node_that_prints_jobs_side_by_side_is_busy_once(self, world: World) -> None:
        with Store(world.folder / "db") as store, store.transaction():
            for slot in (1, 2, 3):
                store.put_node(Node(f"node-{slot}", slot, "process", "127.0.0.1", 6000 + slot, NodeState.READY))
        printing = [job(str(number), state="processing", id=1_000_000 + number) for number in (1, 2, 3)]
        world.put(*printing, job("4", state="processing", id=2_000_001, node="node-2"), job("5", state="pending"))
        world.charger.meter._last -= 120
        world.charger.collect()
        with Store(world.folder / "db") as store:
            [row] = store.rows("select busy_seconds / node_seconds as share from fleet_costs")
        assert row["share"] == pytest.approx(2 / 3)

    def test_all_documents_of_a_job_that_nobody_knows_are_charged(self, world: World) -> None:
        facts = {"uuid": "u", "job": 1_000_001, "user": "x", "queue": "office", "title": "t", "driver": True}
        for run, pages in (("a", 2), ("b", 3)):
            world.line("node-1", {"event": "begin", "run": run, "at": DAY, "options": {}, "separately": 2, **facts})
            result = {"status": 0, "whole": True, "share": 1.0, "reported": 0}
            count = ["counted", [[A4, False, pages]], 1, "", ""]
            world.line("node-1", {"event": "end", "run": run, "at": DAY + 1, "count": count, **result})
        world.charger.collect()
        world.charger.clear()
        assert [one.pages for one in world.entries()] == [5]

    def test_a_journal_of_before_that_was_put_back_is_read_on(self, world: World) -> None:
        world.tried("node-1", "a", "u", 1_000_001, 3, whole=True)
        [path] = journal.files(str(world.folder / "nodes/node-1"))
        kept = Path(path).read_bytes()
        world.tried("node-1", "b", "v", 1_000_002, 4, whole=True)
        world.put(job(), job("v", id=1_000_002))
        world.charger.collect()
        Path(path).write_bytes(kept)
        world.charger.collect()
        world.tried("node-1", "c", "w", 1_000_003, 5, whole=True)
        world.put(job("w", id=1_000_003))
        world.charger.collect()
        assert [(one.pages, one.origin) for one in world.entries()] == [(pages, "counted") for pages in (3, 4, 5)]

    def test_what_nobody_knows_a_job_for_is_charged_in_the_end(self, world: World) -> None:
        world.tried("node-1", "a", "u", 1_000_001, 3, whole=True)
        world.charger.collect()
        assert world.entries() == []
        world.charger.clear()
        world.charger.clear()
        assert [(one.key, one.pages) for one in world.entries()] == [("job:u", 3)]
        world.put(job())
        world.charger.collect()
        assert len(world.entries()) == 1


def test_facts_are_json_that_says_why(ledger: Ledger) -> None:
    made = decided(job(), [replace(attempt(), count=Count("unknown", why="encrypted"))], 1)
    assert made
    assert json.loads(entry(job(), [], made, SITE).facts)["why"] == "encrypted"
