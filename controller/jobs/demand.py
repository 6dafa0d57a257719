"""How much work comes, and how long it takes: measured per queue from the table of jobs."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from statistics import fmean, median, pvariance

from controller.snapshot import Demand
from controller.store import Store

NOW, LATELY, HOUR = 60.0, 300.0, 3600.0
"""Seconds over which arrivals are counted; the busier of the first two counts."""
MINUTE = 60.0
WEEK = 7 * 86400.0
WEEKS = 4
"""Earlier weeks that are learned from."""
AHEAD = 900.0
"""Seconds of an earlier week over which its arrivals are averaged, from now on."""
MEASURED = 200
"""Jobs of a queue whose time to print is averaged, the last ones."""
STRAY = 20.0
"""A job that took more than this many times the median waited for somebody, and counts as so long."""
SHORTEST = 0.05
"""Seconds that any job takes; the table knows whole seconds only."""


def measure(
    queue: str, arrivals: Sequence[float], services: Sequence[float], now: float, holidays: Collection[date] = ()
) -> Demand:
    """arrivals: when jobs were accepted, in order, seconds since 1970: of the last hour and at least the next AHEAD
    seconds of each earlier week. services: seconds that jobs took to print."""
    service, variation = _spread(services)

    def rate(begin: float, seconds: float) -> float:
        return (bisect_left(arrivals, begin + seconds) - bisect_left(arrivals, begin)) / seconds

    hour = range(int(HOUR / MINUTE))
    weeks = (now - number * WEEK for number in range(1, WEEKS + 1))
    learned = (week for week in weeks if datetime.fromtimestamp(week, UTC).date() not in holidays)
    return Demand(
        queue=queue,
        rate=max(rate(now - NOW, NOW), rate(now - LATELY, LATELY)),
        peak=max(rate(now - (minute + 1) * MINUTE, MINUTE) for minute in hour),
        service=service,
        variation=variation,
        forecast=max((rate(week, AHEAD) for week in learned), default=0.0),
    )


def _spread(services: Sequence[float]) -> tuple[float, float]:
    """Mean and squared coefficient of variation. What is measured in whole seconds is right on average."""
    limit = STRAY * max(1.0, median(services))
    kept = [min(service, limit) for service in services]
    mean = max(SHORTEST, fmean(kept))
    return mean, pvariance(kept) / mean**2


def demands(store: Store, holidays: Collection[date] = ()) -> tuple[Demand, ...]:
    """Of every queue of which a job was printed since the table began. Raises StoreError."""
    now = time.time()
    periods = [(now - HOUR, now), *((now - n * WEEK, now - n * WEEK + AHEAD) for n in range(1, WEEKS + 1))]
    where = " or ".join("created >= ? and created < ?" for _ in periods)
    values = [moment for begin, end in periods for moment in (begin, end)]
    arrivals: dict[str, list[float]] = {}
    for row in store.rows(f"select queue, created from jobs where {where} order by created", values):
        arrivals.setdefault(row["queue"], []).append(row["created"])
    found = []
    for queue, moments in sorted(arrivals.items()):
        if services := _services(store, queue):
            found.append(measure(queue, moments, services, now, holidays))
    return tuple(found)


def _services(store: Store, queue: str) -> list[float]:
    rows = store.rows(
        "select completed - processing as seconds from jobs where queue = ? and state = 'completed' "
        "and processing > 0 order by created desc limit ?",
        [queue, MEASURED],
    )
    return [max(0.0, row["seconds"]) for row in rows]
