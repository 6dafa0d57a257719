"""What was seen in one pass, as one immutable value. `decide` knows nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from haproxy.model import SLOT_IDS
from probes.reading import Reading


class NodeState(StrEnum):
    """Where a node stands in its life."""

    ORDERED = "ordered"
    """Decided, not yet begun."""
    STARTING = "starting"
    """Its server was told to start and has not answered yet."""
    PROVING = "proving"
    """It answers and has its queues; a proxy's own check is still to pass."""
    READY = "ready"
    """It takes new work."""
    UNHEALTHY = "unhealthy"
    """It answers, but is not well: it takes no new work, and its own jobs are still served."""
    DRAINING = "draining"
    """It takes no new work and finishes its own."""
    DEAD = "dead"
    """It is gone; it takes no new work and waits to be started again."""
    RESCUING = "rescuing"
    """It could not be started again and is given up; its jobs are moved from its spool to other nodes."""
    STOPPED = "stopped"
    """The fleet was stopped, and it with the fleet; its jobs wait in its spool."""
    LEAVING = "leaving"
    """It has no work left and is out of every proxy; its server is being ended."""
    RETIRED = "retired"
    """It left the fleet. Its name is never used again."""

    @property
    def costs(self) -> bool:
        """Whether a node in this state costs money: a dead one does, for it is being brought back."""
        return self not in (NodeState.ORDERED, NodeState.STOPPED, NodeState.RETIRED)


class Goal(StrEnum):
    """What a node is meant for."""

    SERVE = "serve"
    DRAIN = "drain"
    """Take no new work until it is resumed."""
    RETIRE = "retire"
    """Finish its own work, then leave."""


class Cause(StrEnum):
    """Who gave a node its goal. What an administrator decided, nothing else takes back."""

    ORDER = ""
    """It was ordered with it."""
    ADMINISTRATOR = "administrator"
    HEALTH = "health"
    """It did not recover."""
    IDS = "ids"
    """The ids of its slot run out."""
    SETTINGS = "settings"
    """A release changed the settings that nodes run with."""
    SCALING = "scaling"
    SPARE = "spare"
    """It was ordered while most nodes looked bad, and goes when they are well again."""


UNPROVED = "unproved"
"""Stands for the fingerprint of the queues of a node that answers and could not be proved since it was started."""
SLOT_RESERVE = 100_000
"""Ids that must be left in a slot's range. With fewer a node is replaced, and none is put there."""


@dataclass(frozen=True)
class Node:
    """What is remembered about a node."""

    name: str
    slot: int
    driver: str
    host: str
    port: int
    state: NodeState = NodeState.ORDERED
    goal: Goal = Goal.SERVE
    since: float = 0.0
    """Wall clock time, in seconds, at which it entered its state; for people only."""
    reason: str = ""
    """Why it is in this state."""
    failure: str = ""
    """What last failed on it, until it succeeds."""
    deaths: int = 0
    """How often it died since it last served for a while."""
    queues: str = ""
    """Fingerprint of the queue declarations that were put on it, or UNPROVED."""
    goal_by: Cause = Cause.ORDER
    lives: int = 0
    """How often its server was started, or taken for dead. A job that one life had and the next one lacks is lost."""

    @property
    def proved(self) -> bool:
        """Whether it may serve; of a node in service only."""
        return self.queues != UNPROVED

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ProxySight:
    """A node as one proxy reports it."""

    proxy: int
    up: bool
    """The proxy's own IPP check passes."""
    sessions: int | None
    """Connections and waiting requests, those for the node's own jobs and those in workers that a reload left behind
    included; None when they can't be known."""
    check: str = ""
    """The proxy's word for its last check, such as `L4CON` or `L7OK`."""
    errors: int = 0
    """Connections for people's requests that failed, TLS handshakes included, since the proxy's worker began."""


@dataclass(frozen=True)
class QueueWork:
    """What a queue of one node has to print."""

    queue: str
    jobs: int
    seconds: float
    """Of node time, by the service time measured for this queue."""
    current: float = 0.0
    """Of these, the seconds that the job which is being printed takes yet."""


@dataclass(frozen=True)
class Backlog:
    """A node's open jobs, as work. Those that no node can further are told apart."""

    work: tuple[QueueWork, ...] = ()
    stuck: int = 0
    """Jobs that are held or stopped, or whose queue or printer is: no reason for another node, and a reason to keep
    this one."""
    standing: frozenset[str] = frozenset()
    """Queues, in lower case, that are stopped here or whose printer has a fault or can't be reached."""
    blocked: float = 0.0
    """Seconds of work in those: what a node is given for them waits behind it."""

    @property
    def jobs(self) -> int:
        return sum(queue.jobs for queue in self.work)

    @property
    def seconds(self) -> float:
        return sum(queue.seconds for queue in self.work)


@dataclass(frozen=True)
class Demand:
    """What was measured of a queue, over all nodes."""

    queue: str
    rate: float
    """Jobs accepted in a second, over the last five minutes."""
    peak: float
    """The same in the busiest minute of the last hour."""
    service: float
    """Mean seconds from a job's first page to its end."""
    variation: float = 1.0
    """Squared coefficient of variation of that: 0 when all jobs are alike, 1 for exponential times."""
    longest: float = math.inf
    """A job that has printed for less than so many seconds is taken to have as long to go; one that prints on may wait
    for something else, and counts as so long."""
    latest: float = 0.0
    """Jobs accepted in a second over the last minute, less what may be chance, if that is more."""
    burst: float = math.inf
    """Seconds for which those of the last minute have come so far; they are taken to go on for as long."""
    contention: float = 0.0
    """By what share of itself a job takes longer for each other one of the queue that prints meanwhile: 0 where they
    print side by side, 1 where all wait for one device."""
    forecast: float = 0.0
    """Jobs a second in the busiest five minutes at this time, a start-up time ahead, of the second busiest of the last
    four weeks."""

    def coming(self, seconds: float) -> float:
        """Seconds of work that arrive in so many seconds."""
        usual, more = self.rate * seconds, max(0.0, self.latest - self.rate) * min(seconds, self.burst)
        return (usual + more) * self.service


@dataclass(frozen=True)
class Wish:
    """How many nodes were asked for, a while ago."""

    age: float
    """Seconds."""
    nodes: int


@dataclass(frozen=True)
class Load:
    """What is known of the work beside the newest readings. The default is a controller that has just begun."""

    demands: tuple[Demand, ...] = ()
    demands_age: float = 0.0
    """Seconds since they were measured."""
    start_up: float = 0.0
    """Seconds that a node of the configured driver takes from its order to its first job; 0 when none was seen."""
    wishes: tuple[Wish, ...] = ()
    """The largest ones, newest last: none that a newer and larger one outdoes."""
    added: tuple[Wish, ...] = ()
    """What administrators made it by adding a node."""
    known_for: float = 0.0
    """Seconds without a gap for which wishes were kept."""
    paused_by: str = ""
    """Who paused scaling; '' when it is not paused."""
    node_hours: float = 0.0
    """Node-hours since midnight UTC."""
    hours_left: float = 24.0
    """Until the next midnight UTC."""
    local: datetime | None = None
    """Local time, for the timetable; None when it must not count."""


@dataclass(frozen=True)
class NodeSight:
    """A node with everything that was seen of it."""

    node: Node
    alive: bool | None = None
    """Whether its process runs; None where its driver can't know."""
    reading: Reading | None = None
    """The newest answer (or failure to answer) to the prober."""
    backlog: Backlog | None = None
    """The same answer's open jobs, as work; None when it did not answer."""
    idle_readings: int = 0
    """Fresh readings in a row that showed no open job, taken while every proxy did what it was told."""
    bad_readings: int = 0
    """Answers in a row that showed it unhealthy."""
    good_readings: int = 0
    """Answers in a row that showed nothing wrong."""
    reading_age: float = 0.0
    """Seconds since the reading was complete."""
    silent_for: float = 0.0
    """Seconds of looking without an answer. Time in which the controller did not look is not silence of the node."""
    stuck_for: float = 0.0
    """Longest time, in seconds, for which one of its jobs has been pending in a queue that was idle at every look."""
    longest_print: tuple[int, float] = (0, 0.0)
    """The job that has printed for longest, and for how many seconds."""
    tls_error: str = ""
    """What went wrong when it was last asked over TLS."""
    proof_error: str = ""
    """Why it did not print the fleet's own job when it was last to."""
    strays: tuple[int, ...] = ()
    """Ids of open jobs that it gave out and that are not of its slot."""
    free_bytes: int | None = None
    """Free space on the disk of its spool; None where its driver can't know."""
    disk_bytes: int = 0
    """Size of that disk."""
    in_state: float = 0.0
    """Seconds in its present state, or since the controller first looked."""
    proxies: tuple[ProxySight, ...] = ()
    """What the proxies say that could be asked; one that could not is missing."""
    finished: int = 0
    """Jobs that it had when it entered its state, or was first seen in it, and has no more."""
    outdated: bool = False
    """A new start would change its settings, when this was last asked."""
    ids_left: int = SLOT_IDS
    """Ids of its slot that were certainly never given out."""
    declared_ago: float | None = None
    """Seconds since its queues were last begun to be declared anew while it served; None as for `evacuated_ago`."""
    evacuated_ago: float | None = None
    """Seconds since its jobs were last told to go to other nodes; None for never, as far as this controller knows."""
    retry_in: float = 0.0
    """Seconds until what last failed on it may be tried again."""
    busy: bool = False
    """An effect on it is still under way; it is left alone until that has ended."""

    @property
    def answers(self) -> bool:
        return self.reading is not None and self.reading.error is None

    @property
    def open_jobs(self) -> int | None:
        """None when it did not answer."""
        return len(self.reading.jobs) if self.reading is not None and self.reading.error is None else None


@dataclass(frozen=True)
class Command:
    """Something that somebody asked for."""

    id: int
    verb: str
    """`add`, `retire`, `drain`, `resume`, `evacuate` or `pause`."""
    argument: str
    """A node's name, or `scaling` to pause and resume that;
    for `add` an address HOST:PORT, or nothing for a node of the configured driver."""
    asked_by: str
    age: float
    """Seconds since it was asked."""
    state: str = "asked"
    """`asked`, then `running`, then `done`, `refused` or `failed`."""
    node: str = ""
    """The node it led to, once known."""
    channel: str = "door"
    """`door`: the dashboard, by the name that logged in; `shell`: somebody who may write the database."""
    allowed: bool = True
    """False for somebody at the door who is no administrator."""


@dataclass(frozen=True)
class Snapshot:
    nodes: tuple[NodeSight, ...]
    commands: tuple[Command, ...] = ()
    """Those that are asked or running, oldest first."""
    free_slots: tuple[int, ...] = ()
    """Slots without a node whose id range still has room, best first."""
    next_name: int = 1
    """Number of the next node's name."""
    queues: str = ""
    """Fingerprint of the queue declarations as configured."""
    proxies: int = 1
    """How many proxies there are."""
    proxies_obey: bool = True
    """Whether every proxy did what it was last told."""
    canary: Reading | None = None
    """What the prober read from its canary; None when that could not even be set up."""
    gap: float = 0.0
    """Seconds between this look and the one before; 0 for the first."""
    load: Load = Load()

    def after(self, nodes: Iterable[Node]) -> Snapshot:
        """The same sights with the nodes as they are recorded now, new ones unseen."""
        seen = {sight.node.name: sight for sight in self.nodes}
        now = (replace(seen[node.name], node=node) if node.name in seen else NodeSight(node) for node in nodes)
        return replace(self, nodes=tuple(now))
