"""What the nodes cost, how much of it while they printed nothing, and what the scaling saved: whole numbers, from what
`collect.Meter` wrote down by day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from controller.costs.sums import number
from controller.store import Store


@dataclass(frozen=True)
class Running:
    """Seconds are of nodes, money is in millionths. Hours that no controller saw are missing."""

    seconds: int
    busy_seconds: int
    """In which a job printed there."""
    saved_seconds: int
    """More of them would have been, had nodes.max nodes run all the time."""
    amount: int
    idle: int
    """The part of `amount` for what was not busy."""
    saved: int


def running(store: Store, begin: date, end: date) -> Running:
    """From `begin` to before `end`; each day by the prices of its own."""
    days = store.rows("select * from fleet_costs where day >= ? and day < ?", [number(begin), number(end)])
    found = [_of_day(day) for day in days]
    return Running(**{one.name: sum(getattr(day, one.name) for day in found) for one in fields(Running)})


def _of_day(day: Mapping[str, Any]) -> Running:
    seconds, busy, most = (round(day[name]) for name in ("node_seconds", "busy_seconds", "most_seconds"))
    amount, saved = day["amount"], max(0, most - seconds)
    if not seconds:
        return Running(0, busy, saved, amount, amount, 0)
    return Running(seconds, busy, saved, amount, amount * max(0, seconds - busy) // seconds, amount * saved // seconds)
