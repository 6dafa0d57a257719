"""A campaign's judge: it sees every broken promise, and excuses only what has an excuse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.verdict import (
    CUT_OFF,
    FULL_UNSEEN,
    IN_FLIGHT,
    JUMPED,
    REFUSED,
    UNLOGGED,
    WITHOUT_DOOR,
    Death,
    Output,
    Told,
    Trouble,
    Verdict,
    judge,
)
from controller.jobs.table import Job

TOLD = Told("1-1", "demo", 100.0, 100.1, accepted=True, job=1_000_001)
FAILED = Told("1-1", "demo", 100.0, 100.1, why="HTTP 503", status=503, sent_to=frozenset({1}))
CLOSED = replace(FAILED, why="RemoteDisconnected()", status=0, sent_to=frozenset(), connected=99.5)
DIED = Death("node-1", 100.05, 1000.1, slot=1)
OUT = Output("1-1", 1000.0, 1000.2, whole=True)
ROW = Job("uuid", 1_000_001, "node-1", "office", "demo", "1-1", "completed")


def verdict(
    told: Told = TOLD,
    outputs: Sequence[Output] = (OUT,),
    deaths: Sequence[Death] = (),
    jobs: Sequence[Job] = (ROW,),
    charged: int = 1,
) -> Verdict:
    return judge([told], outputs, Trouble(deaths), jobs, {"1-1": charged}, {"1-1": {"node-1"}})


def test_all_is_well() -> None:
    found = replace(verdict(), faults=Counter({"node killed": 1}))
    assert found.broken == []
    assert found.proven
    assert "Every promise was kept." in found.report(1, 4, 12)


def test_promises_that_nothing_tried_are_not_proven() -> None:
    found = replace(verdict(), faults=Counter({"node killed": 0}))
    assert found.kept
    assert not found.proven
    assert "Every promise was kept." not in found.report(1, 4, 12)


def test_a_lost_document() -> None:
    assert verdict(outputs=[]).lost
    assert verdict(outputs=[replace(OUT, whole=False)]).lost
    assert not verdict(outputs=[replace(OUT, name="1-2")]).kept


def test_a_document_that_came_out_twice() -> None:
    again = replace(OUT, arrived=1005.0, out=1005.2)
    assert verdict(outputs=[OUT, again]).twice
    while_printing = verdict(outputs=[OUT, again], deaths=[DIED])
    assert while_printing.kept
    assert while_printing.twice_while_printing == ["1-1, 2 times"]
    assert verdict(outputs=[OUT, again], deaths=[replace(DIED, wall=1003.0)]).twice
    assert verdict(outputs=[OUT, again], deaths=[replace(DIED, wall=1003.0, lag=3.0)]).kept
    assert verdict(outputs=[OUT, again], deaths=[replace(DIED, wall=1003.0, mute=3.0)]).kept
    assert verdict(outputs=[OUT, again], deaths=[replace(DIED, node="node-2")]).twice
    thrice = [OUT, again, replace(OUT, arrived=1009.0, out=1009.2)]
    assert verdict(outputs=thrice, deaths=[DIED]).twice


def test_a_wrong_owner_and_what_the_table_of_jobs_does_not_know() -> None:
    assert verdict(jobs=[replace(ROW, owner="alice")]).wrong_owner
    assert verdict(jobs=[]).unknown
    assert verdict(jobs=[replace(ROW, state="pending")]).unknown


def excuse(told: Told, trouble: Trouble | None = None) -> str:
    found = judge([told], [], trouble or Trouble(), [], {}, {})
    assert found.kept == (REFUSED not in found.failures)
    (name,) = found.failures
    assert f"| failed requests, {name} | 1 |" in found.report(1, 4, 12)
    return name


def test_a_failed_request_needs_an_excuse() -> None:
    assert excuse(FAILED) == REFUSED
    created = replace(FAILED, job=1_000_001)
    assert excuse(created, Trouble(cuts=[(1, 90.0, 110.0)])) == CUT_OFF
    assert excuse(created, Trouble(cuts=[(2, 90.0, 110.0)])) == REFUSED
    assert excuse(FAILED, Trouble(cuts=[(1, 90.0, 110.0)])) == REFUSED
    assert excuse(CLOSED, Trouble(doors=[(99.0, 101.0)])) == WITHOUT_DOOR
    assert excuse(CLOSED, Trouble(doors=[(90.0, 99.0)])) == REFUSED
    assert excuse(FAILED, Trouble(doors=[(99.0, 101.0)])) == REFUSED  # who answers is a door


def test_who_was_under_way_on_a_node_that_died_is_excused() -> None:
    def with_death(told: Told = FAILED, **changes: Any) -> str:
        return excuse(told, Trouble([replace(DIED, **changes)]))

    assert with_death() == IN_FLIGHT
    assert with_death(at=90.0) == REFUSED
    assert with_death(at=99.9) == REFUSED  # sent to a dead one: another could have been asked
    assert with_death(at=103.0, lag=3.0) == IN_FLIGHT
    assert with_death(at=103.0, lag=1.0) == REFUSED
    assert with_death(at=103.0, mute=5.0) == REFUSED  # it had failed before
    assert with_death(slot=2) == REFUSED
    assert with_death(replace(FAILED, sent_to=frozenset())) == REFUSED
    assert with_death(replace(FAILED, sent_to=frozenset(), job=1_000_001)) == IN_FLIGHT
    assert with_death(replace(FAILED, job=1_000_001, ended=120.0)) == REFUSED


def test_a_full_disk_excuses_its_own_node_s_refusals_and_only_while_nobody_could_see() -> None:
    full = replace(FAILED, why="HTTP 413 too large", status=413)
    assert excuse(full, Trouble(unseen=[(1, 90.0, 110.0)])) == FULL_UNSEEN
    assert excuse(full, Trouble(unseen=[(2, 90.0, 110.0)])) == REFUSED
    assert excuse(full, Trouble(unseen=[(1, 90.0, 95.0)])) == REFUSED
    assert excuse(FAILED, Trouble(unseen=[(1, 90.0, 110.0)])) == REFUSED


def test_a_connection_that_ended_with_its_proxy_is_noticed_later() -> None:
    trouble = Trouble(doors=[(89.0, 90.0)])
    assert excuse(replace(CLOSED, connected=80.0), trouble) == WITHOUT_DOOR
    assert excuse(replace(CLOSED, connected=95.0), trouble) == REFUSED
    assert excuse(replace(FAILED, connected=80.0), trouble) == REFUSED


def test_what_the_log_is_silent_about_was_with_the_node_that_died() -> None:
    assert excuse(CLOSED, Trouble([DIED])) == UNLOGGED
    assert excuse(CLOSED, Trouble([replace(DIED, at=102.0)])) == REFUSED
    assert excuse(CLOSED, Trouble([replace(DIED, at=99.9)])) == REFUSED
    assert excuse(replace(CLOSED, sent_to=frozenset({2})), Trouble([DIED])) == REFUSED
    assert excuse(replace(CLOSED, sent_to=frozenset({1})), Trouble([DIED])) == IN_FLIGHT


def test_a_connection_that_is_cut_when_the_clock_jumps() -> None:
    cut = replace(CLOSED, connected=98.0)
    assert excuse(cut, Trouble(jumps=[99.0])) == JUMPED
    assert excuse(cut, Trouble(jumps=[95.0])) == REFUSED
    assert excuse(cut, Trouble(jumps=[101.0])) == REFUSED
    assert excuse(cut, Trouble(jumps=[97.9])) == REFUSED  # its connection was made after that
    expired = replace(FAILED, connected=98.0, why="HTTP 504 Gateway Time-out", status=504)
    assert excuse(expired, Trouble(jumps=[99.0])) == JUMPED
    assert excuse(replace(expired, why="HTTP 503 busy", status=503), Trouble(jumps=[99.0])) == REFUSED
    assert excuse(replace(FAILED, connected=98.0), Trouble(jumps=[99.0])) == REFUSED
    assert excuse(replace(cut, why="ConnectionRefusedError(111)"), Trouble(jumps=[99.0])) == REFUSED


def test_what_becomes_of_its_bytes() -> None:
    sent = replace(TOLD, digest="abc")
    assert verdict(sent, outputs=[replace(OUT, digest="abc")]).kept
    assert verdict(sent, outputs=[replace(OUT, digest="abd")]).other == ["1-1"]
    partial = replace(OUT, arrived=990.0, out=990.1, whole=False, digest="ab")
    assert not verdict(sent, outputs=[replace(OUT, digest="abc"), partial]).other


def test_what_is_charged_twice_or_never() -> None:
    assert verdict(charged=2).charged
    assert verdict(charged=0).charged
    assert verdict(FAILED, charged=2).charged
    assert verdict(FAILED, charged=0).charged  # it came out all the same
    assert not verdict(FAILED, outputs=[], charged=0).charged


def test_an_id_that_was_given_twice() -> None:
    outputs = [OUT, replace(OUT, name="1-2")]
    found = judge([TOLD, replace(TOLD, name="1-2")], outputs, Trouble(), [ROW], {"1-1": 1, "1-2": 1}, {})
    assert found.ids_twice == [1_000_001]


def test_an_id_that_a_moved_job_got_and_another_one_had() -> None:
    def judged(number: int, uuid: str) -> list[int]:
        return judge([TOLD], [OUT], Trouble(), [ROW], {"1-1": 1}, {}, [(number, uuid)]).ids_twice

    assert judged(TOLD.job, "urn:uuid:other") == [TOLD.job]
    assert judged(TOLD.job, ROW.uuid) == judged(2_000_001, ROW.uuid) == []
