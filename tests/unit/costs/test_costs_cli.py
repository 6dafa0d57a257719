"""The command `costs`, as it is typed."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from controller.cli import main
from controller.costs.charge import facts
from controller.costs.ledger import Entry, Ledger
from controller.costs.rates import Part, Printed
from controller.store import Store

AT = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with three jobs of March."""
    folder = tmp_path_factory.mktemp("state")
    with Store(folder / "cupsfleet.db", create=True) as store:
        Ledger(store).write_many([entry("1", "alice", 10), entry("2", "bob", 4), entry("3", "=cmd()", 1)])
    return folder


def entry(key: str, user: str, pages: int) -> Entry:
    made = facts(Printed(AT, "office", "", "one-sided", (Part("", False, pages),)))
    values: dict[str, Any] = {"printer": "office", "title": "t", "pages": pages, "sheets": pages, "origin": "counted"}
    return Entry(f"job:{key}", "job", AT, 20260302, user, amount=50_000 * pages, facts=made, **values)


@dataclass
class Run:
    returncode: int
    stdout: str
    stderr: str


def run(state: Path, *words: str) -> Run:
    out, said = io.StringIO(), io.StringIO()
    arguments = ["cupsfleet", "costs", *words, "--state", str(state)]
    with redirect_stdout(out), redirect_stderr(said), mock.patch.object(sys, "argv", arguments):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    return Run(code, out.getvalue(), said.getvalue())


def done(state: Path, *words: str) -> str:
    found = run(state, *words)
    assert found.returncode == 0, found.stderr
    return found.stdout


MARCH = ("--from", "2026-03", "--to", "2026-03")


def test_sums_lead_to_jobs(state: Path) -> None:
    rows = json.loads(done(state, "--by", "user", *MARCH, "--json"))
    assert [(row["name"], row["pages"], row["amount"]) for row in rows][:2] == [
        ("alice", 10, "0.50"),
        ("bob", 4, "0.20"),
    ]
    [job] = json.loads(done(state, "jobs", "--user", "bob", *MARCH, "--json"))
    assert (job["pages"], job["amount"], job["origin"], job["key"]) == (4, "0.20", "counted", "job:2")
    [month] = json.loads(done(state, "--by", "month", *MARCH, "--json"))
    assert (month["name"], month["pages"]) == ("2026-03", 15)


def test_a_table_and_csv_show_the_same_and_csv_starts_no_formula(state: Path) -> None:
    assert "alice" in done(state, *MARCH)
    lines = done(state, *MARCH, "--csv").splitlines()
    assert lines[0] == "name,jobs,pages,sheets,colour_pages,amount"
    assert lines[1] == "alice,1,10,10,0,0.50"
    assert lines[3].startswith("'=cmd()")


def test_other_prices_are_tried_without_touching_the_ledger(state: Path, tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text("[[costs.prices]]\nper_page = 0.10\n")
    words = ("what-if", "--config", str(tmp_path / "new.toml"), "--since", "2026-03-01", "--to", "2026-03-31", "--json")
    before = done(state, *MARCH, "--json")
    assert json.loads(done(state, *words))[0] == {"name": "alice", "was": "0.50", "would_be": "1.00", "change": "0.50"}
    assert done(state, *MARCH, "--json") == before


def test_a_statement_is_written(state: Path, tmp_path: Path) -> None:
    done(state, "statement", "2026-03", "--user", "alice", "--output", str(tmp_path / "march.html"))
    page = (tmp_path / "march.html").read_text()
    assert "Printing costs, March 2026" in page
    assert "bob" not in page


def test_money_is_booked_once_for_each_key(state: Path) -> None:
    for _ in range(2):
        done(state, "deposit", "carol", "12.50", "--key", "till-7")
    assert done(state, "balance", "carol").strip() == "12.50"


def test_the_fleet_without_any_hours(state: Path) -> None:
    row = json.loads(done(state, "fleet", *MARCH, "--json"))
    assert (row["node_hours"], row["pages"], row["charged"]) == (0.0, 15, "0.75")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--from", "yesterday"), 1, "'yesterday' is no day; allowed is 2026-11-22, or a month 2026-11"),
        (("--from", "2026-03-02", "--to", "2026-03-01"), 1, "ends before it begins"),
        (("deposit", "carol", "much"), 1, "'much' is no amount; allowed is a number such as 20 or 12.50"),
        (("import", "/nonexistent/page_log"), 1, "/nonexistent/page_log can't be read"),
        (("--by", "weather"), 2, "Invalid value"),
    ],
)
def test_a_mistake_is_one_sentence(state: Path, words: tuple[str, ...], code: int, said: str) -> None:
    found = run(state, *words)
    assert found.returncode == code
    assert said in found.stderr


def test_the_day_of_a_deposit_is_the_sites(state: Path) -> None:
    done(state, "deposit", "dave", "1")
    with Store(state / "cupsfleet.db") as store:
        [row] = store.rows("select day from ledger where kind = 'deposit' and user = 'dave'")
    assert abs((date.fromisoformat(str(row["day"])) - date.today()).days) <= 1  # noqa: DTZ011
