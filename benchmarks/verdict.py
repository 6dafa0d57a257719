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
JUMP_NOTICED = 2.0
"""Seconds after a jump of the clock in which the proxy may still be busy with timers that it takes to be over."""
CUT = ("RemoteDisconnected", "IncompleteRead", "ConnectionResetError", "BrokenPipeError", "SSLEOFError")
"""How a client notices that its connection was closed by the other side."""
TIMED_OUT = ("HTTP 408", "HTTP 504")
"""What a proxy says when one of its own timers is over."""
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
    sent_to: frozenset[int] = frozenset()
    """Slots of the nodes that the proxy sent its requests to, by the proxy's log."""

    def take(self, answer: Answer) -> None:
        """An answer of the door, to the last request that this document needs."""
        self.ended, self.accepted = time.monotonic(), False
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
        return self.accepted or self.why.startswith(("HTTP", "IPP"))

    @property
    def cut(self) -> bool:
        return self.why.startswith(CUT)

    def failed(self, why: str) -> None:
        self.ended, self.accepted, self.why = time.monotonic(), False, why


@dataclass(frozen=True)
class Output:
    """A document as it left the printer. Times are wall clock seconds."""

    name: str
    arrived: float
    out: float
    whole: bool


@dataclass(frozen=True)
class Death:
    """The end of a node's cupsd."""

    node: str
    at: float
    """Monotonic seconds."""
    wall: float
    lag: float = 0.0
    """It may have come so many seconds before: then it still ran when it was looked at last, or was stopped."""
    slot: int = 0


@dataclass
class Verdict:
    told: int
    accepted: int
    lost: list[str]
    twice_while_printing: list[str]
    """Came out more than once, and its node died while it was printing."""
    twice: list[str]
    wrong_owner: list[str]
    unknown: list[str]
    """Accepted, and not in the table of jobs, or not ended there."""
    charged: list[str]
    """Accepted, and not charged exactly once."""
    ids_twice: list[int]
    in_flight: list[str]
    """Failed requests that were under way on a node when it died."""
    cut_off: list[str]
    """Failed requests for a job of a node that the proxy could not reach."""
    without_door: list[str]
    jumped: list[str]
    """Cut by a proxy that took a jump of the clock for time that has passed, as HAProxy before 3.1 may."""
    full_unseen: list[str]
    """Refused by a node with a full disk while the controller, which would have left it out, was dead or blind."""
    refused: list[str]
    """Failed requests without such an excuse."""
    out_unasked: int
    """Documents that came out although their client was told of a failure."""
    deaths: int = 0
    lasted: float = 0.0
    recovery: float = 0.0
    wrong: tuple[str, ...] = ()
    faults: Counter[str] = field(default_factory=Counter)
    commands_done: int = 0
    commands_left: Sequence[str] = ()
    """Commands that were not carried out, with the reason."""
    missing: tuple[str, ...] = ()

    @property
    def broken(self) -> list[str]:
        """The promises that were not kept, each with what shows it."""
        kinds: dict[str, Sequence[object]] = {
            "accepted and lost": self.lost,
            "printed twice without a death": self.twice,
            "owned by somebody else": self.wrong_owner,
            "unknown to the table of jobs": self.unknown,
            "not charged exactly once": self.charged,
            "job ids given out twice": self.ids_twice,
            "refused although a healthy node was there": self.refused,
            "not whole again within a minute": self.wrong,
        }
        return [f"{what}: {len(found)}: {'; '.join(map(str, found[:12]))}" for what, found in kinds.items() if found]

    @property
    def kept(self) -> bool:
        return not self.broken

    def report(self, seed: int, nodes: int, clients: int) -> str:
        rows = {
            "documents sent": self.told,
            "accepted": self.accepted,
            "accepted and lost": len(self.lost),
            "printed twice": len(self.twice),
            "printed twice, printing while their node died": len(self.twice_while_printing),
            "owned by somebody else": len(self.wrong_owner),
            "accepted and unknown to the table of jobs": len(self.unknown),
            "accepted and not charged exactly once": len(self.charged),
            "job ids given out twice": len(self.ids_twice),
            "failed requests, under way on a node that died": len(self.in_flight),
            "failed requests, for a job of a node that was cut off": len(self.cut_off),
            "failed requests, no proxy was there": len(self.without_door),
            "failed requests, cut by a proxy when the clock jumped": len(self.jumped),
            "failed requests, disk full while the controller was dead or blind": len(self.full_unseen),
            "failed requests, although a healthy node was there": len(self.refused),
            "printed although their client was told of a failure": self.out_unasked,
            "ends of a cupsd": self.deaths,
            "commands that were carried out": self.commands_done,
            "commands that were refused, or failed": len(self.commands_left),
            "seconds until the fleet was whole again": f"{self.recovery:.0f}",
        }
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.faults.items()))
        return "\n".join(
            [
                "# Fault campaign",
                "",
                f"Seed {seed}, {nodes} nodes, {clients} clients, {self.lasted:.0f} s, {self.faults.total()} faults: "
                f"{kinds}.",
                "",
                "| what | count |",
                "| --- | ---: |",
                *(f"| {what} | {count} |" for what, count in rows.items()),
                "",
                *(f"Not tried: {what}." for what in self.missing),
                "",
                *(f"- printing while its node died: {one}" for one in self.twice_while_printing),
                "",
                *(f"- not carried out: {one}" for one in self.commands_left),
                "",
                *([f"BROKEN {one}" for one in self.broken] or ["Every promise was kept."]),
                "",
            ]
        )


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
    unseen: Sequence[tuple[float, float]] = ()
    """When a disk was full and nobody could look."""

    def excuse(self, one: Told) -> str:
        """By the name that the verdict counts it under."""
        if _in_flight(one, self.deaths):
            return "in_flight"
        if one.job and any(slot == slot_of(one.job) and _overlap(one, *span) for slot, *span in self.cuts):
            return "cut_off"
        if any(_without_door(one, *span) for span in self.doors):
            return "without_door"
        if _jumped(one, self.jumps):
            return "jumped"
        if "HTTP 413" in one.why and any(_overlap(one, *span) for span in self.unseen):
            return "full_unseen"
        return "refused"


def judge(
    told: Sequence[Told],
    outputs: Iterable[Output],
    trouble: Trouble,
    jobs: Sequence[Job],
    charges: Mapping[str, int],
    tried: Mapping[str, Container[str]],
) -> Verdict:
    """charges: how often each document was charged. tried: the nodes that began to print each."""
    copies: dict[str, list[Output]] = {}
    for output in outputs:
        copies.setdefault(output.name, []).append(output)
    accepted = [one for one in told if one.accepted]
    failed = [one for one in told if not one.accepted]
    many = {name: found for name, found in copies.items() if len(found) > 1}
    excused = {
        name for name, found in many.items() if _all_but_one_excused(found, _of(tried.get(name, ()), trouble.deaths))
    }
    rows = {job.title: job for job in jobs}
    failures: dict[str, list[str]] = {}
    for one in failed:
        failures.setdefault(trouble.excuse(one), []).append(_said(one))
    ids = Counter(one.job for one in accepted)
    return Verdict(
        told=len(told),
        accepted=len(accepted),
        lost=[_said(one) for one in accepted if not any(copy.whole for copy in copies.get(one.name, ()))],
        twice_while_printing=[f"{name}, {len(many[name])} times" for name in sorted(excused)],
        twice=[f"{name}, {_times(found)}" for name, found in sorted(many.items()) if name not in excused],
        wrong_owner=[_said(one) for one in told if one.name in rows and rows[one.name].owner != one.user],
        unknown=[_said(one) for one in accepted if one.name not in rows or rows[one.name].state != "completed"],
        charged=[f"{_said(one)}, {charges.get(one.name, 0)} times" for one in accepted if charges.get(one.name) != 1],
        ids_twice=[number for number, count in ids.items() if count > 1],
        in_flight=failures.get("in_flight", []),
        cut_off=failures.get("cut_off", []),
        without_door=failures.get("without_door", []),
        jumped=failures.get("jumped", []),
        full_unseen=failures.get("full_unseen", []),
        refused=failures.get("refused", []),
        out_unasked=sum(one.name in copies for one in failed),
    )


def _of(nodes: Container[str], deaths: Iterable[Death]) -> list[Death]:
    return [death for death in deaths if death.node in nodes]


def _in_flight(one: Told, deaths: Iterable[Death]) -> bool:
    """A node that had to do with it died meanwhile. Of a request whose connection to its node ended without an answer
    HAProxy writes no line, and closes the client's: that is taken for one of the node that died just then."""
    silent = one.cut and not one.slots
    return any(
        one.started - NOTICED < death.at
        and death.at - death.lag < one.ended + NOTICED
        and (silent or death.slot in one.slots)
        for death in deaths
    )


def _overlap(one: Told, gone: float, back: float) -> bool:
    return one.started < back + NOTICED and one.ended + NOTICED > gone


def _without_door(one: Told, gone: float, back: float) -> bool:
    """It was sent meanwhile, or on a connection that ended with the proxy, as a client learns when it sends again."""
    return _overlap(one, gone, back) or (one.cut and one.connected < back < one.ended)


def _jumped(one: Told, jumps: Iterable[float]) -> bool:
    """Its connection stood when the clock jumped, and was closed then."""
    expired = one.cut or one.why.startswith(TIMED_OUT)
    return expired and any(one.connected - JUMP_NOTICED < jump < one.ended for jump in jumps)


def _all_but_one_excused(copies: Sequence[Output], deaths: Sequence[Death]) -> bool:
    """Whether one of these died during every printing but the last."""
    earlier = sorted(copies, key=lambda copy: copy.out)[:-1]
    return all(
        any(
            copy.arrived - NOTICED < death.wall and death.wall - death.lag < copy.out + RECORDED + NOTICED
            for death in deaths
        )
        for copy in earlier
    )


def _times(copies: Iterable[Output]) -> str:
    return ", ".join(f"{copy.arrived:.1f}-{copy.out:.1f}{'' if copy.whole else ' partial'}" for copy in copies)


def _said(one: Told) -> str:
    return f"{one.name} of {one.user} at {one.started:.1f}-{one.ended:.1f} ({one.why or f'job {one.job}'})"
