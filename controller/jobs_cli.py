"""The command `jobs`: every accepted job, and what can be done to one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from controller import lifetime
from controller.jobs.moves import MoveTable
from controller.jobs.table import JobTable
from controller.state import State
from controller.store import Store
from controller.terminal import VAR, JsonOption, StateOption, caller, one_of, print_json, print_table, say
from controller.views import Views

app = typer.Typer(help="Accepted jobs: where each is and what became of it.")


class Which(StrEnum):
    """Which jobs to list."""

    OPEN = "open"
    ENDED = "ended"
    ALL = "all"


JOB_COLUMNS = ("id", "owner", "queue", "title", "state", "size_kb", "impressions", "node", "reasons", "why")


@app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    state: StateOption = VAR,
    as_json: JsonOption = False,
    which: Annotated[Which, typer.Option(help="Open jobs, ended ones, or all.", **one_of(Which))] = Which.OPEN,
    user: Annotated[str, typer.Option(help="Only this owner's.")] = "",
    printer: Annotated[str, typer.Option(help="Only this queue's.")] = "",
    node: Annotated[str, typer.Option(help="Only this node's.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 1000,
) -> None:
    """Accepted jobs: where each is and what became of it. Open ones come oldest first, others newest first."""
    if context.invoked_subcommand:
        return
    place = State(state.resolve())
    with Store(place.database) as store:
        found = Views(place, store).accepted(which, user, printer, node, limit)
    print_json(found) if as_json else print_table(found, JOB_COLUMNS)


JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Its job-uuid, or its number.")]


@app.command()
def cancel(job: JobArgument, state: StateOption = VAR) -> None:
    """Cancel a job, whoever's it is."""
    _command(state, "cancel-job", job)


@app.command()
def hold(job: JobArgument, state: StateOption = VAR) -> None:
    """Keep a waiting job from being printed until it is released."""
    _command(state, "hold-job", job)


@app.command()
def release(job: JobArgument, state: StateOption = VAR) -> None:
    """Let a held job be printed."""
    _command(state, "release-job", job)


@app.command()
def move(job: JobArgument, state: StateOption = VAR) -> None:
    """Move a waiting or held job to another node; returns when it is there."""
    _command(state, "move-job", job)


def _command(state: Path, verb: str, job: str) -> None:
    place = State(state.resolve())
    with Store(place.database) as store:
        row = lifetime.asked(place, store, verb, _uuid(store, job), caller(), wait=True, tell=say)
    say(row["outcome"])


def _uuid(store: Store, job: str) -> str:
    """Of a number, also one that the job had before it was moved; what names no job is the controller's to refuse."""
    found = JobTable(store).by_id(MoveTable(store).now(int(job))) if job.isdigit() else None
    return found.uuid if found else job
