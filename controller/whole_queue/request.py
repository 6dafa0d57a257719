"""What a client asks about the whole queue, and what each node is asked for it. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TypeAlias
from urllib.parse import unquote

from controller.jobs.moves import Doubles
from controller.snapshot import Node
from haproxy.model import slot_of
from probes import wire
from probes.wire import Attribute, Group, Message

CANCEL_JOB, GET_JOB_ATTRIBUTES, GET_JOBS = 0x0008, 0x0009, 0x000A
GET_PRINTER_ATTRIBUTES, CUPS_GET_DEFAULT, CUPS_GET_PRINTERS = 0x000B, 0x4001, 0x4002
CREATE_PRINTER_SUBSCRIPTIONS, GET_SUBSCRIPTIONS, GET_NOTIFICATIONS = 0x0016, 0x0019, 0x001C
CANCEL_JOBS, CANCEL_MY_JOBS = 0x0038, 0x0039

_JOB_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*/jobs/(\d{1,10})")
_OWNER = b"requesting-user-name"
_STATE = ("printer-state", "printer-is-accepting-jobs")

ALL_QUEUES = "ipp://localhost/"
LARGEST_INTEGER = 2**31 - 1
"""Of IPP (RFC 8010, 3.9)."""

Key: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Request:
    """A client's request. user: the one who logged in; what the request itself claims counts for nothing."""

    message: Message
    user: str

    @property
    def operation(self) -> int:
        return self.message.code

    @cached_property
    def attributes(self) -> list[Attribute]:
        """Those of the operation group."""
        return wire.attributes(self.message.groups[0].raw)

    @cached_property
    def _others(self) -> list[tuple[int, list[Attribute]]]:
        """The other groups by tag, each with its attributes."""
        return [(group.tag, wire.attributes(group.raw)) for group in self.message.groups[1:]]

    def find(self, name: str, tag: int) -> Attribute | None:
        """The first attribute of this name (in any case) and type in any group, as ippFindAttribute would."""
        wanted = name.encode()
        everything = chain(self.attributes, *(attributes for _, attributes in self._others))
        return next((one for one in everything if one.name.lower() == wanted and one.tag == tag), None)

    def number(self, name: str, default: int = 0) -> int:
        found = self.find(name, wire.INTEGER)
        return found.integers()[0] if found else default

    def numbers(self, name: str) -> list[int]:
        found = self.find(name, wire.INTEGER)
        return found.integers() if found else []

    def texts(self, name: str, tag: int = wire.KEYWORD) -> tuple[str, ...]:
        found = self.find(name, tag)
        return tuple(value.decode(errors="replace") for _, value in found.values) if found else ()

    def true(self, name: str) -> bool:
        found = self.find(name, wire.BOOLEAN)
        return bool(found and found.values[0][1] != b"\0")

    @property
    def target(self) -> str:
        """The path of printer-uri; '' when there is none."""
        uri = next(iter(self.texts("printer-uri", wire.URI)), "")
        return "/" + uri.split("://", 1)[-1].partition("/")[2] if uri else ""

    @property
    def queue(self) -> str:
        """The queue that is asked about; '' for all of them. In small letters: cupsd does not tell them apart."""
        parts = unquote(self.target).lower().split("/")
        return parts[2] if len(parts) > 2 and parts[1] in ("printers", "classes") else ""

    def concerns(self, queue: str) -> bool:
        """Whether this queue is asked about."""
        return self.queue in ("", queue.lower())

    @property
    def job(self) -> int:
        """The job that is named by job-id or job-uri; 0 for none."""
        if number := self.number("job-id"):
            return number
        match = _JOB_URI.fullmatch(next(iter(self.texts("job-uri", wire.URI)), ""))
        return int(match[1]) if match else 0

    def as_asked(self, *, drop: Iterable[str] = (), add: Iterable[bytes] = (), user: str = "") -> bytes:
        """The request as a node gets it: in the name of the one who logged in (or of `user`), some attributes
        replaced. Ends with request id 1, so that equal questions are equal bytes."""
        gone = {_OWNER, *(name.encode() for name in drop)}

        def kept(attributes: Iterable[Attribute]) -> list[bytes]:
            return [one.raw for one in attributes if one.name.lower() not in gone]

        stamp = wire.attribute(wire.NAME, _OWNER.decode(), user or self.user)
        first = b"".join([bytes([wire.OPERATION]), *kept(self.attributes), stamp, *add])
        others = [b"".join([bytes([tag]), *kept(attributes)]) for tag, attributes in self._others]
        return wire.message(self.message.version, self.operation, 1, [first, *others], self.message.data)

    def about(self, job: int) -> bytes:
        """The request with another job in the place of the one that it names."""
        uri = next(iter(self.texts("job-uri", wire.URI)), "")
        if self.find("job-id", wire.INTEGER):
            return self._swapped(b"job-id", wire.attribute(wire.INTEGER, "job-id", job))
        return self._swapped(b"job-uri", wire.attribute(wire.URI, "job-uri", f"{uri.rpartition('/')[0]}/{job}"))

    def _swapped(self, name: bytes, new: bytes) -> bytes:
        """In its place: the attributes that say what is meant must come first (RFC 8011, 4.1.5)."""
        groups = [
            Group(tag, bytes([tag]) + b"".join(new if one.name.lower() == name else one.raw for one in attributes), {})
            for tag, attributes in ((wire.OPERATION, self.attributes), *self._others)
        ]
        return Request(replace(self.message, groups=groups), self.user).as_asked()


def read(body: bytes, user: str) -> Request:
    """A request without any attribute has an empty operation group: what it lacks is for a node to say.

    Raises wire.Malformed.
    """
    message = wire.split(body)
    if not message.groups:
        message = replace(message, groups=[Group(wire.OPERATION, bytes([wire.OPERATION]), {})])
    if message.groups[0].tag != wire.OPERATION:
        raise wire.Malformed("the operation group must come first")
    return Request(message, user)


CONFLICTING = (
    ("which-jobs", wire.KEYWORD),
    ("limit", wire.INTEGER),
    ("first-index", wire.INTEGER),
    ("first-job-id", wire.INTEGER),
    ("my-jobs", wire.BOOLEAN),
)
"""What CUPS refuses beside job-ids."""
ACTIVE = ("not-completed", "pending", "pending-held", "processing-stopped")
OWNER = "job-originating-user-name"
PRIVATE = ("job-name", OWNER, "job-originating-host-name")
JOB_SPOTS = frozenset(
    {b"job-id", b"job-uuid", b"job-priority", b"time-at-creation", b"time-at-completed", *map(str.encode, PRIVATE)}
)
"""What has to be looked up in the groups of jobs."""
_OWNED_BY, _PRIVATE = OWNER.encode(), frozenset(map(str.encode, PRIVATE))
FINISHED = ("completed", "aborted", "canceled")
WHICH = (*ACTIVE, *FINISHED, "all", "processing")
"""Words for which-jobs that cupsd knows."""


@dataclass(frozen=True)
class JobsQuestion:
    """A Get-Jobs request: what is to be shown, in which order (RFC 8011, 4.2.6; the rest as CUPS means it).

    doubles: jobs that are at two nodes; settled: those ids that did not count when nodes were asked, either. with_uuid:
    whether nodes are asked for what such jobs have in common. ages: creation (seconds since 1970) of ended jobs by id,
    which CUPS leaves out where it has them not in memory.
    """

    request: Request
    doubles: Doubles = field(default_factory=Doubles)
    settled: frozenset[int] = frozenset()
    with_uuid: bool = False
    ages: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def which(self) -> str:
        return next(iter(self.request.texts("which-jobs")), "not-completed")

    @cached_property
    def mine(self) -> bool:
        """Whether jobs of the one who asks are wanted only."""
        return self.request.true("my-jobs")

    @cached_property
    def limit(self) -> int:
        """At most so many jobs; 0 for all."""
        return max(0, self.request.number("limit"))

    @cached_property
    def skipped(self) -> int:
        """Jobs of the list that are passed over (first-index, PWG 5100.11)."""
        return max(0, self.request.number("first-index", 1) - 1)

    @cached_property
    def first(self) -> int:
        """The lowest job-id; cupsd does not look at it beside first-index."""
        return 0 if self.skipped else self.request.number("first-job-id")

    @cached_property
    def by_id(self) -> bool:
        """A client that pages by first-job-id must meet the ids in order, or it would miss some."""
        return not self.skipped and self.request.find("first-job-id", wire.INTEGER) is not None

    @cached_property
    def ordered_by(self) -> tuple[str, ...]:
        """The attributes that the order goes by."""
        if self.which in ACTIVE:
            return ("job-id", "job-priority", "time-at-creation")
        if self.which in FINISHED:
            return ("job-id", "time-at-completed")
        return ("job-id", "time-at-creation")

    @cached_property
    def requested(self) -> tuple[str, ...]:
        return self.request.texts("requested-attributes") or ("job-id", "job-uri")

    @cached_property
    def extras(self) -> tuple[str, ...]:
        """What has to be asked for beyond what the client wants, to know order and owner; it is cut out again."""
        wanted = set(self.requested)
        if "all" in wanted:
            return ()
        covered = {"job-priority"} if "job-template" in wanted else set()
        if "job-description" in wanted:
            covered |= {"job-id", "job-uuid", "time-at-creation", "time-at-completed", OWNER}
        owner, uuid = self.mine or not wanted.isdisjoint(PRIVATE), self.with_uuid
        needed = (*self.ordered_by, *([OWNER] if owner else []), *(["job-uuid"] if uuid else []))
        return tuple(name for name in needed if name not in wanted | covered)

    def shown(self, jobs: Iterable[Group]) -> list[bytes]:
        """Each job with what is shown of it; without those of which that is nothing: cupsd writes no empty groups."""
        shown = (job.without(self._unwanted(job)) for job in jobs)
        return [raw for raw in shown if len(raw) > 1]

    def _unwanted(self, job: Group) -> frozenset[bytes]:
        """What of a job is not shown: extras, and the names in somebody else's job.

        The nodes' policy keeps these back as well (JobPrivateValues default), but cupsd does not ask it for ended jobs
        that it has not in memory (copy_job_attrs in scheduler/ipp.c).
        """
        owner = job.spots.get(_OWNED_BY)
        if owner is None or owner.value == self._asker or owner.value.lower() == self._asker.lower():
            return self._cut
        return self._cut | _PRIVATE

    @cached_property
    def _asker(self) -> bytes:
        return self.request.user.encode()

    @cached_property
    def _cut(self) -> frozenset[bytes]:
        return frozenset(name.encode() for name in self.extras)

    def for_each(self, nodes: Iterable[Node]) -> dict[Node, bytes]:
        """What each node is asked: each may have to fill the whole answer, and jobs that are not shown come with it."""
        hidden = Counter(slot_of(number) for number in self.doubles.counts) if self.limit else Counter[int]()
        bodies: dict[int, bytes] = {}
        for number in {hidden[node.slot] for node in nodes}:
            bodies[number] = self.for_nodes(hidden=number)
        return {node: bodies[hidden[node.slot]] for node in nodes}

    def for_nodes(self, *, drop: Iterable[str] = (), add: Iterable[bytes] = (), hidden: int = 0) -> bytes:
        """What a node is asked which has so many jobs that are not shown."""
        gone, new = [*drop, "limit", *self._pages], [*add]
        if self.limit:
            enough = min(self.limit + self.skipped + hidden + len(self.doubles.copied), LARGEST_INTEGER)
            new.append(wire.attribute(wire.INTEGER, "limit", enough))
        if self.extras:
            gone.append("requested-attributes")
            new.append(self._wanted())
        return self.request.as_asked(drop=gone, add=new)

    def for_everybody(self, operator: str = "everybody") -> bytes:
        """The same question about the jobs of all users, in the name of somebody who may see them."""
        gone = ("my-jobs", "limit", "requested-attributes", *self._pages)
        return self.request.as_asked(user=operator, drop=gone, add=[self._wanted()])

    @property
    def _pages(self) -> tuple[str, ...]:
        """What only the whole list can be cut by."""
        return ("first-index", "first-job-id") if self.skipped else ("first-index",)

    def _wanted(self) -> bytes:
        return wire.attribute(wire.KEYWORD, "requested-attributes", *self.requested, *self.extras)

    def once(self, jobs: Sequence[Group]) -> list[Group]:
        """Each moved job by one id. One that has just come not to count is shown all the same where the other is
        missing: the move went on while nodes were asked. A copy that is being made counts for nothing."""
        shown = {job.number(b"job-id") for job in jobs}
        copied = {uuid.split("/")[0].encode() for uuid in self.doubles.copied.values()} - {b""}
        return [job for job in jobs if not self._is_double(job, shown, copied)]

    def _is_double(self, job: Group, shown: set[int], copied: set[bytes]) -> bool:
        number = job.number(b"job-id")
        if counting := self.doubles.counts.get(number):
            return number in self.settled or self.which in FINISHED or counting in shown
        return number not in self.doubles.copied and _uuid(job) in copied

    def moved_to(self, now: Doubles) -> JobsQuestion:
        """The same question when nodes have answered."""
        settled = self.doubles.counts.items() & now.counts.items()
        return replace(self, doubles=now, settled=frozenset(number for number, _ in settled))

    def ageless(self, jobs: Iterable[Group]) -> list[int]:
        """Ids of the jobs whose place in the list only `ages` can tell."""
        if self.by_id or self.which in ACTIVE or self.which in FINISHED:
            return []
        return [job.number(b"job-id") for job in jobs if not job.number(b"time-at-creation")]

    def key(self, job: Group) -> Key:
        """Jobs are shown in the order of their keys.

        Open ones by priority and age, which is when they are expected to be done; finished ones newest first
        (RFC 8011, 4.2.6.2). One server goes by ids where this goes by times, and its ids grow with the times.
        """
        number = job.number(b"job-id")
        if self.which in FINISHED:
            return (-job.number(b"time-at-completed"), number)
        age = 0 if self.by_id else job.number(b"time-at-creation") or self.ages.get(number, 0)
        return (-job.number(b"job-priority") if self.which in ACTIVE else 0, age, number)


def _uuid(job: Group) -> bytes:
    spot = job.spots.get(b"job-uuid")
    return spot.value if spot else b""


def printer_extras(asked: Request) -> list[str]:
    """What has to be asked for of queues beyond what the client wants: which ones they are, and in which state, which
    says whose reasons are the fleet's. It is cut out again."""
    wanted = set(asked.texts("requested-attributes"))
    if not wanted or wanted & {"all", "printer-description"}:
        return []
    needed = ["printer-name"] if asked.operation == CUPS_GET_PRINTERS else []
    if wanted & {*_STATE, "printer-state-reasons", "printer-state-message"}:
        needed += _STATE
    return [name for name in needed if name not in wanted]


def jobs_question(
    asked: Request, wanted: Iterable[str], *, drop: Iterable[str] = (), add: Iterable[bytes] = (), of: str = ALL_QUEUES
) -> bytes:
    """A Get-Jobs question of our own, in the name of the one who asks. of: the queue's URI."""
    parts = [
        bytes([wire.OPERATION]),
        *(one.raw for one in asked.attributes[:2]),  # charset and language
        wire.attribute(wire.URI, "printer-uri", of),
        wire.attribute(wire.NAME, "requesting-user-name", asked.user),
        *add,
        wire.attribute(wire.KEYWORD, "requested-attributes", *wanted),
    ]
    return wire.message(asked.message.version, GET_JOBS, 1, [b"".join(parts)])


def my_jobs(asked: Request) -> bytes:
    """Ids of all jobs of the one who asks, on one node: CUPS reads no job's file for that."""
    add = [wire.attribute(wire.KEYWORD, "which-jobs", "all"), wire.attribute(wire.BOOLEAN, "my-jobs", 1)]
    return jobs_question(asked, ["job-id"], add=add)


def jobs_that_wait(asked: Request) -> Request:
    """Which jobs of the queue are open, in which states."""
    return read(jobs_question(asked, ["job-id", "job-state"], of=asked.texts("printer-uri", wire.URI)[0]), asked.user)


def subscribed(asked: Request) -> set[int]:
    """The jobs that subscriptions are asked for."""
    groups = (wire.attributes(group.raw) for group in asked.message.groups)
    return {number for group in groups for one in group if _names_jobs(one) for number in one.integers()}


def subscribing(asked: Request, now: Callable[[int], int]) -> Request:
    """The request with those jobs by the ids under which they live now."""

    def led_on(one: Attribute) -> bytes:
        return wire.attribute(wire.INTEGER, "notify-job-id", *map(now, one.integers())) if _names_jobs(one) else one.raw

    groups = [
        Group(group.tag, bytes([group.tag]) + b"".join(map(led_on, wire.attributes(group.raw))), {})
        for group in asked.message.groups
    ]
    return replace(asked, message=replace(asked.message, groups=groups))


def _names_jobs(one: Attribute) -> bool:
    return one.name.lower() == b"notify-job-id" and bool(one.integers())
