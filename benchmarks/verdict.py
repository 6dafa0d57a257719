"""What a fault campaign has come to: what clients were told, beside what came out. Pure."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.jobs.table import Job
from haproxy.model import slot_of
from tests.process.edge import ippwire
from tests.process.edge.door import Answer

NOTICED = 0.5
"""Seconds by which the campaign's looks at processes may be late, on a machine that has other things to do."""
CUT = ("RemoteDisconnected", "IncompleteRead", "ConnectionResetError", "BrokenPipeError", "SSLEOFError")
"""How a client notices that its connection was closed by the other side."""
TIMED_OUT = ("HTTP 408", "HTTP 504")
"""What a proxy says when one of its own timers is over."""
GIVEN_UP = 5.0
"""Seconds in which the proxy tries a node that has a job, and is gone, before it says 503."""
TOO_LARGE = 413
"""What cupsd says with a full disk."""
IN_FLIGHT = "under way on a node that died"
UNLOGGED = "cut within half a second of a node's death, sent to nobody knows which"
CUT_OFF = "for a job of a node that was cut off or stopped"
WITHOUT_DOOR = "no proxy was there"
JUMPED = "cut by a proxy when the clock jumped"
FULL_UNSEEN = "disk full, and the controller too dead or blind to have seen it"
REFUSED = "although a healthy node was there"
EXCUSES = (IN_FLIGHT, UNLOGGED, CUT_OFF, WITHOUT_DOOR, JUMPED, FULL_UNSEEN)
RECORDED = 1.0
"""Seconds that cupsd may take to write down that a job has been printed; dying in there is dying while printing."""


@dataclass
class Told:
    """What a client was told of one document. Times are monotonic seconds."""

    name: str
    user: str
    started: float
    ended: float = 0.0
    accepted: bool = False
    job: int = 0
    why: str = ""
    """Why it was not accepted, as the client saw it."""
    connected: float = 0.0
    """When its connection was last known to stand: the end of the answer before, or its own start for a new one."""
    digest: str = ""
    """SHA-256 of the document."""
    status: int = 0
    """HTTP status of the last answer, 0 when its last request got none."""
    sent_to: frozenset[int] = frozenset()
    """Slots of the nodes that the proxy sent its requests to, by the proxy's log."""

    def take(self, answer: Answer) -> None:
        """An answer of the door, to the last request that this document needs."""
        self.ended, self.accepted, self.status = time.monotonic(), False, answer.status
        if answer.status != 200:
            self.why = f"HTTP {answer.status} {answer.body[:70].decode(errors='replace').strip()}"
        elif ippwire.status(answer.body) >= 0x100:
            self.why = f"IPP status {ippwire.status(answer.body):#06x}"
        else:
            self.accepted, self.job, self.why = True, ippwire.integers(answer.body, "job-id")[0], ""

    @property
    def slots(self) -> frozenset[int]:
        """Those of the nodes that had to do with it: one that answered with a job has that."""
        return self.sent_to | ({slot_of(self.job)} if self.job else set())

    @property
    def answered(self) -> bool:
        return self.status > 0

    def may_be(self, status: int) -> bool:
        """Whether a line of the proxy's log that says so (-1 for no answer) can be about the request that failed."""
        return status == self.status if self.answered else status != 200

    @property
    def cut(self) -> bool:
        return self.why.startswith(CUT)

    def failed(self, why: str) -> None:
        """Its last request got no answer."""
        self.ended, self.accepted, self.status, self.why = time.monotonic(), False, 0, why


@dataclass(frozen=True)
class Output:
    """A document as it left the printer. Times are wall clock seconds."""

    name: str
    arrived: float
    out: float
    whole: bool
    digest: str = ""
    """SHA-256 of what came out."""


@dataclass(frozen=True)
class Death:
    """The end of a node's cupsd."""

    node: str
    at: float
    """Monotonic seconds."""
    wall: float
    lag: float = 0.0
    """It may have come so many seconds before: then it still ran when it was looked at last."""
    slot: int = 0
    pid: int = 0
    orderly: bool = False
    """Its node was leaving the fleet."""
    mute: float = 0.0
    """So many seconds before, it was stopped and wrote down nothing any more, while its backends went on."""


@dataclass
class Verdict:
    told: int
    accepted: int
    lost: list[str]
    other: list[str]
    """Came out with other bytes than were sent."""
    twice_while_printing: list[str]
    """Came out more than once, and its node died while it was printing."""
    twice: list[str]
    wrong_owner: list[str]
    unknown: list[str]
    """Accepted, and not in the table of jobs, or not ended there."""
    charged: list[str]
    """Charged more than once, or never although they were accepted or came out."""
    ids_twice: list[int]
    failures: Mapping[str, Sequence[Told]]
    """The requests that failed, by their excuse (EXCUSES), REFUSED for those without one."""
    out_unasked: int
    """Documents that came out although their client was told of a failure."""
    deaths: int = 0
    lasted: float = 0.0
    recovery: float = 0.0
    wrong: tuple[str, ...] = ()
    faults: Counter[str] = field(default_factory=Counter)
    """Those that had an effect."""
    idle_faults: Counter[str] = field(default_factory=Counter)
    killed_in: Counter[str] = field(default_factory=Counter)
    """How often a controller was killed in the middle of each kind of plan."""
    commands_done: int = 0
    commands_left: Sequence[str] = ()
    """Commands that were not carried out, with the reason."""
    missing: tuple[str, ...] = ()

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept, each with what shows it."""
        kinds: dict[str, Sequence[object]] = {
            "accepted and lost": self.lost,
            "came out with other bytes than were sent": self.other,
            "printed twice without a death": self.twice,
            "owned by somebody else": self.wrong_owner,
            "unknown to the table of jobs": self.unknown,
            "not charged exactly once": self.charged,
            "job ids given out twice": self.ids_twice,
            "failed although a healthy node was there": [_said(one) for one in self.failures.get(REFUSED, ())],
            "not whole again within a minute": self.wrong,
        }
        return [f"{what}: {len(found)}: {'; '.join(map(str, found[:12]))}" for what, found in kinds.items() if found]

    @property
    def kept(self) -> bool:
        return not self.broken

    @property
    def proven(self) -> bool:
        """Whether the promises were kept while something went wrong."""
        return self.kept and self.faults.total() > 0

    def _summary(self) -> list[str]:
        kept = "Every promise was kept." if self.proven else "Nothing is proven: no fault had an effect."
        return [f"BROKEN {one}" for one in self.broken] or [kept]

    def report(self, seed: int, nodes: int, clients: int) -> str:
        rows = {
            "documents sent": self.told,
            "accepted": self.accepted,
            "accepted and lost": len(self.lost),
            "came out with other bytes than were sent": len(self.other),
            "printed twice": len(self.twice),
            "printed twice, printing while their node died": len(self.twice_while_printing),
            "owned by somebody else": len(self.wrong_owner),
            "accepted and unknown to the table of jobs": len(self.unknown),
            "not charged exactly once": len(self.charged),
            "job ids given out twice": len(self.ids_twice),
            **{f"failed requests, {why}": len(self.failures.get(why, ())) for why in (*EXCUSES, REFUSED)},
            "printed although their client was told of a failure": self.out_unasked,
            "ends of a cupsd": self.deaths,
            "commands that were carried out": self.commands_done,
            "commands that were refused, or failed": len(self.commands_left),
            "seconds until the fleet was whole again": f"{self.recovery:.0f}",
        }
        return "\n".join(
            [
                "# Fault campaign",
                "",
                f"Seed {seed}, {nodes} nodes, {clients} clients, {self.lasted:.0f} s, {self.faults.total()} faults "
                f"with an effect: {_counted(self.faults)}. {self.idle_faults.total()} without: "
                f"{_counted(self.idle_faults)}.",
                "",
                f"A controller was killed in the middle of: {_counted(self.killed_in)}.",
                "",
                "| what | count |",
                "| --- | ---: |",
                *(f"| {what} | {count} |" for what, count in rows.items()),
                "",
                *(f"Not tried: {what}." for what in self.missing),
                "",
                *(f"- printing while its node died: {one}" for one in self.twice_while_printing),
                "",
                *(f"- {why}: {_named(self.failures[why])}" for why in EXCUSES if self.failures.get(why)),
                "",
                *(f"- not carried out: {one}" for one in self.commands_left),
                "",
                *self._summary(),
                "",
            ]
        )


def _counted(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()) if count) or "none"


def _named(failed: Iterable[Told]) -> str:
    return ", ".join(sorted(one.name for one in failed))


@dataclass(frozen=True)
class Trouble:
    """What excuses a request that failed. Times are monotonic seconds."""

    deaths: Sequence[Death] = ()
    """Of nodes, by faults."""
    cuts: Sequence[tuple[int, float, float]] = ()
    """A slot, and from when to when the proxy could not reach its node."""
    doors: Sequence[tuple[float, float]] = ()
    """From when to when no proxy was there."""
    jumps: Sequence[float] = ()
    """When the clock jumped forward, where proxies may take that for time that has passed."""
    unseen: Sequence[tuple[int, float, float]] = ()
    """The slot of a node with a full disk, and from when to when nobody could have seen that yet."""

    def excuse(self, one: Told) -> str:
        """By the name that the verdict counts it under."""
        if any(death.slot in one.slots and _under_way(one, death) for death in self.deaths):
            return IN_FLIGHT
        if one.cut and not one.slots and any(_just_then(one, death) for death in self.deaths):
            return UNLOGGED
        if one.job and any(slot == slot_of(one.job) and _overlap(one, *span) for slot, *span in self.cuts):
            return CUT_OFF
        if not one.answered and any(_without_door(one, *span) for span in self.doors):
            return WITHOUT_DOOR
        if _jumped(one, self.jumps):
            return JUMPED
        if one.status == TOO_LARGE and any(slot in one.slots and _overlap(one, *span) for slot, *span in self.unseen):
            return FULL_UNSEEN
        return REFUSED


def judge(
    told: Sequence[Told],
    outputs: Sequence[Output],
    trouble: Trouble,
    jobs: Sequence[Job],
    charges: Mapping[str, int],
    tried: Mapping[str, Container[str]],
    moved: Iterable[tuple[int, str]] = (),
) -> Verdict:
    """charges: how often each document was charged. tried: the nodes that began to print each. moved: the ids that jobs
    got by a move, each with its job's uuid."""
    copies: dict[str, list[Output]] = {}
    for output in outputs:
        copies.setdefault(output.name, []).append(output)
    accepted = [one for one in told if one.accepted]
    failed = [one for one in told if not one.accepted]
    many = {name: found for name, found in copies.items() if len(found) > 1}
    digests = {one.name: one.digest for one in told}
    whole = {output.name for output in outputs if output.whole}
    excused = {
        name for name, found in many.items() if _all_but_one_excused(found, _of(tried.get(name, ()), trouble.deaths))
    }
    rows = {job.title: job for job in jobs}
    failures: dict[str, list[Told]] = {}
    for one in failed:
        failures.setdefault(trouble.excuse(one), []).append(one)
    return Verdict(
        told=len(told),
        accepted=len(accepted),
        lost=[_said(one) for one in accepted if one.name not in whole],
        other=sorted(one.name for one in outputs if one.whole and one.digest != digests.get(one.name)),
        twice_while_printing=[f"{name}, {len(many[name])} times" for name in sorted(excused)],
        twice=[f"{name}, {_times(found)}" for name, found in sorted(many.items()) if name not in excused],
        wrong_owner=[_said(one) for one in told if one.name in rows and rows[one.name].owner != one.user],
        unknown=[_said(one) for one in accepted if one.name not in rows or rows[one.name].state != "completed"],
        charged=[
            f"{_said(one)}, {times} times"
            for one in told
            if (times := charges.get(one.name, 0)) != 1 and (times or one.accepted or one.name in whole)
        ],
        ids_twice=_given_twice(accepted, moved, {job.uuid: job.title for job in jobs}),
        failures=failures,
        out_unasked=sum(one.name in copies for one in failed),
    )


def _given_twice(accepted: Iterable[Told], moved: Iterable[tuple[int, str]], titles: Mapping[str, str]) -> list[int]:
    """Ids that more than one job had, at any time."""
    had: dict[int, set[str]] = {}
    for number, name in (*((one.job, one.name) for one in accepted), *((to, titles.get(of, of)) for to, of in moved)):
        had.setdefault(number, set()).add(name)
    return [number for number, names in had.items() if len(names) > 1]


def _of(nodes: Container[str], deaths: Iterable[Death]) -> list[Death]:
    return [death for death in deaths if death.node in nodes]


def _under_way(one: Told, death: Death) -> bool:
    """It had been begun, and it failed then or as soon as the proxy had given up the node that had its job."""
    return one.started < death.at and death.at - death.lag - NOTICED < one.ended < death.at + GIVEN_UP


def _just_then(one: Told, death: Death) -> bool:
    """Of a request whose connection to its node ended without an answer HAProxy writes no line, and closes the
    client's: that is taken for one of the node that died just then."""
    return one.started < death.at and death.at - death.lag - NOTICED < one.ended < death.at + NOTICED


def _overlap(one: Told, gone: float, back: float) -> bool:
    return one.started < back + NOTICED and one.ended + NOTICED > gone


def _without_door(one: Told, gone: float, back: float) -> bool:
    """It was sent meanwhile, or on a connection that ended with the proxy, as a client learns when it sends again."""
    return _overlap(one, gone, back) or (one.cut and one.connected < back < one.ended)


def _jumped(one: Told, jumps: Iterable[float]) -> bool:
    """Its connection stood when the clock jumped, and was closed then, or answered that a timer was over."""
    expired = one.cut or one.why.startswith(TIMED_OUT)
    return expired and any(one.connected < jump < one.ended for jump in jumps)


def _all_but_one_excused(copies: Sequence[Output], deaths: Sequence[Death]) -> bool:
    """Whether one of these died during every printing but the last."""
    earlier = sorted(copies, key=lambda copy: copy.out)[:-1]
    return all(
        any(
            copy.arrived - NOTICED < death.wall
            and death.wall - max(death.lag, death.mute) < copy.out + RECORDED + NOTICED
            for death in deaths
        )
        for copy in earlier
    )


def _times(copies: Iterable[Output]) -> str:
    return ", ".join(f"{copy.arrived:.1f}-{copy.out:.1f}{'' if copy.whole else ' partial'}" for copy in copies)


def _said(one: Told) -> str:
    sent = f", sent to slot {', '.join(map(str, sorted(one.sent_to)))}" if one.sent_to else ""
    return f"{one.name} of {one.user} at {one.started:.1f}-{one.ended:.1f} ({one.why or f'job {one.job}'}{sent})"
