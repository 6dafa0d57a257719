"""Which of a moved job's two ids counts, phase by phase."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.jobs.moves import Doubles, MoveTable
from controller.jobs.table import Job, JobTable
from controller.store import Store

OLD, NEW = 1_000_007, 3_000_002


@pytest.fixture
def moves(tmp_path: Path) -> Iterator[MoveTable]:
    with Store(tmp_path / "db", create=True) as store, store.transaction():
        table = MoveTable(store)
        assert table.order(Job("urn:uuid:a", OLD, "node-1", "Office", "demo"), "a test", "node-3")
        yield table


@pytest.mark.parametrize(
    ("phase", "hidden", "slots"),
    [
        ("copied", NEW, ()),
        ("ending", OLD, (1,)),
        ("ended", OLD, (1,)),
        ("done", OLD, (1,)),
        ("abandoned", NEW, ()),
    ],
)
def test_lists_show_one_of_both(moves: MoveTable, phase: str, hidden: int, slots: tuple[int, ...]) -> None:
    (move,) = moves.open()
    assert moves.doubles(0) == Doubles()
    for before in ("holding", "copying"):  # who asks nodes in the one may meet the copy of the other
        moves.put(move, phase=before)
        assert moves.doubles(0) == Doubles({}, {OLD: "urn:uuid:a"})
    moves.put(move, phase=phase, new_id=NEW)
    assert moves.doubles(0) == Doubles({hidden: OLD + NEW - hidden})
    assert moves.slots_left(0) == slots
    over = phase in ("done", "abandoned")
    assert moves.doubles(2**40) == (Doubles() if over else moves.doubles(0))
    assert moves.standing_twice() == ({"node-3": {"office": 1}} if phase in ("copied", "ending") else {})
    assert moves.slots_left(2**40) == ()


def test_the_id_that_its_owner_was_told_leads_to_his_job_as_long_as_that_is_open(moves: MoveTable) -> None:
    """A day later, and whatever the clock says."""
    (move,) = moves.open()
    moves.put(move, phase="done", new_id=NEW)
    jobs = JobTable(moves.store)
    jobs.put([Job("urn:uuid:a", NEW, "node-3", "office", "demo", state="held")])
    moves.forget(-1)
    assert moves.slots_left(2**40) == (1,)
    assert moves.now(OLD) == NEW
    jobs.put([Job("urn:uuid:a", NEW, "node-3", "office", "demo", state="completed")])
    assert moves.slots_left(2**40) == ()
    moves.forget(-1)
    assert moves.last_of("urn:uuid:a") is None
