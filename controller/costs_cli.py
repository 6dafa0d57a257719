"""The command `costs`: reports on the ledger, and what is written into it by hand."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.config_file import load
from controller.costs import reports
from controller.costs.ledger import Ledger
from controller.costs.people import site_of
from controller.costs.rates import DEAREST, micros, shown
from controller.costs.refunds import refund as give_back
from controller.costs.reports import ENTRY_COLUMNS, PAYMENT_COLUMNS, SUM_COLUMNS, CostsError, day_of
from controller.costs.rules import Rules, published
from controller.costs.standing import LIMIT_COLUMNS
from controller.costs.standing import limits as limits_of
from controller.costs.sums import number
from controller.jobs.table import JobTable
from controller.state import State
from controller.store import Store
from controller.terminal import (
    VAR,
    ConfigOption,
    JsonOption,
    StateOption,
    caller,
    one_of,
    out,
    print_csv,
    print_json,
    print_table,
    say,
)
from controller.users import Users

app = typer.Typer(help="Who printed what, and what it costs.")


class By(StrEnum):
    USER = "user"
    DEPARTMENT = "department"
    ACCOUNT = "account"
    PRINTER = "printer"
    MONTH = "month"


class WhatIfBy(StrEnum):
    USER = "user"
    DEPARTMENT = "department"
    ACCOUNT = "account"
    PRINTER = "printer"
    MONTH = "month"
    JOB = "job"


FromOption = Annotated[str, typer.Option("--from", help="First day, 2026-11-01 or 2026-11. Default: of this month.")]
ToOption = Annotated[str, typer.Option("--to", help="Last day, or last month. Default: today.")]
UserOption = Annotated[str | None, typer.Option(help="Of this person only.")]
DepartmentOption = Annotated[
    str | None, typer.Option(help="Of this department only; '' is that of people without one.")
]
AccountOption = Annotated[
    str | None, typer.Option(help="Of this shared account only; '' is what people pay themselves.")
]
PrinterOption = Annotated[str | None, typer.Option(help="Of this printer only.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
SharedOption = Annotated[bool, typer.Option("--shared", help="A shared account, not a person.")]
AmountArgument = Annotated[
    str, typer.Argument(help="In the site's currency; a negative one takes money out (after --).")
]
ByOption = Annotated[By, typer.Option("--by", help="What the sums are by.", **one_of(By))]


@app.callback(invoke_without_command=True)
def costs(
    context: typer.Context,
    by: ByOption = By.USER,
    begin: FromOption = "",
    to: ToOption = "",
    user: UserOption = None,
    department: DepartmentOption = None,
    account: AccountOption = None,
    printer: PrinterOption = None,
    state: StateOption = VAR,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Sums by user, department, account, printer or month. `costs jobs` shows what is behind them."""
    if context.invoked_subcommand:
        return
    names = _names(user=user, department=department, account=account, printer=printer)
    with _ledger(state) as ledger:
        first, last = _period(begin, to, _today(ledger.store))
        rows, rules = reports.sums(ledger, by, first, last, names), published(ledger.store)
    if not (as_json or as_csv):
        say(f"{first} to {last}" + (f", amounts in {rules.costs.currency}" if rules else ""))
        rows = [*rows, reports.added(rows)] if len(rows) > 1 else rows
    _print(rows, SUM_COLUMNS, as_json, as_csv)


@app.command()
def jobs(
    begin: FromOption = "",
    to: ToOption = "",
    user: UserOption = None,
    department: DepartmentOption = None,
    account: AccountOption = None,
    printer: PrinterOption = None,
    state: StateOption = VAR,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """The jobs behind a sum, with where each page count comes from."""
    names = _names(user=user, department=department, account=account, printer=printer)
    with _ledger(state) as ledger:
        first, last = _period(begin, to, _today(ledger.store))
        rows = reports.entries(ledger, first, last, names, _rules(ledger.store, config).site.tariff)
    _print(rows, ENTRY_COLUMNS, as_json, as_csv)


@app.command("what-if")
def what_if(
    config: ConfigOption = None,
    since: Annotated[str, typer.Option(help="First day. Default: of this month.")] = "",
    to: ToOption = "",
    by: Annotated[WhatIfBy, typer.Option("--by", help="What the sums are by; job shows each.")] = WhatIfBy.USER,
    user: UserOption = None,
    department: DepartmentOption = None,
    account: AccountOption = None,
    printer: PrinterOption = None,
    state: StateOption = VAR,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What a period would have cost at the prices of another configuration. The ledger is not touched."""
    names = _names(user=user, department=department, account=account, printer=printer)
    with _ledger(state) as ledger:
        first, last = _period(since, to, _today(ledger.store))
        rows = reports.what_if(ledger, by, first, last, _rules(ledger.store, config).site, names)
    _print(rows, ("name", "was", "would_be", "change"), as_json, as_csv)


@app.command()
def statement(
    month: Annotated[str, typer.Argument(help="2026-11.")],
    user: UserOption = None,
    department: DepartmentOption = None,
    output: Annotated[Path | None, typer.Option(help="File to write; left out: standard output.")] = None,
    state: StateOption = VAR,
    config: ConfigOption = None,
) -> None:
    """A month's statement as an HTML page that can be printed."""
    first, last = day_of(month), day_of(month, end=True)
    with _ledger(state) as ledger:
        rules, names = _rules(ledger.store, config), _names(user=user, department=department)
        page = reports.statement(ledger, first, last, names, rules.site.tariff, rules.costs.currency)
    if output:
        output.write_text(page, encoding="utf-8")
        say(f"{output} is written")
    else:
        print(page)


@app.command("import")
def import_(
    page_log: Annotated[Path, typer.Argument(help="A page_log of CUPS, as it is written by default.")],
    server: Annotated[str, typer.Option(help="Name of the server that wrote it.")] = "before",
    state: StateOption = VAR,
    config: ConfigOption = None,
) -> None:
    """Take past jobs from a page_log into the ledger, at the prices of their days. A second time changes nothing."""
    strange: list[str] = []
    if page_log.resolve().is_relative_to(State(state.resolve()).nodes):
        raise CostsError(f"{page_log} is of this fleet's own server, whose jobs are charged already")
    with _ledger(state) as ledger:
        site = _rules(ledger.store, config).site
        written = ledger.write_many(reports.imported(page_log, server, site, strange))
    say(f"{written} jobs are new in the ledger")
    if strange:
        say(f"{len(strange)} lines are not as CUPS writes them by default and were passed over, such as: {strange[0]}")


@app.command()
def deposit(
    name: str,
    amount: AmountArgument,
    shared: SharedOption = False,
    remark: Annotated[str, typer.Option(help="What for.")] = "",
    key: Annotated[str, typer.Option(help="Name of this payment: the same one is never booked twice.")] = "",
    state: StateOption = VAR,
    config: ConfigOption = None,
) -> None:
    """Book money that a person or a shared account paid in."""
    value, words = _amount(amount), _words(remark)
    if not name.strip():
        raise CostsError(f"{name!r} is nobody's name")
    with _ledger(state) as ledger:
        rules = _rules(ledger.store, config)
        with ledger.store.transaction():
            today = rules.site.tariff.today()
            new = ledger.deposit(key or secrets.token_hex(8), name, value, today, shared, words)
        left = ledger.balance(name, shared)
    say(f"{name} has {shown(left)} {rules.costs.currency}" + ("" if new else "; this payment was booked before"))
    known = [one.name for one in rules.costs.shared_accounts] if shared else _users(state)
    if name not in known:
        say(f"note that there is no {'shared account' if shared else 'user'} of the name {name!r}")


@app.command()
def refund(
    job: Annotated[str, typer.Argument(help="Its number, its job-uuid, or its key as in `costs jobs`.")],
    why: Annotated[str, typer.Option(help="What for; it stands in the ledger beside your name.")],
    amount: Annotated[str, typer.Option(help="So much money and no page. Default: all of it.")] = "",
    state: StateOption = VAR,
    config: ConfigOption = None,
) -> None:
    """Give back what a job was charged: an entry of today, that changes none of before."""
    if not why.strip():
        raise CostsError("it must be said what for: --why 'the printer jammed'")
    value = _amount(amount) if amount else None
    with _ledger(state) as ledger:
        rules, key = _rules(ledger.store, config), _key(ledger.store, job)
        with ledger.store.transaction():
            made = give_back(ledger, key, value, _words(why), int(time.time()), rules.site.tariff.today())
    say(f"{made.account or made.user} gets back {shown(-made.amount)} {rules.costs.currency} and {-made.pages} pages")


@app.command()
def payments(
    begin: FromOption = "",
    to: ToOption = "",
    user: UserOption = None,
    account: AccountOption = None,
    state: StateOption = VAR,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What was paid in, and who booked it."""
    with _ledger(state) as ledger:
        first, last = _period(begin, to, _today(ledger.store))
        names, tariff = _names(user=user, account=account), _rules(ledger.store, config).site.tariff
        rows = reports.payments(ledger, first, last, names, tariff)
    _print(rows, PAYMENT_COLUMNS, as_json, as_csv)


@app.command()
def balance(name: str, shared: SharedOption = False, state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """What is left of the money that was paid in; below zero is owed."""
    with _ledger(state) as ledger:
        left = shown(ledger.balance(name, shared))
    print_json({"name": name, "balance": left}) if as_json else out.print(left)


@app.command()
def limits(name: str, state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """What a person may still print, and what was used of each quota; jobs under way count."""
    with _ledger(state) as ledger:
        found = list(limits_of(ledger.store, name, published(ledger.store) or Rules()))
    if not found and not as_json:
        say(f"nothing limits what {name} prints")
    print_json(found) if as_json else print_table(found, LIMIT_COLUMNS)


@app.command()
def fleet(begin: FromOption = "", to: ToOption = "", state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """What the nodes cost, idle hours included, beside what was charged; and what scaling saved."""
    with _ledger(state) as ledger:
        first, last = _period(begin, to, _today(ledger.store))
        row = reports.fleet(ledger.store, first, last)
    print_json(row) if as_json else print_table([row], tuple(row))


def _print(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool, as_csv: bool) -> None:
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(rows, columns)
    else:
        print_table(rows, columns)


def _today(store: Store) -> date:
    """By the clock of the site, as the ledger's days."""
    return (published(store) or Rules()).site.tariff.today()


def _period(begin: str, to: str, today: date) -> tuple[date, date]:
    first = day_of(begin) if begin else today.replace(day=1)
    last = day_of(to, end=True) if to else max(first, today)
    if number(last) < number(first):
        raise CostsError(f"the period from {first} to {last} ends before it begins")
    return first, last


def _names(**names: str | None) -> dict[str, str]:
    return {column: name for column, name in names.items() if name is not None}


def _amount(text: str) -> int:
    """In millionths. Raises CostsError."""
    with suppress(InvalidOperation):
        if abs(amount := Decimal(text)) < DEAREST:
            return micros(amount)
    raise CostsError(f"{text!r} is no amount; allowed is a number such as 20 or 12.50")


def _words(remark: str) -> str:
    """For the ledger: who does it, and what for."""
    return caller() + (f": {remark}" if remark else "")


def _users(state: Path) -> list[str]:
    return [user.name for user in Users(State(state.resolve()).users).all()]


def _key(store: Store, job: str) -> str:
    """The key of a job's entry in the ledger. Raises CostsError."""
    if job.startswith(("job:", "import:")):
        return job
    if not job.isdecimal():
        return f"job:{job}"
    found = JobTable(store).by_id(int(job))
    if found is None:
        raise CostsError(f"there is no job {job}; `cupsfleet costs jobs` shows the keys of those that were charged")
    return f"job:{found.uuid}"


def _rules(store: Store, config: Path | None) -> Rules:
    """Those of a file that was named, else those that the fleet goes by, else the defaults. Raises PeopleError."""
    found = None if config else published(store)
    if found:
        return found
    costs = load(config.resolve() if config else None).costs
    return Rules(costs, site_of(costs))


@contextmanager
def _ledger(state: Path) -> Iterator[Ledger]:
    with Store(State(state.resolve()).database) as store:
        yield Ledger(store)
