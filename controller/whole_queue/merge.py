"""One answer out of those of many nodes. Pure: attribute groups go in and come out as the nodes wrote them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType

from controller.whole_queue.request import JobsQuestion
from probes import wire
from probes.wire import Group, Message

OK, BAD_REQUEST, NOT_AUTHORIZED, NOT_POSSIBLE, NOT_FOUND, TEMPORARY_ERROR = 0, 0x0400, 0x0403, 0x0404, 0x0406, 0x0505
"""Status codes (RFC 8011, appendix B)."""
LONGEST_TEXT = 255
"""Bytes of a status-message (RFC 8011, 4.1.6.2)."""
IDLE, PROCESSING = 3, 4
_COUNT, _STATE, _REASONS = b"queued-job-count", b"printer-state", b"printer-state-reasons"
_MESSAGE, _ACCEPTING = b"printer-state-message", b"printer-is-accepting-jobs"
EVENT_SPOTS = frozenset(
    {b"notify-get-interval", b"notify-subscription-id", b"notify-job-id", b"job-name", b"notify-text"}
)
_TOKEN = re.compile(rb"fleet-[0-9a-f]{32}")
"""A node's operator (controller/nodes/process.py). Its name is a secret, and cupsd tells who cancelled a job."""
PRINTER_SPOTS = frozenset({b"printer-name", _COUNT, _STATE, _REASONS, _MESSAGE, _ACCEPTING})
_MILD = (b"-warning", b"-report")
"""How severe a reason is (RFC 8011, 5.4.12); one that does not say it is taken for an error."""


def success(answer: Message) -> bool:
    return answer.code < 0x0100


def succeeded(answers: Iterable[Message]) -> list[Message]:
    return [answer for answer in answers if success(answer)]


def answer(
    version: bytes, code: int, prelude: Iterable[bytes] = (), groups: Iterable[bytes] = (), said: str = ""
) -> bytes:
    """An answer to request 1. prelude: the groups before the ones that were asked for; said: its status-message."""
    first, *others = [*prelude] or [_plain_operation()]
    return wire.message(version, code, 1, [first + _status_message(said), *others, *groups])


def _plain_operation() -> bytes:
    charset = wire.attribute(0x47, "attributes-charset", "utf-8")
    return bytes([wire.OPERATION]) + charset + wire.attribute(0x48, "attributes-natural-language", "en")


def _status_message(said: str) -> bytes:
    if not said:
        return b""
    whole = said.encode()[:LONGEST_TEXT].decode(errors="ignore")
    return wire.attribute(wire.TEXT, "status-message", whole)


def _prelude(message: Message) -> list[bytes]:
    """What stands before the groups that were asked for: operation attributes, and those that are not supported."""
    return [group.raw for group in message.groups if group.tag in (wire.OPERATION, wire.UNSUPPORTED)]


def jobs(question: JobsQuestion, answers: Sequence[Message], others: Iterable[Group] = (), said: str = "") -> bytes:
    """Get-Jobs: every node's jobs and `others`, in order, cut to the limit.

    answers: at least one, all successes. A limit that a node set for itself (CUPS gives 500 finished jobs at most where
    that is expensive) is the limit of the whole.
    """
    head = next((one for one in answers if b"limit" in one.groups[0].spots), answers[0])
    limits = [limit for limit in (head.groups[0].number(b"limit"), question.limit) if limit]
    limit = min(limits, default=0)
    found = question.once([*(group for one in answers for group in one.of(wire.JOB)), *others])
    found.sort(key=question.key)
    end = question.skipped + limit if limit else None
    return answer(head.version, OK, _prelude(head), question.shown(found[question.skipped : end]), said)


def named_jobs(
    ids: Sequence[int], answers: Sequence[Message], others: Iterable[Group], question: JobsQuestion
) -> bytes:
    """Get-Jobs with job-ids: in the order in which they were asked for. answers: all successes, or none at all."""
    found = {job.number(b"job-id"): job for one in answers for job in one.of(wire.JOB)}
    found |= {job.number(b"job-id"): job for job in others}
    shown = question.shown(found[one] for one in ids if one in found)
    prelude = _prelude(answers[0]) if answers else ()
    return answer(question.request.message.version, OK, prelude, shown)


def subscriptions(limit: int, answers: Sequence[Message], said: str = "") -> bytes:
    """Get-Subscriptions, in the order of their ids. answers: at least one, all successes."""
    found = [group for one in answers for group in one.of(wire.SUBSCRIPTION)]
    found.sort(key=lambda group: group.number(b"notify-subscription-id"))
    shown = [group.raw for group in found[: limit or None]]
    return answer(answers[0].version, OK, _prelude(answers[0]), shown, said)


def notifications(
    ids: Sequence[int], answers: Sequence[Message], mine: frozenset[int], doubles: Container[int] = frozenset()
) -> bytes:
    """Get-Notifications: events in the order of the subscriptions asked for; the client comes back when the first node
    wants it to. Of a job that is not among `mine` its name and who did something to it are left out: CUPS would tell
    them to any subscriber. doubles: ids by which jobs are not shown, since they are being moved or were. That such a
    one was cancelled is no news of the job.
    """
    # no interval means that nothing more will come, for which CUPS needs only one of the subscriptions
    head = min(answers, key=lambda one: one.groups[0].number(b"notify-get-interval"))
    events: dict[int, list[bytes]] = {}
    for one in answers:
        for event in one.of(wire.EVENT):
            job = event.number(b"notify-job-id")
            if job in doubles:
                continue
            raw = _told(event, foreign=job != 0 and job not in mine)
            events.setdefault(event.number(b"notify-subscription-id"), []).append(raw)
    ordered = [raw for one in dict.fromkeys(ids) for raw in events.get(one, [])]
    return answer(head.version, head.code, _prelude(head), ordered)


def _told(event: Group, foreign: bool) -> bytes:
    text = event.spots.get(b"notify-text")
    if foreign:
        job = event.number(b"notify-job-id")
        plain = wire.attribute(wire.TEXT, "notify-text", f"There is news of job {job}.") if text else b""
        return _replaced(event, {b"job-name": b"", b"notify-text": plain})
    if text and _TOKEN.search(text.value):
        plain = wire.attribute(wire.TEXT, "notify-text", _TOKEN.sub(b"the fleet", text.value))
        return _replaced(event, {b"notify-text": plain})
    return event.raw


def printers(
    answers: Sequence[Message],
    extras: Sequence[bytes] = (),
    others: Mapping[str, int] = MappingProxyType({}),
    most: int = 0,
    said: str = "",
) -> bytes:
    """Queues with what is true of the fleet: everything as the first node that has it says it, but for the number of
    queued jobs (added up), the state (processing where any node is, idle where any is), its reasons and its message,
    and whether it takes jobs, which it does where any node does.

    answers: at least one, all successes. extras: what was asked for only to judge by. others: by queue in small
    letters, what lists show beside (more, or less) what these nodes count. most: of a list of all queues, how many are
    listed at most; 0 where one queue is asked for. said: the status-message.
    """
    by_name: dict[bytes, list[Group]] = {}
    for one in answers:
        for group in one.of(wire.PRINTER):
            by_name.setdefault(_name(group), []).append(group)
    # cupsd lists them by name
    names = sorted(by_name, key=bytes.lower)[:most] if most else [*by_name][:1]
    first = answers[0]
    shown = [
        _whole_printer(by_name[name], extras, others.get(name.decode(errors="replace").lower(), 0)) for name in names
    ]
    told = [raw for raw in shown if len(raw) > 1]  # cupsd writes no empty groups
    return answer(first.version, first.code, _prelude(first), told, said)


def _name(group: Group) -> bytes:
    spot = group.spots.get(b"printer-name")
    return spot.value if spot else b""


def _whole_printer(everywhere: Sequence[Group], extras: Sequence[bytes], others: int) -> bytes:
    shown = everywhere[0]
    states = [group.number(_STATE) for group in everywhere if _STATE in group.spots]
    state = next((one for one in (PROCESSING, IDLE) if one in states), max(states, default=0))
    agreeing = [group for group in everywhere if not states or group.number(_STATE) == state]
    new = {}
    if states:
        new[_STATE] = wire.attribute(wire.ENUM, _STATE.decode(), state)
    if _COUNT in shown.spots:
        count = max(0, sum(group.number(_COUNT) for group in everywhere) + others)
        new[_COUNT] = wire.attribute(wire.INTEGER, _COUNT.decode(), count)
    if _REASONS in shown.spots:
        new[_REASONS] = wire.attribute(wire.KEYWORD, _REASONS.decode(), *_reasons(agreeing, state))
    if _ACCEPTING in shown.spots:
        new[_ACCEPTING] = wire.attribute(wire.BOOLEAN, _ACCEPTING.decode(), int(any(map(_accepts, everywhere))))
    if _MESSAGE in shown.spots and shown not in agreeing:
        new[_MESSAGE] = _raw(agreeing[0], _MESSAGE)
    return _replaced(shown, new | dict.fromkeys(extras, b""))


def _accepts(group: Group) -> bool:
    spot = group.spots.get(_ACCEPTING)
    return spot is not None and spot.value == b"\1"


def alike(answers: Sequence[Message]) -> bool:
    """Whether each says that the queue is idle and takes jobs."""
    groups = [group for one in answers for group in one.of(wire.PRINTER)]
    return bool(groups) and all(group.number(_STATE) == IDLE and _accepts(group) for group in groups)


def _raw(group: Group, name: bytes) -> bytes:
    spot = group.spots.get(name)
    return group.raw[spot.start : spot.end] if spot else b""


def _reasons(groups: Sequence[Group], state: int) -> list[bytes]:
    """Each reason of the nodes in the queue's state once, without `none` where there is another. What keeps one node
    from printing is true of the queue where it keeps all of them, or where nothing is printed at all."""
    each = [_reasons_of(group) for group in groups]
    told = dict.fromkeys(reason for reasons in each for reason in reasons if reason != b"none")
    printing = state in (PROCESSING, IDLE)
    kept = [one for one in told if not printing or one.endswith(_MILD) or all(one in reasons for reasons in each)]
    return kept or [b"none"]


def _reasons_of(group: Group) -> list[bytes]:
    raw = _raw(group, _REASONS)
    return [value for _, value in wire.attributes(bytes([wire.PRINTER]) + raw)[0].values] if raw else []


def _replaced(group: Group, new: dict[bytes, bytes]) -> bytes:
    kept, at = [], 0
    for start, end, name in sorted((*group.spots[name][2:], name) for name in new if name in group.spots):
        kept += [group.raw[at:start], new[name]]
        at = end
    return b"".join([*kept, group.raw[at:]])
