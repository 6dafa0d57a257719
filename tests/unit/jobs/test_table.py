"""The table of jobs, and what comparing it with a node finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.jobs.collect import Findings, compare, first_in_question, unattended
from controller.jobs.moves import MoveTable
from controller.jobs.table import ENDED, IPP_STATES, Ended, Job, JobTable, advanced, from_attributes, printed_after_all
from controller.store import Store
from probes.reading import OpenJob


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    with Store(tmp_path / "db", create=True) as store:
        yield JobTable(store)


def job(number: int, state: str = "pending", node: str = "node-1") -> Job:
    return Job(f"uuid-{number}", 1_000_000 + number, node, "office", "demo", "a title", state, created=number)


def seen(one: Job, state: int = 3) -> OpenJob:
    return OpenJob(one.id, one.uuid, one.queue, one.owner, state, one.size_kb, one.created, ())


def put(table: JobTable, *jobs: Job) -> None:
    with table.store.transaction():
        table.put(jobs)


class TestTable:
    def test_a_job_is_one_row_however_often_it_is_written(self, table: JobTable) -> None:
        put(table, job(1))
        put(table, job(1))
        put(table, job(1, "completed"))
        assert table.search("all") == [job(1, "completed")]
        assert table.by_uuid("uuid-1") == table.by_id(1_000_001) == job(1, "completed")

    def test_it_is_searched_by_what_jobs_are(self, table: JobTable) -> None:
        other = replace(job(4), owner="alice", queue="lab", node="node-2")
        put(table, job(1), job(2, "completed"), job(3, "aborted"), other)
        assert table.search("open") == [job(1), other]
        assert table.search("ended") == [job(3, "aborted"), job(2, "completed")]
        assert table.search("all", limit=1) == [other]
        assert [other] == table.search("all", user="alice") == table.search("all", printer="lab")
        assert table.search("all", node="node-2") == [other]
        assert table.search("all", user="o' or 1=1") == []

    @pytest.mark.parametrize(
        ("state", "told"), [("completed", "warnings"), ("processing", "processing-to-stop-point warnings")]
    )
    def test_what_cupsd_says_of_each_ended_job_is_not_told(self, state: str, told: str) -> None:
        assert replace(job(1, state), reasons="processing-to-stop-point warnings").told_reasons == told

    def test_a_list_of_one_ended_job_reads_no_day(self, table: JobTable) -> None:
        nodes = ("node-1", "node-2")
        put(table, *(replace(job(n, "completed", nodes[n % 2]), completed=n) for n in range(1, 2001)))
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1

        def read(limit: int) -> int:
            nonlocal steps
            steps = 0
            found = table.ended(Ended(nodes, 0.0, limit))
            assert [one.completed for one in found] == list(range(2000, 2000 - limit, -1))
            return steps

        table.store._db.conn.set_progress_handler(step, 20)
        assert 20 * read(1) < read(1000)

    def test_when_a_job_was_released_is_known(self, table: JobTable, monkeypatch: pytest.MonkeyPatch) -> None:
        def then(now: float, state: str) -> int:
            monkeypatch.setattr("controller.jobs.table.time.time", lambda: now)
            put(table, job(1, state))
            return table.search("all")[0].released

        assert [then(10.0, "pending"), then(20.0, "held"), then(30.0, "held")] == [0, 0, 0]
        assert [then(40.5, "pending"), then(50.0, "processing"), then(60.0, "completed")] == [40, 40, 40]

    @pytest.mark.parametrize(("hold", "released"), [("no-hold", 0), ("indefinite", 40)])
    def test_what_a_move_holds_is_held_by_nobody(
        self, table: JobTable, monkeypatch: pytest.MonkeyPatch, hold: str, released: int
    ) -> None:
        monkeypatch.setattr("controller.jobs.table.time.time", lambda: 40.0)
        put(table, job(1, "held"))
        moves = MoveTable(table.store)
        with table.store.transaction():
            moves.order(job(1), "told to")
            moves.put(moves.open()[0], hold=hold, phase="done")
        put(table, job(1))
        assert table.search("all")[0].released == released

    def test_a_document_that_came_after_its_job_was_made_is_noticed(self) -> None:
        grown = replace(job(1), size_kb=12)
        assert compare({"uuid-1": job(1)}, [seen(grown)], [], 1_000_001).changed == (grown,)

    def test_old_jobs_are_forgotten_and_open_ones_never(self, table: JobTable) -> None:
        put(table, job(1), job(2, "completed"))
        with table.store.transaction():
            table.forget(3600)
        assert table.search("all") == [job(1)]

    def test_a_uuid_that_somebody_made_up_takes_no_other_job_over(self, table: JobTable) -> None:
        put(table, job(1))
        forged = replace(job(1), id=1_000_009, owner="mallory")
        placed = table.placed(forged)
        assert placed is not None
        put(table, placed)
        assert table.by_uuid("uuid-1") == job(1)
        assert {one.owner for one in table.search("all")} == {"demo", "mallory"}

    def test_open_jobs_are_found_by_an_index(self, table: JobTable) -> None:
        for sql in ("state = 'lost' and seen >= 0", "uuid = 'x'", "id = 1", "open = 0 and created < 1"):
            plan = table.store.rows(f"explain query plan select * from jobs where {sql}")
            assert plan[0]["detail"].startswith("SEARCH jobs USING INDEX"), sql
        put(table, job(1), job(2, "completed"), job(3, node="node-2"))
        asked: list[str] = []
        table.store._db.conn.set_trace_callback(asked.append)
        assert table.open_queues() == {"office"}
        assert table.open_elsewhere(["node-1"]) == [job(3, node="node-2")]
        assert table.open_on("node-1") == {"uuid-1": job(1)}
        assert table.search("open") == [job(1), job(3, node="node-2")]
        table.store._db.conn.set_trace_callback(None)
        questions = [sql for sql in asked if sql.startswith("select")]
        assert len(questions) == 4
        for sql in questions:
            plan = table.store.rows(f"explain query plan {sql}")
            assert "USING INDEX jobs_open" in plan[0]["detail"], sql

    def test_a_job_without_a_uuid_still_has_one_name(self) -> None:
        said = {"job-id": 1_000_001, "job-state": 9, "time-at-creation": 7, "job-name": "a"}
        assert from_attributes("node-1", said).uuid == "node-1/1000001/7"
        assert from_attributes("node-1", said).state == "completed"


class TestPrintedAfterAll:
    """cupsd deletes a printed document before it writes down that the job is completed."""

    PRINTED = replace(job(1, "aborted"), impressions=1, processing=7, size_kb=4)

    def test_a_job_that_lost_its_documents_after_printing_is_completed(self) -> None:
        assert printed_after_all(self.PRINTED).state == "completed"
        assert "died when it had been printed" in printed_after_all(self.PRINTED).why

    def test_any_other_one_is_what_its_node_says(self) -> None:
        for missing in ("impressions", "processing", "size_kb"):
            other = replace(self.PRINTED, **{missing: 0})  # type: ignore[arg-type]
            assert printed_after_all(other) == other
        assert printed_after_all(replace(self.PRINTED, state="canceled")).state == "canceled"


class TestCompare:
    def test_what_came_and_went_between_two_sweeps_is_found(self) -> None:
        assert first_in_question({}, [], 1_000_007) == 1_000_008
        found = compare({}, [], [job(8, "completed")], 1_000_007)
        assert found.changed == (job(8, "completed"),)

    def test_what_is_open_no_more_is_asked_for(self) -> None:
        known = {one.uuid: one for one in (job(1), job(2), job(3))}
        still = [seen(job(1)), seen(job(3))]
        assert first_in_question(known, still, 1_000_003) == 1_000_002
        found = compare(known, still, [job(2, "completed"), job(3)], 1_000_002)
        assert (found.changed, found.missing) == ((job(2, "completed"),), ())

    def test_what_a_node_shows_as_open_and_does_not_count_as_open_has_ended(self) -> None:
        """Killed between writing job.cache and the control file, cupsd says so for ever."""
        zombie = replace(job(1), impressions=1, processing=7, size_kb=4)
        (found,) = compare({"uuid-1": job(1)}, [], [zombie], 1_000_001).changed
        assert found.state == "aborted"
        assert printed_after_all(found).state == "completed"
        assert compare({}, [], [job(1)], 1_000_000).changed == (job(1),)  # made after the sweep

    def test_a_spool_is_all_there_is(self) -> None:
        """Without a sweep, a job that it holds as open is open."""
        assert compare({"uuid-1": job(1)}, None, [job(1)], 1_000_001) == Findings((), ())
        assert compare({"uuid-1": job(1)}, None, [], 1_000_001).missing == (job(1),)

    def test_a_job_that_was_moved_here_since_the_sweep_began_is_not_judged_by_it(self) -> None:
        moved = {"uuid-1": job(1, "held")}
        assert compare(moved, [], [job(1, "held")], 1_000_000) == Findings((), ())
        assert compare(moved, [], [job(1, "completed")], 1_000_000).changed == (job(1, "completed"),)
        assert compare(moved, [], [], 1_000_000) == Findings((), ())
        assert compare(moved, [], [], 1_000_000, moved.keys()).missing == (job(1, "held"),)

    def test_what_the_node_knows_no_more_is_missing(self) -> None:
        found = compare({"uuid-1": job(1)}, [], [], 1_000_001)
        assert found.missing == (job(1),)

    @given(
        known=st.dictionaries(st.integers(1, 9), st.sampled_from(["pending", "held", "processing"])),
        real=st.dictionaries(st.integers(1, 9), st.sampled_from([3, 4, 5, 7, 8, 9])),
    )
    def test_afterwards_table_and_node_agree_and_a_second_time_changes_nothing(
        self, known: dict[int, str], real: dict[int, int]
    ) -> None:
        table = {f"uuid-{n}": job(n, state) for n, state in known.items()}
        node = {n: job(n, IPP_STATES[state]) for n, state in real.items()}
        sweep = [seen(node[n], state) for n, state in real.items() if state < 7]
        last_known = max(known, default=0)
        last = 1_000_000 + last_known

        def told() -> list[Job]:
            first = first_in_question({u: j for u, j in table.items() if j.open}, sweep, last)
            return [one for _, one in sorted(node.items()) if one.id >= first]

        found = compare(table, sweep, told(), last)
        table |= {one.uuid: one for one in found.changed}
        table |= {one.uuid: replace(one, state="lost") for one in found.missing}
        last = max([last, *(one.id for one in node.values())])
        for number, one in node.items():
            if one.open or number in known or number > last_known:
                assert table[one.uuid] == one
        assert all(table[f"uuid-{n}"].state == "lost" for n in known if n not in real)
        again = compare({u: j for u, j in table.items() if j.open}, sweep, told(), last)
        assert (again.changed, again.missing) == ((), ())


class TestUnattended:
    def test_lost_jobs_and_those_of_nobody_are_named(self, table: JobTable) -> None:
        put(table, job(1, "lost"), *(job(n, node="node-7") for n in range(2, 10)), job(11))
        lost, left = unattended(table, ["node-1"])
        assert lost == "1 job is lost with node-1, though accepted: 1000001 of demo ('a title')"
        assert left.startswith("8 jobs are looked after by nobody, for node-7 is gone: 1000002 of demo")
        assert left.endswith("and 3 more")

    def test_a_lost_one_is_named_with_what_is_known(self, table: JobTable) -> None:
        put(table, replace(job(1, "lost"), why="it went"), job(2, "lost"), replace(job(3, "lost"), why="it went"))
        (said,) = unattended(table, ["node-1"])
        names = [f"100000{number} of demo ('a title')" for number in (1, 2, 3)]
        start = "3 jobs are lost with node-1, though accepted: "
        assert said == f"{start}{names[0]}, {names[2]} (it went); {names[1]}"

    def test_stopped_ones_are_named_with_their_reason(self, table: JobTable) -> None:
        coming = replace(job(3, "stopped"), reasons="job-incoming")
        put(table, replace(job(1, "stopped"), reasons="cups-filter-crashed"), job(2, "held"), coming)
        (said,) = unattended(table, ["node-1"])
        start = "1 job is stopped on node-1, for a filter failed, until somebody cancels or releases: "
        assert said == f"{start}1000001 of demo ('a title') (cups-filter-crashed)"

    def test_every_ended_state_is_no_open_one(self) -> None:
        assert not any(job(1, state).open for state in ENDED)


def test_a_size_that_was_known_is_not_forgotten() -> None:
    known = replace(job(1), size_kb=4)
    sizes = [advanced(known, replace(seen(known), size_kb=size)).size_kb for size in (0, 4, 9)]
    assert sizes == [4, 4, 9]
