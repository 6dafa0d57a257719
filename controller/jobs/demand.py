"""How much work comes, and how long it takes: measured per queue from the table of jobs."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from statistics import fmean, median
from zoneinfo import ZoneInfo

from controller.config import Scaling
from controller.config_values import zone_named
from controller.decide.backlog import UNMEASURED
from controller.decide.policies import LATELY
from controller.jobs.contention import Printed, contention
from controller.jobs.table import RELEASED_JOBS, JobTable
from controller.snapshot import Demand
from controller.store import Store

NOW, HOUR = 60.0, 3600.0
"""Seconds over which arrivals are counted, beside LATELY."""
MINUTE = 60.0
WEEKS, AGREED = 4, 2
"""Earlier weeks that are learned from, and how many of them must have been as busy: what came once is not expected."""
BURST = 300.0
"""Seconds of an earlier week over which arrivals are counted: lectures end on the hour, and what then comes is over in
five minutes."""
AHEAD, STARTS_AHEAD = 60.0, 2.0
"""How long before such a burst nodes are asked for: so many seconds, or what starting a node takes so many times."""
MEASURED = 200
"""Jobs of a queue whose time to print is averaged, the last ones."""
BELIEVED = 2.0
"""Jobs that it takes until what was measured of a queue counts as much as what was believed of it before."""
STRAY = 20.0
"""A job that took more than this many times the median waited for somebody, and counts as so long."""
_WORK = "(processing > 0 or state in ('pending', 'processing'))"
SHORTEST = 0.05
"""Seconds that any job takes; the table knows whole seconds only."""


@dataclass(frozen=True)
class Calendar:
    """The clock on the wall that weeks go by, and days that are unlike others."""

    zone: ZoneInfo | None = None
    """None: the machine's own."""
    holidays: Collection[date] = ()

    def local(self, at: float) -> datetime:
        """at: seconds since 1970."""
        return datetime.fromtimestamp(at, UTC).astimezone(self.zone)


MACHINES = Calendar()


def calendar_of(scaling: Scaling) -> Calendar:
    return Calendar(zone_named(scaling.time_zone), scaling.holidays)


def weeks_before(now: float, calendar: Calendar = MACHINES) -> list[float]:
    """The same local time of each earlier week that is learned from, newest first: lectures follow the clock on the
    wall, also when it was changed meanwhile."""
    local = calendar.local(now).replace(tzinfo=calendar.zone)
    return [(local - timedelta(weeks=number)).timestamp() for number in range(1, WEEKS + 1)]


def learned_from(now: float, start_up: float, calendar: Calendar = MACHINES) -> list[tuple[float, float]]:
    """The stretch of each earlier week in which a burst may be that nodes are asked for now, and its end: it may have
    begun, or begins when they could serve."""
    return [
        (week - BURST / 2, week + max(AHEAD, STARTS_AHEAD * start_up) + BURST) for week in weeks_before(now, calendar)
    ]


def measured(
    arrivals: Mapping[str, Sequence[float]],
    services: Mapping[str, Sequence[float]],
    now: float,
    calendar: Calendar = MACHINES,
    start_up: float = 0.0,
) -> tuple[Demand, ...]:
    """Of every queue that has arrivals, all as for `measure`. A queue is believed to print as the others do."""
    means = {queue: fmean(_kept(times)) for queue, times in services.items() if times}
    found = []
    for queue, moments in sorted(arrivals.items()):
        others = [mean for other, mean in means.items() if other != queue]
        believed = median(others or [UNMEASURED])
        found.append(measure(queue, moments, services.get(queue, ()), now, calendar, believed, start_up))
    return tuple(found)


def measure(
    queue: str,
    arrivals: Sequence[float],
    services: Sequence[float],
    now: float,
    calendar: Calendar = MACHINES,
    believed: float = UNMEASURED,
    start_up: float = 0.0,
) -> Demand:
    """arrivals: when jobs were accepted, in order, seconds since 1970: of the last hour and at least what is
    `learned_from`. services: seconds that jobs took to print. believed: what one is taken to take as long as none was
    measured. start_up: seconds that a node takes to start."""
    service, variation, longest = _spread(services, believed)

    def rate(begin: float, seconds: float) -> float:
        return (bisect_left(arrivals, begin + seconds) - bisect_left(arrivals, begin)) / seconds

    minutes = Counter(math.ceil((now - at) / MINUTE) for at in arrivals[bisect_left(arrivals, now - HOUR) :])
    busiest = [
        max(rate(end - BURST - back * MINUTE, BURST) for back in range(int((end - begin - BURST) / MINUTE) + 1))
        for begin, end in learned_from(now, start_up, calendar)
        if calendar.local(begin + BURST / 2).date() not in calendar.holidays
    ]
    newest = arrivals[bisect_left(arrivals, now - NOW) : bisect_left(arrivals, now)]
    return Demand(
        queue=queue,
        rate=(usual := rate(now - LATELY, LATELY)),
        latest=_latest(usual, rate(now - NOW, NOW)),
        burst=newest[-1] - newest[0] if newest else 0.0,
        peak=max(minutes.values(), default=0) / MINUTE,
        service=service,
        variation=variation,
        longest=longest,
        forecast=sorted((0.0, 0.0, *busiest))[-AGREED],
    )


def _latest(usual: float, latest: float) -> float:
    """The last minute's rate as far as it is no chance: arrivals at random vary by the root of their number. It goes by
    that minute alone, so that more jobs, whenever they came, never make less of it. With two such roots, by
    benchmarks/scaling.py, lectures' jobs wait for a quarter longer, and 1 % of the node-hours is saved."""
    return max(usual, latest - math.sqrt(latest / NOW))


def _spread(services: Sequence[float], believed: float) -> tuple[float, float, float]:
    """Mean, squared coefficient of variation, and the age up to which a job that prints counts as having as long to go.

    Credibility (Buhlmann): the mean of a queue moves from what is believed to what was measured as jobs of it end, by
    the weight that a gamma prior gives both. Believed are exponential times, so that a queue nobody knows has a wide
    spread, and no long jobs: one that prints and prints may as well wait for a printer that says nothing.
    """
    kept = _kept(services)
    jobs = BELIEVED + len(kept)
    mean = max(SHORTEST, (BELIEVED * believed + sum(kept)) / jobs)
    square = (BELIEVED * 2 * believed**2 + sum(service**2 for service in kept)) / jobs
    return mean, max(0.0, square / mean**2 - 1), _stray(services) * len(kept) / jobs


def _kept(services: Sequence[float]) -> list[float]:
    """With what strays take beyond that left out. What is measured in whole seconds is right on average."""
    limit = _stray(services)
    return [min(service, limit) for service in services]


def _stray(services: Sequence[float]) -> float:
    return STRAY * max(1.0, median(services or (0.0,)))


def demands(store: Store, calendar: Calendar = MACHINES, start_up: float = 0.0) -> tuple[Demand, ...]:
    """Of every queue that has an open job, that one came for in the last hour, or at this time of an earlier week.
    Raises StoreError.

    Jobs that are held, and those that ended without being printed, are nothing that a node had to do.
    """
    now = time.time()
    periods = [(now - HOUR, now), *learned_from(now, start_up, calendar)]
    arrivals: dict[str, list[float]] = {queue: [] for queue in JobTable(store).open_queues()}
    for queue, at in _arrivals(store, periods):
        arrivals.setdefault(queue, []).append(at)
    prints = {queue: _prints(store, queue) for queue in arrivals}
    services = {queue: [one.end - one.begin for one in jobs] for queue, jobs in prints.items()}
    found = measured(arrivals, services, now, calendar, start_up)
    return tuple(replace(demand, contention=_contention(prints[demand.queue], demand.longest)) for demand in found)


def _arrivals(store: Store, periods: Sequence[tuple[float, float]]) -> list[tuple[str, float]]:
    """Queues of the jobs that came in these periods, and when, in order. One that was held came when it was released,
    as WAITS_SINCE says; both kinds have an index of their own."""
    values = [moment for period in periods for moment in period]

    def came(column: str, which: str) -> list[tuple[str, float]]:
        where = " or ".join(f"({column} >= ? and {column} < ?)" for _ in periods)
        rows = store.rows(f"select queue, {column} as at from {which} and ({where}) and {_WORK}", values)
        return [(row["queue"], row["at"]) for row in rows]

    found = came("created", "jobs where released = 0") + came("released", RELEASED_JOBS)
    return sorted(found, key=lambda one: one[1])


def contentions(store: Store, queues: Iterable[str]) -> dict[str, float]:
    """Of those queues whose jobs wait for each other at one device, as in `Demand`. Raises StoreError."""
    prints = {queue: _prints(store, queue) for queue in queues}
    longest = {queue: _spread([one.end - one.begin for one in jobs], UNMEASURED)[2] for queue, jobs in prints.items()}
    found = {queue: _contention(jobs, longest[queue]) for queue, jobs in prints.items()}
    return {queue: share for queue, share in found.items() if share}


def _contention(prints: Sequence[Printed], longest: float) -> float:
    return contention([one for one in prints if one.end - one.begin <= longest])


def _prints(store: Store, queue: str) -> list[Printed]:
    rows = store.rows(
        "select processing, completed, impressions from jobs where queue = ? and state = 'completed' "
        "and processing > 0 order by created desc limit ?",
        [queue, MEASURED],
    )
    return [Printed(row["processing"], max(row["processing"], row["completed"]), row["impressions"]) for row in rows]
