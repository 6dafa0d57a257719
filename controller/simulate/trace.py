"""What is printed in a simulation: from a file, from the table of jobs, or made up."""

from __future__ import annotations

import csv
import math
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from controller.jobs.table import WAITS_SINCE
from controller.store import Store

MONDAY = datetime(2027, 1, 4).astimezone().timestamp()
"""When traces begin that are made up: midnight of a Monday, local time."""
SET_UP, PER_PAGE = 2.0, 1.5
"""Seconds of node time for a job, and for each of its pages, where no time was measured: a printer of 40 pages a
minute."""
DAY, HOUR = 86400.0, 3600.0
LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""Beyond it times have no date."""
MOST_DAYS = 366
"""That a trace may last; each takes a second and more to simulate."""


class TraceError(Exception):
    """A trace can't be used; the message says where, what was given, what is allowed."""


@dataclass(frozen=True, order=True)
class Arrival:
    """A job of a trace."""

    at: float
    """Seconds since 1970."""
    queue: str
    seconds: float
    """Of node time."""


def from_csv(path: Path) -> list[Arrival]:
    """Columns `arrival` (seconds, or a date and time as in ISO 8601), `pages`, `queue`. Raises TraceError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if missing := {"arrival", "pages", "queue"} - set(rows.fieldnames or ()):
                raise TraceError(f"{path}: the column {sorted(missing)[0]} is missing; allowed: arrival, pages, queue")
            found = [_arrival(path, number, row) for number, row in enumerate(rows, 2)]
    except OSError as error:
        raise TraceError(f"{path}: can't be read ({error.strerror}); it must be a CSV file") from None
    except UnicodeDecodeError:
        raise TraceError(f"{path}: is not text in UTF-8, as a CSV file must be") from None
    return _in_order(path, found)


def _arrival(path: Path, line: int, row: dict[str, str]) -> Arrival:
    try:
        pages = float(row["pages"])
        if not 0 <= pages < 1e6 or not row["queue"]:
            raise ValueError
        return Arrival(_moment(row["arrival"]), row["queue"], SET_UP + PER_PAGE * pages)
    except (ValueError, TypeError):
        raise TraceError(
            f"{path}, line {line}: {','.join(map(str, row.values()))!r} was given, allowed is for example "
            "2027-01-04T11:00:00,6,office"
        ) from None


def _moment(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = datetime.fromisoformat(text).timestamp()
    if not 0 <= found < LATEST:  # NaN is neither
        raise ValueError
    return found


def from_store(store: Store, seconds: float) -> list[Arrival]:
    """The jobs that were printed in the last so many seconds, each with the time that it took. Raises TraceError and
    StoreError."""
    rows = store.rows(
        f"select {WAITS_SINCE} as at, queue, completed - processing as seconds from jobs "
        "where state = 'completed' and processing > 0 and created >= ?",
        [time.time() - seconds],
    )
    return _in_order(store.path, (Arrival(row["at"], row["queue"], max(0.5, row["seconds"])) for row in rows))


def _in_order(path: Path, arrivals: Iterable[Arrival]) -> list[Arrival]:
    if not (found := sorted(arrivals)):
        raise TraceError(f"{path}: there is no printed job to simulate with; allowed is one or more")
    if (days := (found[-1].at - found[0].at) / DAY) > MOST_DAYS:
        raise TraceError(f"{path}: there are {days:.0f} days between first and last job, allowed are {MOST_DAYS}")
    return found


DAYS = (1.3, 1.1, 1.0, 1.0, 0.8, 0.1, 0.08)
"""Jobs of each day of the week, Monday heaviest, compared with the mean of a working day."""
HOURS = (0, 0, 0, 0, 0, 0, 0.1, 0.5, 1.5, 2.0, 2.0, 3.0, 2.0, 3.0, 2.0, 1.5, 1.2, 0.8, 0.4, 0.2, 0.1, 0, 0, 0)
"""Jobs of each hour of a day: peaks from 11 to 12 and from 13 to 14."""
ON_THE_HOUR = 0.4
"""Share of an hour's jobs that come in the five minutes when lectures end."""
PAGES = 6.0
"""Mean pages of a job; the tail is heavy."""


def campus(
    seed: int, days: int = 7, jobs_per_day: float = 2000.0, queues: tuple[str, ...] = ("office",)
) -> list[Arrival]:
    """A university's printing as published: a weekly profile, bursts on the hour, heavy-tailed pages."""
    chance = random.Random(seed)
    found = []
    for day in range(days):
        for hour, share in enumerate(HOURS):
            count = _poisson(chance, jobs_per_day * DAYS[day % 7] * share / sum(HOURS))
            for _ in range(count):
                burst = chance.random() < ON_THE_HOUR
                within = chance.uniform(0, 300) if burst else chance.uniform(0, HOUR)
                at = MONDAY + day * DAY + hour * HOUR + within
                found.append(Arrival(at, chance.choice(queues), SET_UP + PER_PAGE * pages(chance)))
    return sorted(found)


def pages(chance: random.Random) -> int:
    """Log-normal, median 2.5, mean PAGES, at most 500."""
    median = 2.5
    sigma = math.sqrt(2 * math.log(PAGES / median))
    return max(1, min(500, round(chance.lognormvariate(math.log(median), sigma))))


def _poisson(chance: random.Random, mean: float) -> int:
    """Large means by the normal distribution, which is near enough for a count of jobs."""
    if mean > 50:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, count, product = math.exp(-mean), 0, chance.random()
    while product > limit:
        count, product = count + 1, product * chance.random()
    return count
