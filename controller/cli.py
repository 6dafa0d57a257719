"""The command line. Data goes to stdout, talk to stderr; `--json` gives every answer to programs.

Exit codes: 0 done; 1 it failed; 2 wrong arguments or configuration; 3 the state folder, its database or this machine
can't be used; 4 nothing runs; 5 a controller runs already.
"""

from __future__ import annotations

import getpass
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from controller import costs_cli, jobs_cli, lifetime, simulate_cli
from controller.certificate import CertificateError
from controller.config_file import ConfigError, load, schema
from controller.costs.people import PeopleError
from controller.costs.reports import CostsError
from controller.diary import in_words, silent_since
from controller.event_words import happened
from controller.notify import notify
from controller.simulate.trace import TraceError
from controller.state import AlreadyRuns, State, StateError
from controller.store import Store, StoreError
from controller.terminal import (
    VAR,
    ConfigOption,
    JsonOption,
    StateOption,
    caller,
    one_of,
    out,
    print_json,
    print_table,
    printable,
    say,
)
from controller.users import UserError, Users, generate_password
from controller.views import Views
from controller.views.fleet_words import sentence
from haproxy.errors import ProxyError

FAILED, BAD_CONFIG, BAD_STATE, NOT_RUNNING, RUNS_ALREADY = 1, 2, 3, 4, 5
EXIT_CODES: dict[type[Exception], int] = {
    ConfigError: BAD_CONFIG,
    ValidationError: BAD_CONFIG,
    AlreadyRuns: RUNS_ALREADY,
    StateError: BAD_STATE,
    StoreError: BAD_STATE,
    sqlite3.Error: BAD_STATE,
    TraceError: BAD_CONFIG,
    UserError: FAILED,
    CertificateError: FAILED,
    CostsError: FAILED,
    PeopleError: BAD_CONFIG,
    lifetime.NotRunning: NOT_RUNNING,
    lifetime.Unequipped: BAD_STATE,
    lifetime.LifetimeError: FAILED,
    ProxyError: FAILED,
    subprocess.SubprocessError: FAILED,
    OSError: BAD_STATE,
}
"""What a command ends with, by the first kind that fits. Anything else is a mistake of ours and shows where."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="One print destination in front of a fleet of CUPS servers.",
)
user_app = typer.Typer(no_args_is_help=True, help="People who may print.")
config_app = typer.Typer(no_args_is_help=True, help="The configuration file.")
app.add_typer(user_app, name="user")
app.add_typer(config_app, name="config")
app.add_typer(costs_cli.app, name="costs")
app.add_typer(jobs_cli.app, name="jobs")
app.command()(simulate_cli.simulate)


def main() -> None:
    """Run a command; every failure is one sentence and an exit code."""
    try:
        try:
            app(prog_name="cupsfleet")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read our answer has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except tuple(EXIT_CODES) as error:
        _fail(_sentence(error), next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind)))


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _fail(sentence: str, code: int) -> NoReturn:
    notify("STATUS=" + sentence.replace("\n", " "))
    say(sentence)
    sys.exit(code)


@app.command()
def up(
    config: ConfigOption = None,
    state: StateOption = VAR,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the front door.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when jobs can be printed.")] = False,
) -> None:
    """Start the fleet, or take over the one that runs. Ctrl-C ends all of it."""
    place = State(state.resolve())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    path = config.resolve() if config else None
    settings = load(path, port)
    lifetime.check_folder(place)
    place.prepare()
    if not detach and place.controller() is not None:
        raise place.already_runs()
    place.ask_for_room()
    lifetime.check_certificates(settings)
    lifetime.check_programs(place)
    lifetime.check_ports(place, settings)
    for name, password in lifetime.first_users(place, with_demo=path is None):
        out.print(f"user {name}, password {password}")
    if detach:
        lifetime.start_detached(place, path, port, say)
        _tell_where(place)
    else:
        lifetime.serve(place, path, port, lambda: _tell_where(place))


def _tell_where(place: State) -> None:
    with _views(place.folder) as views:
        status = views.status()
    out.print(f"print to   {status['front_door']['url']}")
    out.print(f"dashboard  {status['dashboard']['url']}")
    out.print(f"passwords  {place.passwords}")


@app.command()
def down(state: StateOption = VAR) -> None:
    """Stop everything that `up` started. Jobs that wait stay in the spools and print after the next start."""
    say(lifetime.stop(State(state.resolve())))


@app.command()
def status(state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """How the fleet is: nodes, queue depth, problems."""
    with _views(state) as views:
        found = views.status()
    if as_json:
        print_json({"sentence": sentence(found), **found})
    else:
        out.print(printable(sentence(found, partial(lifetime.readable, "at"))))
        out.print(f"print to {found['front_door']['url']}, dashboard {found['dashboard']['url']}")
        scaling, price = found["scaling"], Decimal(found["price_per_hour"])
        out.print(
            f"{scaling.get('actual', 0)} of {scaling.get('desired', 0)} servers serve: {scaling.get('reason', '')}"
        )
        out.print(f"{found['queue_depth']} open jobs" + (f"; the servers cost {price} an hour" if price else ""))
        print_table(found["nodes"], NODE_COLUMNS)
        for problem in found["problems"]:
            out.print(f"problem: {printable(problem)}")
    if found["controller"]["pid"] is None:
        sys.exit(NOT_RUNNING)


NODE_COLUMNS = ("name", "slot", "state", "address", "open_jobs", "weight", "reason")


@app.command()
def nodes(state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """The nodes, with what they do and why."""
    with _views(state) as views:
        found = views.nodes()
    print_json(found) if as_json else print_table(found, NODE_COLUMNS)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        allowed = "2027-01-04T11:00, or 2027-01-04 for its beginning; local time unless it names a zone"
        raise typer.BadParameter(f"{text!r} is no time; allowed is {allowed}") from None


@app.command()
def explain(
    state: StateOption = VAR,
    as_json: JsonOption = False,
    last: Annotated[int, typer.Option("--last", "--limit", min=1, help="How many decisions.")] = 10,
    at: Annotated[
        datetime | None,
        typer.Option(parser=_moment, metavar="TIME", help="What was decided until 2027-01-04T11:00, local time."),
    ] = None,
) -> None:
    """What was decided last, and why; why nothing was done when nothing was done."""
    until = min(datetime.now().astimezone(), at.astimezone()).timestamp() if at else None
    with _views(state) as views:
        decisions, events, scalings = views.explain(last), views.happened(last), views.scalings(last, until)
    if as_json:
        found = {"decisions": decisions, "events": events, "scaling": scalings}
        print_json({"scaling": scalings} if at else found)
        return
    if not at:
        print_table(decisions, ("at", "decided"))
        what = [{**row, "what": happened(row["kind"])} for row in events]
        print_table(what, ("at", "what", "node", "text"))
    if at and not scalings:
        say(f"nothing was decided until {at:%Y-%m-%d %H:%M:%S}, or it is no longer kept (state.keep_events)")
    for passed in reversed(scalings):
        out.print(lifetime.readable("at", passed["at"]))
        for line in in_words(passed):
            out.print(printable(line))
    if until and scalings and silent_since(scalings[0]["at"], until):
        stood, asked = (lifetime.readable("at", moment) for moment in (scalings[0]["at"], until))
        say(f"no controller looked from {stood} until {asked}")


WaitOption = Annotated[bool, typer.Option("--wait", help="Return when it is done, not when it is begun.")]


@app.command()
def add(
    address: Annotated[str, typer.Argument(help="HOST:PORT of a CUPS server that exists; else a new one.")] = "",
    state: StateOption = VAR,
    wait: WaitOption = False,
) -> None:
    """Add a node. A server that exists is checked first, and what it lacks is told as steps."""
    _command(state, "add", address, wait)


@app.command()
def retire(node: str, state: StateOption = VAR, wait: WaitOption = False) -> None:
    """Let a node finish its jobs, then take it out for good."""
    _command(state, "retire", node, wait)


@app.command()
def drain(node: str, state: StateOption = VAR, wait: WaitOption = False) -> None:
    """Give a node no new jobs until it is resumed."""
    _command(state, "drain", node, wait)


class Pausable(StrEnum):
    """What can be paused."""

    SCALING = "scaling"


@app.command()
def pause(what: Annotated[Pausable, typer.Argument(**one_of(Pausable))], state: StateOption = VAR) -> None:
    """Stop growing and shrinking by load until `resume scaling`. nodes.min is kept, dead nodes come back."""
    _command(state, "pause", what, wait=False)


@app.command()
def resume(
    node: Annotated[str, typer.Argument(metavar="NODE|scaling")], state: StateOption = VAR, wait: WaitOption = False
) -> None:
    """Give a drained node new jobs again; a retiring one is kept. `resume scaling` ends a pause."""
    _command(state, "resume", node, wait)


@app.command()
def evacuate(node: str, state: StateOption = VAR) -> None:
    """Move a node's waiting and held jobs to other nodes. Drain it first, or new ones arrive meanwhile."""
    _command(state, "evacuate", node, wait=False)


def _command(state: Path, verb: str, argument: str, wait: bool) -> None:
    place = State(state.resolve())
    with Store(place.database) as store:
        row = lifetime.asked(place, store, verb, argument, caller(), wait, say)
        if wait:
            lifetime.wait_until_told(store, row["answered_at"])
        say(row["outcome"])
        if row["node"]:
            out.print(row["node"])
        if verb == "add" and argument and not wait:
            lifetime.first_check(store, row["node"])


@user_app.command("add")
def user_add(
    name: str,
    state: StateOption = VAR,
    admin: Annotated[bool, typer.Option("--admin", help="May see and change the fleet in the dashboard.")] = False,
) -> None:
    """Add someone. The password is asked for, or read from standard input; if nothing is given, one is made up."""
    users = Users(_prepared(state).users)
    password, made = _password()
    users.add(name, password, admin)
    if made:
        out.print(f"{name} {password}")
    _users_changed(state, f"{name} is added")


@user_app.command("remove")
def user_remove(name: str, state: StateOption = VAR) -> None:
    """Remove someone. Jobs that were accepted still print."""
    Users(_existing(state).users).remove(name)
    _users_changed(state, f"{name} is removed")


@user_app.command("passwd")
def user_passwd(name: str, state: StateOption = VAR) -> None:
    """Set a password; the old one ends at once."""
    users = Users(_existing(state).users)
    password, made = _password()
    users.set_password(name, password, keep=made)
    if made:
        out.print(f"{name} {password}")
    _users_changed(state, f"{name} has a new password")


class Role(StrEnum):
    """What a user may do."""

    USER = "user"
    ADMIN = "admin"


@user_app.command("role")
def user_role(name: str, role: Annotated[Role, typer.Argument(**one_of(Role))], state: StateOption = VAR) -> None:
    """Let someone see and change the fleet in the dashboard (`admin`), or no longer (`user`)."""
    Users(_existing(state).users).set_role(name, role is Role.ADMIN)
    _users_changed(state, f"{name} is {role.value} now")


@user_app.command("list")
def user_list(state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """Who may print."""
    found = [{"name": user.name, "admin": user.admin} for user in Users(State(state.resolve()).users).all()]
    print_json(found) if as_json else print_table(found, ("name", "admin"))


def _prepared(state: Path) -> State:
    place = State(state.resolve())
    place.prepare()
    return place


def _existing(state: Path) -> State:
    """As `_prepared`, where there is nothing to be made first. Raises StateError."""
    if not state.exists():
        raise StateError(
            f"there is no state folder {state.resolve()}, so it names nobody; choose another one with --state"
        )
    return _prepared(state)


def _password() -> tuple[str, bool]:
    """The password, and whether it was made up here."""
    if sys.stdin.isatty():
        first = getpass.getpass("Password: ")
        if first != getpass.getpass("Once more: "):
            raise UserError("the two passwords differ; nothing is changed")
        return first, False
    given = sys.stdin.readline().rstrip("\n")
    return (given, False) if given else (generate_password(), True)


def _users_changed(state: Path, sentence: str) -> None:
    place = State(state.resolve())
    known = lifetime.wait_for_users(place)
    say(sentence + ("" if known else "; the door will know when the fleet is up"))


@config_app.command("check")
def config_check(config: ConfigOption = None) -> None:
    """Say what is wrong with a configuration, field by field."""
    lifetime.check_certificates(load(config.resolve() if config else None))
    say(f"{config or 'the default configuration'} is good")


@config_app.command("schema")
def config_schema() -> None:
    """JSON Schema of the configuration, with unit, default and reason of each field."""
    print_json(schema())


@contextmanager
def _views(state: Path) -> Iterator[Views]:
    place = State(state.resolve())
    with Store(place.database) as store:
        yield Views(place, store)
