"""How much work comes, and how long it takes: measured per queue from the table of jobs."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from statistics import fmean, median

from controller.decide.backlog import UNMEASURED
from controller.jobs.contention import Printed, contention
from controller.snapshot import Demand
from controller.store import Store

NOW, LATELY, HOUR = 60.0, 300.0, 3600.0
"""Seconds over which arrivals are counted."""
CHANCE = 3.0
"""Roots by which a minute must be busier to count as such. With one, every sixth minute of a steady stream does, and by
benchmarks/scaling.py that costs 3 % of its node-hours."""
MINUTE = 60.0
WEEK = 7 * 86400.0
WEEKS = 4
"""Earlier weeks that are learned from."""
AHEAD = 900.0
"""Seconds of an earlier week over which its arrivals are averaged, from now on."""
MEASURED = 200
"""Jobs of a queue whose time to print is averaged, the last ones."""
BELIEVED = 2.0
"""Jobs that it takes until what was measured of a queue counts as much as what was believed of it before."""
STRAY = 20.0
"""A job that took more than this many times the median waited for somebody, and counts as so long."""
_WORK = "(processing > 0 or state in ('pending', 'processing'))"
SHORTEST = 0.05
"""Seconds that any job takes; the table knows whole seconds only."""


def measured(
    arrivals: Mapping[str, Sequence[float]],
    services: Mapping[str, Sequence[float]],
    now: float,
    holidays: Collection[date] = (),
) -> tuple[Demand, ...]:
    """Of every queue that has arrivals, both as for `measure`. A queue is believed to print as the others do."""
    means = {queue: fmean(_kept(times)) for queue, times in services.items() if times}
    found = []
    for queue, moments in sorted(arrivals.items()):
        others = [mean for other, mean in means.items() if other != queue]
        believed = median(others or [UNMEASURED])
        found.append(measure(queue, moments, services.get(queue, ()), now, holidays, believed))
    return tuple(found)


def measure(
    queue: str,
    arrivals: Sequence[float],
    services: Sequence[float],
    now: float,
    holidays: Collection[date] = (),
    believed: float = UNMEASURED,
) -> Demand:
    """arrivals: when jobs were accepted, in order, seconds since 1970: of the last hour and at least the next AHEAD
    seconds of each earlier week. services: seconds that jobs took to print. believed: what one is taken to take as long
    as none was measured."""
    service, variation, longest = _spread(services, believed)

    def rate(begin: float, seconds: float) -> float:
        return (bisect_left(arrivals, begin + seconds) - bisect_left(arrivals, begin)) / seconds

    minutes = Counter(math.ceil((now - at) / MINUTE) for at in arrivals[bisect_left(arrivals, now - HOUR) :])
    weeks = (now - number * WEEK for number in range(1, WEEKS + 1))
    learned = (week for week in weeks if datetime.fromtimestamp(week).astimezone().date() not in holidays)
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
        forecast=max((rate(week, AHEAD) for week in learned), default=0.0),
    )


def _latest(usual: float, latest: float) -> float:
    """The last minute's rate where it is no chance: arrivals at random vary by the root of their number."""
    return latest if (latest - usual) * NOW > CHANCE * math.sqrt(usual * NOW) else usual


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


def demands(store: Store, holidays: Collection[date] = ()) -> tuple[Demand, ...]:
    """Of every queue that has an open job, that one came for in the last hour, or in this hour of an earlier week.
    Raises StoreError.

    Jobs that are held, and those that ended without being printed, are nothing that a node had to do.
    """
    now = time.time()
    periods = [(now - HOUR, now), *((now - n * WEEK, now - n * WEEK + AHEAD) for n in range(1, WEEKS + 1))]
    where = " or ".join("created >= ? and created < ?" for _ in periods)
    values = [moment for begin, end in periods for moment in (begin, end)]
    arrivals: dict[str, list[float]] = {}
    for row in store.rows("select distinct queue from jobs where open = 1"):
        arrivals[row["queue"]] = []
    for row in store.rows(f"select queue, created from jobs where ({where}) and {_WORK} order by created", values):
        arrivals.setdefault(row["queue"], []).append(row["created"])
    prints = {queue: _prints(store, queue) for queue in arrivals}
    services = {queue: [one.end - one.begin for one in jobs] for queue, jobs in prints.items()}
    found = measured(arrivals, services, now, holidays)
    return tuple(replace(demand, contention=_contention(prints[demand.queue], demand)) for demand in found)


def _contention(prints: Sequence[Printed], demand: Demand) -> float:
    return contention([one for one in prints if one.end - one.begin <= demand.longest])


def _prints(store: Store, queue: str) -> list[Printed]:
    rows = store.rows(
        "select processing, completed, impressions from jobs where queue = ? and state = 'completed' "
        "and processing > 0 order by created desc limit ?",
        [queue, MEASURED],
    )
    return [Printed(row["processing"], max(row["processing"], row["completed"]), row["impressions"]) for row in rows]
