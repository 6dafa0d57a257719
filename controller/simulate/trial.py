"""What would have been with other thresholds, beside what the present ones would have done: for people who try."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from controller.config import Nodes, Scaling, Settings
from controller.load import start_up as measured
from controller.simulate.left_out import left_out, shared_devices
from controller.simulate.summary import summary
from controller.simulate.trace import Arrival, Trace, TraceError, from_store, made_up
from controller.simulate.world import Outcome, World, first_size
from controller.store import Store

MOST_JOBS = 30_000
"""A page waits for the answer: about ten seconds for so many jobs and two simulations of them."""
BINS = 120
START_UP = 5.0
"""Seconds that a node takes to start, unless it is told otherwise or was measured."""
MADE_UP = 1
"""Seed of the made-up week."""


@dataclass(frozen=True)
class Trial:
    """One simulation. sizes and arrivals: (seconds since 1970, how many), from then on and in that stretch of time."""

    found: dict[str, Any]
    """As controller/simulate/summary.py: summary."""
    sizes: list[tuple[float, int]]
    arrivals: list[tuple[float, int]]


@dataclass(frozen=True)
class Trials:
    """What the present thresholds would have done, beside changed ones."""

    present: Trial
    changed: Trial
    left_out: tuple[str, ...]
    """Sentences on what neither of them knows (left_out.py)."""


def trials(
    store: Store,
    seconds: float,
    thresholds: Sequence[Mapping[str, str]],
    changes: Mapping[str, Any],
    start_up: float,
) -> Trials:
    """With the thresholds as they are published (views: thresholds), and with other values for some, by name.

    seconds: how far back to take jobs from; 0 for a made-up week. start_up: seconds that a node takes to start.
    Raises ValueError with a sentence for what can't be simulated, and StoreError.
    """
    settings = [settings_of(thresholds, some) for some in ({}, changes)]
    try:
        trace = trace_of(store, seconds)
    except TraceError as error:
        raise ValueError(str(error)) from None
    present, changed = (trial(trace, one, start_up) for one in settings)
    shared = shared_devices(store, trace) if seconds else {}
    return Trials(present, changed, tuple(left_out(trace, settings[1], shared, start_up)))


def starts_in(store: Store, driver: str) -> float:
    """Seconds that a node of this driver takes to start, as measured here. Raises StoreError."""
    return measured(store, driver) or START_UP


def trace_of(store: Store, seconds: float) -> Trace:
    """What was printed in the last so many seconds; a made-up week for 0. Raises TraceError and StoreError."""
    found = from_store(store, seconds) if seconds else made_up(MADE_UP)
    if (count := len(found.simulated)) > MOST_JOBS:
        raise TraceError(
            f"there are {count} jobs to simulate, allowed here are {MOST_JOBS}; choose less time, or use: "
            "cupsfleet simulate"
        )
    return found


def settings_of(thresholds: Sequence[Mapping[str, str]], changes: Mapping[str, Any]) -> Settings:
    """Settings from what is published of them (views: thresholds), with other values for some, by name.

    The timetable and the holidays are left out: they belong to days, and a trial may be made of any.
    Raises ValueError with a sentence for values that can not be used together.
    """
    values = {row["name"]: row["value"] for row in thresholds} | dict(changes)
    of_days = ("scaling.schedule", "scaling.holidays")
    sections: dict[str, dict[str, Any]] = {"scaling": {}, "nodes": {}}
    for name, value in values.items():
        section, _, field = name.partition(".")
        if section in sections and name not in of_days:
            sections[section][field] = value
    try:
        scaling, nodes = Scaling.model_validate(sections["scaling"]), Nodes.model_validate(sections["nodes"])
    except ValidationError as error:
        raise ValueError("; ".join(f"{detail['loc'][-1]}: {detail['msg']}" for detail in error.errors())) from None
    if scaling.queue_depth_per_node_down >= scaling.queue_depth_per_node:
        raise ValueError("queue_depth_per_node_down must be less than queue_depth_per_node")
    return Settings().model_copy(update={"scaling": scaling, "nodes": nodes})


def trial(trace: Trace, settings: Settings, start_up: float) -> Trial:
    """start_up: seconds that a node takes to start."""
    world = World(settings, trace.arrivals, start_up, trace.begin, until=trace.end)
    outcome = world.run()
    sizes = _sizes(outcome, settings, trace.begin, world.now)
    return Trial(summary(outcome, settings), sizes, _binned(trace.simulated))


def _sizes(outcome: Outcome, settings: Settings, begin: float, end: float) -> list[tuple[float, int]]:
    changes = [(begin, first_size(settings)), *outcome.sizes]
    return [*changes, (end, changes[-1][1])]


def _binned(jobs: Sequence[Arrival]) -> list[tuple[float, int]]:
    begin, width = jobs[0].at, max(60.0, (jobs[-1].at - jobs[0].at) / BINS)
    counted = Counter(int((job.at - begin) // width) for job in jobs)
    return [(begin + place * width, count) for place, count in sorted(counted.items())]
