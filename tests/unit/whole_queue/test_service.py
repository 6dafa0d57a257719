"""What one answer says when nodes are silent, refuse, or have left."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from controller.whole_queue import merge, request
from controller.whole_queue.answer import Answer, Unanswerable
from controller.whole_queue.nodes import Reply
from controller.whole_queue.service import WholeQueue
from probes import wire
from tests.process.edge import ippwire
from tests.unit.whole_queue.test_cancel import FORBIDDEN, ONE, TWO, Fleet, Moves, Table, job, said
from tests.unit.whole_queue.test_merge import keyword

GET_JOBS, GET_NOTIFICATIONS, GET_PRINTER = 0x000A, 0x001C, 0x000B


def answered(operation: int, replies: tuple[Reply, ...], table: Table, *attributes: bytes) -> Answer:
    asked = request.read(ippwire.request(operation, ippwire.printer(), *attributes), "demo")
    whole = WholeQueue(Fleet(replies), table, Moves())  # type: ignore[arg-type]
    return asyncio.run(whole.answer(asked, "localhost"))


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
    def printer(state: int, reason: str) -> bytes:
        return bytes([wire.PRINTER]) + wire.attribute(wire.ENUM, "printer-state", state) + keyword(
            "printer-state-reasons", reason
        )  # fmt: skip

    replies = tuple(
        Reply(node, wire.split(body, merge.PRINTER_SPOTS), body)
        for node, group in ((ONE, printer(5, "media-jam-error")), (TWO, printer(4, "none")))
        for body in (wire.message(b"\2\0", 0, 1, [bytes([wire.OPERATION]) + ippwire.charset(), group]),)
    )
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
