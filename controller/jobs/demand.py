"""How much work comes, and how long it takes: measured per queue from the table of jobs."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date, datetime
from statistics import fmean, median

from controller.decide.backlog import UNMEASURED
from controller.snapshot import Demand
from controller.store import Store

NOW, LATELY, HOUR = 60.0, 300.0, 3600.0
"""Seconds over which arrivals are counted."""
MINUTE = 60.0
WEEK = 7 * 86400.0
WEEKS = 4
"""Earlier weeks that are learned from."""
AHEAD = 900.0
"""Seconds of an earlier week over which its arrivals are averaged, from now on."""
MEASURED = 200
"""Jobs of a queue whose time to print is averaged, the last ones."""
FEW = 10
"""So many are wanted for a mean; those that are missing count as UNMEASURED."""
STRAY = 20.0
"""A job that took more than this many times the median waited for somebody, and counts as so long."""
_WORK = "(processing > 0 or state in ('pending', 'processing'))"
SHORTEST = 0.05
"""Seconds that any job takes; the table knows whole seconds only."""


def measure(
    queue: str, arrivals: Sequence[float], services: Sequence[float], now: float, holidays: Collection[date] = ()
) -> Demand:
    """arrivals: when jobs were accepted, in order, seconds since 1970: of the last hour and at least the next AHEAD
    seconds of each earlier week. services: seconds that jobs took to print."""
    service, variation = _spread([*services, *[UNMEASURED] * (FEW - len(services))])

    def rate(begin: float, seconds: float) -> float:
        return (bisect_left(arrivals, begin + seconds) - bisect_left(arrivals, begin)) / seconds

    minutes = Counter(math.ceil((now - at) / MINUTE) for at in arrivals[bisect_left(arrivals, now - HOUR) :])
    weeks = (now - number * WEEK for number in range(1, WEEKS + 1))
    learned = (week for week in weeks if datetime.fromtimestamp(week).astimezone().date() not in holidays)
    return Demand(
        queue=queue,
        rate=(usual := rate(now - LATELY, LATELY)),
        latest=_latest(usual, rate(now - NOW, NOW)),
        peak=max(minutes.values(), default=0) / MINUTE,
        service=service,
        variation=variation,
        forecast=max((rate(week, AHEAD) for week in learned), default=0.0),
    )


def _latest(usual: float, latest: float) -> float:
    """The last minute's rate where it is more than chance: arrivals at random vary by the root of their number."""
    return latest if (latest - usual) * NOW > math.sqrt(usual * NOW) else usual


def _spread(services: Sequence[float]) -> tuple[float, float]:
    """Mean and squared coefficient of variation. What is measured in whole seconds is right on average."""
    limit = STRAY * max(1.0, median(services))
    kept = [min(service, limit) for service in services]
    mean = max(SHORTEST, fmean(kept))
    return mean, fmean((service - mean) ** 2 for service in kept) / mean**2


def demands(store: Store, holidays: Collection[date] = ()) -> tuple[Demand, ...]:
    """Of every queue that a job came for in the last hour, or in this hour of an earlier week. Raises StoreError.

    Jobs that are held, and those that ended without being printed, are nothing that a node had to do.
    """
    now = time.time()
    periods = [(now - HOUR, now), *((now - n * WEEK, now - n * WEEK + AHEAD) for n in range(1, WEEKS + 1))]
    where = " or ".join("created >= ? and created < ?" for _ in periods)
    values = [moment for begin, end in periods for moment in (begin, end)]
    arrivals: dict[str, list[float]] = {}
    for row in store.rows(f"select queue, created from jobs where ({where}) and {_WORK} order by created", values):
        arrivals.setdefault(row["queue"], []).append(row["created"])
    measured = ((queue, moments, _services(store, queue)) for queue, moments in sorted(arrivals.items()))
    return tuple(measure(queue, moments, services, now, holidays) for queue, moments, services in measured)


def _services(store: Store, queue: str) -> list[float]:
    rows = store.rows(
        "select completed - processing as seconds from jobs where queue = ? and state = 'completed' "
        "and processing > 0 order by created desc limit ?",
        [queue, MEASURED],
    )
    return [max(0.0, row["seconds"]) for row in rows]
