"""`cupsfleet simulate`: another configuration against what was printed, before it goes live."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from controller.config_file import ConfigError, load
from controller.simulate.left_out import left_out, shared_devices
from controller.simulate.summary import plot, summary
from controller.simulate.trace import from_csv, from_store
from controller.simulate.trace import made_up as a_made_up_week
from controller.simulate.trial import START_UP, starts_in
from controller.simulate.world import World, first_size
from controller.state import State
from controller.store import Store
from controller.terminal import VAR, ConfigOption, JsonOption, StateOption, out, print_json, say

_SINCE = re.compile(r"(\d+)([hdw])")
_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 604800.0}


def simulate(
    config: ConfigOption = None,
    state: StateOption = VAR,
    since: Annotated[str, typer.Option(help="Jobs of this fleet that were printed since: 12h, 7d, 4w.")] = "7d",
    trace: Annotated[Path | None, typer.Option(help="CSV file with the columns arrival, pages, queue instead.")] = None,
    made_up: Annotated[int | None, typer.Option(help="A made-up week of a campus instead, by this seed.")] = None,
    start_up: Annotated[
        float | None,
        typer.Option(min=0, max=86400, help=f"Seconds that a node takes to start; left out: as here, or {START_UP:g}."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What would have been: waits, node-hours, actions and cost with another configuration. Nothing is changed."""
    settings = load(config.resolve() if config else None)
    if trace and made_up is not None:
        raise ConfigError("--trace and --made-up were given, allowed is one of them")
    shared: dict[str, float] = {}
    if trace:
        jobs = from_csv(trace)
    elif made_up is not None:
        jobs = a_made_up_week(made_up)
    else:
        with Store(State(state.resolve()).database) as store:
            jobs = from_store(store, _seconds(since))
            shared = shared_devices(store, jobs)
            start_up = starts_in(store, settings.nodes.driver) if start_up is None else start_up
    start_up = START_UP if start_up is None else start_up
    for sentence in left_out(jobs, settings, shared, start_up):
        say(sentence)
    world = World(settings, jobs.arrivals, start_up, jobs.begin, until=jobs.end)
    outcome = world.run()
    found = summary(outcome, settings)
    if as_json:
        return print_json(found)
    count, share = found["jobs"], 1 - found["over"]
    began = f"{share:.1%} began within {settings.scaling.target_wait:g} s"
    out.print(f"{count} {'job' if count == 1 else 'jobs'}; {began}")
    out.print("waits: " + ", ".join(f"{name} {found[name]:.1f} s" for name in ("p50", "p95", "p99", "max")))
    out.print(f"{found['node_hours']:.1f} node-hours in {found['hours']:.1f} hours, which cost {found['cost']:.2f}")
    out.print(f"{found['actions']} times a node came or went, {found['undone']} of them in vain")
    out.print(plot(outcome, first_size(settings), world.begin, world.now))
    if settings.scaling.policy == "wait-target" and share < settings.scaling.target_share:
        say(f"the target of {settings.scaling.target_share:.0%} is missed; a start takes {start_up:.1f} s")
    return None


def _seconds(text: str) -> float:
    if not (match := _SINCE.fullmatch(text)):
        raise ConfigError(f"--since was given {text!r}, allowed: a number of hours, days or weeks, such as 12h, 7d, 4w")
    return int(match[1]) * _SECONDS[match[2]]
