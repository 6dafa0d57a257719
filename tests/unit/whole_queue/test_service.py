"""What one answer says when nodes are silent, refuse, or have left."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from controller.jobs.moves import Doubles
from controller.snapshot import Node
from controller.whole_queue import merge, request
from controller.whole_queue.answer import Answer, Unanswerable
from controller.whole_queue.nodes import Reply
from controller.whole_queue.service import WholeQueue
from probes import wire
from tests.process.edge import ippwire
from tests.unit.whole_queue.test_cancel import FORBIDDEN, GONE, ONE, TWO, Fleet, Moves, Table, job, said
from tests.unit.whole_queue.test_merge import event, keyword

GET_JOB, GET_JOBS, GET_NOTIFICATIONS, GET_PRINTER = 0x0009, 0x000A, 0x001C, 0x000B
CANCEL_JOB, HOLD_JOB, SUBSCRIBE = 0x0008, 0x000C, 0x0016


def answered(operation: int, replies: tuple[Reply, ...], table: Table, *attributes: bytes) -> Answer:
    return answer_of(Fleet(replies), table, operation, *attributes)


def answer_of(
    fleet: Fleet, table: Table, operation: int, *attributes: bytes, moves: Moves | None = None, groups: bytes = b""
) -> Answer:
    asked = request.read(ippwire.request(operation, ippwire.printer(), *attributes, groups=groups), "demo")
    whole = WholeQueue(fleet, table, moves or Moves())  # type: ignore[arg-type]
    return asyncio.run(whole.answer(asked, "localhost"))


def with_groups(node: Node, *groups: bytes, wanted: frozenset[bytes] = merge.PRINTER_SPOTS) -> Reply:
    body = wire.message(b"\2\0", 0, 1, [bytes([wire.OPERATION]) + ippwire.charset(), *groups])
    return Reply(node, wire.split(body, wanted), body)


def queue(name: str, state: int = 3, count: int = 0, reason: str = "none") -> bytes:
    head = bytes([wire.PRINTER]) + wire.attribute(wire.NAME, "printer-name", name)
    state_and_reason = wire.attribute(wire.ENUM, "printer-state", state) + keyword("printer-state-reasons", reason)
    accepting = wire.attribute(wire.BOOLEAN, "printer-is-accepting-jobs", 1)
    return head + state_and_reason + accepting + wire.attribute(wire.INTEGER, "queued-job-count", count)


@pytest.mark.parametrize("odd", [said(TWO, FORBIDDEN), Reply(TWO, http_status=500), Reply(TWO)])
def test_jobs_of_a_node_that_gives_no_list_are_told_as_they_were_seen(odd: Reply) -> None:
    table = Table([replace(job("demo"), node="node-2", id=2_000_001)])
    body = answered(GET_JOBS, (said(ONE, merge.OK), odd), table).body
    assert ippwire.integers(body, "job-id") == [2_000_001]
    assert ippwire.values(body, "status-message")[0].startswith(b"node-2 did not answer in time")


def test_ended_jobs_of_a_node_that_has_left_are_still_told() -> None:
    now = int(time.time())
    gone = [replace(job("demo"), node="node-9", id=9_000_000 + n, state="completed", completed=at)
            for n, at in ((1, now), (2, now - 10**6))]  # fmt: skip
    both = (said(ONE, merge.OK), said(TWO, merge.OK))
    completed = answered(GET_JOBS, both, Table(gone), keyword("which-jobs", "completed")).body
    assert ippwire.integers(completed, "job-id") == [9_000_001]
    assert ippwire.integers(answered(GET_JOBS, both, Table(gone)).body, "job-id") == []


def test_ended_jobs_of_a_node_that_leaves_while_it_is_asked_are_told_once() -> None:
    job_group = bytes([wire.JOB]) + wire.attribute(wire.INTEGER, "job-id", 2_000_007)
    there = with_groups(TWO, job_group, wanted=request.JOB_SPOTS)
    fleet = Fleet((said(ONE, merge.OK), there), left=(TWO,))
    table = Table([replace(job("demo"), state="completed", completed=int(time.time()))])
    body = answer_of(fleet, table, GET_JOBS, keyword("which-jobs", "completed")).body
    assert ippwire.integers(body, "job-id") == [2_000_007]


def test_a_word_that_only_a_server_can_judge_is_not_answered_without_one() -> None:
    silent = (Reply(ONE), Reply(TWO))
    assert ippwire.status(answered(GET_JOBS, silent, Table(), keyword("which-jobs", "processing")).body) == 0
    with pytest.raises(Unanswerable):
        answered(GET_JOBS, silent, Table(), keyword("which-jobs", "nonsense"))


def test_no_event_is_told_while_a_node_that_has_some_is_silent() -> None:
    """What the others say has not been looked through, and may be about anybody's jobs."""
    ids = ippwire.attribute(0x21, "notify-subscription-ids", 1_000_001) + ippwire.attribute(0x21, "", 2_000_001)
    with pytest.raises(Unanswerable):
        answered(GET_NOTIFICATIONS, (said(ONE, merge.OK), Reply(TWO)), Table(), ids)


def test_reasons_alone_are_those_of_the_nodes_in_the_queues_state() -> None:
    replies = (with_groups(ONE, queue("office", 5, reason="media-jam-error")), with_groups(TWO, queue("office", 4)))
    body = answered(GET_PRINTER, replies, Table(), keyword("requested-attributes", "printer-state-reasons")).body
    assert ippwire.values(body, "printer-state-reasons") == [b"none"]
    assert ippwire.values(body, "printer-state") == []


def test_what_is_asked_for_beside_is_cut_out_only_where_nobody_asked_for_it() -> None:
    def extras(operation: int, *wanted: str) -> list[str]:
        named = [keyword("requested-attributes", *wanted)] if wanted else []
        return request.printer_extras(request.read(ippwire.request(operation, ippwire.printer(), *named), "demo"))

    assert extras(GET_PRINTER, "printer-state") == ["printer-is-accepting-jobs"]
    assert extras(GET_PRINTER, "printer-state-reasons") == ["printer-state", "printer-is-accepting-jobs"]
    assert extras(request.CUPS_GET_PRINTERS, "queued-job-count") == ["printer-name"]
    for wanted in ((), ("all", "printer-state-reasons"), ("printer-state", "printer-description")):
        assert extras(GET_PRINTER, *wanted) == extras(request.CUPS_GET_PRINTERS, *wanted) == []


LEFT = replace(job("demo"), node="node-9", id=9_000_001, state="completed", completed=int(time.time()))
UNKNOWN = (said(ONE, merge.NOT_FOUND), said(TWO, merge.NOT_FOUND), said(replace(GONE, name="node-10"), merge.NOT_FOUND))


class Reused(Fleet):
    """Another node is in the slot of the one that has left."""

    def nodes(self) -> tuple[Node, ...]:
        return ONE, TWO, replace(GONE, name="node-10")


@pytest.mark.parametrize("fleet", [Fleet(UNKNOWN), Reused(UNKNOWN)], ids=["the slot is empty", "the slot is taken"])
def test_an_ended_job_of_a_node_that_has_left_is_known_by_each_question(fleet: Fleet) -> None:
    one = ippwire.attribute(0x21, "job-id", LEFT.id)
    told = answer_of(fleet, Table([LEFT]), GET_JOB, one).body
    assert (ippwire.status(told), ippwire.integers(told, "job-state")) == (0, [9])
    named = answer_of(fleet, Table([LEFT]), GET_JOBS, ippwire.attribute(0x21, "job-ids", LEFT.id)).body
    assert (ippwire.status(named), ippwire.integers(named, "job-id")) == (0, [LEFT.id])
    for operation in (CANCEL_JOB, HOLD_JOB):
        assert ippwire.status(answer_of(fleet, Table([LEFT]), operation, one).body) == merge.NOT_POSSIBLE
    other = ippwire.attribute(0x21, "job-id", 9_000_002)
    assert ippwire.status(answer_of(fleet, Table([LEFT]), CANCEL_JOB, other).body) == merge.NOT_FOUND


def test_what_can_be_done_with_a_job_of_a_silent_node_depends_on_its_state() -> None:
    silent, one = (said(ONE, merge.OK), Reply(TWO)), ippwire.attribute(0x21, "job-id", 2_000_007)
    with pytest.raises(Unanswerable, match="does not answer now"):
        answered(CANCEL_JOB, silent, Table([job("demo")]), one)
    done = replace(job("demo"), state="completed")
    assert ippwire.status(answered(CANCEL_JOB, silent, Table([done]), one).body) == merge.NOT_POSSIBLE
    assert ippwire.integers(answered(GET_JOB, silent, Table([done]), one).body, "job-state") == [9]


def test_that_a_node_with_jobs_of_the_queue_is_missing_is_said_and_nobody_takes_the_queue_for_idle() -> None:
    replies = (with_groups(ONE, queue("office")), Reply(TWO))
    for jobs, missing in (([job("demo")], True), ([job("demo", "lab")], False), ([], False)):
        told = answered(GET_PRINTER, replies, Table(jobs))
        assert told.alike is not missing
        assert bool(ippwire.values(told.body, "status-message")) is missing


def test_a_node_without_the_queue_is_not_missing() -> None:
    told = answered(GET_PRINTER, (with_groups(ONE, queue("office")), said(TWO, merge.NOT_FOUND)), Table([job("demo")]))
    assert told.alike
    assert ippwire.integers(told.body, "queued-job-count") == [0]


def test_all_queues_are_those_of_all_nodes() -> None:
    replies = (with_groups(ONE, queue("lab", count=1)), with_groups(TWO, queue("Kiosk"), queue("lab"), queue("office")))
    body = answered(request.CUPS_GET_PRINTERS, replies, Table()).body
    assert ippwire.values(body, "printer-name") == [b"Kiosk", b"lab", b"office"]
    assert ippwire.integers(body, "queued-job-count") == [0, 1, 0]
    limit = ippwire.attribute(0x21, "limit", 2)
    body = answered(request.CUPS_GET_PRINTERS, replies, Table(), limit).body
    assert ippwire.values(body, "printer-name") == [b"Kiosk", b"lab"]
    body = answered(request.CUPS_GET_DEFAULT, replies, Table()).body
    assert ippwire.values(body, "printer-name") == [b"lab"]


def test_a_job_counts_once_while_its_copy_stands_beside_it() -> None:
    moves = Moves(twice={"node-2": {"office": 1}, "node-9": {"office": 5}})
    replies = (with_groups(ONE, queue("Office", count=3)), with_groups(TWO, queue("Office", count=1)))
    body = answer_of(Fleet(replies), Table(), GET_PRINTER, moves=moves).body
    assert ippwire.integers(body, "queued-job-count") == [3]
    # the copy's node is silent, and the table knows the job as the old node's
    body = answer_of(Fleet((replies[0], Reply(TWO))), Table(), GET_PRINTER, moves=moves).body
    assert ippwire.integers(body, "queued-job-count") == [3]


def test_subscriptions_that_no_node_has_are_asked_for_with_those_of_the_first() -> None:
    fleet = Fleet((said(ONE, merge.OK), said(TWO, merge.OK)))
    ids = wire.attribute(wire.INTEGER, "notify-subscription-ids", 77_000_001, 2_000_001, 1_000_001, 78_000_001)
    answer_of(fleet, Table(), GET_NOTIFICATIONS, ids)
    assert ippwire.integers(fleet.first["node-1"], "notify-subscription-ids") == [77_000_001, 1_000_001, 78_000_001]
    assert ippwire.integers(fleet.first["node-2"], "notify-subscription-ids") == [2_000_001]


def test_that_a_job_was_cancelled_by_its_move_is_no_news() -> None:
    old, new = 1_000_007, 2_000_003
    events = with_groups(ONE, event(1_000_001, 1, old), event(1_000_001, 2, 1_000_009), wanted=merge.EVENT_SPOTS)
    there = with_groups(TWO, event(2_000_001, 1, new), wanted=merge.EVENT_SPOTS)
    ids = wire.attribute(wire.INTEGER, "notify-subscription-ids", 1_000_001, 2_000_001)
    body = answer_of(Fleet((events, there)), Table(), GET_NOTIFICATIONS, ids, moves=Moves({old: new})).body
    assert ippwire.integers(body, "notify-job-id") == [1_000_009, new]


def test_a_poll_without_news_of_jobs_reads_no_moves() -> None:
    class Unread(Moves):
        def doubles(self, since: float) -> Doubles:
            raise AssertionError("nothing is to be looked through")

    ids = wire.attribute(wire.INTEGER, "notify-subscription-ids", 1_000_001)
    state = bytes([wire.EVENT]) + wire.attribute(wire.INTEGER, "notify-subscription-id", 1_000_001)
    quiet = with_groups(ONE, state, wanted=merge.EVENT_SPOTS)
    body = answer_of(Fleet((quiet,)), Table(), GET_NOTIFICATIONS, ids, moves=Unread()).body
    assert ippwire.integers(body, "notify-subscription-id") == [1_000_001]


def test_jobs_are_asked_of_their_nodes_in_whatever_group_they_are_named() -> None:
    fleet = Fleet((said(ONE, merge.OK), said(TWO, merge.OK)))
    named = bytes([wire.JOB]) + wire.attribute(wire.INTEGER, "job-ids", 2_000_007)
    assert ippwire.status(answer_of(fleet, Table(), request.CANCEL_MY_JOBS, groups=named).body) == merge.OK
    assert list(fleet.asked) == ["node-2"]
    assert ippwire.integers(fleet.asked["node-2"], "job-ids") == [2_000_007]


def test_a_subscription_to_a_job_that_was_moved_is_made_where_it_is_now() -> None:
    old, new = 1_000_007, 2_000_003
    own = with_groups(TWO, bytes([wire.JOB]) + wire.attribute(wire.INTEGER, "job-id", new), wanted=request.JOB_SPOTS)
    fleet = Fleet((said(ONE, merge.OK), own))
    to_job = bytes([wire.SUBSCRIPTION]) + ippwire.attribute(0x44, "notify-pull-method", "ippget")
    to_job += ippwire.attribute(0x21, "notify-job-id", old)
    answer = answer_of(fleet, Table(), SUBSCRIBE, moves=Moves({old: new}), groups=to_job)
    assert ippwire.status(answer.body) == merge.OK
    assert list(fleet.asked) == ["node-2"]
    assert ippwire.integers(fleet.asked["node-2"], "notify-job-id") == [new]
    assert ippwire.values(fleet.asked["node-2"], "notify-pull-method") == [b"ippget"]


def listed(node: Node, *jobs: tuple[int, int, int]) -> Reply:
    """Its open jobs by number, priority and state."""
    groups = [
        bytes([wire.JOB])
        + wire.attribute(wire.INTEGER, "job-id", number)
        + wire.attribute(wire.INTEGER, "job-priority", priority)
        + wire.attribute(wire.ENUM, "job-state", state)
        for number, priority, state in jobs
    ]
    return with_groups(node, *groups, wanted=request.JOB_SPOTS)


@pytest.mark.parametrize(
    ("first", "second", "cancelled"),
    [
        ([(1_000_004, 50, 3)], [(2_000_001, 99, 4)], 2_000_001),
        ([(1_000_004, 50, 3)], [(2_000_001, 99, 6)], 1_000_004),
        ([(1_000_004, 50, 6)], [(2_000_001, 99, 6)], 2_000_001),
    ],
)
def test_number_zero_is_the_job_that_the_queue_has_come_to(
    first: list[tuple[int, int, int]], second: list[tuple[int, int, int]], cancelled: int
) -> None:
    fleet = Fleet((listed(ONE, *first), listed(TWO, *second)))
    answer_of(fleet, Table(), CANCEL_JOB, ippwire.attribute(0x21, "job-id", 0))
    assert [ippwire.integers(body, "job-id") for body in fleet.asked.values()] == [[cancelled]]
    assert next(iter(fleet.asked.values()))[2:4] == b"\0\x08"


def test_where_a_queue_has_come_to_nothing_or_is_not_there_nothing_is_cancelled() -> None:
    zero = ippwire.attribute(0x21, "job-id", 0)
    body = answered(CANCEL_JOB, (listed(ONE), listed(TWO)), Table(), zero).body
    assert ippwire.status(body) == merge.NOT_POSSIBLE
    assert ippwire.values(body, "status-message") == [b"No active jobs on office."]
    unknown = (said(ONE, merge.NOT_FOUND), said(TWO, merge.NOT_FOUND))
    assert ippwire.status(answered(CANCEL_JOB, unknown, Table(), zero).body) == merge.NOT_FOUND
