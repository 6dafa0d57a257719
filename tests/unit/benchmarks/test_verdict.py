"""A campaign's judge: it sees every broken promise, and excuses only what has an excuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.verdict import Death, Output, Told, Trouble, Verdict, judge
from controller.jobs.table import Job

TOLD = Told("1-1", "demo", 100.0, 100.1, accepted=True, job=1_000_001)
FAILED = Told("1-1", "demo", 100.0, 100.1, why="HTTP 503", sent_to=frozenset({1}))
DIED = Death("node-1", 100.05, 1000.1, slot=1)
OUT = Output("1-1", 1000.0, 1000.2, whole=True)
ROW = Job("uuid", 1_000_001, "node-1", "office", "demo", "1-1", "completed")


def verdict(
    told: Told = TOLD,
    outputs: Sequence[Output] = (OUT,),
    deaths: Sequence[Death] = (),
    cuts: Sequence[tuple[int, float, float]] = (),
    doors: Sequence[tuple[float, float]] = (),
    jumps: Sequence[float] = (),
    unseen: Sequence[tuple[float, float]] = (),
    jobs: Sequence[Job] = (ROW,),
    charged: int = 1,
) -> Verdict:
    trouble = Trouble(deaths, cuts, doors, jumps, unseen)
    return judge([told], outputs, trouble, jobs, {"1-1": charged}, {"1-1": {"node-1"}})


def test_all_is_well() -> None:
    assert verdict().broken == []
    assert "Every promise was kept." in verdict().report(1, 4, 12)


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
    assert verdict(outputs=[OUT, again], deaths=[replace(DIED, node="node-2")]).twice
    thrice = [OUT, again, replace(OUT, arrived=1009.0, out=1009.2)]
    assert verdict(outputs=thrice, deaths=[DIED]).twice


def test_a_wrong_owner_and_what_the_table_of_jobs_does_not_know() -> None:
    assert verdict(jobs=[replace(ROW, owner="alice")]).wrong_owner
    assert verdict(jobs=[]).unknown
    assert verdict(jobs=[replace(ROW, state="pending")]).unknown


def test_a_failed_request_needs_an_excuse() -> None:
    assert verdict(FAILED).refused
    assert verdict(FAILED, deaths=[DIED]).in_flight
    assert verdict(FAILED, deaths=[replace(DIED, at=90.0)]).refused
    assert verdict(FAILED, deaths=[replace(DIED, at=103.0, lag=3.0)]).in_flight
    assert verdict(FAILED, deaths=[replace(DIED, at=103.0, lag=1.0)]).refused
    assert verdict(FAILED, deaths=[replace(DIED, slot=2)]).refused
    assert verdict(replace(FAILED, sent_to=frozenset()), deaths=[DIED]).refused
    assert verdict(replace(FAILED, sent_to=frozenset(), job=1_000_001), deaths=[DIED]).in_flight
    created = replace(FAILED, job=1_000_001)
    assert verdict(created, cuts=[(1, 90.0, 110.0)]).cut_off
    assert verdict(created, cuts=[(2, 90.0, 110.0)]).refused
    assert verdict(FAILED, cuts=[(1, 90.0, 110.0)]).refused
    assert verdict(FAILED, doors=[(99.0, 101.0)]).without_door
    assert verdict(FAILED, doors=[(90.0, 99.0)]).refused
    full = replace(FAILED, why="HTTP 413 too large")
    assert verdict(full, unseen=[(90.0, 110.0)]).full_unseen
    assert verdict(FAILED, unseen=[(90.0, 110.0)]).refused
    assert verdict(full).refused


def test_a_connection_that_ended_with_its_proxy_is_noticed_later() -> None:
    cut = replace(FAILED, why="RemoteDisconnected('Remote end closed connection without response')", connected=80.0)
    assert verdict(cut, doors=[(89.0, 90.0)]).without_door
    assert verdict(replace(cut, connected=95.0), doors=[(89.0, 90.0)]).refused
    assert verdict(replace(cut, why="HTTP 503"), doors=[(89.0, 90.0)]).refused


def test_what_the_log_is_silent_about_was_with_the_node_that_died() -> None:
    cut = replace(
        FAILED, why="RemoteDisconnected('Remote end closed connection without response')", sent_to=frozenset()
    )
    assert verdict(cut, deaths=[DIED]).in_flight
    assert verdict(cut, deaths=[replace(DIED, at=102.0)]).refused
    assert verdict(replace(cut, sent_to=frozenset({2})), deaths=[DIED]).refused
    assert verdict(cut).refused


def test_a_connection_that_is_cut_when_the_clock_jumps() -> None:
    cut = replace(FAILED, why="RemoteDisconnected('Remote end closed connection without response')", connected=98.0)
    assert verdict(cut, jumps=[99.0]).jumped
    assert verdict(cut).refused
    assert verdict(cut, jumps=[95.0]).refused
    assert verdict(cut, jumps=[101.0]).refused
    assert verdict(replace(cut, why="HTTP 503"), jumps=[99.0]).refused
    assert verdict(replace(cut, why="ConnectionRefusedError(111)"), jumps=[99.0]).refused


def test_what_is_charged_twice_or_never() -> None:
    assert verdict(charged=2).charged
    assert verdict(charged=0).charged


def test_an_id_that_was_given_twice() -> None:
    outputs = [OUT, replace(OUT, name="1-2")]
    found = judge([TOLD, replace(TOLD, name="1-2")], outputs, Trouble(), [ROW], {"1-1": 1, "1-2": 1}, {})
    assert found.ids_twice == [1_000_001]
