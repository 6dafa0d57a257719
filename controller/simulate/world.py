"""A fleet that exists in numbers only, and the passes that a controller would make over it."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from controller.config import Settings
from controller.config_values import split_address
from controller.decide import decide
from controller.decide.backlog import UNMEASURED, left
from controller.decide.scaling import cool_down
from controller.decide.weights import FULL, given
from controller.jobs.demand import HOUR, MEASURED, Calendar, calendar_of, learned_from, measured
from controller.load import MEASURE_INTERVAL, Wishes
from controller.plan import Admit, Aim, Drain, Leave, Order, Pause, Plan, Prove, Remove, Scale, Start, Step
from controller.simulate.trace import Arrival
from controller.snapshot import (
    Backlog,
    Cause,
    Demand,
    Goal,
    Load,
    Node,
    NodeSight,
    NodeState,
    ProxySight,
    QueueWork,
    Snapshot,
)
from probes.reading import Reading

WAITING, BUSY, IDLE = 3.0, 10.0, 60.0
"""Seconds between two passes while jobs wait, while they print and none waits, and while there is nothing to do. While
a node comes or goes, and when a job has come or ended, the next pass comes after the configured interval: a fleet looks
at each, and what it does not see changes nothing but ages."""
DAY = 86400.0
_ANSWER = Reading("simulated", 0.0, latency=0.01)
_PROXIES = (ProxySight(1, True, 0, "L7OK"),)

Override = Callable[[float, "World", Settings], Settings]
"""Settings for a pass at this moment: how a benchmark puts another policy in the place of ours."""


def first_size(settings: Settings) -> int:
    """With so many nodes a simulation begins: those that exist already, and what nodes.min wants beside them."""
    return max(settings.nodes.min, len(settings.nodes.existing))


@dataclass
class SimulatedNode:
    node: Node
    answers_at: float
    """When its server has come up."""
    entered: float
    free_at: dict[str, float] = field(default_factory=dict)
    """When the last job of each queue is done."""
    jobs: dict[str, deque[tuple[float, float]]] = field(default_factory=dict)
    """Its open jobs by queue, in order: when each begins to print, and when it is done."""
    share: float = 0.0
    """Its credit in the weighted round robin."""
    weight: int = 0

    def finish(self, now: float, times: Mapping[str, deque[float]]) -> None:
        """Let go of what is printed by now, and add how long that took to the times of its queue."""
        for queue, jobs in self.jobs.items():
            while jobs and jobs[0][1] <= now:
                begun, done = jobs.popleft()
                times[queue].append(done - begun)

    def weigh(self, weight: int) -> None:
        if weight != self.weight:
            self.weight, self.share = weight, 0.0

    def open_jobs(self) -> int:
        return sum(map(len, self.jobs.values()))


@dataclass
class Outcome:
    """What a simulation has come to."""

    waits: list[float] = field(default_factory=list)
    """Seconds from acceptance to the first page, of each job."""
    node_seconds: float = 0.0
    seconds: float = 0.0
    """How long it lasted."""
    sizes: list[tuple[float, int]] = field(default_factory=list)
    """How many nodes there were, from when on."""
    ordered: int = 0
    retired: int = 0
    undone: int = 0
    """Actions that were taken back within a start-up time."""
    decisions: list[tuple[float, Scale]] = field(default_factory=list)
    """When another size was wanted."""


@dataclass
class World:
    settings: Settings
    arrivals: Sequence[Arrival]
    start_up: float
    """Seconds that a node takes to start."""
    begin: float
    """Before it the trace is history only, to be learned from."""
    override: Override | None = None
    until: float = 0.0
    """It lasts until then, although the last job is done before."""
    slow: Mapping[str, float] = field(default_factory=dict)
    """How many times as long as another a node takes for each job, by its name."""
    even: bool = False
    """Whether every node gets the same share of new work, instead of that of `decide.weights`."""
    nodes: dict[str, SimulatedNode] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)
    now: float = 0.0
    _named: int = 0
    _wishes: Wishes = field(default_factory=Wishes)
    _calendar: Calendar = field(default_factory=Calendar)
    _demands: tuple[Demand, ...] = ()
    _measured_at: float = float("-inf")
    _times: dict[str, list[float]] = field(default_factory=dict)
    _done: dict[str, deque[float]] = field(default_factory=dict)
    """Times that the last jobs of each queue took to print."""
    _meant: int = 0
    """How many nodes were meant to serve at the end of the last pass."""
    _day: tuple[int, float] = (0, 0.0)
    _acted: tuple[float, int] = (float("-inf"), 0)

    def __post_init__(self) -> None:
        """A dry run would show what is, in the place of what would be."""
        scaling = self.settings.scaling.model_copy(update={"dry_run": False})
        self.settings = self.settings.model_copy(update={"scaling": scaling})
        self._calendar = calendar_of(scaling)

    def run(self) -> Outcome:
        """From `begin` to the end of the last job, or to `until`."""
        for one in self.arrivals:
            self._times.setdefault(one.queue, []).append(one.at)
        self._done = {queue: deque(maxlen=MEASURED) for queue in self._times}
        self._learn()
        self.now = self.begin
        existing = self.settings.nodes.existing
        for address in (*existing, *[""] * (first_size(self.settings) - len(existing))):
            self._add(NodeState.READY, Goal.SERVE, address=address)
        self._meant = self.meant()
        due = [one for one in self.arrivals if one.at >= self.begin]
        index, next_pass = 0, self.begin
        while index < len(due) or self.now < self.until or any(one.open_jobs() for one in self.nodes.values()):
            if index < len(due) and due[index].at <= next_pass:
                self._accept(due[index])
                index += 1
                next_pass = min(next_pass, self.now + self.settings.health.interval)
                continue
            self._advance(next_pass)
            next_pass = self.now + self._pass()
        return self.outcome

    def _learn(self) -> None:
        """What is known of the time before."""
        for one in self.arrivals:
            if one.at < self.begin:
                self._done[one.queue].append(one.seconds)

    def _advance(self, to: float) -> None:
        seconds = to - self.now
        costing = sum(one.node.state.costs for one in self.nodes.values())
        self.outcome.node_seconds += seconds * costing
        self.outcome.seconds += seconds
        day = int(to // DAY)
        used = self._day[1] if day == self._day[0] else 0.0
        self._day = (day, used + seconds * costing / 3600)
        self.now = to

    def _accept(self, job: Arrival) -> None:
        """Give a job to a node, as HAProxy's round robin by weight does where a node whose weight changes forgets its
        turn (haproxy/runtime.py)."""
        self._advance(max(self.now, job.at))
        ready = [one for one in self.nodes.values() if one.weight]
        total = sum(one.weight for one in ready)
        for one in ready:
            one.share += one.weight
        chosen = max(ready, key=lambda one: one.share)
        chosen.share -= total
        start = max(job.at, chosen.free_at.get(job.queue, job.at))
        end = start + job.seconds * self.slow.get(chosen.node.name, 1.0)
        chosen.free_at[job.queue] = end
        chosen.jobs.setdefault(job.queue, deque()).append((start, end))
        self.outcome.waits.append(start - job.at)

    def _pass(self) -> float:
        """One pass; seconds until the next one."""
        for one in self.nodes.values():
            one.finish(self.now, self._done)
        settings = self.override(self.now, self, self.settings) if self.override else self.settings
        snapshot = self.snapshot(settings)
        plan = decide(snapshot, settings)
        self._wishes.add(self.now, plan.scale.wanted, plan.scale.certain)
        self._carry_out(plan)
        for one in self.nodes.values():
            one.weigh(given(one.node, {} if self.even else plan.weights))
        interval = settings.health.interval
        if plan.steps or any(one.node.state is not NodeState.READY for one in self.nodes.values()):
            return interval
        printing = [jobs for one in self.nodes.values() for jobs in one.jobs.values() if jobs]
        rest = IDLE
        if printing or len(self.nodes) > settings.nodes.min:
            rest = max(interval, WAITING) if any(len(jobs) > 1 for jobs in printing) else BUSY
        return min([rest, *(jobs[0][1] - self.now + interval for jobs in printing)])

    def snapshot(self, settings: Settings) -> Snapshot:
        """What a controller would see now."""
        if self.now - self._measured_at >= MEASURE_INTERVAL:
            self._measured_at = self.now
            arrivals = {queue: self._past(times) for queue, times in self._times.items()}
            self._demands = measured(arrivals, self._done, self.now, self._calendar, self.start_up)
        service = {demand.queue: demand.service for demand in self._demands}
        day_left = (DAY - self.now % DAY) / 3600
        load = Load(
            demands=self._demands,
            demands_age=self.now - self._measured_at,
            start_up=self.start_up,
            wishes=self._wishes.told(self.now, cool_down(settings.scaling, self.start_up)),
            known_for=self._wishes.known_for(self.now) if self.override is None else DAY,
            node_hours=self._day[1],
            hours_left=day_left,
            local=self._calendar.local(self.now),
        )
        slots = {one.node.slot for one in self.nodes.values()}
        return Snapshot(
            nodes=tuple(self._sight(one, service) for one in self.nodes.values()),
            free_slots=tuple(slot for slot in range(1, settings.slots + 1) if slot not in slots),
            next_name=self._named + 1,
            canary=_ANSWER,
            gap=settings.health.interval,
            load=load,
        )

    def _past(self, times: list[float]) -> list[float]:
        """What has arrived by now in the hour that is measured and the weeks that are learned from."""
        windows = sorted(learned_from(self.now, self.start_up, self._calendar))
        windows.append((self.now - HOUR, self.now))
        return [moment for a, b in windows for moment in times[bisect_left(times, a) : bisect_left(times, b)]]

    def _sight(self, one: SimulatedNode, service: dict[str, float]) -> NodeSight:
        up = one.node.state is not NodeState.ORDERED and self.now >= one.answers_at
        work = (self._work(queue, jobs, service.get(queue, UNMEASURED)) for queue, jobs in one.jobs.items() if jobs)
        idle = not one.open_jobs()
        return NodeSight(
            one.node,
            alive=True,
            reading=_ANSWER if up else None,
            backlog=Backlog(tuple(work)) if up else None,
            idle_readings=2 if idle else 0,
            in_state=self.now - one.entered,
            proxies=_PROXIES,
        )

    def _work(self, queue: str, jobs: Sequence[tuple[float, float]], service: float) -> QueueWork:
        current = left(self.now - jobs[0][0], service)
        return QueueWork(queue, len(jobs), current + (len(jobs) - 1) * service, current)

    def _carry_out(self, plan: Plan) -> None:
        for step in plan.steps:
            self._do(step)
        if (change := self.meant() - self._meant) != 0:
            self._meant += change
            at, last = self._acted
            if self.now - at < self.start_up and change * last < 0:
                self.outcome.undone += 1
            self._acted = (self.now, change)
            self.outcome.ordered += max(0, change)
            self.outcome.retired += max(0, -change)
            self.outcome.decisions.append((self.now, plan.scale))
            self.outcome.sizes.append((self.now, self.meant()))

    def meant(self) -> int:
        return sum(one.node.goal is Goal.SERVE for one in self.nodes.values())

    def _add(self, state: NodeState, goal: Goal, slot: int = 0, address: str = "") -> None:
        self._named += 1
        name, driver = f"node-{self._named}", "existing" if address else "process"
        host, port = split_address(address or "127.0.0.1:1")
        node = Node(name, slot or self._named, driver, host, port, state=state, goal=goal)
        weight = FULL if state is NodeState.READY else 0
        self.nodes[node.name] = SimulatedNode(node, self.now, self.now, weight=weight)

    def _do(self, step: Step) -> None:
        if isinstance(step, Order):
            return self._add(NodeState.ORDERED, Goal.SERVE, step.slot, step.address)
        if isinstance(step, Pause) or step.node not in self.nodes:
            return None
        one = self.nodes[step.node]
        match step:
            case Start():
                one.answers_at = self.now + self.start_up
                self._enter(one, NodeState.STARTING)
            case Prove():
                self._enter(one, NodeState.PROVING)
            case Admit():
                self._enter(one, NodeState.READY)
            case Drain():
                self._enter(one, NodeState.DRAINING)
            case Leave():
                self._enter(one, NodeState.LEAVING)
            case Remove():
                del self.nodes[step.node]
            case Aim():
                one.node = replace(one.node, goal=Goal(step.goal), goal_by=Cause(step.by))
        return None

    def _enter(self, one: SimulatedNode, state: NodeState) -> None:
        one.node, one.entered = replace(one.node, state=state), self.now
