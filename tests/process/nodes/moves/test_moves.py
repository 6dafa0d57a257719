"""Jobs that are moved between real servers: nothing is lost, nothing printed twice, whoever dies in between."""

from __future__ import annotations

import contextlib
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from pyipp.enums import IppOperation

from controller.jobs import remote
from controller.jobs.moves import MoveTable
from controller.snapshot import NodeState
from controller.store import Store
from probes import ipp
from probes.cups import Call, call
from tests.process.nodes.conftest import DEADLINE, eventually
from tests.process.nodes.moves.conftest import Crash, Mortal, Pair, advance


def test_everything_comes_along(clean: Pair, tmp_path: Path) -> None:
    """Two documents, a title, options, an owner, a hold."""
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("first document\n")
    second.write_bytes(gzip.compress(b"second document\n"))
    source = clean.nodes["node-3"]
    options = {"copies": 2, "job-priority": 77, "sides": "two-sided-long-edge", "job-hold-until": "indefinite"}
    job = source.ask("alice", IppOperation.CREATE_JOB, options, job_name="Räte & <Tafeln>")["jobs"][0]["job-id"]
    for place, path in enumerate((first, second)):
        packed = {"compression": "gzip"} if place else {}
        request = ipp.Request(
            IppOperation.SEND_DOCUMENT,
            {"job-id": job, "document-format": "text/plain", "last-document": bool(place), **packed},
            "office",
            path.read_bytes(),
        )
        ipp.question(ipp.Server(source.spec.host, source.spec.port, "alice"), request, DEADLINE)
    custody = clean.custody()
    custody.collector.collect()
    assert custody.evacuate(clean.record("node-3"), "a test") == 1
    advance(custody, lambda: not clean.open_moves())
    (row,) = (one for one in clean.table() if one.open)
    assert (row.node, row.owner, row.title) == ("node-4", "alice", "Räte & <Tafeln>")
    with Store(clean.database) as store:
        assert MoveTable(store).now(job) == row.id
    target = clean.nodes["node-4"]
    wanted = [*options, "job-name", "job-uuid", "job-originating-user-name", "number-of-documents", "job-sheets"]
    asked: dict[str, Any] = {"job_id": row.id, "requested_attributes": wanted}
    said = target.ask(target.driver.token(target.spec).user, IppOperation.GET_JOB_ATTRIBUTES, **asked)["jobs"][0]
    assert {name: said[name] for name in options} == options
    assert (said["job-uuid"], said["number-of-documents"]) == (row.uuid, 2)
    old = clean.standing("node-3", job)
    assert old is not None
    assert old.state == "canceled"
    target.ask("alice", IppOperation.RELEASE_JOB, job_id=row.id)
    eventually(lambda: not target.jobs())
    # Copies of a raw document, and all documents of a job, are sent over one connection.
    assert clean.texts() == ["first document\n" * 2 + "second document\n" * 2]


@pytest.mark.parametrize("life", range(1, 15))
def test_a_crash_between_any_two_steps_neither_loses_nor_doubles(clean: Pair, life: int) -> None:
    text = f"document {life} {os.urandom(4).hex()}\n"
    clean.nodes["node-3"].lp("alice", "-t", f"title {life}", text=text)
    custody = clean.custody()
    custody.collector.collect()
    custody.evacuate(clean.record("node-3"), "a test")
    Mortal.life = life
    try:
        advance(custody, lambda: not clean.open_moves())
        died = False
    except Crash:
        died = True
    Mortal.life = 10_000
    assert died or life > 12  # a step that has to wait is a moment more
    after = clean.custody()
    advance(after, lambda: not clean.open_moves())
    eventually(lambda: text in clean.texts())
    eventually(lambda: not clean.nodes["node-4"].jobs())
    assert clean.nodes["node-3"].jobs() == {}
    assert clean.texts() == [text]
    clean.look(after.collector)
    after.collector.collect()
    (row,) = (one for one in clean.table() if one.title == f"title {life}")
    assert (row.node, row.owner, row.state) == ("node-4", "alice", "completed")


def test_a_job_that_its_server_does_not_know_any_more_was_purged_or_is_out_of_sight(clean: Pair) -> None:
    source = clean.nodes["node-3"]
    watched = clean.custody().collector
    for collector, state, why in (
        (watched, "canceled", "it was purged from node-3, which runs on and knew it a moment ago"),
        (clean.custody().collector, "lost", "node-3 runs on and does not know it any more"),
    ):
        job = source.lp("alice", text="gone\n")
        clean.look(watched)
        watched.collect()
        source.ask("alice", IppOperation.CANCEL_JOB, job_id=job, purge_job=True)
        clean.look(collector)
        collector.collect()
        (row,) = (one for one in clean.table() if one.id == job)
        assert (row.state, row.why[: len(why)]) == (state, why)
        assert row.completed >= row.created
        assert any(str(job) in problem for problem in collector.problems()) == (state == "lost")


def test_a_job_that_its_owner_cancels_meanwhile_stays_cancelled(clean: Pair) -> None:
    source = clean.nodes["node-3"]
    job, custody = clean.leaving("not wanted any more\n")
    source.ask("alice", IppOperation.CANCEL_JOB, job_id=job)
    advance(custody, lambda: not clean.open_moves())
    assert clean.nodes["node-4"].jobs() == {}
    assert clean.texts() == []


def test_a_job_that_was_cancelled_before_its_server_died_is_not_rescued(clean: Pair) -> None:
    """It was to be moved already, and its end is not known yet."""
    source = clean.nodes["node-3"]
    job, custody = clean.leaving("not wanted any more\n")
    source.ask("alice", IppOperation.CANCEL_JOB, job_id=job)
    source.kill()
    source.driver.stop(source.spec)
    clean.set_state("node-3", NodeState.RESCUING)
    advance(custody, lambda: not custody.rescue(clean.record("node-3"), "a test"))
    clean.set_state("node-3", NodeState.READY)
    source.start()
    assert clean.open_moves() == 0
    assert [one.state for one in clean.table() if one.id == job] == ["canceled"]
    assert clean.texts() == []


def test_a_job_that_its_owner_cancels_at_the_last_moment_is_not_printed(
    clean: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last look at it and its end by the mover, when the copy stands already."""
    source = clean.nodes["node-3"]
    job, custody = clean.leaving("not wanted any more\n")
    end = remote.end

    def overtaken(server: ipp.Server, number: int, purge: bool = False) -> None:
        if number == job:
            source.ask("alice", IppOperation.CANCEL_JOB, job_id=job)
        end(server, number, purge)

    monkeypatch.setattr(remote, "end", overtaken)
    advance(custody, lambda: not clean.open_moves())
    assert clean.nodes["node-4"].jobs() == {}
    assert clean.texts() == []
    clean.look(custody.collector)
    custody.collector.collect()
    assert [one.state for one in clean.table() if one.id == job] == ["canceled"]


def test_the_old_job_is_ended_when_the_proxies_lead_on_to_the_copy(clean: Pair) -> None:
    job, custody = clean.leaving("led on\n")
    asked: list[int] = []

    def leads_on(slot: int) -> bool:
        asked.append(slot)
        return len(asked) > 2

    custody.mover.leads_on = leads_on
    advance(custody, lambda: bool(asked))
    assert asked == [3]
    old = clean.standing("node-3", job)
    assert old is not None
    assert old.state == "held"
    assert custody.problems() == []
    advance(custody, lambda: not clean.open_moves())
    eventually(lambda: clean.texts() == ["led on\n"])
    assert asked == [3, 3, 3]


def test_a_controller_that_stops_leaves_its_moves_to_the_next(clean: Pair) -> None:
    source = clean.nodes["node-3"]
    for number in range(3):
        source.lp("alice", text=f"number {number}\n")
    custody = clean.custody()
    custody.collector.collect()
    assert custody.evacuate(clean.record("node-3"), "a test") == 3
    begun: list[int] = []
    custody.mover.between = lambda: begun.append(1) if len(begun) < 1 else custody.mover.stop()
    custody.mover.advance()
    assert clean.open_moves() == 2
    custody.mover.advance()
    assert clean.open_moves() == 2
    advance(clean.custody(), lambda: not clean.open_moves())
    eventually(lambda: sorted(clean.texts()) == [f"number {number}\n" for number in range(3)])


def test_without_another_node_a_job_stays_as_it_is(clean: Pair) -> None:
    job = clean.nodes["node-3"].lp("alice", text="stays\n")
    custody = clean.custody()
    custody.collector.collect()
    clean.set_state("node-4", NodeState.DRAINING)
    try:
        custody.evacuate(clean.record("node-3"), "a test")
        custody.mover.advance()
        custody.mover.advance()
        assert custody.problems() == [
            f"job {job} of alice is not moved from node-3 yet: no other server takes jobs of office"
        ]
        assert clean.nodes["node-3"].jobs()[job].state == 3
    finally:
        clean.set_state("node-4", NodeState.READY)
    advance(custody, lambda: not clean.open_moves())
    eventually(lambda: clean.texts() == ["stays\n"])


def test_a_job_that_was_released_at_the_last_moment_prints_once(clean: Pair) -> None:
    """The controller dies when the copy stands and the old one is to be ended."""
    source = clean.nodes["node-3"]
    job, _ = clean.leaving("once\n")
    for life in range(1, 40):
        Mortal.life = life
        with contextlib.suppress(Crash):
            clean.custody().mover.advance()
        Mortal.life = 10_000
        with Store(clean.database) as store:
            moves = MoveTable(store)
            if [move.phase for move in moves.open()] == ["ending"]:
                assert moves.now(job) != job  # so that what people ask of it reaches the copy
                break
    spec = source.spec
    call(spec.host, spec.port, source.driver.token(spec), [Call("enablePrinter", ("office",))], DEADLINE)
    source.ask("alice", IppOperation.RELEASE_JOB, job_id=job)
    eventually(lambda: clean.texts() == ["once\n"])
    eventually(lambda: not source.jobs())
    advance(clean.custody(), lambda: not clean.open_moves())
    eventually(lambda: not clean.nodes["node-4"].jobs())
    assert clean.texts() == ["once\n"]
