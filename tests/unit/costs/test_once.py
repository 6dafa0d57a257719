"""No double and no missing charge, whatever is retried, moved, cancelled, read twice or killed, and whenever."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.costs import journal
from controller.costs.attempts import put_together
from controller.costs.charge import decided
from controller.costs.collect import Charger
from controller.costs.ledger import Ledger
from controller.jobs.moves import MoveTable
from controller.store import Store
from tests.unit.costs.test_ledger import A4, DAY, SITE, World, job

FOREVER = (date(2000, 1, 1), date(2100, 1, 1))
IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Thousands of databases are opened and closed here, which a disk would take minutes for."""
Step = Callable[[], None]


class Killed(BaseException):
    """As SIGKILL: nothing catches it."""


class Mortal(Store):
    """A store whose process is killed before so many of its statements; what was not committed is gone."""

    def __init__(self, path: Path, left: int) -> None:
        super().__init__(path)
        self.left = left

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def rows(self, sql: str, values: Iterable[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        self._live()
        return super().rows(sql, values)

    def execute(self, sql: str, values: Iterable[Any] | Mapping[str, Any] = ()) -> int:
        self._live()
        return super().execute(sql, values)

    def execute_many(self, sql: str, rows: Iterable[Mapping[str, Any] | Sequence[Any]]) -> None:
        self._live()
        super().execute_many(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._live()
        with super().transaction():
            yield
            self._live()


class Story:
    """What happens to one job, step by step, and what it must be charged in the end."""

    def __init__(self, world: World, draw: Callable[[Any], Any], number: int) -> None:
        self.world, self.draw = world, draw
        self.number = 1_000_001 + number // 2
        """Two jobs have it, one on each node."""
        self.node = f"node-{1 + number % 2}"
        self.uuid, self.runs = f"u{number}", 0
        self.pages = draw(st.integers(1, 20))
        self.expected: int | None = self.pages
        self.steps: list[Step] = [*self._retries(), *getattr(self, "_" + draw(st.sampled_from(ENDS)))()]

    def _retries(self) -> Iterator[Step]:
        for _ in range(self.draw(st.integers(0, 2))):
            yield self.draw(st.sampled_from([self._half, self._backend_killed, self._torn]))
        yield lambda: self._is("processing")

    def _printed(self) -> Iterator[Step]:
        yield self._whole
        yield lambda: self._is("completed")

    def _printed_again(self) -> Iterator[Step]:
        """Its node died when all was printed, and before cupsd had written that down."""
        yield self._whole
        yield from self._printed()

    def _cancelled(self) -> Iterator[Step]:
        yield self._half
        self.expected = math.ceil(self.pages / 2)
        yield lambda: self._is("canceled")

    def _found_after_all(self) -> Iterator[Step]:
        """It was given up for lost, and its node came back and had printed it."""
        yield self._half
        yield lambda: self._is("lost")
        yield from self._printed()

    def _moved(self) -> Iterator[Step]:
        yield self._half
        yield lambda: self._is("held")
        yield self._move
        yield from self._printed()

    def _whole(self) -> None:
        self.world.tried(self.node, self._run(), self.uuid, self.number, self.pages, whole=True)

    def _half(self) -> None:
        self.world.tried(self.node, self._run(), self.uuid, self.number, self.pages, whole=False, share=0.5)

    def _backend_killed(self) -> None:
        facts = {"uuid": self.uuid, "job": self.number, "user": "x", "queue": "office", "title": "t"}
        more = {"driver": False, "options": {}, "separately": 0}
        self.world.line(self.node, {"event": "begin", "run": self._run(), "at": 1, **facts, **more})

    def _torn(self) -> None:
        """The machine lost its power while a line was written."""
        self._backend_killed()
        path = Path(journal.files(str(self.world.folder / "nodes" / self.node))[-1])
        path.write_bytes(path.read_bytes() + b'{"event":"end","run":"' + self._run().encode())

    def _move(self) -> None:
        """To a node of its own, as the journal of moves has it."""
        target, number = "node-3", 3_000_000 + int(self.uuid[1:])
        with Store(self.world.folder / "db") as store, store.transaction():
            moves = MoveTable(store)
            moves.order(job(self.uuid, "held", id=self.number, node=self.node), "test")
            moves.put(moves.open()[-1], phase="done", target=target, new_id=number)
        self.node, self.number = target, number

    def _is(self, state: str) -> None:
        self.world.put(job(self.uuid, state, id=self.number, node=self.node))

    def _run(self) -> str:
        self.runs += 1
        return f"{self.uuid}-{self.runs}"


ENDS = ("printed", "printed_again", "cancelled", "found_after_all", "moved")


@settings(max_examples=100)
@given(st.data())
def test_each_job_is_charged_once(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        world = World(Path(folder))
        stories = [Story(world, data.draw, number) for number in range(data.draw(st.integers(1, 4)))]
        while waiting := [story for story in stories if story.steps]:
            data.draw(st.sampled_from(waiting)).steps.pop(0)()
            _disturb(world, data.draw)
        for _ in range(2):
            world.charger.collect()
            world.charger.clear()
        charged: dict[str, int] = {}
        for one in world.entries():
            uuid = one.key.split(":")[1]
            charged[uuid] = charged.get(uuid, 0) + one.pages
        assert charged == {story.uuid: story.expected for story in stories}
        with Store(world.folder / "db") as store:
            assert Ledger(store).total(*FOREVER)["pages"] == sum(charged.values())
            assert Ledger(store).total(*FOREVER)["jobs"] == len(stories)


@st.composite
def attempts_of_a_job(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Lines of a journal: of attempts that follow one another, each as far as it came until its backend was killed."""
    lines: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 3))):
        begin = {"event": "begin", "at": DAY + number, "uuid": "u", "job": 1_000_001, "user": "x", "queue": "office"}
        begin |= {"title": "t", "driver": False, "options": {}, "separately": 0, "copies": draw(st.integers(1, 2))}
        shares = sorted(draw(st.lists(st.floats(0, 1), max_size=2)))
        sent: list[dict[str, Any]] = [{"event": "sent", "share": share} for share in shares]
        pages = draw(st.integers(1, 20))
        found: dict[str, Any] = {"event": "count", "count": ["counted", [[A4, False, pages]], 1, "", ""]}
        end = {"event": "end", "at": DAY + number, "status": 0, "reported": 0, "count": None}
        whole = draw(st.booleans())
        end |= {"whole": whole, "share": 1.0 if whole else max([0.0, *shares])}
        made = [begin, *sent, found, end] if draw(st.booleans()) else [begin, *sent, end, found]
        kept = draw(st.integers(1, len(made)))
        lines += [{**line, "run": f"run-{number}"} for line in made[:kept]]
    return lines


@settings(max_examples=60)
@given(attempts_of_a_job(), st.sampled_from(["completed", "canceled", "aborted"]), st.data())
def test_a_journal_that_is_read_in_pieces_is_one_charge(
    lines: list[dict[str, Any]], state: str, data: st.DataObject
) -> None:
    """Each piece once or several times, before and after the job's end, by controllers that are killed."""
    expected = decided(job(state=state), list(put_together(lines, {}).values()), SITE.unknown_pages)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        world = World(Path(folder))
        world.put(job(state="processing"))
        cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=3))), len(lines)]
        ended = data.draw(st.integers(0, len(cuts) - 1))
        for number, (begin, end) in enumerate([*pairwise(cuts), (0, 0)]):
            for line in lines[begin:end]:
                world.line("node-1", line)
            if number == ended:
                world.put(job(state=state))
            _disturb(world, data.draw)
        world.charger.collect()
        world.charger.collect()
        found = world.entries()
    assert sum(one.pages for one in found) == (expected.pages if expected else 0)
    assert len([one for one in found if one.kind == "job"]) == (1 if expected else 0)
    # What came later and changed no sum is no correction, so the origin may be one that was true before.
    sofar = (
        decided(job(state=state), list(put_together(lines[:n], {}).values()), SITE.unknown_pages)
        for n in range(1, len(lines) + 1)
    )
    assert not expected or found[-1].origin in {one.origin for one in sofar if one}


def _disturb(world: World, draw: Callable[[Any], Any]) -> None:
    """The controller sweeps, to the end or until it is killed; or it knows no more what it has read."""
    what = draw(st.sampled_from(["nothing", "sweep", "kill", "kill", "forget"]))
    if what == "sweep":
        world.charger.collect()
    elif what == "kill":
        left = draw(st.integers(0, 60))
        with suppress(Killed):
            Charger(lambda: Mortal(world.folder / "db", left), world.folder / "nodes", lambda: SITE).collect()
    elif what == "forget":
        with Store(world.folder / "db") as store, store.transaction():
            store.execute("delete from journals")
