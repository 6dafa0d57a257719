"""What is printed in a simulation: from a file, from the table of jobs, or made up."""

from __future__ import annotations

import csv
import math
import random
import time
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from controller.jobs.demand import learned_from
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
EXAMPLE = "2027-01-04T11:00:00,6,office"
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


@dataclass(frozen=True)
class Trace:
    """Jobs in order, and from when on they are simulated: those before are history, to be learned from."""

    arrivals: tuple[Arrival, ...]
    begin: float
    """Seconds since 1970."""
    end: float = 0.0
    """Until then it lasts, although nothing comes any more; 0: until the last job is done."""

    @property
    def simulated(self) -> tuple[Arrival, ...]:
        return self.arrivals[bisect_left(self.arrivals, self.begin, key=lambda one: one.at) :]

    @property
    def learned(self) -> bool:
        """Whether there is anything before."""
        return self.arrivals[0].at < self.begin


def from_csv(path: Path) -> Trace:
    """Columns `arrival` (seconds, or a date and time as in ISO 8601), `pages`, `queue`. Raises TraceError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a mark at the beginning
            rows = csv.DictReader(file)
            if missing := {"arrival", "pages", "queue"} - set(rows.fieldnames or ()):
                raise TraceError(
                    f"{path}: the column {sorted(missing)[0]} is missing in the first line, "
                    f"{','.join(rows.fieldnames or ())[:100]!r}; allowed is arrival,pages,queue with commas between"
                )
            found = [_arrival(path, number, row) for number, row in enumerate(rows, 2)]
    except csv.Error as error:
        raise TraceError(f"{path}: is no CSV file ({error}); allowed are lines such as {EXAMPLE}") from None
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
            f"{path}, line {line}: {','.join(map(str, row.values()))[:100]!r} was given, "
            f"allowed is for example {EXAMPLE}"
        ) from None


def _moment(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = datetime.fromisoformat(text).timestamp()
    if not 0 <= found < LATEST:  # NaN is neither
        raise ValueError
    return found


def from_store(store: Store, seconds: float) -> Trace:
    """The jobs that were printed in the last so many seconds, each with the time that it took, and before it what a
    fleet would have learned from. Raises TraceError and StoreError."""
    now = time.time()
    begin = now - seconds
    # Two hours more: the clocks of this machine and of scaling.time_zone may change between, in opposite directions.
    since = learned_from(begin, 0.0)[-1][0] - 2 * HOUR
    rows = store.rows(
        f"select {WAITS_SINCE} as at, queue, completed - processing as seconds from jobs "
        "where state = 'completed' and processing > 0 and created >= ?",
        [since],
    )
    found = (Arrival(row["at"], row["queue"], max(0.5, row["seconds"])) for row in rows)
    return _in_order(store.path, found, begin, now)


def _in_order(path: Path, arrivals: Iterable[Arrival], begin: float = 0.0, end: float = 0.0) -> Trace:
    """From `begin` on, or from the first arrival where there is none before, to `end`."""
    found = sorted(arrivals)
    if not found or found[-1].at < begin:
        raise TraceError(f"{path}: there is no printed job to simulate with; allowed is one or more")
    trace = Trace(tuple(found), max(begin, found[0].at), end)
    if (days := (found[-1].at - trace.begin) / DAY) > MOST_DAYS:
        raise TraceError(f"{path}: there are {days:.0f} days between first and last job, allowed are {MOST_DAYS}")
    return trace


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


def made_up(seed: int) -> Trace:
    """A week of a campus, from its first midnight to its last."""
    return Trace(tuple(campus(seed)), MONDAY, MONDAY + 7 * DAY)


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
