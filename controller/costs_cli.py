"""The command `costs`: reports on the ledger, and what is written into it by hand."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.config import Settings
from controller.config_file import load
from controller.costs import reports
from controller.costs.ledger import Ledger, number
from controller.costs.people import site_of, tariff_of
from controller.costs.rates import micros, shown
from controller.costs.reports import ENTRY_COLUMNS, SUM_COLUMNS, CostsError, day_of
from controller.state import State
from controller.store import Store
from controller.terminal import VAR, ConfigOption, JsonOption, StateOption, out, print_csv, print_json, print_table, say

app = typer.Typer(help="Who printed what, and what it costs.")


class By(StrEnum):
    USER = "user"
    DEPARTMENT = "department"
    ACCOUNT = "account"
    PRINTER = "printer"
    MONTH = "month"


FromOption = Annotated[str, typer.Option("--from", help="First day, 2026-11-01 or 2026-11. Default: of this month.")]
ToOption = Annotated[str, typer.Option("--to", help="Last day, or last month. Default: today.")]
UserOption = Annotated[str, typer.Option(help="Of this person only.")]
DepartmentOption = Annotated[str, typer.Option(help="Of this department only.")]
AccountOption = Annotated[str, typer.Option(help="Of this shared account only.")]
PrinterOption = Annotated[str, typer.Option(help="Of this printer only.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
SharedOption = Annotated[bool, typer.Option("--shared", help="A shared account, not a person.")]
ByOption = Annotated[By, typer.Option("--by", help="What the sums are by.")]


@app.callback(invoke_without_command=True)
def costs(
    context: typer.Context,
    by: ByOption = By.USER,
    begin: FromOption = "",
    to: ToOption = "",
    user: UserOption = "",
    department: DepartmentOption = "",
    printer: PrinterOption = "",
    state: StateOption = VAR,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Sums by user, department, account, printer or month. `costs jobs` shows what is behind them."""
    if context.invoked_subcommand:
        return
    first, last = _period(begin, to)
    with _ledger(state) as ledger:
        rows = reports.sums(ledger, by, first, last, _names(user=user, department=department, printer=printer))
    _print(rows, SUM_COLUMNS, as_json, as_csv)


@app.command()
def jobs(
    begin: FromOption = "",
    to: ToOption = "",
    user: UserOption = "",
    department: DepartmentOption = "",
    account: AccountOption = "",
    printer: PrinterOption = "",
    state: StateOption = VAR,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """The jobs behind a sum, with where each page count comes from."""
    first, last = _period(begin, to)
    names = _names(user=user, department=department, account=account, printer=printer)
    with _ledger(state) as ledger:
        rows = reports.entries(ledger, first, last, names, tariff_of(_settings(config).costs))
    _print(rows, ENTRY_COLUMNS, as_json, as_csv)


@app.command("what-if")
def what_if(
    config: ConfigOption = None,
    since: Annotated[str, typer.Option(help="First day. Default: of this month.")] = "",
    to: ToOption = "",
    by: ByOption = By.USER,
    state: StateOption = VAR,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """What a period would have cost at the prices of another configuration. The ledger is not touched."""
    first, last = _period(since, to)
    site = site_of(_settings(config).costs)
    with _ledger(state) as ledger:
        rows = reports.what_if(ledger, by, first, last, site, {})
    _print(rows, ("name", "was", "would_be", "change"), as_json, as_csv)


@app.command()
def statement(
    month: Annotated[str, typer.Argument(help="2026-11.")],
    user: UserOption = "",
    department: DepartmentOption = "",
    output: Annotated[Path | None, typer.Option(help="File to write; left out: standard output.")] = None,
    state: StateOption = VAR,
    config: ConfigOption = None,
) -> None:
    """A month's statement as an HTML page that can be printed."""
    first, last = day_of(month), day_of(month, end=True)
    settings = _settings(config).costs
    with _ledger(state) as ledger:
        names = _names(user=user, department=department)
        page = reports.statement(ledger, first, last, names, tariff_of(settings), settings.currency)
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
    site = site_of(_settings(config).costs)
    with _ledger(state) as ledger:
        written = ledger.write_many(reports.imported(page_log, server, site))
    say(f"{written} jobs are new in the ledger")


@app.command()
def deposit(
    name: str,
    amount: Annotated[str, typer.Argument(help="In the site's currency; a negative one takes money out (after --).")],
    shared: SharedOption = False,
    remark: Annotated[str, typer.Option(help="What for.")] = "",
    key: Annotated[str, typer.Option(help="Name of this payment: the same one is never booked twice.")] = "",
    state: StateOption = VAR,
    config: ConfigOption = None,
) -> None:
    """Book money that a person or a shared account paid in."""
    try:
        value = micros(Decimal(amount))
    except (InvalidOperation, ValueError, OverflowError):
        raise CostsError(f"{amount!r} is no amount; allowed is a number such as 20 or 12.50") from None
    settings = _settings(config).costs
    today = tariff_of(settings).today()
    with _ledger(state) as ledger:
        with ledger.store.transaction():
            new = ledger.deposit(key or secrets.token_hex(8), name, value, today, shared, remark)
        left = ledger.balance(name, shared)
    say(f"{name} has {shown(left)} {settings.currency}" + ("" if new else "; this payment was booked before"))


@app.command()
def balance(name: str, shared: SharedOption = False, state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """What is left of the money that was paid in; below zero is owed."""
    with _ledger(state) as ledger:
        left = shown(ledger.balance(name, shared))
    print_json({"name": name, "balance": left}) if as_json else out.print(left)


@app.command()
def fleet(begin: FromOption = "", to: ToOption = "", state: StateOption = VAR, as_json: JsonOption = False) -> None:
    """What the nodes cost, idle hours included, beside what was charged; and what scaling saved."""
    first, last = _period(begin, to)
    with _ledger(state) as ledger:
        row = reports.fleet(ledger.store, first, last)
    print_json(row) if as_json else print_table([row], tuple(row))


def _print(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool, as_csv: bool) -> None:
    if as_json:
        print_json(rows)
    elif as_csv:
        print_csv(rows, columns)
    else:
        print_table(rows, columns)


def _period(begin: str, to: str) -> tuple[date, date]:
    today = date.today()  # noqa: DTZ011  (a person's day, where that person sits)
    first = day_of(begin) if begin else today.replace(day=1)
    last = day_of(to, end=True) if to else max(first, today)
    if number(last) < number(first):
        raise CostsError(f"the period from {first} to {last} ends before it begins")
    return first, last


def _names(**names: str) -> dict[str, str]:
    return {column: name for column, name in names.items() if name}


def _settings(config: Path | None) -> Settings:
    return load(config.resolve() if config else None)


@contextmanager
def _ledger(state: Path) -> Iterator[Ledger]:
    with Store(State(state.resolve()).database) as store:
        yield Ledger(store)
