"""The command line. Data goes to stdout, talk to stderr; `--json` gives every answer to programs.

Exit codes: 0 done; 1 it failed; 2 wrong arguments or configuration; 3 the state folder can't be used; 4 nothing runs.
"""

from __future__ import annotations

import getpass
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from controller import lifetime
from controller.config import ConfigError, load, schema
from controller.notify import notify
from controller.state import State, StateError
from controller.store import Store, StoreError
from controller.users import UserError, Users, generate_password
from controller.views import Views

FAILED, BAD_CONFIG, BAD_STATE, NOT_RUNNING = 1, 2, 3, 4

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

StateOption = Annotated[
    Path, typer.Option("--state", envvar="CUPSFLEET_STATE_DIR", help="Folder that holds everything the fleet owns.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", envvar="CUPSFLEET_CONFIG", help="The configuration, fleet.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
VAR = Path("var")

out = Console(highlight=False, soft_wrap=True)
talk = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def main() -> None:
    """Run a command; every failure is one sentence and an exit code."""
    try:
        app(prog_name="cupsfleet")
    except ConfigError as error:
        _fail(str(error), BAD_CONFIG)
    except (StateError, StoreError) as error:
        _fail(str(error), BAD_STATE)
    except (UserError, lifetime.LifetimeError) as error:
        _fail(str(error), FAILED)


def _fail(sentence: str, code: int) -> NoReturn:
    notify("STATUS=" + sentence.replace("\n", " "))
    for line in sentence.splitlines():
        talk.print(f"cupsfleet: {line}")
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
    place.prepare()
    lifetime.check_ports(place, settings)
    for name, password in lifetime.first_users(place, with_demo=path is None):
        out.print(f"user {name}, password {password}")
    if detach:
        lifetime.start_detached(place, path, port)
        _tell_where(place)
    else:
        lifetime.serve(place, path, port, lambda: _tell_where(place))


def _tell_where(place: State) -> None:
    status = _views(place.folder).status()
    out.print(f"print to   {status['front_door']['url']}")
    out.print(f"dashboard  {status['dashboard']['url']}")
    out.print(f"passwords  {place.passwords}")


@app.command()
def down(state: StateOption = VAR) -> None:
    """Stop everything that `up` started. Jobs that wait stay in the spools and print after the next start."""
    talk.print(f"cupsfleet: {lifetime.stop(State(state.resolve()))}")


@app.command()
def status(state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """How the fleet is: nodes, queue depth, problems."""
    found = _views(state).status()
    if as_json:
        _print_json(found)
    else:
        out.print(f"print to {found['front_door']['url']}, dashboard {found['dashboard']['url']}")
        scaling = found["scaling"]
        out.print(f"{scaling.get('actual', 0)} of {scaling.get('desired', 0)} nodes serve: {scaling.get('reason', '')}")
        out.print(f"{found['queue_depth']} open jobs")
        _print_table(found["nodes"], NODE_COLUMNS)
        for problem in found["problems"]:
            out.print(f"problem: {problem}", markup=False)
    if found["controller"]["pid"] is None:
        sys.exit(NOT_RUNNING)


NODE_COLUMNS = ("name", "slot", "state", "address", "open_jobs", "weight", "reason")


@app.command()
def nodes(state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """The nodes, with what they do and why."""
    found = _views(state).nodes()
    _print_json(found) if as_json else _print_table(found, NODE_COLUMNS)


@app.command()
def jobs(state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """Open jobs on all nodes, oldest first."""
    found = _views(state).jobs()
    _print_json(found) if as_json else _print_table(found, ("id", "owner", "queue", "state", "size_kb", "node"))


@app.command()
def explain(
    state: StateOption = VAR,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="How many decisions.")] = 10,
) -> None:
    """What was decided last, and why."""
    views = _views(state)
    if as_json:
        _print_json({"decisions": views.explain(limit), "events": views.events(limit)})
        return
    _print_table(views.explain(limit), ("at", "decided"))
    _print_table(views.events(limit), ("at", "kind", "node", "text"))


WaitOption = Annotated[bool, typer.Option("--wait", help="Return when it is done, not when it is begun.")]


@app.command()
def add(
    address: Annotated[str, typer.Argument(help="HOST:PORT of a CUPS server that exists; else a new one.")] = "",
    state: StateOption = VAR,
    wait: WaitOption = False,
) -> None:
    """Add a node."""
    _command(state, "add", address, wait)


@app.command()
def retire(node: str, state: StateOption = VAR, wait: WaitOption = False) -> None:
    """Let a node finish its jobs, then take it out for good."""
    _command(state, "retire", node, wait)


@app.command()
def drain(node: str, state: StateOption = VAR, wait: WaitOption = False) -> None:
    """Give a node no new jobs until it is resumed."""
    _command(state, "drain", node, wait)


@app.command()
def resume(node: str, state: StateOption = VAR, wait: WaitOption = False) -> None:
    """Give a drained node new jobs again; a retiring one is kept."""
    _command(state, "resume", node, wait)


def _command(state: Path, verb: str, argument: str, wait: bool) -> None:
    place = State(state.resolve())
    store = Store(place.database)
    if place.controller() is None:
        _fail(f"no controller runs for {place.folder}, so nobody would carry that out", NOT_RUNNING)
    row = lifetime.carry_out(store, verb, argument, getpass.getuser(), wait)
    if row["state"] in ("refused", "failed"):
        _fail(f"{row['state']}: {row['outcome']}", FAILED)
    talk.print(f"cupsfleet: {row['outcome']}")
    if row["node"]:
        out.print(row["node"])


@user_app.command("add")
def user_add(
    name: str,
    state: StateOption = VAR,
    admin: Annotated[bool, typer.Option("--admin", help="May use the dashboard.")] = False,
) -> None:
    """Add someone. The password is asked for, or read from standard input; if nothing is given, one is made up."""
    users = Users(_prepared(state).users)
    password, made = _password()
    users.add(name, password, admin)
    if made:
        out.print(f"{name} {password}", markup=False)
    _users_changed(state, f"{name} is added")


@user_app.command("remove")
def user_remove(name: str, state: StateOption = VAR) -> None:
    """Remove someone. Jobs that were accepted still print."""
    Users(_prepared(state).users).remove(name)
    _users_changed(state, f"{name} is removed")


@user_app.command("passwd")
def user_passwd(name: str, state: StateOption = VAR) -> None:
    """Set a password; the old one ends at once."""
    users = Users(_prepared(state).users)
    password, made = _password()
    users.set_password(name, password)
    if made:
        out.print(f"{name} {password}", markup=False)
    _users_changed(state, f"{name} has a new password")


@user_app.command("list")
def user_list(state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """Who may print."""
    found = [{"name": user.name, "admin": user.admin} for user in Users(State(state.resolve()).users).all()]
    _print_json(found) if as_json else _print_table(found, ("name", "admin"))


def _prepared(state: Path) -> State:
    place = State(state.resolve())
    place.prepare()
    return place


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
    talk.print(f"cupsfleet: {sentence}" + ("" if known else "; the door will know when the fleet is up"))


@config_app.command("check")
def config_check(config: ConfigOption = None) -> None:
    """Say what is wrong with a configuration, field by field."""
    load(config.resolve() if config else None)
    talk.print(f"cupsfleet: {config or 'the default configuration'} is good")


@config_app.command("schema")
def config_schema() -> None:
    """JSON Schema of the configuration, with unit, default and reason of each field."""
    _print_json(schema())


def _views(state: Path) -> Views:
    place = State(state.resolve())
    return Views(place, Store(place.database))


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, default=str))


def _print_table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(lifetime.readable(name, row.get(name)) for name in columns))
    out.print(table)
