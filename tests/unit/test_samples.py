"""The fleet over time: what is written each pass, and what a chart gets of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from controller import samples
from controller.config import Nodes, Settings
from controller.jobs.table import Job, JobTable
from controller.load import HOURS, LoadMemory
from controller.samples import KEPT, Samples
from controller.snapshot import NodeState, Snapshot
from controller.store import Store
from tests.builders import settings, sight, snapshot

NOW = 1_795_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "db", create=True) as made:
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("controller.samples.time.time", lambda: made.now)
    monkeypatch.setattr("controller.samples.time.monotonic", lambda: made.now)
    return made


class Clock:
    now = NOW


def keep(kept: Samples, seen: Snapshot, priced: Settings | None = None) -> bool:
    with kept.store.transaction():
        return kept.keep(seen, priced or settings())


def test_a_sample_is_written_every_ten_seconds(store: Store, clock: Clock) -> None:
    kept = Samples(store)
    priced = Settings(nodes=Nodes(price_per_hour=Decimal("0.35")))
    written = []
    for _ in range(21):
        written.append(keep(kept, snapshot(sight(1, jobs=3), sight(2, NodeState.DRAINING, jobs=1)), priced))
        clock.now += 1
    assert [place for place, done in enumerate(written) if done] == [0, 10, 20]
    found = samples.series(store, NOW - 3600, clock.now, 600)
    assert [row["at"] for row in found] == [NOW, NOW + 10, NOW + 20]
    first = {"queue_depth": 4.0, "ready": 1.0, "nodes": 2.0, "wait_p95": None, "cost_per_hour": Decimal("0.70")}
    assert found[0] == {"at": NOW, **first}


def test_a_young_fleet_is_shown_finely_and_an_old_one_in_few_points(store: Store, clock: Clock) -> None:
    kept = Samples(store)
    for _ in range(40):
        keep(kept, snapshot(sight(1, jobs=2)))
        clock.now += 30
    assert len(samples.series(store, clock.now - 30 * 86_400, clock.now, 200)) > 15
    for _ in range(400):
        keep(kept, snapshot(sight(1, jobs=4)))
        clock.now += 6000
    found = samples.series(store, clock.now - 25 * 86_400, clock.now, 100)
    assert 90 <= len(found) <= 101
    assert {row["queue_depth"] for row in found} == {4.0}
    sizes = store.rows("select resolution, count(*) as n, min(at) as oldest from samples group by 1")
    for row in sizes:
        assert row["oldest"] >= clock.now - 6000 - KEPT[row["resolution"]] - row["resolution"]


@hypothesis_settings(max_examples=20, deadline=None)
@given(depths=st.lists(st.tuples(st.integers(0, 5), st.integers(10, 500)), min_size=1, max_size=40))
def test_coarser_samples_are_means_of_the_finer_ones(depths: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "db", create=True) as store:
        with pytest.MonkeyPatch.context() as patch:
            made = Clock()
            patch.setattr("controller.samples.time.time", lambda: made.now)
            patch.setattr("controller.samples.time.monotonic", lambda: made.now)
            kept = Samples(store)
            for depth, pause in depths:
                keep(kept, snapshot(sight(1, jobs=depth)))
                made.now += pause
        sums = store.rows("select sum(queue_depth) as depth, sum(count) as count from samples group by resolution")
        assert {(row["depth"], row["count"]) for row in sums} == {(sum(one for one, _ in depths), len(depths))}


def test_the_wait_is_that_of_jobs_that_began_lately(store: Store, clock: Clock) -> None:
    def job(number: int, waited: int, ago: int) -> Job:
        begun = int(NOW) - ago
        return Job(str(number), number, "node-1", "office", "a", created=begun - waited, processing=begun)

    with store.transaction():
        lately = [job(number, number, 10) for number in range(1, 101)]
        JobTable(store).put([*lately, job(200, 9999, 400), Job("w", 201, "node-1", "office", "a", created=int(NOW))])
        held = replace(job(300, 99_999, 5), state="held", processing=0)
        JobTable(store).put([held])
        JobTable(store).put([job(300, 99_999, 5)])  # released, and prints
    keep(Samples(store), snapshot(sight(1)))
    assert samples.series(store, NOW - 60, NOW + 60, 10)[0]["wait_p95"] == 95.0


def test_answers_that_failed_are_all_kept_and_of_the_others_some(store: Store, clock: Clock) -> None:
    kept = Samples(store)
    for second in range(21):
        failed = "timed out" if second in (3, 4) else None
        keep(kept, snapshot(sight(1, jobs=0 if failed else 2, error=failed), sight(2, up=False)))
        clock.now += 1
    found = samples.probes(store, "node-1", 50)
    assert [(row["at"] - NOW, row["error"], row["open_jobs"]) for row in found] == [
        (20, "", 2),
        (10, "", 2),
        (4, "timed out", None),
        (3, "timed out", None),
        (0, "", 2),
    ]
    assert [(row["up"], row["proxies"]) for row in samples.probes(store, "node-2", 1)] == [(0, 1)]
    clock.now += 3600
    keep(kept, snapshot(sight(1)))
    assert len(samples.probes(store, "node-1", 50)) == 1


def test_node_hours_outlive_a_controller_that_ends_well(store: Store) -> None:
    nodes = [sight(1).node, replace(sight(2).node, state=NodeState.ORDERED)]
    memory = LoadMemory(store)
    for _ in range(3):
        hours = memory.look(nodes, 1800.0, settings()).node_hours
    assert hours == pytest.approx(1.5)
    assert store.fact(HOURS) is None
    with store.transaction():
        memory.keep()
    assert LoadMemory(store).look(nodes, 3600.0, settings()).node_hours == pytest.approx(2.5)
