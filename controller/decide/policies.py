"""What each rule of scaling asks for. Pure, and monotonic: more arrivals or more work never ask for fewer nodes, as far
as they leave the measured time of a job as it is."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from controller.config import WEEKDAYS, Scaling, Schedule
from controller.decide.backlog import UNMEASURED
from controller.plan import Ask
from controller.snapshot import Backlog, Demand, Load, QueueWork

MORE, FEWER = 2.0, 0.9
"""wait-target: in how many target waits the work that is there may be begun, before nodes are ordered and before one
goes. More than one, since what is given to a node first waits least; between both nothing changes, so that nothing is
undone. Found by benchmarks/scaling.py on three seeds, and looked at on two others: the later nodes are ordered, the
more of the fifth seed's lectures are late."""
LATELY = 300.0
"""Seconds over which the usual rate of arrivals is counted, and that of earlier weeks."""
CHANCE = 3.0
"""Roots of their number by which more jobs may come by chance, beside a single one."""
WORTH = 0.25
"""What another node must add, in nodes, to be worth its price."""


@dataclass(frozen=True)
class Fleet:
    """What the rules go by."""

    meant: int
    """Nodes that serve or will soon, and are well."""
    ready: int
    """Those of them that serve now."""
    backlogs: tuple[Backlog, ...]
    """Of every node whose work is known, draining ones left out: theirs is being done."""
    load: Load
    unwell: int = 0
    """Nodes beside those that are meant to serve and take no work, for they are not well."""

    @property
    def jobs(self) -> int:
        return sum(backlog.jobs for backlog in self.backlogs)


def asks(fleet: Fleet, scaling: Scaling) -> Iterator[Ask]:
    yield _beside(threshold(fleet, scaling) if scaling.policy == "threshold" else wait_target(fleet, scaling), fleet)
    if (local := fleet.load.local) is None:
        return
    for one in scaling.schedule:
        if runs(one, local, scaling.holidays):
            yield Ask(
                "schedule", one.min, f"from {one.start:%H:%M} to {one.end:%H:%M} at least {one.min} servers serve"
            )
    if scaling.forecast and local.date() not in scaling.holidays and (ask := forecast(fleet, scaling)):
        yield _beside(ask, fleet)


def _beside(ask: Ask, fleet: Fleet) -> Ask:
    """Where those that are well are too few the others stay beside them; where they are enough the others may go."""
    if not fleet.unwell or ask.nodes <= fleet.meant:
        return ask
    said = "1 server beside them is" if fleet.unwell == 1 else f"{fleet.unwell} servers beside them are"
    return replace(ask, nodes=ask.nodes + fleet.unwell, reason=f"{ask.reason}; {said} not well")


def threshold(fleet: Fleet, scaling: Scaling) -> Ask:
    """As many as there are, unless there are too few or too many: between both depths nothing changes."""
    jobs, up, down = fleet.jobs, scaling.queue_depth_per_node, scaling.queue_depth_per_node_down
    few = math.ceil(jobs / up)
    enough = math.ceil(jobs / down) if jobs < fleet.meant * down else fleet.meant if jobs else 0
    nodes = max(few, min(fleet.meant, enough))
    said = f"{jobs} open {'job' if jobs == 1 else 'jobs'} for {fleet.meant} servers"
    if few > fleet.meant:
        return Ask("threshold", nodes, f"{said}, more than {up:g} each")
    return Ask("threshold", nodes, f"{said}; {nodes} would do with {down:g} each" if 0 < nodes < fleet.meant else said)


def wait_target(fleet: Fleet, scaling: Scaling) -> Ask:
    """The most that any queue needs: a node prints one job of each queue at a time, so queues share nodes."""
    work: dict[str, list[QueueWork]] = {}
    for backlog in fleet.backlogs:
        for queue in backlog.work:
            work.setdefault(queue.queue, []).append(queue)
    needs = [_queue_needs(demand, work.pop(demand.queue, []), fleet, scaling) for demand in fleet.load.demands]
    needs += [_backlog_needs(nothing_known(queue), there, fleet, scaling) for queue, there in sorted(work.items())]
    return max(needs, key=lambda ask: ask.nodes, default=Ask("wait-target", 0, "no queue has work"))


def _queue_needs(demand: Demand, work: list[QueueWork], fleet: Fleet, scaling: Scaling) -> Ask:
    """Where its jobs wait for each other at one device, only so many as help."""
    ask = _asked_by_time(demand, work, fleet, scaling)
    if (useful := worth(ask.nodes, demand.contention)) == ask.nodes:
        return ask
    said = f"{ask.reason}; more than {useful} would print hardly faster, for jobs of this queue wait for each other"
    return Ask(ask.rule, useful, said)


def worth(nodes: int, contention: float) -> int:
    """So many of these nodes that each adds WORTH, if n do as much as n / (1 + contention * (n - 1)) that are alone."""

    def added(others: int) -> float:
        return (1 - contention) / ((1 + contention * (others - 1)) * (1 + contention * others))

    while nodes > 1 and added(nodes - 1) < WORTH:
        nodes -= 1
    return nodes


def _asked_by_time(demand: Demand, work: list[QueueWork], fleet: Fleet, scaling: Scaling) -> Ask:
    late = fleet.load.start_up >= scaling.target_wait
    rate = max(demand.rate, demand.peak) if late else demand.rate
    steady = _in_time(fleet, scaling, *(_steady(demand, one, scaling) for one in (rate, _soon(rate, fleet))))
    backlog = _backlog_needs(demand, work, fleet, scaling)
    if backlog.nodes > steady:
        return backlog
    said = f"{demand.queue}: {rate * 60:.1f} jobs a minute of {demand.service:.1f} s each"
    if late:
        said += f", as in the busiest minute of the hour, for a server takes {fleet.load.start_up:.0f} s to start"
    return Ask("wait-target", steady, f"{said}; {scaling.target_share:.0%} begin within {scaling.target_wait:.0f} s")


def nothing_known(queue: str) -> Demand:
    return Demand(queue, rate=0.0, peak=0.0, service=UNMEASURED, longest=0.0)


def _backlog_needs(demand: Demand, work: list[QueueWork], fleet: Fleet, scaling: Scaling) -> Ask:
    """So many that what is there and what comes meanwhile has begun in time, or as soon as new nodes can.

    New nodes help only from their start on, and what comes until then waits for half of it on average.
    """
    wait, more = scaling.target_wait, _by_chance(max(demand.rate, demand.latest), fleet)
    late = MORE * wait - fleet.load.start_up / 2
    few, soon = (_to_begin_within(late, work, demand, fleet, jobs) for jobs in (0.0, more))
    nodes = _kept(fleet, few, max(soon, _to_begin_within(FEWER * wait, work, demand, fleet)))
    seconds, coming = sum(one.seconds for one in work), demand.coming(wait)
    said = f"{demand.queue}: {seconds:.0f} s of work wait, and {coming:.0f} s more come within {wait:.0f} s"
    return Ask("wait-target", nodes, said)


def _kept(fleet: Fleet, few: int, enough: int) -> int:
    """At least `few`, and of those that there are no more than `enough`: between both nothing changes."""
    return max(few, min(fleet.meant, enough))


def _to_begin_within(horizon: float, there: list[QueueWork], demand: Demand, fleet: Fleet, more: float = 0.0) -> int:
    """A job that prints for longer than the horizon takes one node, and no second one can help. more: jobs beside those
    that are there and come."""
    start = fleet.load.start_up
    horizon = max(horizon, 2 * start)
    most = min(horizon, max(demand.service, demand.longest))
    work = sum(one.seconds - max(0.0, one.current - most) for one in there) + demand.coming(horizon)
    work += more * min(demand.service, horizon)
    nodes = math.ceil(work / horizon - 1e-9)
    if nodes > fleet.ready:
        nodes = fleet.ready + math.ceil((work - fleet.ready * horizon) / (horizon - start) - 1e-9)
    return nodes


def forecast(fleet: Fleet, scaling: Scaling) -> Ask | None:
    """Of what the same time of earlier weeks would need, as many as can't be had in time when it comes."""
    expected = [demand for demand in fleet.load.demands if demand.forecast]
    needs = [(_expects(demand, demand.forecast, scaling), demand) for demand in expected]
    if not needs:
        return None
    nodes, demand = max(needs, key=lambda need: need[0])
    enough = max(_expects(demand, _soon(demand.forecast, fleet), scaling) for demand in expected)
    before = _in_time(fleet, scaling, nodes, enough)
    said = f"{demand.queue}: {demand.forecast * 60:.1f} jobs a minute came at this time of two earlier weeks"
    if before < nodes:
        start = f"{fleet.load.start_up:.1f} s"
        said += f"; of {nodes} servers that would do the others start in {start}, in time when jobs come"
    return Ask("forecast", before, said)


def _expects(demand: Demand, rate: float, scaling: Scaling) -> int:
    return worth(_steady(demand, rate, scaling), demand.contention)


def _by_chance(rate: float, fleet: Fleet) -> float:
    """So many jobs more than usual may come within a start-up time. A node goes only where the rest would do for them
    as well; else it would be ordered again while it goes."""
    return 1 + CHANCE * math.sqrt(rate * fleet.load.start_up)


def _soon(rate: float, fleet: Fleet) -> float:
    """What a rate may be counted as by then; where nothing has come for long nothing is expected."""
    return rate + _by_chance(rate, fleet) / LATELY if rate else 0.0


def _in_time(fleet: Fleet, scaling: Scaling, few: int, enough: int) -> int:
    """Of so many nodes those that must be there before the jobs come."""
    start_up, wait = fleet.load.start_up, scaling.target_wait
    return _kept(fleet, *(_before_it_comes(count, start_up, wait) for count in (few, enough)))


def _before_it_comes(nodes: int, start_up: float, wait: float) -> int:
    """How many of these nodes must serve before a burst begins that keeps all of them busy.

    One that is ordered at its beginning serves a start-up time later. What comes until then, nodes * start_up seconds
    of work, is given to those that are there, and they do it within the target wait. Where a start takes as long as
    that all must be there, and where none was measured none can be relied on.
    """
    return math.ceil(nodes * start_up / wait - 1e-9) if 0 < start_up < wait else nodes


def _steady(demand: Demand, rate: float, scaling: Scaling) -> int:
    return steady_nodes(rate, demand.service, demand.variation, scaling.target_wait, scaling.target_share)


def steady_nodes(rate: float, service: float, variation: float, wait: float, share: float) -> int:
    """The fewest nodes on which a steady stream waits longer than `wait` in less than 1 - share of the cases.

    M/G/n by Erlang's formula C with the correction of Allen and Cunneen: the waiting time's tail is that of M/M/n, on
    a scale that is stretched by (1 + variation) / 2.
    """
    offered = rate * service
    if offered <= 0:
        return 0
    nodes = math.floor(offered) + 1
    while _late(nodes, offered, wait / service, variation) > 1 - share:
        nodes += 1
    return nodes


def _late(nodes: int, offered: float, wait: float, variation: float) -> float:
    """Share of the jobs that wait longer than `wait` service times."""
    return _erlang_c(nodes, offered) * math.exp(-(nodes - offered) * wait * 2 / (1 + variation))


def _erlang_c(nodes: int, offered: float) -> float:
    """Probability that an arrival finds all nodes busy."""
    blocked = 1.0
    for n in range(1, nodes + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1 - offered / nodes * (1 - blocked))


def runs(schedule: Schedule, local: datetime, holidays: Collection[date] = ()) -> bool:
    """Whether this moment lies within the schedule. The day on which it begins decides, also beyond midnight."""
    clock, today = local.time(), local.date()
    over_night = schedule.start >= schedule.end
    if clock >= schedule.start and (over_night or clock < schedule.end):
        return _begins(schedule, today, holidays)
    return over_night and clock < schedule.end and _begins(schedule, today - timedelta(days=1), holidays)


def _begins(schedule: Schedule, day: date, holidays: Collection[date]) -> bool:
    return day in schedule.dates or (WEEKDAYS[day.weekday()] in schedule.days and day not in holidays)
